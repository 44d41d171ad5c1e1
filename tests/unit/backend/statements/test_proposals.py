"""A file brought by hand is read at once and believed when a second person has agreed."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from backend.db import Database
from backend.statements import proposal_repository, proposals, service
from backend.statements.models import proposed_files
from backend.statements.proposals import ProposedFile
from backend.statements.types import StatementFile, StatementRefused
from tests.unit.backend.statements.samples import PACKED, ROWS
from tests.unit.backend.statements.writing import DAY, WECHAT_MERCHANT, wechat

TENANT = "gxu"
NOW = datetime(2026, 12, 1, 4, tzinfo=UTC)


def bring(database: Database, data: bytes | None = None, *, by: str = "ch_fin", count: int = 0) -> ProposedFile:
    """Bring WeChat's file of the day, or of a day before it."""
    file = brought(database, data, by=by, count=count)
    assert isinstance(file, ProposedFile)
    return file


def brought(
    database: Database, data: bytes | None = None, *, by: str = "ch_fin", count: int = 0
) -> ProposedFile | StatementFile:
    """Bring a file and return what it is then."""
    with database.write() as conn:
        return proposals.bring(
            conn,
            tenant_id=TENANT,
            method="wechat",
            day=DAY - timedelta(days=count),
            name="bill.zip",
            data=PACKED["wechat"](ROWS["wechat"]) if data is None else data,
            brought_by=by,
            now=NOW,
        )


def approve(database: Database, of: ProposedFile, by: str = "ch_boss") -> StatementFile:
    """Import it."""
    with database.write() as conn:
        return proposals.approve(conn, tenant_id=TENANT, proposal_id=of.proposal_id, approved_by=by, now=NOW)


def reject(database: Database, of: ProposedFile, by: str = "ch_boss") -> ProposedFile:
    """Refuse it."""
    with database.write() as conn:
        return proposals.reject(conn, tenant_id=TENANT, proposal_id=of.proposal_id, rejected_by=by, now=NOW)


def stored(database: Database) -> tuple[int, int]:
    """Return how many files are imported, and how many wait."""
    with database.read() as conn:
        return len(service.files(conn, TENANT)), len(proposals.waiting(conn, TENANT))


def content(database: Database, of: ProposedFile) -> bytes:
    """Return the bytes that are kept."""
    with database.read() as conn:
        return proposal_repository.content(conn, TENANT, of.proposal_id)


class TestBring:
    def test_waits_with_its_bytes_and_settles_nothing(self, database: Database) -> None:
        one = bring(database)

        assert (one.state, one.line_count, one.brought_by) == ("waiting", len(ROWS["wechat"]), "ch_fin")
        assert stored(database) == (0, 1)
        assert content(database, one) == PACKED["wechat"](ROWS["wechat"])
        with database.read() as conn:
            assert service.days(conn, TENANT, "wechat") == []
            assert proposals.find(conn, TENANT, one.proposal_id) == one

    def test_waits_once_whoever_brings_it_again(self, database: Database) -> None:
        assert bring(database) == bring(database, by="ch_boss")
        assert stored(database) == (0, 1)

    def test_waits_for_each_day_and_method_of_its_own(self, database: Database) -> None:
        nothing = wechat([])  # names neither day nor merchant: the same bytes every day
        one, before = bring(database, nothing), bring(database, nothing, count=1)
        with database.write() as conn:
            conn.execute(update(proposed_files).values(method="alipay"))

        again = bring(database, nothing)

        assert len({one.proposal_id, before.proposal_id, again.proposal_id}) == 3
        assert (one.day, before.day, again.method) == (DAY, DAY - timedelta(days=1), "wechat")
        assert bring(database, nothing) == again

    def test_is_known_when_it_was_imported(self, database: Database) -> None:
        approve(database, bring(database))

        again = brought(database)

        assert isinstance(again, StatementFile)
        assert not again.is_new
        assert stored(database) == (1, 0)

    def test_is_refused_at_once_when_it_is_wrong(self, database: Database) -> None:
        with pytest.raises(StatementRefused):
            bring(database, b"no statement")
        assert stored(database) == (0, 0)

    def test_is_bounded(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(proposals, "WAITING_MAX", 1)
        bring(database)
        other = PACKED["wechat"](ROWS["wechat"][:1])

        with pytest.raises(proposals.TooManyWaiting):
            bring(database, other)


class TestApprove:
    def test_imports_it_and_lets_the_bytes_go(self, database: Database) -> None:
        one = bring(database)

        file = approve(database, one)

        assert (file.file_sha256, file.line_count, file.is_new) == (one.file_sha256, one.line_count, True)
        assert stored(database) == (1, 0)
        assert content(database, one) == b""
        with database.read() as conn:
            decided = proposals.find(conn, TENANT, one.proposal_id)
        assert (decided.state, decided.decided_by, decided.decided_at) == ("imported", "ch_boss", NOW)

    def test_reads_it_for_the_merchant_it_was_brought_for(self, database: Database) -> None:
        with database.write() as conn:
            one = proposals.bring(
                conn,
                tenant_id=TENANT,
                method="wechat",
                day=DAY,
                name="bill.csv",
                data=wechat([]),
                brought_by="ch_fin",
                now=NOW,
                merchant_no=WECHAT_MERCHANT,
            )
        assert isinstance(one, ProposedFile)

        assert (one.merchant_no, approve(database, one).merchant_no) == (WECHAT_MERCHANT, WECHAT_MERCHANT)

    def test_is_for_a_second_person(self, database: Database) -> None:
        one = bring(database)

        with pytest.raises(proposals.SamePerson):
            approve(database, one, by="ch_fin")
        assert stored(database) == (0, 1)

    def test_is_by_two_in_the_table_as_well(self, database: Database) -> None:
        one = bring(database)

        def alone() -> None:
            with database.write() as conn:
                proposal_repository.decide(
                    conn, TENANT, one.proposal_id, state="imported", decided_by="ch_fin", decided_at=NOW
                )

        with pytest.raises(IntegrityError):
            alone()

    def test_decides_once(self, database: Database) -> None:
        one = bring(database)
        approve(database, one)

        for decide in (approve, reject):
            with pytest.raises(proposals.ProposedFileDecided):
                decide(database, one)

    def test_refuses_a_file_that_another_one_contradicts_meanwhile(self, database: Database) -> None:
        one = bring(database, PACKED["wechat"](ROWS["wechat"][:1]))
        approve(database, bring(database))

        with pytest.raises(StatementRefused):
            approve(database, one)
        assert stored(database) == (1, 1)

    def test_knows_only_the_schools_own(self, database: Database) -> None:
        one = bring(database)

        with database.write() as conn, pytest.raises(proposals.ProposedFileUnknown):
            proposals.approve(conn, tenant_id="other", proposal_id=one.proposal_id, approved_by="ch_boss", now=NOW)


class TestReject:
    @pytest.mark.parametrize("by", ["ch_fin", "ch_boss"])
    def test_leaves_nothing_of_it_but_who_decided(self, database: Database, by: str) -> None:
        one = reject(database, bring(database), by)

        assert (one.state, one.decided_by) == ("rejected", by)
        assert stored(database) == (0, 0)
        with database.read() as conn:
            assert conn.execute(select(proposed_files.c.content)).scalars().all() == [b""]

    def test_lets_it_be_brought_again(self, database: Database) -> None:
        first = bring(database)
        reject(database, first)

        assert bring(database).proposal_id != first.proposal_id
