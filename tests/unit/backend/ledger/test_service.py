"""The ledger on real databases: what it stores, tells, refuses, and survives."""

import itertools
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from backend.db import Database
from backend.ledger import chart, repository, service
from backend.ledger.models import accounts, credit_limits, residues, transfers
from backend.ledger.rules import Code, TransferKind, TransferResult
from tests.factories import NOW
from tests.unit.backend.ledger.crash_writer import batch
from tests.unit.backend.ledger.requests import open_accounts, pending, resolve, single
from tests.unit.backend.ledger.waiting import until_somebody_waits_for_the_lock

_ROOT = Path(__file__).parents[4]


class TestExecute:
    def test_a_hold_and_its_capture_leave_clearing_at_zero(self, database: Database) -> None:
        with database.write() as conn:
            wallet, clearing, revenue = open_accounts(conn, wallet_minor=500)
            results = service.execute(
                conn,
                "gxu",
                [
                    pending("h", wallet, clearing, 300, NOW + timedelta(hours=1), reference="ws_1"),
                    resolve("p", TransferKind.POST, "h", 120, linked=True),
                    single("r", clearing, revenue, 120, reference="ws_1"),
                ],
                now=NOW,
            )
        with database.read() as conn:
            assert [result.code for result in results] == [Code.OK] * 3
            assert service.balances(conn, "gxu", wallet) == service.Balances(380, 0, 380)
            assert service.balances(conn, "gxu", revenue) == service.Balances(120, 0, 120)
            assert service.open_clearing(conn, "gxu") == []
            assert service.sums(conn, "gxu") == service.LedgerSums(740, 740, 0, 0)
            assert [row.transfer_id for row in service.transfers_of(conn, "gxu", "ws_1")] == ["h", "p", "r"]

    def test_nothing_is_stored_for_a_refusal(self, database: Database) -> None:
        with database.write() as conn:
            wallet, clearing, _ = open_accounts(conn, wallet_minor=5)
            result = service.execute(conn, "gxu", [pending("h", wallet, clearing, 6)], now=NOW)[0]
            stored = conn.execute(select(transfers.c.transfer_id)).scalars().all()
        assert result.code is Code.INSUFFICIENT
        assert stored == ["opening"]

    def test_tenants_share_nothing(self, database: Database) -> None:
        with database.write() as conn:
            wallet, clearing, _ = open_accounts(conn, "gxu", wallet_minor=500)
            open_accounts(conn, "other", wallet_minor=7)
            service.execute(conn, "gxu", [pending("h", wallet, clearing, 6)], now=NOW)
            other = service.execute(conn, "other", [resolve("p", TransferKind.POST, "h", 6)], now=NOW)[0]
            assert other.code is Code.NOT_PENDING
            assert service.balances(conn, "other", wallet) == service.Balances(7, 0, 7)

    def test_a_large_batch_is_one_decision(self, database: Database) -> None:
        with database.write() as conn:
            wallet, clearing, _ = open_accounts(conn, wallet_minor=1_000)
            requests = [pending(f"h{number}", wallet, clearing, 1) for number in range(service.BATCH_MAX)]
            results = service.execute(conn, "gxu", requests, now=NOW)
            assert [result.code for result in results] == [Code.OK] * 1_000 + [Code.INSUFFICIENT] * 1_000
            assert service.verify(conn, "gxu") == []

    def test_a_request_with_another_time_is_still_the_same(self, database: Database) -> None:
        with database.write() as conn:
            wallet, clearing, _ = open_accounts(conn, wallet_minor=500)
            hold = pending("h", wallet, clearing, 100, NOW + timedelta(microseconds=1_999))
            again = replace(hold, event_at=NOW + timedelta(hours=1))
            codes = [service.execute(conn, "gxu", [one], now=NOW)[0].code for one in (hold, again)]
            assert codes == [Code.OK, Code.EXISTS]

    def test_an_empty_batch_does_nothing(self, database: Database) -> None:
        with database.write() as conn:
            assert service.execute(conn, "gxu", [], now=NOW) == []

    def test_of_many_at_once_on_one_account_just_those_that_fit_succeed(self, database: Database) -> None:
        with database.write() as conn:
            wallet, clearing, _ = open_accounts(conn, wallet_minor=500)

        def spend(worker: int) -> int:
            stood = 0
            for number in range(20):
                with database.write() as conn:
                    hold = pending(f"h{worker}-{number}", wallet, clearing, 10)
                    stood += service.execute(conn, "gxu", [hold], now=NOW)[0].code is Code.OK
            return stood

        with ThreadPoolExecutor(6) as pool:
            assert sum(pool.map(spend, range(6))) == 50
        with database.read() as conn:
            assert service.balances(conn, "gxu", wallet) == service.Balances(500, 500, 0)
            assert service.verify(conn, "gxu") == []

    def test_one_id_sent_by_many_at_once_stands_once(self, database: Database) -> None:
        with database.write() as conn:
            wallet, clearing, _ = open_accounts(conn, wallet_minor=500)

        def send(_: int) -> str:
            with database.write() as conn:
                return service.execute(conn, "gxu", [pending("h", wallet, clearing, 10)], now=NOW)[0].code.value

        with ThreadPoolExecutor(6) as pool:
            assert sorted(pool.map(send, range(6))) == ["exists"] * 5 + ["ok"]

    def test_a_hold_posted_and_voided_at_once_is_resolved_once(self, database: Database) -> None:
        with database.write() as conn:
            wallet, clearing, _ = open_accounts(conn, wallet_minor=500)
            holds = [pending(f"h{number}", wallet, clearing, 10) for number in range(10)]
            service.execute(conn, "gxu", holds, now=NOW)

        def resolve_all(kind: TransferKind) -> list[str]:
            found = []
            for hold in holds:
                request = resolve(f"{hold.transfer_id}-{kind}", kind, hold.transfer_id, 10 if kind == "post" else 0)
                with database.write() as conn:
                    found.append(service.execute(conn, "gxu", [request], now=NOW)[0].code.value)
            return found

        with ThreadPoolExecutor(2) as pool:
            outcomes = list(pool.map(resolve_all, [TransferKind.POST, TransferKind.VOID]))
        assert all({one, other} == {"ok", "already_resolved"} for one, other in zip(*outcomes, strict=True))

    def test_a_process_killed_in_mid_batch_leaves_whole_batches(self, database: Database) -> None:
        url = database.engine.url.render_as_string(hide_password=False)
        command = [sys.executable, "-m", "tests.unit.backend.ledger.crash_writer", url, "gxu", "3"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_ROOT)
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(3)]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()

        assert lines == ["0", "1", "middle"]
        wallet, clearing = chart.account_id("cardholder_wallet", "ch_1"), chart.account_id("payment_clearing", "wallet")
        with database.write() as conn:
            assert service.balances(conn, "gxu", wallet).held_minor == 2 * 210
            codes = [
                {result.code.value for result in service.execute(conn, "gxu", batch(n, wallet, clearing), now=NOW)}
                for n in range(3)
            ]
            assert codes == [{"exists"}, {"exists"}, {"ok"}]
            assert service.balances(conn, "gxu", wallet).held_minor == 3 * 210
            assert service.sums(conn, "gxu").balanced
            assert service.verify(conn, "gxu") == []


