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
from backend.payments.order_numbers import order_no
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
#: An order's own file and the next day's; what was done about an order is listed as soon, and what was not is known
#: when nobody has answered for three days and the files of those are in.
ORDER_DAYS, STEP_DAYS = 3, 6
HOLDING, CHARGING = ("unionpay", "alipay"), ("unionpay", "alipay", "wechat")
PAID_MINOR = {"unionpay": 120, "alipay": 120, "wechat": 300}


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


def come_to_know(school: School, known_by: str, *, days: int = ORDER_DAYS) -> None:
    """Let time pass until it is known what the provider did; `days` is how long statements take to say it."""
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
        school.read_statements(days)
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
        come_to_know(school, known_by, days=ORDER_DAYS if took else STEP_DAYS)

        school.assert_agreed(method)
        refused = not took and (known_by == "statement" or point in ("received", "before_commit"))
        assert school.owed_minor(method) == (0 if refused else 120)
        assert ("capture_refused" in school.cases()) is refused
        assert school.auth(auth_id).state is State.CAPTURED


class TestDeposits:
    @pytest.mark.parametrize(NAMES, database_cells(("wechat",), KNOWN_BY), indirect=["database"])
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


class TestReturns:
    """A hold let go or a deposit given back whole (void), and part of what was paid given back (refund)."""

    @pytest.mark.parametrize(NAMES, database_cells(CHARGING, KNOWN_BY), indirect=["database"])
    def test_reach_the_payer_once_or_a_person(
        self, school: School, method: str, point: str, took: bool, known_by: str
    ) -> None:
        held, paid, refund_id = f"auth_{school.name}_void", f"auth_{school.name}_paid", f"rf_{school.name}"
        for auth_id in (held, paid):
            assert school.authorize(auth_id, method).state is State.HELD
        school.capture(paid, PAID_MINOR[method])
        school.settle(timedelta(minutes=5))
        school.deliver()

        school.void(held)
        arm(school, method, held if method == "wechat" else f"{held}.void", "void", point, took=took)
        with suppress(Crash):
            school.resolve()
        school.refund(refund_id, paid, 50)
        arm(school, method, f"{refund_id}.refund", "refund", point, took=took)
        with suppress(Crash):
            school.resolve()
        come_to_know(school, known_by, days=ORDER_DAYS if took else STEP_DAYS)
        school.settle(timedelta(hours=1))

        for what, operation_id in (("void", f"{held}.void"), ("refund", f"{refund_id}.refund")):
            expected = step_end(method, what, point, took=took, known_by=known_by)
            assert school.status(operation_id) == expected, operation_id
        assert_returned(school, method, held, paid)
        school.ask_again()
        school.settle(timedelta(hours=1))
        assert [school.status(each) for each in (f"{held}.void", f"{refund_id}.refund")] == ["done", "done"]
        assert_returned(school, method, held, paid)
        assert school.cases(state="open") == set()


def step_end(method: str, what: str, point: str, *, took: bool, known_by: str) -> str:
    """
    Return where a void or refund is before a person has it asked again.

    What was not done is known by the files of the days it was asked on, for a refund; nothing says it of a void, which
    a person must look at. WeChat's word against a reverse, and Alipay's against a refund, leave nothing on record:
    they are said again.
    """
    if took:
        return "done"
    if known_by == "statement":
        return "refused" if what == "refund" else "abandoned"
    leaves_nothing = (method, what) in (("wechat", "void"), ("alipay", "refund"))
    was_declined = point in ("received", "before_commit") and not leaves_nothing
    return "refused" if was_declined else "done"


def assert_returned(school: School, method: str, held: str, paid: str) -> None:
    """Assert that what is done was done once, and that what is not is owed."""
    by_id = {order["order_no"]: order for order in school.orders()}
    is_let_go = by_id[order_no(held)]["status"] == "voided"
    back_minor = by_id[order_no(paid)]["refunded_minor"]
    still_paid = 0 if is_let_go or method != "wechat" else 300
    school.assert_agreed(method)
    assert back_minor in (0, 50)
    assert school.owed_minor(method) == PAID_MINOR[method] - back_minor + still_paid
    assert school.balance(f"refunds_payable/{method}") == 50 - back_minor + still_paid
    for order in by_id.values():
        done = [each for each in order["operations"] if each["kind"] in ("refund", "void") and each["status"] == "done"]
        assert len(done) <= 1, order


