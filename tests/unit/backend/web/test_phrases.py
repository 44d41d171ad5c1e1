"""Every sentence that reconciliation and statements write into records has its Chinese."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import backend
from backend.ledger import service as ledger
from backend.ledger.rules import TransferKind, TransferRequest
from backend.reconciliation import service as reconciliation
from backend.web.phrases import BREAKS, FILES, phrase
from tests.fakes.web_site import School
from tests.unit.backend.web.conftest import SignedInAs

_ROOT = Path(backend.__path__[0])


def _template(node: ast.expr) -> str | None:
    """Return a text or a formatted text with `{}` for each figure; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)  # type: ignore[misc]
    return None


def _sentences(folder: str) -> Iterator[str]:
    """Yield what is assigned to `cause` or `reason`, or given to a break or a refusal as its words."""
    for path in sorted((_ROOT / folder).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            told: list[ast.expr] = []
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in ("cause", "reason"):
                value = node.value
                told = [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]
            elif isinstance(node, ast.Call):
                name = getattr(node.func, "id", "") or getattr(node.func, "attr", "")
                told = {"Break": node.args[4:5], "StatementRefused": node.args[1:2], "refusal": node.args[1:2]}.get(
                    name, []
                )
            for one in told:
                text = _template(one)
                if text is not None:
                    yield text


def _is_known(sentence: str, known: dict[str, str]) -> bool:
    return sentence in known or any(each.startswith(sentence + ": {}") for each in known)


class TestPhrase:
    @pytest.mark.parametrize(("folder", "known"), [("reconciliation", BREAKS), ("statements", FILES)])
    def test_knows_every_sentence_of_the_slice(self, folder: str, known: dict[str, str]) -> None:
        found = set(_sentences(folder)) - {"{}: {} to {}"}

        assert len(found) > 15
        assert {each for each in found if not _is_known(each, known)} == set()

    @pytest.mark.parametrize("english", sorted({**BREAKS, **FILES}))
    def test_says_it_in_chinese_with_every_figure(self, english: str) -> None:
        figures = [str(number) for number in range(11, 11 + english.count("{}"))]
        said = phrase(english.format(*figures), "zh")

        assert said != english.format(*figures)
        dropped = 1 if english.startswith("type {} {}") else 0
        assert sum(figure in said for figure in figures) == len(figures) - dropped

    def test_leaves_english_and_the_unknown_as_they_are(self) -> None:
        assert phrase("debits are not credits", "en") == "debits are not credits"
        assert phrase("something new: 7", "zh") == "something new: 7"

    def test_keeps_the_order_of_figures_where_chinese_turns_it(self) -> None:
        told = "3 fen are settled of 10 fen with 6 fen of coupons"

        assert phrase(told, "zh") == "订单 10 分、优惠 6 分，结算却是 3 分"


class TestReconciliationPage:
    @pytest.mark.parametrize(
        ("language", "cause"),
        [("zh", "收入没有对应的已结束用水"), ("en", "revenue under the name of no ended session")],
    )
    def test_says_why_a_break_is_one_in_the_readers_language(
        self, school: School, signed_in_as: SignedInAs, language: str, cause: str
    ) -> None:
        with school.db.write() as conn:
            strange = TransferRequest(
                transfer_id="strange",
                kind=TransferKind.SINGLE,
                debit_account_id="cash",
                credit_account_id="water_revenue",
                amount_minor=7,
                event_at=school.clock.now,
                reference="ws_strange",
            )
            assert ledger.execute(conn, "gxu", [strange], now=school.clock.now)[0].stands
            reconciliation.run(conn, "gxu", school.clock.now)

        page = signed_in_as("fin", language).get("/admin/reconciliation")

        assert page.status_code == 200
        assert cause in page.text
        assert ("revenue under" in page.text) == (language == "en")