class TestLock:
    def test_whoever_decides_waits_for_whoever_decided(self, database: Database) -> None:
        with database.write() as conn:
            wallet, clearing, _ = open_accounts(conn, wallet_minor=500)

        def other() -> TransferResult:
            with database.write() as conn:
                return service.execute(conn, "gxu", [pending("b", wallet, clearing, 400)], now=NOW)[0]

        with ThreadPoolExecutor(1) as pool:
            with database.write() as conn:
                service.lock(conn, "gxu")
                waiting = pool.submit(other)
                until_somebody_waits_for_the_lock(database)
                assert service.execute(conn, "gxu", [pending("a", wallet, clearing, 300)], now=NOW)[0].code is Code.OK
                assert not waiting.done()
            assert waiting.result(20).code is Code.INSUFFICIENT


class TestDatabaseGuards:
    def test_a_limited_account_cannot_go_below_zero(self, database: Database) -> None:
        with database.write() as conn:
            wallet, _, _ = open_accounts(conn, wallet_minor=10)
        for column in ("debits_posted", "debits_pending"):
            with pytest.raises(IntegrityError, match="available"), database.write() as conn:
                conn.execute(update(accounts).where(accounts.c.account_id == wallet).values({column: 11}))

    def test_an_unlimited_account_can(self, database: Database) -> None:
        with database.write() as conn:
            _, _, revenue = open_accounts(conn)
            conn.execute(update(accounts).where(accounts.c.account_id == revenue).values(debits_posted=11))

    def test_sums_are_never_negative(self, database: Database) -> None:
        with database.write() as conn:
            wallet, _, _ = open_accounts(conn, wallet_minor=10)
        with pytest.raises(IntegrityError, match="sums"), database.write() as conn:
            conn.execute(update(accounts).where(accounts.c.account_id == wallet).values(credits_pending=-1))

    def test_a_hold_has_one_resolution(self, database: Database) -> None:
        with database.write() as conn:
            wallet, clearing, _ = open_accounts(conn, wallet_minor=10)
            requests = [pending("h", wallet, clearing, 5), resolve("v", TransferKind.VOID, "h")]
            service.execute(conn, "gxu", requests, now=NOW)
            row = dict(conn.execute(select(transfers).where(transfers.c.transfer_id == "v")).one()._mapping)
        with pytest.raises(IntegrityError), database.write() as conn:
            conn.execute(insert(transfers).values({**row, "transfer_id": "v2"}))

    @pytest.mark.parametrize(
        "changes", [{"amount_minor": 0}, {"credit_account_id": "cardholder_wallet/ch_1"}, {"pending_id": "x"}]
    )
    def test_a_transfer_makes_sense(self, database: Database, changes: dict[str, object]) -> None:
        with database.write() as conn:
            wallet, clearing, _ = open_accounts(conn, wallet_minor=10)
            service.execute(conn, "gxu", [single("t", wallet, clearing, 5)], now=NOW)
            row = dict(conn.execute(select(transfers).where(transfers.c.transfer_id == "t")).one()._mapping)
        with pytest.raises(IntegrityError), database.write() as conn:
            conn.execute(insert(transfers).values({**row, "transfer_id": "t2", **changes}))


