"""Passwords, card numbers and passes."""

from datetime import datetime, timedelta

import pytest

from backend.cardholders import rules
from tests.factories import NOW


class TestIsPassword:
    def test_fits_its_own_hash_only(self) -> None:
        stored = rules.password_hash("geheim", b"salt")

        assert rules.is_password("geheim", stored)
        assert not rules.is_password("geheim ", stored)
        assert "geheim" not in stored

    def test_hash_differs_by_salt(self) -> None:
        assert rules.password_hash("same", b"one") != rules.password_hash("same", b"two")


class TestCardNumber:
    @pytest.mark.parametrize(
        ("uid", "number"),
        [
            ("04a2b3c4d5e6f7", "04A2B3C4D5E6F7"),
            (" A41E45C6 ", "A41E45C6"),
            ("00112233445566778899", "00112233445566778899"),
            ("00000000", None),
            ("A41E45", None),
            ("A41E45C6D7", None),
            ("xyz", None),
            ("", None),
            ("０４Ａ２Ｂ３Ｃ４", None),
        ],
    )
    def test_reads_4_7_and_10_bytes(self, uid: str, number: str | None) -> None:
        assert rules.card_number(uid) == number


class TestCardLookup:
    def test_depends_on_pepper_tenant_and_number(self) -> None:
        base = {"pepper": b"p" * 32, "tenant_id": "gxu", "number": "A41E45C6"}
        variants = [base, {**base, "pepper": b"q" * 32}, {**base, "tenant_id": "gxnu"}, {**base, "number": "A41E45C7"}]

        assert len({rules.card_lookup(**each) for each in variants}) == 4  # type: ignore[arg-type]
        assert "A41E45C6" not in rules.card_lookup(**base).upper()  # type: ignore[arg-type]


class TestIsPassValid:
    HOUR = timedelta(hours=1)

    @pytest.mark.parametrize(
        ("person_class", "not_before", "not_after", "uses_left", "valid"),
        [
            ("student", None, None, None, True),
            ("visitor", None, None, None, False),
            ("visitor", NOW, NOW + HOUR, None, True),
            ("visitor", NOW + timedelta(milliseconds=1), NOW + HOUR, None, False),
            ("visitor", NOW - HOUR, NOW, None, False),
            ("visitor", NOW - HOUR, NOW + timedelta(milliseconds=1), 1, True),
            ("visitor", NOW - HOUR, NOW + HOUR, 0, False),
        ],
    )
    def test_is_half_open_and_counts_uses(
        self,
        person_class: str,
        not_before: datetime | None,
        not_after: datetime | None,
        uses_left: int | None,
        valid: bool,
    ) -> None:
        found = rules.is_pass_valid(
            person_class=person_class,
            kind="code",
            not_before=not_before,
            not_after=not_after,
            uses_left=uses_left,
            now=NOW,
        )

        assert found is valid
