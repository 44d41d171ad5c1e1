"""Cases are opened once per subject, counted, listed in pages and closed with words."""

from datetime import timedelta

import pytest

from backend.db import Database
from backend.errors import BackendError
from backend.payments import cases
from tests.factories import NOW


def _open(database: Database, subject: str = "cap_1", tenant: str = "gxu", **changed: object) -> cases.Case:
    values: dict[str, object] = {
        "kind": "capture_refused",
        "amount_minor": 300,
        "evidence": {"answer": "no"},
        "now": NOW,
    }
    with database.write() as conn:
        return cases.open_case(conn, tenant_id=tenant, subject_id=subject, **{**values, **changed})  # type: ignore[arg-type]


def _close(
    database: Database, case_id: str, note: str = "called the bank", by: str = "ch_fin", tenant: str = "gxu"
) -> cases.Case:
    with database.write() as conn:
        return cases.close_case(conn, tenant_id=tenant, case_id=case_id, closed_by=by, note=note, now=NOW)


class TestOpenCase:
    def test_keeps_the_first_evidence_and_counts_reports(self, database: Database) -> None:
        first = _open(database)
        again = _open(database, evidence={"answer": "still no"}, amount_minor=1, now=NOW + timedelta(hours=1))

        assert again.case_id == first.case_id
        assert (again.evidence, again.amount_minor, again.created_at) == ({"answer": "no"}, 300, NOW)
        assert (first.times_seen, again.times_seen) == (1, 2)

    def test_is_one_per_kind_and_subject_and_school(self, database: Database) -> None:
        found = [
            _open(database),
            _open(database, "cap_2"),
            _open(database, kind="void_refused"),
            _open(database, tenant="other"),
        ]

        assert len({case.case_id for case in found}) == 4


class TestCases:
    def test_come_newest_first_in_pages(self, database: Database) -> None:
        made = [_open(database, f"cap_{n}", now=NOW + timedelta(seconds=n // 2)).case_id for n in range(5)]

        seen: list[str] = []
        with database.read() as conn:
            while page := cases.cases(conn, "gxu", after=seen[-1] if seen else "", limit=2):
                seen += [case.case_id for case in page]

        assert sorted(seen) == sorted(made)
        assert {*seen[:1]} == {made[4]}
        assert {*seen[3:]} == {made[0], made[1]}

    def test_are_filtered_by_state_and_kind(self, database: Database) -> None:
        one, other = _open(database), _open(database, "x", kind="overcharged")
        _close(database, one.case_id)

        with database.read() as conn:
            by_state = [case.case_id for case in cases.cases(conn, "gxu", state="open", limit=9)]
            by_kind = [case.case_id for case in cases.cases(conn, "gxu", kind="capture_refused", limit=9)]
            foreign = cases.cases(conn, "other", limit=9)
            lost = cases.cases(conn, "gxu", after="case_nobody", limit=9)

        assert (by_state, by_kind, foreign, lost) == ([other.case_id], [one.case_id], [], [])


class TestCaseOf:
    def test_finds_it_by_what_it_is_about(self, database: Database) -> None:
        opened = _open(database)

        with database.read() as conn:
            assert cases.case_of(conn, "gxu", "capture_refused", "cap_1") == opened
            assert cases.case_of(conn, "gxu", "capture_refused", "cap_2") is None


class TestCloseCase:
    def test_says_who_and_why_once(self, database: Database) -> None:
        opened = _open(database)

        closed = _close(database, opened.case_id, "  called the bank ")
        again = _close(database, opened.case_id)

        assert (closed.state, closed.closed_by, closed.note, closed.closed_at) == (
            "closed",
            "ch_fin",
            "called the bank",
            NOW,
        )
        assert again == closed

    @pytest.mark.parametrize(
        ("case_id", "note", "by", "tenant", "code"),
        [
            ("own", "called the bank", "ch_other", "gxu", "case_closed"),
            ("own", "something else", "ch_fin", "gxu", "case_closed"),
            ("own", "no  ", "ch_fin", "gxu", "note_too_short"),
            ("own", "x" * 1_001, "ch_fin", "gxu", "note_too_short"),
            ("own", "called the bank", "ch_fin", "other", "case_unknown"),
            ("case_nobody", "called the bank", "ch_fin", "gxu", "case_unknown"),
        ],
    )
    def test_refuses(self, database: Database, case_id: str, note: str, by: str, tenant: str, code: str) -> None:
        opened = _open(database)
        closed = _close(database, opened.case_id)

        with pytest.raises(BackendError) as refused:
            _close(database, opened.case_id if case_id == "own" else case_id, note, by, tenant)

        assert refused.value.code == code
        with database.read() as conn:
            assert cases.case(conn, "gxu", opened.case_id) == closed
