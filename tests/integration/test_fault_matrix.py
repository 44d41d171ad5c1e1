"""
Time-outs and deaths at every point of a call × what the provider did × how we come to know: the end is right, and
nobody pays twice.

Points: the process dies before it sends; the connection is refused; the answer never comes (sent); it comes broken
(received); the process dies before the answer is committed. Before anything is sent a provider cannot have taken it,
so those points have one column. What the provider says no to, it did not take.

Known by `retry`: questions, and the same step again. Known by `notification`: nobody answers questions until the
provider's own message has come. Known by `statement`: nobody ever answers questions, the daily files of the day and
the next settle it. A hold is in no daily file, so that column begins where money moves: at the capture.
"""

import itertools
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

import pytest

from backend.db import Database
from backend.payments.service import State, TopUpState
from tests.factories import NOW
from tests.fakes.sandbox_process import Sandbox
from tests.integration.payment_net import Crash
from tests.integration.payment_site import School, Site, running_site

POINTS = [
    ("before_send", False),
    ("refused", False),
    ("sent", False),
    ("sent", True),
    ("received", False),
    ("received", True),
    ("before_commit", False),
    ("before_commit", True),
]
KNOWN_BY = ("retry", "notification", "statement")
HOLDING, CHARGING = ("unionpay", "alipay"), ("unionpay", "alipay", "wechat")


def cells(methods: tuple[str, ...], known_by: tuple[str, ...]) -> list[tuple[str, str, bool, str]]:
    """Return method × point × what the provider did × how we come to know."""
    return [
        (method, point, took, known) for method, (point, took), known in itertools.product(methods, POINTS, known_by)
    ]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Yield a running sandbox and a listener for its notifications."""
    with running_site(Sandbox(tmp_path_factory.mktemp("provider")), NOW) as running:
        yield running


@pytest.fixture
def school(database: Database, site: Site) -> School:
    """Return a school nobody has used."""
    return School(database, site)


def arm(school: School, method: str, number: str, call: str, point: str, *, took: bool) -> None:
    """Make the next call of a kind fail at a point."""
    if point in ("before_send", "before_commit"):
        school.adapters[method].die(call, point)
    else:
        school.net.attack(call, {"refused": "refuse", "sent": "short", "received": "garble"}[point])
    if point == "sent":
        school.site.script(number, "timeout_after" if took else "timeout_before", verb=call, seconds=2)
    elif point in ("received", "before_commit") and not took:
        school.site.script(number, "decline", verb=call)


def come_to_know(school: School, known_by: str) -> None:
    """Let time pass until it is known what the provider did."""
    if known_by == "retry":
        school.settle(timedelta(hours=1))
        return
    school.net.questions_down = True
    if known_by == "notification":
        assert set(school.deliver()) <= {200}
        school.settle(timedelta(seconds=10))
        school.net.questions_down = False
        school.settle(timedelta(hours=1))
    else:
        school.read_statements(days=6)
        school.net.questions_down = False


def finish(school: School, method: str, auth_id: str, *, took: bool) -> None:
    """Let somebody shower on what is held, and assert that both sides agree in the end."""
    if took:
        school.capture(auth_id)
    school.settle(timedelta(days=2))
    school.assert_agreed(method)
    assert school.balance("water_revenue") == (120 if took else 0)
    assert school.owed_minor(method) == (120 if took else 0)
    assert all(order["status"] != "held" for order in school.orders())


def on_both_databases(point: str) -> bool:
    """Return whether a point is about the database: what dies there must be gone from both kinds."""
    return point == "before_commit"


def database_cells(methods: tuple[str, ...], known_by: tuple[str, ...]) -> list[object]:
    """Return the cells on SQLite, and those about commits on PostgreSQL too."""
    return [
        pytest.param(kind, *cell, id="-".join((kind, *map(str, cell))))
        for cell in cells(methods, known_by)
        for kind in ("sqlite", "postgresql")
        if kind == "sqlite" or (on_both_databases(cell[1]) and cell[3] == "retry")
    ]


NAMES = ("database", "method", "point", "took", "known_by")


class TestHolds:
    @pytest.mark.parametrize(NAMES, database_cells(HOLDING, KNOWN_BY[:2]), indirect=["database"])
    def test_are_there_once_or_not_at_all(
        self, school: School, method: str, point: str, took: bool, known_by: str
    ) -> None:
        auth_id = f"auth_{school.name}_hold"
        arm(school, method, auth_id, "authorize", point, took=took)

        try:
            first = school.authorize(auth_id, method).state
        except Crash:
            first = school.auth(auth_id).state
        come_to_know(school, known_by)

        assert first is (State.DECLINED if point == "refused" else State.UNKNOWN)
        assert school.auth(auth_id).state is (State.HELD if took else State.DECLINED)
        assert school.net.calls.count("authorize") <= 1
        finish(school, method, auth_id, took=took)


class TestCaptures:
    @pytest.mark.parametrize(NAMES, database_cells(HOLDING, KNOWN_BY), indirect=["database"])
    def test_take_the_money_once(self, school: School, method: str, point: str, took: bool, known_by: str) -> None:
        auth_id = f"auth_{school.name}_capt"
        assert school.authorize(auth_id, method).state is State.HELD
        school.deliver()
        school.capture(auth_id)
        arm(school, method, auth_id, "capture", point, took=took)

        with suppress(Crash):
            school.resolve()
        come_to_know(school, known_by)

        school.assert_agreed(method)
        refused = not took and (known_by == "statement" or point in ("received", "before_commit"))
        assert school.owed_minor(method) == (0 if refused else 120)
        assert ("capture_refused" in school.cases()) is refused
        assert school.auth(auth_id).state is State.CAPTURED


class TestDeposits:
    @pytest.mark.parametrize(NAMES, database_cells(("wechat",), ("retry", "statement")), indirect=["database"])
    def test_are_taken_once_or_not_at_all(
        self, school: School, method: str, point: str, took: bool, known_by: str
    ) -> None:
        auth_id = f"auth_{school.name}_depo"
        arm(school, method, auth_id, "charge", point, took=took)

        try:
            first = school.authorize(auth_id, method).state
        except Crash:
            first = school.auth(auth_id).state
        come_to_know(school, known_by)

        assert first is (State.DECLINED if point == "refused" else State.UNKNOWN)
        assert school.auth(auth_id).state is (State.HELD if took else State.DECLINED)
        assert school.net.calls.count("charge") <= 1
        finish(school, method, auth_id, took=took)


class TestTopUps:
    @pytest.mark.parametrize(NAMES, database_cells(CHARGING, KNOWN_BY), indirect=["database"])
    def test_are_credited_once_or_not_at_all(
        self, school: School, method: str, point: str, took: bool, known_by: str
    ) -> None:
        request_id = f"request-{school.name}"
        arm(school, method, f"tu_{request_id}", "charge", point, took=took)

        try:
            school.top_up(request_id, method)
        except Crash:
            assert school.top_up_state(request_id) is TopUpState.CHECKING
        come_to_know(school, known_by)
        school.settle(timedelta(days=2))

        assert school.top_up_state(request_id) is (TopUpState.SUCCEEDED if took else TopUpState.DECLINED)
        assert school.balance("cardholder_wallet/ch_1") == (2_000 if took else 0)
        assert school.net.calls.count("charge") <= 1
        school.assert_agreed(method)
        assert school.owed_minor(method) == (2_000 if took else 0)
