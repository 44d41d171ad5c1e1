"""Who pays: by a code that is shown and forgotten, or by an agreement that is kept."""

import logging

import pytest
from sqlalchemy import inspect

from backend.payments import service, top_ups
from backend.payments.port import Payer
from backend.payments.service import State, TopUpState
from tests.unit.backend.payments.conftest import WECHAT_CODE, World

UNIONPAY_CODE = "6212345678901234567"

#: Which rows are written is the same on both databases; `test_random_lives` and `test_service` look at both.
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def bind(world: World, method: str = "unionpay", agreement: str = "agr_new") -> None:
    """Bind the payer."""
    with world.db.write() as conn:
        service.bind_payer(
            conn, tenant_id="gxu", cardholder_id="ch_3", method=method, agreement=agreement, now=world.now
        )


class TestBindPayer:
    def test_the_last_agreement_counts(self, world: World) -> None:
        bind(world, agreement="agr_old")
        bind(world)

        with world.db.read() as conn:
            assert service.payer_agreement(conn, "gxu", "ch_3", "unionpay") == "agr_new"
            assert service.payer_agreement(conn, "gxu", "ch_3", "alipay") == ""
            assert service.payer_agreement(conn, "gux", "ch_3", "unionpay") == ""

    @pytest.mark.parametrize(
        ("method", "agreement"),
        [
            ("wechat", "agr_1"),
            ("wallet", "agr_1"),
            ("seashells", "agr_1"),
            ("unionpay", ""),
            ("unionpay", "x" * 129),
            ("unionpay", "协议"),
        ],
    )
    def test_what_cannot_be_an_agreement_is_refused(self, world: World, method: str, agreement: str) -> None:
        with pytest.raises(service.PayerAgreementRefused):
            bind(world, method, agreement)


class TestPerform:
    def test_the_agreement_is_used_when_no_code_is_shown(self, world: World) -> None:
        world.open()
        world.perform()

        assert world.provider.payers == [Payer(agreement="agr_ch_1")]

    def test_a_code_that_is_shown_comes_first(self, world: World) -> None:
        world.open()
        world.perform(code=UNIONPAY_CODE)

        assert world.provider.payers == [Payer(code=UNIONPAY_CODE)]

    @pytest.mark.parametrize("method", ["unionpay", "wechat"])
    def test_with_neither_it_is_declined_and_nothing_is_sent(self, world: World, method: str) -> None:
        with world.db.write() as conn:
            service.open_authorization(
                conn,
                tenant_id="gxu",
                auth_id="auth_1",
                water_session_id="ws_1",
                cardholder_id="ch_3",
                method=method,
                amount_minor=300,
                expires_at=world.now,
                now=world.now,
            )
        found = service.perform(world.db, world.providers, "gxu", "auth_1", clock=world.clock)
        world.settle()

        assert (found.state, found.reason) == (State.DECLINED, "payer_unbound")
        assert world.at(method).calls == []

    @pytest.mark.parametrize("code", [UNIONPAY_CODE, "1", "134524350966727175 ", "'; DROP TABLE"])
    def test_a_malformed_code_is_refused_before_anything_changes(self, world: World, code: str) -> None:
        world.open("wechat")

        with pytest.raises(service.PayerCodeMalformed) as refused:
            world.perform(code=code)
        assert code not in str(refused.value)
        assert world.auth().state is State.REQUESTED
        assert world.wechat.calls == []

    def test_the_code_is_kept_nowhere(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        world.open("wechat")
        world.wechat.behave("lost_answer")
        world.perform()
        world.settle()
        world.capture(100)
        world.settle()

        assert world.wechat.payers == [Payer(code=WECHAT_CODE)]
        assert WECHAT_CODE not in caplog.text
        assert WECHAT_CODE not in repr(world.wechat.payers)
        with world.db.read() as conn:
            for table in inspect(world.db.engine).get_table_names():
                rows = conn.exec_driver_sql(f"SELECT * FROM {table}").all()
                assert WECHAT_CODE not in repr(rows), table


class TestTopUp:
    def _top_up(self, world: World, code: str = "", method: str = "wechat", request: str = "request-0001") -> object:
        return service.top_up(world.db, world.providers, "gxu", "ch_3", method, 500, request, world.clock, code)

    def test_a_code_pays(self, world: World) -> None:
        self._top_up(world, WECHAT_CODE)

        with world.db.read() as conn:
            assert service.wallet(conn, "gxu", "ch_3").posted_minor == 500

    @pytest.mark.parametrize("method", ["wechat", "unionpay"])
    def test_without_a_payer_nothing_is_sent(self, world: World, method: str) -> None:
        self._top_up(world, method=method)
        world.settle()

        with world.db.read() as conn:
            found = service.find_top_up(conn, "gxu", "tu_request-0001")
        assert (found.state, found.reason) == (TopUpState.DECLINED, "payer_unbound")
        assert world.at(method).calls == []

    def test_a_malformed_code_is_refused(self, world: World) -> None:
        with pytest.raises(service.PayerCodeMalformed):
            self._top_up(world, "123")
        with world.db.read() as conn, pytest.raises(top_ups.TopUpUnknown):
            service.find_top_up(conn, "gxu", "tu_request-0001")

    def test_two_requests_that_are_one_to_the_provider_are_not_both_taken(self, world: World) -> None:
        bind(world)
        self._top_up(world, method="unionpay", request="request_0001")

        with pytest.raises(service.OrderNumberTaken):
            service.top_up(world.db, world.providers, "gxu", "ch_2", "unionpay", 500, "request0001", world.clock)
        assert len(world.provider.calls) == 1
        with world.db.read() as conn:
            assert service.wallet(conn, "gxu", "ch_2").posted_minor == 0