class TestAskedAgain:
    """What nobody has answered for days is given to a person; whoever has it asked again moves no money twice."""

    @pytest.mark.parametrize("database", ["sqlite"], indirect=True)
    @pytest.mark.parametrize("method", CHARGING)
    @pytest.mark.parametrize("took", [True, False])
    def test_returns_reach_the_payer_once(self, school: School, method: str, took: bool) -> None:
        held, paid, refund_id = f"auth_{school.name}_void", f"auth_{school.name}_paid", f"rf_{school.name}"
        for auth_id in (held, paid):
            assert school.authorize(auth_id, method).state is State.HELD
        school.capture(paid, PAID_MINOR[method])
        school.settle(timedelta(minutes=5))
        school.void(held)
        school.refund(refund_id, paid, 50)
        arm(school, method, held if method == "wechat" else f"{held}.void", "void", "sent", took=took)
        arm(school, method, f"{refund_id}.refund", "refund", "sent", took=took)
        school.net.questions_down = True

        for _ in range(4):
            school.resolve()
            school.move_to(school.now + timedelta(days=1, minutes=1))
        school.net.questions_down = False
        steps = [f"{held}.void", f"{refund_id}.refund"]
        assert [school.status(each) for each in steps] == ["abandoned", "abandoned"]
        assert school.ask_again() == 2
        school.settle(timedelta(hours=1))

        assert [school.status(each) for each in steps] == ["done", "done"]
        assert_returned(school, method, held, paid)
        assert school.cases(state="open") == set()

    @pytest.mark.parametrize("database", ["sqlite"], indirect=True)
    @pytest.mark.parametrize("took", [True, False])
    def test_a_deposit_that_can_be_reversed_no_more_is_refunded(self, school: School, took: bool) -> None:
        held = f"auth_{school.name}_void"
        assert school.authorize(held, "wechat").state is State.HELD
        school.settle(timedelta(minutes=5))
        school.void(held)
        arm(school, "wechat", held, "void", "sent", took=took)
        school.net.questions_down = True
        for _ in range(4):
            school.resolve()
            school.move_to(school.now + timedelta(days=2))
        school.net.questions_down = False

        assert (school.status(f"{held}.void"), school.ask_again()) == ("abandoned", 1)
        school.settle(timedelta(hours=1))

        (order,) = school.orders()
        done = {"void": 300} if took else {"refund": 300}
        assert {each["kind"]: each["amount_minor"] for each in order["operations"]} == done
        assert school.status(f"{held}.void") == "done"
        assert school.owed_minor("wechat") == 0
        school.assert_agreed("wechat")

    @pytest.mark.parametrize("database", ["sqlite"], indirect=True)
    @pytest.mark.parametrize("method", CHARGING)
    @pytest.mark.parametrize("took", [True, False])
    def test_orders_are_known_when_the_third_question_is_answered(
        self, school: School, method: str, took: bool
    ) -> None:
        request_id = f"request-{school.name}"
        arm(school, method, f"tu_{request_id}", "charge", "sent", took=took)
        school.top_up(request_id, method)
        states = []
        for trouble in ("garble", "late", ""):
            school.move_to(school.now + timedelta(seconds=20))
            if trouble:
                school.net.attack("query", trouble)
            assert school.ask_now(f"tu_{request_id}")
            states.append(school.top_up_state(request_id))
        school.settle(timedelta(days=2))

        known = TopUpState.SUCCEEDED if took else TopUpState.DECLINED
        assert states == [TopUpState.CHECKING, TopUpState.CHECKING, known]
        assert school.net.calls.count("charge") == 1
        assert school.owed_minor(method) == (2_000 if took else 0)
        school.assert_agreed(method)