class TestAccount:
    def test_opening_twice_gives_the_same_account(self, database: Database) -> None:
        with database.write() as conn:
            wallet, _, _ = open_accounts(conn, wallet_minor=10)
            again = service.account(conn, "gxu", "cardholder_wallet", "ch_1")
            assert again == wallet
            assert service.balances(conn, "gxu", again).posted_minor == 10

    def test_a_kind_outside_the_chart_is_our_bug(self, database: Database) -> None:
        with database.write() as conn, pytest.raises(AssertionError):
            service.account(conn, "gxu", "pocket_money")

    def test_an_account_outside_the_chart_is_unknown(self, database: Database) -> None:
        with database.read() as conn, pytest.raises(service.AccountUnknown):
            service.balances(conn, "gxu", "pocket_money/nobody")

    def test_one_never_used_is_empty(self, database: Database) -> None:
        with database.read() as conn:
            assert service.balances(conn, "gxu", "cardholder_wallet/ch_9") == service.Balances(0, 0, 0)

    def test_many_opening_it_at_once_get_one(self, database: Database) -> None:
        def spend(number: int) -> str:
            with database.write() as conn:
                equity = service.account(conn, "gxu", "opening_equity")
                wallet = service.account(conn, "gxu", "cardholder_wallet", "ch_1")
                return service.execute(conn, "gxu", [single(f"t{number}", equity, wallet, 1)], now=NOW)[0].code.value

        with ThreadPoolExecutor(6) as pool:
            assert set(pool.map(spend, range(12))) == {"ok"}
        with database.read() as conn:
            assert service.balances(conn, "gxu", "cardholder_wallet/ch_1").posted_minor == 12


