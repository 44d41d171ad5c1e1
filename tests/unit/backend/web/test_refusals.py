"""Every refusal there is has words in both languages."""

import importlib
import pkgutil

import backend
from backend.errors import BackendError
from backend.web import words
from backend.web.refusals import WORDS
from backend.web.rendering import say
from gateway.contract.events import StopReason
from gateway.contract.faults import FaultCode


def _subclasses(of: type[BackendError]) -> set[type[BackendError]]:
    found = {of}
    for each in of.__subclasses__():
        found |= _subclasses(each)
    return found


class TestWords:
    def test_cover_every_refusal_in_the_tree(self) -> None:
        for module in pkgutil.walk_packages(backend.__path__, "backend."):
            if not module.name.startswith("backend.migrations"):
                importlib.import_module(module.name)

        codes = {each.code for each in _subclasses(BackendError) if each.__module__.startswith("backend.")}

        assert codes - set(WORDS) == set(), "write what it says, and what to do next, in backend/web/refusals.py"

    def test_say_what_to_do_next_in_both_languages(self) -> None:
        for code, entry in WORDS.items():
            assert all(entry), code
            assert entry.zh != entry.en

    def test_cover_the_contract(self) -> None:
        assert {reason.value for reason in StopReason} <= set(words.STOP)
        assert {fault.value for fault in FaultCode} <= set(words.FAULT)


class TestSay:
    def test_fills_in_figures(self) -> None:
        class Refused(BackendError):
            code = "method_not_accepted"

        said = say(Refused(method="alipay", brand="unionpay", until_ms=1_795_348_800_000), "en")

        assert said.what == "Alipay is not accepted here: UnionPay is protected until 2026-11-22 20:00:00."

    def test_survives_missing_figures(self) -> None:
        class Bare(BackendError):
            code = "method_not_accepted"

        assert "–" in say(Bare(), "zh").what
