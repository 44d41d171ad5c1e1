"""
The three adapters, the services and the sandbox provider's process together: what comes late, twice, forged or after
we had given up, and what the books say in the end.
"""

import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from backend.db import Database
from backend.payments import service
from backend.payments.order_numbers import order_no
from backend.payments.service import State
from tests.factories import NOW
from tests.fakes.sandbox_process import Sandbox
from tests.integration.payment_site import School, Site, running_site

METHODS = ("unionpay", "alipay", "wechat")
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Yield a running sandbox and a listener for its notifications."""
    with running_site(Sandbox(tmp_path_factory.mktemp("provider")), NOW) as running:
        yield running


@pytest.fixture
def school(database: Database, site: Site) -> School:
    """Return a school nobody has used."""
    return School(database, site)


on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
every_method = pytest.mark.parametrize("method", METHODS)


def verb_of(method: str) -> str:
    """Return the call that a new authorization makes."""
    return "charge" if method == "wechat" else "authorize"


def arrive_late(school: School, method: str, auth_id: str) -> None:
    """Authorize with a request that is still under way when its time is over."""
    school.net.attack(verb_of(method), "late")
    assert school.authorize(auth_id, method).state is State.UNKNOWN


def assert_nothing_taken(school: School, method: str) -> None:
    """Assert that the payer has everything back, and that both sides agree on it."""
    assert all(order["status"] not in ("held", "charged", "captured", "waiting") for order in school.orders())
    assert school.owed_minor(method) == 0
    school.assert_agreed(method)


class TestLateOrders:
    @on_sqlite
    @every_method
    def test_that_arrive_before_we_ask_stand(self, school: School, method: str) -> None:
        auth_id = f"auth_{school.name}_late"
        arrive_late(school, method, auth_id)

        school.net.deliver_late()
        school.settle(timedelta(minutes=2))

        assert school.auth(auth_id).state is State.HELD
        school.capture(auth_id)
        school.settle(DAY)
        assert school.owed_minor(method) == 120
        school.assert_agreed(method)

    @pytest.mark.parametrize("workers", [1, 2])
    @every_method
    def test_that_arrive_after_we_gave_up_are_undone(self, school: School, method: str, workers: int) -> None:
        auth_id = f"auth_{school.name}_late"
        arrive_late(school, method, auth_id)

        school.settle(timedelta(seconds=50), workers)
        assert school.auth(auth_id).state is State.DECLINED
        school.net.deliver_late()
        school.settle(2 * DAY, workers)

        assert school.auth(auth_id).state is State.DECLINED
        assert_nothing_taken(school, method)
        assert ("late_success" in school.cases()) is (school.times_taken() > 0)


class TestWaitingPayers:
    @on_sqlite
    @every_method
    def test_are_waited_for(self, school: School, method: str) -> None:
        auth_id = f"auth_{school.name}_wait"
        school.site.script(auth_id, "waiting", verb=verb_of(method), seconds=12)

        assert school.authorize(auth_id, method).state is State.UNKNOWN
        school.settle(timedelta(seconds=10))
        assert school.auth(auth_id).state is State.UNKNOWN
        school.settle(timedelta(seconds=30))

        assert school.auth(auth_id).state is State.HELD
        school.capture(auth_id)
        school.settle(DAY)
        assert school.owed_minor(method) == 120
        school.assert_agreed(method)

    @on_sqlite
    @every_method
    def test_who_never_confirm_pay_nothing(self, school: School, method: str) -> None:
        auth_id = f"auth_{school.name}_idle"
        school.site.script(auth_id, "waiting", verb=verb_of(method), seconds=80_000)

        assert school.authorize(auth_id, method).state is State.UNKNOWN
        school.settle(2 * DAY)

        assert school.auth(auth_id).state is State.DECLINED
        assert_nothing_taken(school, method)

    @on_sqlite
    @pytest.mark.parametrize("method", ["alipay", "wechat"])  # UnionPay cancels nothing that waits: it lapses
    def test_who_confirm_after_we_canceled_get_it_back(self, school: School, method: str) -> None:
        auth_id = f"auth_{school.name}_gone"
        school.site.script(auth_id, "success_after_cancel", verb=verb_of(method), seconds=30)
        assert school.authorize(auth_id, method).state is State.UNKNOWN
        with school.db.write() as conn:
            service.void(conn, tenant_id=school.tenant_id, auth_id=auth_id, now=school.now)

        school.settle(2 * DAY)

        assert school.auth(auth_id).state is State.VOIDED
        assert school.times_taken() == 1
        assert "late_success" in school.cases()
        assert_nothing_taken(school, method)


class TestRefunds:
    @pytest.mark.parametrize("workers", [1, 2])
    @every_method
    def test_reach_the_payer_once(self, school: School, method: str, workers: int) -> None:
        auth_id = f"auth_{school.name}_back"
        assert school.authorize(auth_id, method).state is State.HELD
        school.capture(auth_id)
        school.settle(timedelta(hours=1))
        for number, amount_minor in enumerate((50, 70)):
            with school.db.write() as conn:
                service.request_refund(
                    conn,
                    tenant_id=school.tenant_id,
                    refund_id=f"rf_{school.name}_{number}",
                    auth_id=auth_id,
                    amount_minor=amount_minor,
                    reason="cold",
                    now=school.now,
                )
        school.site.script(f"rf_{school.name}_0.refund", "timeout_after", verb="refund", seconds=2)
        school.net.attack("refund", "short")

        school.settle(timedelta(hours=1), workers)

        with school.db.read() as conn:
            states = {service.refund(conn, school.tenant_id, f"rf_{school.name}_{number}").state for number in (0, 1)}
        assert states == {"done"}
        assert school.owed_minor(method) == 0
        school.assert_agreed(method)


class TestNotifications:
    @on_sqlite
    @every_method
    def test_again_and_out_of_order_change_nothing(self, school: School, method: str) -> None:
        auth_id = f"auth_{school.name}_note"
        assert school.authorize(auth_id, method).state is State.HELD
        assert school.deliver() == [200]
        school.capture(auth_id)
        school.settle(timedelta(hours=1))
        school.wait_until_notified()
        school.site.listener.heard.clear()  # an hour old by now, and WeChat's are good for five minutes

        for behaviour in ("again", "reordered", "again"):
            school.site.sandbox.notify(auth_id, behaviour)
            assert set(school.deliver()) == {200}
            school.settle(timedelta(hours=1))

        assert school.auth(auth_id).state is State.CAPTURED
        assert school.owed_minor(method) == 120
        assert school.cases() == set()
        school.assert_agreed(method)

    @on_sqlite
    @every_method
    @pytest.mark.parametrize(
        ("behaviour", "status", "case"),
        [
            ("forged", 400, "notification_forged"),
            ("other_merchant", 400, "notification_forged"),
            ("changed_amount", 200, "amount_differs"),
        ],
    )
    def test_that_lie_are_a_case_and_nothing_else(
        self, school: School, method: str, behaviour: str, status: int, case: str
    ) -> None:
        auth_id = f"auth_{school.name}_lie"
        school.site.script(auth_id, "notify_none", verb=verb_of(method))
        school.site.script(auth_id, "timeout_after", verb=verb_of(method), seconds=2)
        school.net.attack(verb_of(method), "short")
        assert school.authorize(auth_id, method).state is State.UNKNOWN

        school.site.sandbox.notify(auth_id, behaviour)

        assert school.deliver() == [status]
        assert school.auth(auth_id).state is State.UNKNOWN
        assert school.cases() == {case}
        school.settle(timedelta(hours=1))
        assert school.auth(auth_id).state is State.HELD

    @on_sqlite
    @every_method
    def test_of_one_school_say_nothing_to_another(self, school: School, method: str) -> None:
        auth_id = f"auth_{school.name}_else"
        assert school.authorize(auth_id, method).state is State.HELD
        school.wait_until_notified()
        (_, _, headers, body), *_ = school.site.listener.heard

        school.tenant_id = "another"

        assert school.take(method, headers, body) == 400

    @on_sqlite
    @every_method
    def test_of_one_brand_say_nothing_at_another_s_address(self, school: School, method: str) -> None:
        auth_id = f"auth_{school.name}_door"
        assert school.authorize(auth_id, method).state is State.HELD
        school.wait_until_notified()
        (_, _, headers, body), *_ = school.site.listener.heard

        answers = [school.take(other, headers, body) for other in METHODS if other != method]

        assert answers == [400, 400]
        assert school.cases() == {"notification_forged"}
        assert school.auth(auth_id).state is State.HELD

    @on_sqlite
    @every_method
    def test_about_one_order_say_nothing_of_another(self, school: School, method: str) -> None:
        paid, unpaid = (f"auth_{school.name}_{each}" for each in ("one1", "two2"))
        assert school.authorize(paid, method).state is State.HELD
        school.wait_until_notified()
        ((_, _, headers, body),) = school.site.listener.heard
        arrive_late(school, method, unpaid)  # it never does

        changed = body.replace(order_no(paid).encode(), order_no(unpaid).encode())
        answers = [school.take(method, headers, each) for each in (changed, body, body)]

        is_sealed = method == "wechat"  # its order number cannot be read on the way, let alone changed
        assert answers == ([200, 200, 200] if is_sealed else [400, 200, 200])
        assert (changed == body) is is_sealed
        assert school.auth(unpaid).state is State.UNKNOWN
        school.capture(paid)
        school.settle(2 * DAY)
        assert school.auth(unpaid).state is State.DECLINED
        assert school.owed_minor(method) == 120
        school.assert_agreed(method)


class TestProviderDown:
    @on_sqlite
    def test_new_orders_are_declined_and_old_ones_survive_the_restart(self, database: Database, tmp_path: Path) -> None:
        with running_site(Sandbox(tmp_path), NOW) as site:
            school = School(database, site)
            site.script("auth_lost0001", "timeout_after", verb="authorize", seconds=2)
            school.net.attack("authorize", "short")
            assert school.authorize("auth_lost0001", "unionpay").state is State.UNKNOWN
            assert school.authorize("auth_held0001", "alipay").state is State.HELD
            school.capture("auth_held0001")
            site.sandbox.kill()

            for number, method in enumerate(METHODS):
                found = school.authorize(f"auth_down000{number}", method)
                assert (found.state, found.reason) == (State.DECLINED, "provider_unreachable")
            for _ in range(5):
                site.now += timedelta(seconds=10)
                school.resolve()
            assert school.auth("auth_lost0001").state is State.UNKNOWN
            site.sandbox.start()
            school.settle(timedelta(hours=1))

            assert school.auth("auth_lost0001").state is State.HELD
            school.capture("auth_lost0001")
            school.settle(timedelta(hours=1))
            for method in ("unionpay", "alipay"):
                assert school.owed_minor(method) == 120
                school.assert_agreed(method)


class TestSecrets:
    @on_sqlite
    def test_are_in_no_log(self, school: School, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.DEBUG):
            for method in METHODS:
                auth_id = f"auth_{school.name}_{method}"
                assert school.authorize(auth_id, method).state is State.HELD
                school.capture(auth_id)
            school.settle(timedelta(minutes=1))
            school.read_statements(days=2)

        folder = school.site.sandbox.secrets_dir / "providers" / school.tenant_id
        secrets = [path.read_text().split("\n")[1 if path.suffix == ".pem" else 0] for path in folder.glob("*/*.key*")]
        secrets += [(folder / "wechat" / "apiv3.key").read_text(), (folder / "unionpay" / "sm3.secret").read_text()]
        assert len(secrets) >= 5
        assert not [secret for secret in (*secrets, f"agr_{school.name}", "token=") if secret in caplog.text]