class TestStatement:
    def test_lines_add_up_to_the_balances(self, database: Database) -> None:
        with database.write() as conn:
            wallet, clearing, revenue = open_accounts(conn, wallet_minor=500)
            for number, request in enumerate(
                [
                    pending("h1", wallet, clearing, 100, reference="ws_1"),
                    resolve("p1", TransferKind.POST, "h1", 40),
                    single("r1", clearing, revenue, 40, reference="ws_1"),
                    pending("h2", wallet, clearing, 200),
                    resolve("v2", TransferKind.VOID, "h2"),
                    pending("h3", wallet, clearing, 30),
                ]
            ):
                service.execute(conn, "gxu", [request], now=NOW + timedelta(seconds=1 + number))
            lines = service.statement(conn, "gxu", wallet, 100)
            found = service.balances(conn, "gxu", wallet)

        assert [(line.transfer_id, line.change_minor, line.held_change_minor) for line in lines] == [
            ("h3", 0, 30),
            ("v2", 0, -200),
            ("h2", 0, 200),
            ("p1", -40, -100),
            ("h1", 0, 100),
            ("opening", 500, 0),
        ]
        assert sum(line.change_minor for line in lines) == found.posted_minor
        assert sum(line.held_change_minor for line in lines) == found.held_minor
        assert (lines[3].reference, lines[3].counter_account_id) == ("ws_1", clearing)

    def test_the_newest_come_first_up_to_the_limit(self, database: Database) -> None:
        with database.write() as conn:
            wallet, clearing, _ = open_accounts(conn, wallet_minor=500)
            for number in range(5):
                now = NOW + timedelta(seconds=1 + number)
                service.execute(conn, "gxu", [pending(f"h{number}", wallet, clearing, 1)], now=now)
            assert [line.transfer_id for line in service.statement(conn, "gxu", wallet, 2)] == ["h4", "h3"]

    def test_things_are_told_by_when_they_happened(self, database: Database) -> None:
        with database.write() as conn:
            wallet, _, revenue = open_accounts(conn, wallet_minor=500)
            for number, minutes in enumerate((3, 1, 2)):
                late = replace(single(f"t{number}", wallet, revenue, 10), event_at=NOW + timedelta(minutes=minutes))
                service.execute(conn, "gxu", [late], now=NOW + timedelta(hours=1 + number))
            lines = service.statement(conn, "gxu", wallet, 10)
            assert [(line.transfer_id, line.balance_minor) for line in lines] == [
                ("t0", 470),
                ("t2", 480),
                ("t1", 490),
                ("opening", 500),
            ]

    @pytest.mark.parametrize("page", [1, 2, 3, 7, 40])
    def test_pages_join_without_gap_or_repetition(self, database: Database, page: int) -> None:
        with database.write() as conn:
            wallet, _, revenue = open_accounts(conn, wallet_minor=500)
            moves = [
                replace(
                    single(f"t{n}", *((wallet, revenue) if n % 3 else (revenue, wallet)), 10 + n),
                    event_at=NOW + timedelta(seconds=n // 4),
                )
                for n in range(12)
            ]
            service.execute(conn, "gxu", moves, now=NOW)
            whole = service.statement(conn, "gxu", wallet, 100)
            joined = service.statement(conn, "gxu", wallet, page)
            while older := service.statement(conn, "gxu", wallet, page, before=joined[-1].place):
                joined += older
            assert joined == whole
            assert whole[0].balance_minor == service.balances(conn, "gxu", wallet).posted_minor
            for newer, line in itertools.pairwise(whole):
                assert newer.balance_minor - newer.change_minor == line.balance_minor

    @pytest.mark.parametrize("kind", ["cardholder_wallet", "provider_receivable"])
    def test_a_period_opens_where_the_one_before_closed(self, database: Database, kind: str) -> None:
        with database.write() as conn:
            _, _, revenue = open_accounts(conn)
            account = service.account(conn, "gxu", kind, "x")
            more = (revenue, account) if kind == "cardholder_wallet" else (account, revenue)
            less = more[1], more[0]
            for day in range(6):
                at = NOW + timedelta(days=day)
                moves = [single(f"in{day}", *more, 100 + day), single(f"out{day}", *less, 10)]
                service.execute(conn, "gxu", [replace(move, event_at=at) for move in moves], now=at)
            first = service.period(conn, "gxu", account, NOW, NOW + timedelta(days=2))
            second = service.period(conn, "gxu", account, NOW + timedelta(days=2), NOW + timedelta(days=4))
            rest = service.period(conn, "gxu", account, NOW + timedelta(days=4), NOW + timedelta(days=9))
            assert first == service.Period(0, 201, 20, 181)
            assert second == service.Period(181, 205, 20, 366)
            assert rest.closing_minor == service.balances(conn, "gxu", account).posted_minor
            lines = service.statement(
                conn, "gxu", account, 10, since=NOW + timedelta(days=2), until=NOW + timedelta(days=4)
            )
            assert [line.transfer_id for line in lines] == ["out3", "in3", "out2", "in2"]
            assert lines[0].balance_minor == second.closing_minor
            assert lines[-1].balance_minor - lines[-1].change_minor == second.opening_minor


class TestSetCreditLimit:
    def test_each_limit_is_kept_with_who_set_it(self, database: Database) -> None:
        with database.write() as conn:
            wallet, clearing, _ = open_accounts(conn, wallet_minor=10)
            for limit_minor, set_by in ((50, "fin"), (40, "ops")):
                service.set_credit_limit(conn, "gxu", wallet, limit_minor, set_by=set_by, reason="exams", now=NOW)
            results = service.execute(
                conn, "gxu", [pending("a", wallet, clearing, 51), pending("b", wallet, clearing, 50)], now=NOW
            )
            assert [result.code for result in results] == [Code.INSUFFICIENT, Code.OK]
            kept = conn.execute(
                select(credit_limits.c.credit_limit_minor, credit_limits.c.set_by).order_by(credit_limits.c.version)
            )
            assert [tuple(row) for row in kept] == [(50, "fin"), (40, "ops")]

    def test_what_is_owed_already_cannot_be_forbidden(self, database: Database) -> None:
        with database.write() as conn:
            wallet = service.account(conn, "gxu", "cardholder_wallet", "ch_2")
            service.set_credit_limit(conn, "gxu", wallet, 50, set_by="fin", reason="", now=NOW)
            service.execute(conn, "gxu", [single("t", wallet, "water_revenue", 30)], now=NOW)
            with pytest.raises(service.CreditInUse):
                service.set_credit_limit(conn, "gxu", wallet, 29, set_by="fin", reason="", now=NOW)
            service.set_credit_limit(conn, "gxu", wallet, 30, set_by="fin", reason="", now=NOW)
            assert service.balances(conn, "gxu", wallet) == service.Balances(-30, 0, 0)

    def test_what_is_held_already_cannot_be_forbidden_either(self, database: Database) -> None:
        with database.write() as conn:
            wallet, clearing, _ = open_accounts(conn, wallet_minor=10)
            service.set_credit_limit(conn, "gxu", wallet, 50, set_by="fin", reason="", now=NOW)
            service.execute(conn, "gxu", [pending("h", wallet, clearing, 40)], now=NOW)
            with pytest.raises(service.CreditInUse):
                service.set_credit_limit(conn, "gxu", wallet, 29, set_by="fin", reason="", now=NOW)
            service.set_credit_limit(conn, "gxu", wallet, 30, set_by="fin", reason="", now=NOW)
            assert service.balances(conn, "gxu", wallet) == service.Balances(10, 40, 0)

    def test_an_account_outside_the_chart_has_none(self, database: Database) -> None:
        with database.write() as conn, pytest.raises(service.AccountUnknown):
            service.set_credit_limit(conn, "gxu", "pocket_money", 1, set_by="fin", reason="", now=NOW)


class TestOpenChart:
    def test_opens_each_account_once_and_keeps_what_is_there(self, database: Database) -> None:
        with database.write() as conn:
            wallet, _, _ = open_accounts(conn, wallet_minor=10)
            service.open_chart(conn, "gxu", ["wallet", "unionpay"])
            opened = set(conn.execute(select(accounts.c.account_id)).scalars())
            assert {"water_revenue", "cash", "refunds_payable/unionpay", "payment_clearing/wallet", wallet} <= opened
            assert service.balances(conn, "gxu", wallet).posted_minor == 10


class TestOpenClearing:
    def test_what_is_left_is_named_with_its_amount(self, database: Database) -> None:
        with database.write() as conn:
            wallet, clearing, revenue = open_accounts(conn, wallet_minor=500)
            requests = [
                pending("h1", wallet, clearing, 100, reference="ws_1"),
                resolve("p1", TransferKind.POST, "h1", 100),
                single("r1", clearing, revenue, 60, reference="ws_1"),
                pending("h2", wallet, clearing, 100, reference="ws_2"),
            ]
            service.execute(conn, "gxu", requests, now=NOW)
            assert service.open_clearing(conn, "gxu") == [("ws_1", 40)]
            service.execute(conn, "gxu", [single("r2", clearing, revenue, 40, reference="ws_1")], now=NOW)
            assert service.open_clearing(conn, "gxu") == []


class TestExpireDue:
    def test_due_holds_are_released_oldest_first(self, database: Database) -> None:
        with database.write() as conn:
            wallet, clearing, _ = open_accounts(conn, wallet_minor=500)
            holds = [
                pending(f"h{minutes}", wallet, clearing, 100, NOW + timedelta(minutes=minutes)) for minutes in (3, 1, 2)
            ]
            service.execute(conn, "gxu", [*holds, resolve("v", TransferKind.VOID, "h2")], now=NOW)
            at = NOW + timedelta(minutes=2)
            assert [result.transfer_id for result in service.expire_due(conn, "gxu", at, 10)] == ["h1.expire"]
            assert service.expire_due(conn, "gxu", at, 10) == []
            assert service.balances(conn, "gxu", wallet) == service.Balances(500, 100, 400)
            at = NOW + timedelta(minutes=3)
            assert [result.transfer_id for result in service.expire_due(conn, "gxu", at, 10)] == ["h3.expire"]
            late = resolve("p", TransferKind.POST, "h3", 100)
            assert service.execute(conn, "gxu", [late], now=at)[0].code is Code.ALREADY_RESOLVED

    def test_a_hold_made_with_its_time_long_past_is_found(self, database: Database) -> None:
        with database.write() as conn:
            wallet, clearing, _ = open_accounts(conn, wallet_minor=500)
            later = NOW + timedelta(hours=1)
            assert service.expire_due(conn, "gxu", later, 10) == []
            old = [pending(f"h{n}", wallet, clearing, 1, NOW - timedelta(minutes=n)) for n in range(2)]
            service.execute(conn, "gxu", old, now=NOW)
            found = service.expire_due(conn, "gxu", later, 10)
            assert [result.transfer_id for result in found] == ["h1.expire", "h0.expire"]

    def test_a_hold_is_due_at_its_very_moment_and_not_before(self, database: Database) -> None:
        with database.write() as conn:
            wallet, clearing, _ = open_accounts(conn, wallet_minor=500)
            service.execute(conn, "gxu", [pending("h", wallet, clearing, 1, NOW + timedelta(seconds=1))], now=NOW)
            before = NOW + timedelta(milliseconds=999)
            assert repository.due_holds(conn, "gxu", NOW, before, 10) == []
            assert service.expire_due(conn, "gxu", before, 10) == []
            due = NOW + timedelta(seconds=1)
            assert repository.due_holds(conn, "gxu", before, due, 10) == [("h", due)]
            assert [one.transfer_id for one in service.expire_due(conn, "gxu", due, 10)] == ["h.expire"]

    def test_a_few_at_a_time_come_to_the_end(self, database: Database) -> None:
        with database.write() as conn:
            wallet, clearing, _ = open_accounts(conn, wallet_minor=500)
            holds = [pending(f"h{n}", wallet, clearing, 1, NOW + timedelta(seconds=n // 3)) for n in range(9)]
            service.execute(conn, "gxu", holds, now=NOW)
            at = NOW + timedelta(hours=1)
            assert [len(service.expire_due(conn, "gxu", at, 2)) for _ in range(6)] == [2, 2, 2, 2, 1, 0]
            assert service.balances(conn, "gxu", wallet).held_minor == 0


class TestVerifyNew:
    def test_finds_what_went_wrong_since_and_before_the_last_time(self, database: Database) -> None:
        with database.write() as conn:
            wallet, clearing, revenue = open_accounts(conn, wallet_minor=500)
            assert service.verify_new(conn, "gxu") == []
            service.execute(conn, "gxu", [pending("h", wallet, clearing, 100)], now=NOW)
            assert service.verify_new(conn, "gxu") == []
            service.execute(conn, "gxu", [resolve("p", TransferKind.POST, "h", 30)], now=NOW)
            for account in (wallet, revenue):
                there = conn.execute(select(accounts.c.credits_posted).where(accounts.c.account_id == account))
                before = there.scalar_one()
                where = accounts.c.account_id == account
                conn.execute(update(accounts).where(where).values(credits_posted=before + 1))
                found = service.verify_new(conn, "gxu")
                assert found == service.verify(conn, "gxu")
                assert [one.account_id for one in found] == [account]
                conn.execute(update(accounts).where(where).values(credits_posted=before))
            assert service.verify_new(conn, "gxu") == []

    def test_finds_a_transfer_that_moved_nothing(self, database: Database) -> None:
        with database.write() as conn:
            wallet, _, _ = open_accounts(conn, wallet_minor=500)
            service.verify_new(conn, "gxu")
            service.execute(conn, "gxu", [single("t", wallet, "suspense", 5)], now=NOW)
            row = dict(conn.execute(select(transfers).where(transfers.c.transfer_id == "t")).one()._mapping)
            conn.execute(insert(transfers).values({**row, "transfer_id": "ghost", "number": 99}))
            assert {one.account_id for one in service.verify_new(conn, "gxu")} == {wallet, "suspense"}


class TestVerifyClearing:
    def test_a_residue_that_was_tampered_with_is_found(self, database: Database) -> None:
        with database.write() as conn:
            wallet, clearing, _ = open_accounts(conn, wallet_minor=500)
            service.execute(conn, "gxu", [single("t", wallet, clearing, 7, reference="ws_1")], now=NOW)
            assert service.verify_clearing(conn, "gxu") == []
            conn.execute(delete(residues))
            assert service.verify_clearing(conn, "gxu") == [service.ResidueDiscrepancy(clearing, "ws_1", 0, 7)]


class TestVerify:
    def test_a_tampered_sum_is_found(self, database: Database) -> None:
        with database.write() as conn:
            wallet, clearing, _ = open_accounts(conn, wallet_minor=500)
            service.execute(conn, "gxu", [pending("h", wallet, clearing, 100)], now=NOW)
            conn.execute(update(accounts).where(accounts.c.account_id == wallet).values(credits_posted=501))
            assert service.verify(conn, "gxu") == [
                service.Discrepancy(wallet, running=(100, 0, 0, 501), counted=(100, 0, 0, 500))
            ]
            assert not service.sums(conn, "gxu").balanced
