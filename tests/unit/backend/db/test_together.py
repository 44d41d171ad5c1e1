"""Work done together: one commit for all that waits, and nobody hears of another's failure."""

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from backend.db import Database, together
from backend.db.together import GROUP_MAX, WorkLost
from tests.patience import PATIENCE_S

KEY = "north"


def nothing(_conn: Connection) -> None:
    """Take no locks."""


class Busy:
    """A database on which a group is held open until the test has queued what shall join it."""

    def __init__(self, database: Database) -> None:
        self.db = database
        self.commits = 0
        self.pool = ThreadPoolExecutor(60)
        with database.write() as conn:
            conn.execute(text("CREATE TABLE scratch (place INTEGER PRIMARY KEY, name TEXT)"))
        event.listen(database.engine, "commit", self._committed)

    def _committed(self, _conn: Connection) -> None:
        self.commits += 1

    @contextmanager
    def holding(self, key: str = KEY, work: Callable[[Connection], object] = nothing) -> Iterator[Future[Any]]:
        """Let somebody lead a group whose own work ends only when this block does; yield their promise."""
        begun, gate = threading.Event(), threading.Event()

        def lead(conn: Connection) -> object:
            begun.set()
            assert gate.wait(PATIENCE_S)
            return work(conn)

        promise = self.send(lead, key)
        assert begun.wait(PATIENCE_S)
        try:
            yield promise
        finally:
            gate.set()

    def send(self, work: Callable[[Connection], object], key: str = KEY) -> Future[Any]:
        """Have another thread do work together with what waits."""
        return self.pool.submit(lambda: self.db.together(key, work, begin=nothing))

    def queue(self, work: Callable[[Connection], object], key: str = KEY) -> Future[Any]:
        """Have it done, and return when it waits in the queue."""
        queue = self.db._queues._waiting[key]
        count = len(queue)
        promise = self.send(work, key)
        deadline = threading.Event()
        for _ in range(int(PATIENCE_S * 1_000)):
            if len(queue) > count:
                return promise
            deadline.wait(0.001)
        raise AssertionError("it never came to wait")

    def names(self) -> list[str]:
        """Return what is stored, in the order it was written."""
        with self.db.read() as conn:
            return list(conn.execute(text("SELECT name FROM scratch ORDER BY place")).scalars())


@pytest.fixture
def busy(database: Database) -> Iterator[Busy]:
    """Return a database that groups can be held open on."""
    found = Busy(database)
    yield found
    found.pool.shutdown()


def writes(name: str) -> Callable[[Connection], str]:
    """Return work that stores a name behind those before it, and returns it."""

    def work(conn: Connection) -> str:
        last = conn.execute(text("SELECT coalesce(max(place), 0) FROM scratch")).scalar_one()
        conn.execute(text("INSERT INTO scratch VALUES (:place, :name)"), {"place": last + 1, "name": name})
        return name

    return work


def refuses(name: str) -> Callable[[Connection], str]:
    """Return work that stores a name and then thinks better of it."""

    def work(conn: Connection) -> str:
        writes(name)(conn)
        raise LookupError(name)

    return work


