"""What is heard of an order at the edges: in its last moment, never sent, undone already, nothing new."""

from datetime import datetime, timedelta

import pytest

from backend.ledger import service as ledger
from backend.payments import orders, queue_repository
from backend.payments.port import Answer, Succeeded, Unknown
from backend.payments.rules import NEVER_SENT_AFTER, Source
from backend.payments.service import Authorization, State
from backend.payments.types import Operation, TopUp
from tests.unit.backend.payments.conftest import World

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
HELD = Succeeded("held", 300, "ref")


def _hear(world: World, answer: Answer, source: Source, now: datetime) -> Authorization | TopUp:
    with world.db.write() as conn:
        return orders.apply_answer(conn, "gxu", "auth_1", answer, source=source, now=now)


def _found(world: World, operation_id: str) -> Operation | None:
    with world.db.read() as conn:
        return queue_repository.find(conn, "gxu", operation_id)


def _asked(world: World) -> Authorization:
    """Have an authorization whose answer is lost."""
    world.provider.behave("lost_answer")
    return world.held("unionpay")


class TestApplyAnswer:
    @pytest.mark.parametrize(("paid_s", "stands_s"), [(4, 4), (-3_600, 60), (3_600, 60), (None, 60)])
    def test_the_hold_stands_where_the_provider_took_it(self, world: World, paid_s: int | None, stands_s: int) -> None:
        asked = _asked(world)
        paid_at = None if paid_s is None else asked.created_at + timedelta(seconds=paid_s)
        now = asked.created_at + timedelta(seconds=60)

        _hear(world, Succeeded("held", 300, "ref", paid_at), Source.NOTIFICATION, now)

        with world.db.read() as conn:
            (hold,) = ledger.transfers_of(conn, "gxu", "ws_1")
        assert (hold.event_at, hold.recorded_at) == (asked.created_at + timedelta(seconds=stands_s), now)

    @pytest.mark.parametrize(("early_ms", "state"), [(1, State.HELD), (0, State.DECLINED)])
    def test_a_success_counts_before_the_authorization_ends(self, world: World, early_ms: int, state: State) -> None:
        now = _asked(world).expires_at - timedelta(milliseconds=early_ms)

        heard = _hear(world, HELD, Source.QUERY, now)

        assert (heard.state, heard.late_success) == (state, state is State.DECLINED)
        assert (_found(world, "auth_1.undo1") is not None) == heard.late_success
        intent = _found(world, "auth_1")
        assert intent is not None
        assert (intent.status, intent.answer) == ("done", "taken" if state is State.HELD else "expired")

    def test_one_never_sent_cannot_have_been_taken(self, world: World) -> None:
        world.open("unionpay")
        with world.db.write() as conn:
            orders.apply_never_sent(conn, "gxu", "auth_1", world.now + NEVER_SENT_AFTER)

        heard = _hear(world, HELD, Source.NOTIFICATION, world.now + timedelta(minutes=1))

        assert (heard.state, heard.late_success) == (State.DECLINED, False)
        assert _found(world, "auth_1.undo1") is None

    def test_one_undone_is_not_undone_again_though_still_called_taken(self, world: World) -> None:
        _asked(world)
        world.void()
        world.settle(seconds=60)
        undone = _found(world, "auth_1.undo1")
        assert undone is not None
        assert undone.answer == "voided"

        _hear(world, HELD, Source.NOTIFICATION, world.now)

        assert _found(world, "auth_1.undo2") is None

    @pytest.mark.parametrize("source", [Source.NOTIFICATION, Source.STATEMENT])
    def test_who_says_nothing_new_puts_no_question_off(self, world: World, source: Source) -> None:
        _asked(world)
        before = _found(world, "auth_1")

        _hear(world, Unknown("waiting"), source, world.now + timedelta(seconds=5))

        assert _found(world, "auth_1") == before


class TestApplyNeverSent:
    @pytest.mark.parametrize(("early_ms", "state"), [(1, State.REQUESTED), (0, State.DECLINED)])
    def test_declines_when_its_time_has_come(self, world: World, early_ms: int, state: State) -> None:
        world.open("unionpay")
        with world.db.write() as conn:
            orders.apply_never_sent(
                conn, "gxu", "auth_1", world.now + NEVER_SENT_AFTER - timedelta(milliseconds=early_ms)
            )

        assert world.auth().state is state
