"""What a writer may still believe when somebody else wrote, and what not."""

from collections.abc import Iterable

import pytest

from backend.ledger import memory as memory_module
from backend.ledger.decision import decide
from backend.ledger.memory import Memory
from backend.ledger.rules import Account, Decision, Rows, TransferKind, TransferRequest
from tests.factories import NOW
from tests.unit.backend.ledger.requests import pending, resolve

RICH, OTHER, THIRD, CLEARING = (
    Account(name, "credit", may_go_negative=False, credits_posted=500)
    for name in ("cardholder_wallet/a", "cardholder_wallet/b", "cardholder_wallet/c", "payment_clearing/wallet")
)
ROWS = Rows({one.account_id: one for one in (RICH, OTHER, THIRD, CLEARING)}, {}, {})


def learned(memory: Memory, *requests: TransferRequest, rows: Rows = ROWS) -> Decision:
    decision = decide(rows, requests, now=NOW)
    memory.learn(rows, decision)
    return decision


def sure(*requests: TransferRequest) -> Memory:
    """Return a memory whose only batch is in the books."""
    memory = Memory()
    decision = learned(memory, *requests)
    memory.confirm(decision, 0, 0)
    return memory


def nobody(_number: int) -> Iterable[tuple[str, str, str | None]]:
    raise AssertionError("nobody asks what was moved")


HOLD = pending("h", RICH.account_id, CLEARING.account_id, 100)
OTHERS_HOLD = pending("o", OTHER.account_id, CLEARING.account_id, 30)


class TestLearn:
    def test_every_batch_that_makes_something_has_a_stamp_of_its_own(self) -> None:
        memory = Memory()
        stamps = [memory.stamp]
        for number in range(5):
            learned(memory, pending(f"h{number}", RICH.account_id, CLEARING.account_id, 1))
            stamps.append(memory.stamp)
        assert len(set(stamps)) == 6

    def test_a_batch_that_makes_nothing_leaves_the_stamp(self) -> None:
        memory = sure(HOLD)
        stamp = memory.stamp
        learned(memory, pending("x", RICH.account_id, CLEARING.account_id, 10**6))
        assert memory.stamp == stamp

    def test_keeps_holds_until_they_are_resolved(self) -> None:
        memory = sure(HOLD)
        rows = Rows(memory.accounts.copy(), memory.holds.copy(), {})
        assert list(memory.holds) == ["h"]
        learned(memory, resolve("p", TransferKind.POST, "h", 40), rows=rows)
        assert (list(memory.holds), memory.resolutions) == ([], {"h": "p"})
        assert memory.accounts[RICH.account_id].available_minor == 460

    def test_what_is_not_in_the_database_yet_is_the_last_to_go(self, monkeypatch: pytest.MonkeyPatch) -> None:
        memory = Memory()
        learned(memory, HOLD)
        monkeypatch.setattr(memory_module, "ENTRIES_MAX", 2)
        learned(memory, pending("h2", RICH.account_id, CLEARING.account_id, 100), rows=Rows(memory.accounts, {}, {}))
        assert {key: one.available_minor for key, one in memory.accounts.items()} == {
            RICH.account_id: 300,
            CLEARING.account_id: 500,
        }


class TestCheck:
    def test_a_new_one_has_nothing_to_forget_and_asks_nobody(self) -> None:
        memory = Memory()
        memory.check("somebody's", 9_000, 0, nobody)
        assert memory.stamp == "somebody's"

    def test_at_its_own_stamp_it_believes_everything(self) -> None:
        memory = sure(HOLD)
        made = dict(memory.made)
        memory.check(memory.stamp, 1, 0, nobody)
        assert memory.made == made
        assert set(memory.accounts) == set(ROWS.accounts)

    def test_forgets_what_others_moved_and_nothing_else(self) -> None:
        memory = sure(HOLD, OTHERS_HOLD)
        asked = []

        def moved(number: int) -> list[tuple[str, str, str | None]]:
            asked.append(number)
            return [(OTHER.account_id, CLEARING.account_id, "o")]

        memory.check("foreign", 3, 0, moved)
        assert asked == [2]
        assert set(memory.accounts) == {RICH.account_id, THIRD.account_id}
        assert set(memory.holds) == {"h"}
        assert (memory.made, memory.resolutions, memory.stamp) == ({}, {}, "foreign")

    def test_forgets_what_it_decided_and_nobody_saw_in_the_books(self) -> None:
        memory = sure(HOLD)
        learned(memory, OTHERS_HOLD)
        memory.check("foreign", 1, 0, lambda _number: [])
        assert set(memory.accounts) == {RICH.account_id, THIRD.account_id}
        assert set(memory.holds) == {"h"}

    def test_forgets_two_batches_of_which_the_first_was_lost(self) -> None:
        memory = sure(HOLD)
        stamp = memory.stamp
        learned(memory, OTHERS_HOLD)
        learned(memory, pending("t", THIRD.account_id, CLEARING.account_id, 5), rows=Rows(memory.accounts, {}, {}))
        memory.check(stamp, 1, 0, lambda _number: [])
        assert set(memory.accounts) == {RICH.account_id}

    def test_a_batch_that_was_seen_in_the_books_stays(self) -> None:
        memory = sure(HOLD)
        seen = learned(memory, OTHERS_HOLD)
        learned(memory, pending("t", THIRD.account_id, OTHER.account_id, 5), rows=Rows(memory.accounts, {}, {}))
        memory.confirm(seen, 1, 0)
        memory.check("foreign", 2, 0, lambda number: [] if number == 2 else nobody(number))
        assert set(memory.accounts) == {RICH.account_id, CLEARING.account_id}
        assert set(memory.holds) == {"h", "o"}

    @pytest.mark.parametrize(("number", "credit_version"), [(1, 1), (0, 0), (2 + memory_module.FOREIGN_MAX, 0)])
    def test_forgets_all_when_it_cannot_tell(self, number: int, credit_version: int) -> None:
        memory = sure(HOLD)
        memory.check("foreign", number, credit_version, nobody)
        assert (memory.accounts, memory.holds) == ({}, {})