class TestTogether:
    def test_returns_what_a_lone_work_returns_after_its_commit(self, busy: Busy) -> None:
        assert busy.db.together(KEY, writes("one"), begin=nothing) == "one"

        assert (busy.names(), busy.commits) == (["one"], 1)

    def test_commits_once_for_all_that_wait_in_the_order_of_arrival(self, busy: Busy) -> None:
        with busy.holding(work=writes("first")) as first:
            others = [busy.queue(writes(f"n{number:02}")) for number in range(12)]

        assert first.result(PATIENCE_S) == "first"
        assert [each.result(PATIENCE_S) for each in others] == [f"n{number:02}" for number in range(12)]
        assert busy.names() == ["first", *(f"n{number:02}" for number in range(12))]
        assert busy.commits == 1

    def test_costs_a_lone_caller_no_savepoint(self, busy: Busy) -> None:
        savepoints: list[str] = []
        event.listen(busy.db.engine, "savepoint", lambda _conn, name: savepoints.append(name))

        busy.db.together(KEY, writes("alone"), begin=nothing)
        assert savepoints == []
        with busy.holding(work=writes("first")):
            second = busy.queue(writes("second"))
        second.result(PATIENCE_S)

        assert len(savepoints) == 1

    def test_keeps_no_promise_before_the_commit(self, busy: Busy) -> None:
        seen: list[bool] = []
        with busy.holding():
            early = busy.queue(writes("early"))
            busy.queue(lambda _conn: seen.append(early.done()))

        early.result(PATIENCE_S)
        assert seen == [False]

    def test_tells_only_its_caller_of_a_refusal_and_keeps_nothing_of_it(self, busy: Busy) -> None:
        with busy.holding(work=writes("a")) as first:
            refused, other = busy.queue(refuses("b")), busy.queue(writes("c"))

        with pytest.raises(LookupError, match="b"):
            refused.result(PATIENCE_S)
        assert (first.result(PATIENCE_S), other.result(PATIENCE_S)) == ("a", "c")
        assert busy.names() == ["a", "c"]

    def test_goes_on_for_others_when_the_leaders_own_work_refuses(self, busy: Busy) -> None:
        with busy.holding(work=refuses("a")) as first:
            other = busy.queue(writes("b"))

        assert isinstance(first.exception(PATIENCE_S), LookupError)
        assert other.result(PATIENCE_S) == "b"
        assert busy.names() == ["b"]

    def test_survives_a_statement_that_the_database_refuses(self, busy: Busy) -> None:
        busy.db.together(KEY, writes("there"), begin=nothing)

        def doubles(conn: Connection) -> None:
            conn.execute(text("INSERT INTO scratch VALUES (1, 'double')"))

        with busy.holding():
            double, other = busy.queue(doubles), busy.queue(writes("other"))

        assert isinstance(double.exception(PATIENCE_S), IntegrityError)
        assert other.result(PATIENCE_S) == "other"
        assert busy.names() == ["there", "other"]

    def test_tells_everybody_of_a_commit_that_failed_and_then_works_again(self, busy: Busy) -> None:
        with busy.db.write() as conn:
            conn.execute(
                text(
                    "CREATE TABLE child (n INTEGER PRIMARY KEY, place INTEGER"
                    " REFERENCES scratch (place) DEFERRABLE INITIALLY DEFERRED)"
                )
            )

        def orphan(conn: Connection) -> None:
            conn.execute(text("INSERT INTO child VALUES (1, 99)"))

        with busy.holding(work=writes("a")) as first:
            rest = [busy.queue(writes("b")), busy.queue(refuses("c")), busy.queue(orphan)]

        failures = [each.exception(PATIENCE_S) for each in (first, *rest)]
        assert [type(each) for each in failures] == [IntegrityError] * 4
        assert busy.names() == []
        assert busy.db.together(KEY, writes("again"), begin=nothing) == "again"
        assert busy.names() == ["again"]

    def test_begins_before_anything_and_once_a_group(self, busy: Busy) -> None:
        begun: list[str] = []

        def begin(conn: Connection) -> None:
            writes("begun")(conn)
            begun.append("once")

        found = busy.db.all_together(KEY, [writes("a"), refuses("b"), writes("c")], begin=begin)

        assert (found[0], found[2]) == ("a", "c")
        assert (busy.names(), begun) == (["begun", "a", "c"], ["once"])

    def test_fails_for_the_leader_alone_when_nothing_could_begin(self, busy: Busy) -> None:
        attempts: list[int] = []

        def begin(_conn: Connection) -> None:
            attempts.append(1)
            if len(attempts) == 2:
                raise TimeoutError

        def lead_of_the_next_group(name: str) -> Future[Any]:
            return busy.pool.submit(lambda: busy.db.together(KEY, writes(name), begin=begin))

        begun, gate = threading.Event(), threading.Event()

        def hold(_conn: Connection) -> None:
            begun.set()
            assert gate.wait(PATIENCE_S)
            raise SystemExit  # so that who waits leads groups of their own

        busy.pool.submit(lambda: busy.db.together(KEY, hold, begin=begin))
        assert begun.wait(PATIENCE_S)
        waiting = [lead_of_the_next_group("a")]
        queue, pause = busy.db._queues._waiting[KEY], threading.Event()
        while len(queue) < 1:
            pause.wait(0.001)
        waiting.append(lead_of_the_next_group("b"))
        while len(queue) < 2:
            pause.wait(0.001)
        gate.set()

        assert isinstance(waiting[0].exception(PATIENCE_S), TimeoutError)
        assert waiting[1].result(PATIENCE_S) == "b"
        assert busy.names() == ["b"]

    def test_bounds_a_group_and_passes_the_lead_on(self, busy: Busy) -> None:
        with busy.holding():
            others = [busy.queue(writes(f"n{number:02}")) for number in range(GROUP_MAX + 5)]

        assert [each.result(PATIENCE_S) for each in others] == [f"n{number:02}" for number in range(GROUP_MAX + 5)]
        assert busy.commits == 2
        assert busy.db._queues._waiting == {}

    def test_passes_the_lead_to_the_first_that_waits_group_after_group(
        self, busy: Busy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(together, "GROUP_MAX", 4)
        names = [f"n{number:02}" for number in range(13)]

        with busy.holding():
            others = [busy.queue(writes(name)) for name in names]

        assert [each.result(PATIENCE_S) for each in others] == names
        assert busy.names() == names
        assert busy.commits == 4  # the one that held and three, twice four, two
        assert busy.db._queues._waiting == {}
        assert busy.send(writes("alone")).result(PATIENCE_S) == "alone"
        assert busy.db._queues._waiting == {}

    def test_passes_the_lead_on_only_after_the_commit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(together, "GROUP_MAX", 1)
        queues, begun, gate = together.Queues(), threading.Event(), threading.Event()
        at_commit: list[list[bool]] = []

        @contextmanager
        def write() -> Iterator[Any]:
            yield None
            at_commit.append([entry.turn.is_set() for entry in queues._waiting[KEY]])

        def lead(_conn: Connection) -> str:
            begun.set()
            assert gate.wait(PATIENCE_S)
            return "first"

        def send(work: Callable[[Connection], str]) -> Future[Any]:
            return pool.submit(lambda: queues.run(write, KEY, [work], nothing))

        with ThreadPoolExecutor(2) as pool:
            first = send(lead)
            assert begun.wait(PATIENCE_S)
            second = send(lambda _conn: "second")
            pause = threading.Event()
            for _ in range(int(PATIENCE_S * 1_000)):
                if queues._waiting[KEY]:
                    break
                pause.wait(0.001)
            gate.set()
            assert (first.result(PATIENCE_S), second.result(PATIENCE_S)) == (["first"], ["second"])

        assert at_commit == [[False], []]
        assert queues._waiting == {}

    def test_does_not_make_one_key_wait_for_another(self, busy: Busy) -> None:
        if busy.db.is_sqlite:  # it has one writer; the keys have queues of their own all the same
            with busy.holding("north"):
                south = busy.send(writes("south"), "south")
            assert south.result(PATIENCE_S) == "south"
            assert busy.commits == 2
        else:
            with busy.holding("north"):
                assert busy.send(writes("south"), "south").result(PATIENCE_S) == "south"

    def test_refuses_to_wait_inside_a_transaction(self, busy: Busy) -> None:
        with busy.db.write(), pytest.raises(AssertionError, match="inside a transaction"):
            busy.db.together(KEY, nothing, begin=nothing)

    def test_refuses_work_that_asks_for_a_transaction_of_its_own(self, busy: Busy) -> None:
        def nested(_conn: Connection) -> None:
            with busy.db.write():
                raise RuntimeError("never reached")

        with pytest.raises(AssertionError, match="has its transaction already"):
            busy.db.together(KEY, nested, begin=nothing)
        with pytest.raises(AssertionError, match="inside a transaction"):
            busy.db.together(KEY, lambda _conn: busy.db.together(KEY, nothing, begin=nothing), begin=nothing)
        assert busy.db.together(KEY, writes("after"), begin=nothing) == "after"


class TestAllTogether:
    def test_returns_results_and_exceptions_in_order(self, busy: Busy) -> None:
        found = busy.db.all_together(KEY, [writes("a"), refuses("b"), writes("c")], begin=nothing)

        assert (found[0], found[2]) == ("a", "c")
        assert isinstance(found[1], LookupError)
        assert (busy.names(), busy.commits) == (["a", "c"], 1)

    def test_returns_nothing_for_nothing(self, busy: Busy) -> None:
        assert busy.db.all_together(KEY, [], begin=nothing) == []
        assert busy.commits == 0

    def test_takes_as_many_groups_as_it_needs(self, busy: Busy) -> None:
        works = [writes(f"n{number:02}") for number in range(2 * GROUP_MAX + 1)]

        assert busy.db.all_together(KEY, works, begin=nothing) == [f"n{n:02}" for n in range(2 * GROUP_MAX + 1)]
        assert busy.commits == 3

    def test_queues_behind_those_who_came_before(self, busy: Busy) -> None:
        with busy.holding(work=writes("first")):
            before = busy.queue(writes("before"))
            many = busy.pool.submit(lambda: busy.db.all_together(KEY, [writes("m1"), writes("m2")], begin=nothing))

        assert many.result(PATIENCE_S) == ["m1", "m2"]
        assert before.result(PATIENCE_S) == "before"
        assert busy.names() == ["first", "before", "m1", "m2"]


class TestLostConnection:
    def test_is_everybodys_failure_who_was_in_the_group(self, busy: Busy) -> None:
        if busy.db.is_sqlite:

            def breaks(conn: Connection) -> None:
                conn.exec_driver_sql("ROLLBACK")  # as SQLite does by itself when the disk is full
                raise OperationalError("INSERT", {}, Exception("database or disk is full"))
        else:

            def breaks(conn: Connection) -> None:
                conn.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

        with busy.holding(work=writes("a")) as first:
            broken, later = busy.queue(breaks), busy.queue(writes("later"))

        assert isinstance(first.exception(PATIENCE_S), DBAPIError)
        assert isinstance(broken.exception(PATIENCE_S), DBAPIError)
        assert later.result(PATIENCE_S) == "later"  # it had not begun: the next leader did it
        assert busy.names() == ["later"]


class TestEndedThread:
    def test_loses_the_works_of_its_group_and_nothing_else(self, busy: Busy) -> None:
        def ends(_conn: Connection) -> None:
            raise SystemExit

        with busy.holding(work=writes("a")) as first:
            ended, later = busy.queue(ends), busy.queue(writes("later"))

        assert isinstance(first.exception(PATIENCE_S), SystemExit)  # its thread led, and was ended
        assert isinstance(ended.exception(PATIENCE_S), WorkLost)
        assert later.result(PATIENCE_S) == "later"
        assert busy.names() == ["later"]

    def test_withdraws_what_nobody_began_and_passes_the_lead_on(self, busy: Busy) -> None:
        class Interrupted(BaseException):
            pass

        told = threading.Event()

        def interrupt(_number: int, _frame: FrameType | None) -> None:
            if not told.is_set():
                told.set()
                raise Interrupted

        def when_it_waits() -> None:
            queue = busy.db._queues._waiting[KEY]
            pause = threading.Event()
            while not queue:
                pause.wait(0.001)
            while not told.is_set():  # a signal just before a thread goes to sleep does not wake it
                signal.pthread_kill(waiting, signal.SIGUSR1)
                pause.wait(0.01)

        waiting = threading.get_ident()
        assert waiting == threading.main_thread().ident, "signals reach the main thread"
        before = signal.signal(signal.SIGUSR1, interrupt)
        try:
            with busy.holding(work=writes("a")) as first:
                signaling = busy.pool.submit(when_it_waits)
                with pytest.raises(Interrupted):
                    busy.db.together(KEY, writes("withdrawn"), begin=nothing)
                signaling.result(PATIENCE_S)
                later = busy.queue(writes("later"))
        finally:
            signal.signal(signal.SIGUSR1, before)

        assert (first.result(PATIENCE_S), later.result(PATIENCE_S)) == ("a", "later")
        assert busy.names() == ["a", "later"]
        assert busy.db._queues._waiting == {}
