"""
How long from a start on the page, and from a tap at the reader, to the valve-open frame on the bus.

The whole stack as processes on this machine: SQLite, embedded broker, Modbus TCP. Times are wall-clock nanoseconds of
one machine: the start is taken just before the request leaves (page) or the card is held to the reader (tap), the end
when the gateway has written the frame.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from bs4 import BeautifulSoup

from firmware_sim.demo import passwords
from firmware_sim.plan import PlanSize
from firmware_sim.stack import Stack
from tests.bench.figures import Figure, percentile
from tests.bench.floors import broker_floor_ms, bus_floor_ms
from tests.e2e.journeys.school import ENDED, School, eventually, read_lines

_STARTS = 100


@contextmanager
def _school() -> Iterator[School]:
    with tempfile.TemporaryDirectory(prefix="campustap-bench-", ignore_cleanup_errors=True) as folder:
        size = PlanSize(buildings=2, floors=2, outlets_per_floor=8, students=_STARTS * 2 + 10)
        stack = Stack(Path(folder), seed=3, size=size, supervise=False, trace=True)
        stack.start()
        try:
            with httpx.Client(base_url=stack.base_url, timeout=15) as http:
                school = School(stack, http)
                school.devices_online()
                yield school
        finally:
            stack.stop()


def _frame_at_ns(school: School, session_id: str) -> int:
    def look() -> int:
        for entry in read_lines(school.stack.folder / "trace.jsonl"):
            if entry["point"] == "open_frame_written" and entry.get("water_session_id") == session_id:
                return int(entry["at_ns"])
        return 0

    return eventually(f"the frame of {session_id}", look)


def _finish(school: School, student: str, session_id: str) -> None:
    school.reaches(student, session_id, {"flowing", "paused"})
    school.stop(student, session_id)
    school.reaches(student, session_id, ENDED)


def _outlets(school: School) -> list[str]:
    return [device["device_id"] for device in school.stack.plan["devices"] if device["kind"] == "outlet"]


def _fields(page: httpx.Response, form: str) -> dict[str, str]:
    assert page.is_success, page.text
    inputs = BeautifulSoup(page.text, "html.parser").select(f"{form} input[name]")
    chosen = [each for each in inputs if each.get("type") != "radio" or each.has_attr("checked")]
    return {str(each["name"]): str(each.get("value", "")) for each in chosen}


def _page_ms(school: School) -> list[float]:
    """Return the times from sending the page's own form, as a phone does, to the frame."""
    found = []
    outlets = _outlets(school)
    logins = passwords(school.stack.demo)
    for number in range(_STARTS):
        student, outlet = school.fresh(), outlets[number % len(outlets)]
        path = httpx.URL(school.stack.demo["stickers"][outlet]).path
        with httpx.Client(base_url=school.stack.base_url, timeout=15, follow_redirects=True) as phone:
            sign_in = phone.get(path)
            fields = _fields(sign_in, "form[action='/login']")
            page = phone.post("/login", data=fields | {"login": student, "password": logins[student]})
            fields = _fields(page, "form#start")
            began_ns = time.time_ns()
            answer = phone.post(f"{path}/start", data=fields, follow_redirects=False)
        assert answer.status_code == 303, answer.text
        live = eventually("a session", lambda student=student: school.live(student))  # type: ignore[misc]
        session_id = str(live["water_session_id"])
        found.append((_frame_at_ns(school, session_id) - began_ns) / 1e6)
        _finish(school, student, session_id)
    return found


def _tap_ms(school: School) -> list[float]:
    found = []
    outlets = _outlets(school)
    for number in range(_STARTS):
        student = school.fresh()
        school.token(student)
        began_ns = time.time_ns()
        school.do("tap", outlets[number % len(outlets)], uid=school.card(student))
        live = eventually("a session", lambda student=student: school.live(student))  # type: ignore[misc]
        session_id = str(live["water_session_id"])
        found.append((_frame_at_ns(school, session_id) - began_ns) / 1e6)
        _finish(school, student, session_id)
    return found


def measure_latency() -> list[Figure]:
    """Return both latencies with the floors of bus and broker from the same run."""
    with _school() as school:
        line = school.stack.plan["gateways"][0]["lines"][0]
        taps = _tap_ms(school)
        pages = _page_ms(school)
        broker = broker_floor_ms(school.stack.broker_port)
        bus = bus_floor_ms(line["host"], line["port"], 1)
        devices = len(school.stack.plan["devices"])
    conditions = f"SQLite, embedded broker, Modbus TCP, {devices} devices, one start at a time, {_STARTS} starts"
    found = []
    for name, values in (("page start", pages), ("reader tap", taps)):
        for share, word in ((0.99, "p99"), (0.5, "p50")):
            found.append(
                Figure(
                    f"{name} to valve-open frame, {word}",
                    percentile(values, share),
                    "ms",
                    f"broker and bus round trip, {word}",
                    percentile(broker, share) + percentile(bus, share),
                    conditions,
                )
            )
    for share, word in ((0.99, "p99"), (0.5, "p50")):
        floor = percentile(bus, share)
        found.append(Figure(f"Modbus status read, {word}", floor, "ms", conditions="beside the polling gateway"))
        trip = percentile(broker, share)
        found.append(Figure(f"broker round trip, {word}", trip, "ms", f"Modbus status read, {word}", floor))
    return found
