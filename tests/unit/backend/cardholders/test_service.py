"""Who presented a credential, and every way it is refused."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from backend.cardholders import service
from backend.cardholders.models import credentials
from backend.db import Database
from tests.factories import NOW
from tests.unit.backend.cardholders.helpers import PASSWORD, TENANT, UID, add, person


class TestAddCardholder:
    def test_gives_a_student_code(self, database: Database) -> None:
        with database.write() as conn:
            add(conn)

            assert [each.kind for each in service.credentials(conn, TENANT, "ch_1")] == ["code"]

    def test_refuses_a_login_that_is_taken(self, database: Database) -> None:
        with database.write() as conn:
            add(conn)

            with pytest.raises(service.LoginTaken):
                add(conn, person("ch_2"))

    def test_allows_the_same_login_at_another_school(self, database: Database) -> None:
        from dataclasses import replace

        with database.write() as conn:
            add(conn)
            add(conn, replace(person(), tenant_id="gxnu"))

            assert service.cardholder_by_login(conn, "gxnu", "s001").tenant_id == "gxnu"


class TestAddCard:
    def test_stores_no_number(self, database: Database, tmp_path: Path) -> None:
        with database.write() as conn:
            add(conn)
            service.add_card(conn, tmp_path, TENANT, "ch_1", UID, NOW)
            stored = str(conn.execute(select(credentials)).all())

        assert UID not in stored.upper()

    def test_gives_the_same_card_once(self, database: Database, tmp_path: Path) -> None:
        with database.write() as conn:
            add(conn)
            first = service.add_card(conn, tmp_path, TENANT, "ch_1", UID, NOW)

            assert service.add_card(conn, tmp_path, TENANT, "ch_1", UID.lower(), NOW) == first

    def test_refuses_a_card_of_somebody_else(self, database: Database, tmp_path: Path) -> None:
        with database.write() as conn:
            add(conn)
            add(conn, person("ch_2", login="s002"))
            service.add_card(conn, tmp_path, TENANT, "ch_1", UID, NOW)

            with pytest.raises(service.CardTaken):
                service.add_card(conn, tmp_path, TENANT, "ch_2", UID, NOW)
            with pytest.raises(service.CardUnreadable):
                service.add_card(conn, tmp_path, TENANT, "ch_2", "123", NOW)


class TestResolveCard:
    def test_finds_the_holder_at_low_assurance(self, database: Database, tmp_path: Path) -> None:
        with database.write() as conn:
            holder = add(conn)
            service.add_card(conn, tmp_path, TENANT, "ch_1", UID, NOW)
            found = service.resolve(conn, tmp_path, TENANT, kind="uid", value=UID, now=NOW)

        assert (found.cardholder, found.kind, found.assurance) == (holder, "uid", 0)

    @pytest.mark.parametrize("value", ["04FFFFFFFFFFFF", "00000000", "", "nonsense"])
    def test_knows_no_other(self, database: Database, tmp_path: Path, value: str) -> None:
        with database.write() as conn:
            add(conn)

            with pytest.raises(service.CredentialUnknown):
                service.resolve(conn, tmp_path, TENANT, kind="uid", value=value, now=NOW)

    def test_is_unknown_at_another_school(self, database: Database, tmp_path: Path) -> None:
        with database.write() as conn:
            add(conn)
            service.add_card(conn, tmp_path, TENANT, "ch_1", UID, NOW)

            with pytest.raises(service.CredentialUnknown):
                service.resolve(conn, tmp_path, "gxnu", kind="uid", value=UID, now=NOW)

    def test_refuses_a_frozen_card_until_it_is_unfrozen(self, database: Database, tmp_path: Path) -> None:
        with database.write() as conn:
            add(conn)
            card = service.add_card(conn, tmp_path, TENANT, "ch_1", UID, NOW)
            service.freeze_credential(conn, TENANT, card, NOW)
            with pytest.raises(service.CredentialFrozen):
                service.resolve(conn, tmp_path, TENANT, kind="uid", value=UID, now=NOW)
            service.unfreeze_credential(conn, TENANT, card, NOW)

            assert service.resolve(conn, tmp_path, TENANT, kind="uid", value=UID, now=NOW).credential_id == card

    @pytest.mark.parametrize("status", ["frozen", "closed"])
    def test_refuses_a_person_who_is_not_active(self, database: Database, tmp_path: Path, status: str) -> None:
        with database.write() as conn:
            add(conn)
            service.add_card(conn, tmp_path, TENANT, "ch_1", UID, NOW)
            service.set_status(conn, TENANT, "ch_1", status)

            with pytest.raises(service.CardholderInactive):
                service.resolve(conn, tmp_path, TENANT, kind="uid", value=UID, now=NOW)

    def test_refuses_kinds_it_does_not_know(self, database: Database, tmp_path: Path) -> None:
        with database.write() as conn, pytest.raises(service.CredentialUnknown):
            service.resolve(conn, tmp_path, TENANT, kind="button", value="1", now=NOW)


class TestResolveCode:
    def test_accepts_a_code_once(self, database: Database, tmp_path: Path) -> None:
        with database.write() as conn:
            holder = add(conn)
            code = service.student_code(conn, tmp_path, TENANT, "ch_1", NOW)
            found = service.resolve(conn, tmp_path, TENANT, kind="code", value=code.text, now=NOW)

            assert (found.cardholder, found.assurance) == (holder, 1)
            with pytest.raises(service.CodeReplayed):
                service.resolve(conn, tmp_path, TENANT, kind="code", value=code.text, now=NOW)

    def test_accepts_the_next_draw_of_the_same_step(self, database: Database, tmp_path: Path) -> None:
        with database.write() as conn:
            add(conn)
            first = service.student_code(conn, tmp_path, TENANT, "ch_1", NOW)
            service.resolve(conn, tmp_path, TENANT, kind="code", value=first.text, now=NOW)
            second = service.student_code(conn, tmp_path, TENANT, "ch_1", NOW)

            assert second.text != first.text
            service.resolve(conn, tmp_path, TENANT, kind="code", value=second.text, now=NOW)

    def test_lets_exactly_one_of_two_at_the_same_moment_through(self, database: Database, tmp_path: Path) -> None:
        with database.write() as conn:
            add(conn)
            code = service.student_code(conn, tmp_path, TENANT, "ch_1", NOW)

        def show(_: int) -> str:
            try:
                with database.write() as conn:
                    service.resolve(conn, tmp_path, TENANT, kind="code", value=code.text, now=NOW)
            except service.CodeReplayed:
                return "replayed"
            return "accepted"

        with ThreadPoolExecutor(4) as pool:
            outcomes = sorted(pool.map(show, range(4)))

        assert outcomes == ["accepted", "replayed", "replayed", "replayed"]

    def test_refuses_it_from_the_instant_it_expires(self, database: Database, tmp_path: Path) -> None:
        with database.write() as conn:
            add(conn)
            code = service.student_code(conn, tmp_path, TENANT, "ch_1", NOW)

            with pytest.raises(service.CodeExpired):
                service.resolve(conn, tmp_path, TENANT, kind="code", value=code.text, now=code.expires_at)
            just_before = code.expires_at - timedelta(milliseconds=1)
            service.resolve(conn, tmp_path, TENANT, kind="code", value=code.text, now=just_before)

    def test_tells_malformed_from_forged(self, database: Database, tmp_path: Path) -> None:
        with database.write() as conn:
            add(conn)
            code = service.student_code(conn, tmp_path, TENANT, "ch_1", NOW)
            forged = code.text[:-3] + ("AAA" if code.text[-3:] != "AAA" else "BAA")

            with pytest.raises(service.CodeMalformed):
                service.resolve(conn, tmp_path, TENANT, kind="code", value="hello", now=NOW)
            with pytest.raises(service.CredentialUnknown):
                service.resolve(conn, tmp_path, TENANT, kind="code", value=forged, now=NOW)

    def test_refuses_a_code_of_another_school(self, database: Database, tmp_path: Path) -> None:
        with database.write() as conn:
            add(conn)
            code = service.student_code(conn, tmp_path, TENANT, "ch_1", NOW)

            with pytest.raises(service.CredentialUnknown):
                service.resolve(conn, tmp_path, "gxnu", kind="code", value=code.text, now=NOW)

    def test_refuses_a_frozen_code_and_shows_none(self, database: Database, tmp_path: Path) -> None:
        with database.write() as conn:
            add(conn)
            code = service.student_code(conn, tmp_path, TENANT, "ch_1", NOW)
            service.freeze_credential(conn, TENANT, service.credentials(conn, TENANT, "ch_1")[0].credential_id, NOW)

            with pytest.raises(service.CredentialFrozen):
                service.resolve(conn, tmp_path, TENANT, kind="code", value=code.text, now=NOW)
            with pytest.raises(service.CredentialFrozen):
                service.student_code(conn, tmp_path, TENANT, "ch_1", NOW)


class TestVisitorPass:
    def test_is_valid_in_its_period_and_for_its_uses(self, database: Database, tmp_path: Path) -> None:
        with database.write() as conn:
            add(conn, person(person_class="visitor"))
            with pytest.raises(service.CredentialNotValid):
                service.student_code(conn, tmp_path, TENANT, "ch_1", NOW)
            end = NOW + timedelta(hours=4)
            pass_id = service.set_visitor_pass(conn, TENANT, "ch_1", not_before=NOW, not_after=end, uses=1)
            code = service.student_code(conn, tmp_path, TENANT, "ch_1", NOW)
            service.resolve(conn, tmp_path, TENANT, kind="code", value=code.text, now=NOW)

            assert service.consume_use(conn, TENANT, pass_id)
            assert not service.consume_use(conn, TENANT, pass_id)
            with pytest.raises(service.CredentialNotValid):
                service.student_code(conn, tmp_path, TENANT, "ch_1", NOW)


class TestSignIn:
    def test_lasts_twelve_hours(self, database: Database) -> None:
        with database.write() as conn:
            holder = add(conn)
            signed = service.sign_in(conn, TENANT, "s001", PASSWORD, NOW)

            assert signed.cardholder == holder
            assert (
                service.signed_in(conn, signed.token, NOW + timedelta(hours=12, milliseconds=-1)).cardholder == holder
            )
            with pytest.raises(service.SignInExpired):
                service.signed_in(conn, signed.token, NOW + timedelta(hours=12))

    def test_stores_no_token(self, database: Database) -> None:
        from backend.cardholders.models import sign_ins

        with database.write() as conn:
            add(conn)
            signed = service.sign_in(conn, TENANT, "s001", PASSWORD, NOW)

            assert signed.token not in str(conn.execute(select(sign_ins)).all())

    @pytest.mark.parametrize(("login", "password"), [("s001", "wrong"), ("nobody", PASSWORD), ("", "")])
    def test_answers_alike_to_every_mistake(self, database: Database, login: str, password: str) -> None:
        with database.write() as conn:
            add(conn)

        with database.write() as conn, pytest.raises(service.SignInRefused) as refused:
            service.sign_in(conn, TENANT, login, password, NOW)

        assert (refused.value.code, refused.value.status, refused.value.details) == ("sign_in_refused", 401, {})

    def test_is_closed_after_five_mistakes_for_a_quarter_of_an_hour(self, database: Database) -> None:
        with database.write() as conn:
            add(conn)
        for second in range(5):
            with pytest.raises(service.SignInRefused), database.write() as conn:
                service.sign_in(conn, TENANT, "s001", "wrong", NOW + timedelta(seconds=second))

        with pytest.raises(service.TooManyAttempts), database.write() as conn:
            service.sign_in(conn, TENANT, "s001", PASSWORD, NOW + timedelta(seconds=6))
        with database.write() as conn:
            assert service.sign_in(conn, TENANT, "s001", PASSWORD, NOW + timedelta(minutes=15, seconds=1)).token

    def test_forgets_mistakes_after_the_right_password(self, database: Database) -> None:
        with database.write() as conn:
            add(conn)
        for round_ in range(2):
            at = NOW + timedelta(seconds=round_)
            for _ in range(4):
                with pytest.raises(service.SignInRefused), database.write() as conn:
                    service.sign_in(conn, TENANT, "s001", "wrong", at)
            with database.write() as conn:
                assert service.sign_in(conn, TENANT, "s001", PASSWORD, at).token

    def test_lets_no_more_than_five_mistakes_through_at_once(self, database: Database) -> None:
        with database.write() as conn:
            add(conn)

        def guess(_: int) -> str:
            try:
                with database.write() as conn:
                    service.sign_in(conn, TENANT, "s001", "wrong", NOW)
            except service.SignInRefused as refused:
                return refused.code
            return "signed in"

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(guess, range(12)))

        assert answers.count("sign_in_refused") <= 5 + 3
        assert answers.count("too_many_attempts") == 12 - answers.count("sign_in_refused")

    def test_ends_at_sign_out(self, database: Database) -> None:
        with database.write() as conn:
            add(conn)
            signed = service.sign_in(conn, TENANT, "s001", PASSWORD, NOW)
            service.sign_out(conn, signed.token, NOW)
            service.sign_out(conn, signed.token, NOW)

            with pytest.raises(service.SignInExpired):
                service.signed_in(conn, signed.token, NOW)

    def test_ends_when_the_person_is_closed(self, database: Database) -> None:
        with database.write() as conn:
            add(conn)
            signed = service.sign_in(conn, TENANT, "s001", PASSWORD, NOW)
            service.set_status(conn, TENANT, "ch_1", "closed")

            with pytest.raises(service.SignInExpired):
                service.signed_in(conn, signed.token, NOW)

    def test_ends_with_a_new_password(self, database: Database) -> None:
        from backend.cardholders.sign_in import set_password

        with database.write() as conn:
            add(conn)
            signed = service.sign_in(conn, TENANT, "s001", PASSWORD, NOW)
            set_password(conn, TENANT, "ch_1", "new one")

            with pytest.raises(service.SignInExpired):
                service.signed_in(conn, signed.token, NOW)
            assert service.sign_in(conn, TENANT, "s001", "new one", NOW).token
