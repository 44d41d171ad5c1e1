"""Every state with everything that may happen in it: where a device ends up, and what it says about it."""

from dataclasses import replace

import pytest

from firmware_sim.access_reader import AccessReader
from tests.unit.firmware_sim.rig import LABEL, UNIX_MS, Bench, DoorBench

HOT = 520


class OutletStory:
    """Brings an outlet into a state, lets something happen and waits until it has settled."""

    def __init__(self, state: str) -> None:
        bench = self.bench = Bench()
        if state == "BOOT":
            return
        bench.ready()
        if state in ("ARMED", "DISPENSING", "PAUSED", "CLOSING", "LOCKED"):
            bench.open(limit_volume=50_000)
        if state in ("DISPENSING", "CLOSING"):
            bench.run(1_000)
        if state == "PAUSED":
            bench.command("PAUSE", session=7)
        if state == "CLOSING":
            bench.command("CLOSE", session=7)
        if state == "LOCKED":
            bench.temp = HOT
            bench.run_until("LOCKED")
        if state == "SERVICE":
            self.feel(service_key=True)
            bench.run(50)
        assert bench.outlet.state == state

    def feel(self, **changes: object) -> None:
        self.bench.outlet.inputs = replace(self.bench.outlet.inputs, **changes)  # type: ignore[arg-type]

    def happen(self, event: str) -> None:
        bench, settle_ms = self.bench, 6_000
        match event:
            case "button":
                bench.outlet.press_stop(bench.now_ms)
            case "key":
                self.feel(service_key=True)
            case "no key":
                self.feel(service_key=False)
            case "lid":
                self.feel(tamper=True)
            case "unplugged":
                self.feel(sensor_unplugged=True)
            case "heat":
                bench.temp = HOT
            case "cool":
                bench.temp = 420
            case "burst":
                bench.lpm = 40.0
            case "power":
                bench.power_up()
            case "silence":
                bench.polled, settle_ms = False, 40_000
        bench.run(settle_ms)


SESSION = {
    "button": ("IDLE", "USER"), "key": ("SERVICE", "USER"), "lid": ("IDLE", "FAULT"), "unplugged": ("IDLE", "FAULT"),
    "heat": ("LOCKED", "SCALD"), "burst": ("IDLE", "LEAK"), "power": ("IDLE", "POWER_LOSS"),
    "silence": ("IDLE", "COMM_WATCHDOG"),
}  # fmt: skip
RESTING = {event: ("IDLE", None) for event in SESSION} | {"key": ("SERVICE", None)}
OUTLET = {
    "BOOT": RESTING,
    "IDLE": RESTING,
    "ARMED": SESSION,
    "DISPENSING": SESSION,
    "PAUSED": SESSION | {"burst": ("PAUSED", None)},
    "CLOSING": {event: (state, "REMOTE") for event, (state, _) in RESTING.items()} | {"power": ("IDLE", "POWER_LOSS")},
    "LOCKED": {event: ("LOCKED", "SCALD") for event in SESSION}
    | {"key": ("SERVICE", "SCALD"), "cool": ("IDLE", "SCALD")},
    "SERVICE": {event: ("SERVICE", None) for event in SESSION} | {"no key": ("IDLE", None), "power": ("IDLE", None)},
}  # fmt: skip


class TestOutlet:
    @pytest.mark.parametrize(
        ("state", "event"), [(state, event) for state, events in sorted(OUTLET.items()) for event in sorted(events)]
    )
    def test_ends_up_where_the_table_says(self, state: str, event: str) -> None:
        story = OutletStory(state)

        story.happen(event)

        expected, reason = OUTLET[state][event]
        bench = story.bench
        assert bench.outlet.state == expected
        assert [why for _, why, _ in bench.ends()] == ([reason] if reason else [])
        assert not bench.outlet.valve_drive

    def test_knows_every_state(self) -> None:
        assert set(OUTLET) == set(Bench().map.enums["state"].values())


class DoorStory:
    """The same for a door."""

    def __init__(self, state: str) -> None:
        bench = self.bench = DoorBench()
        match state:
            case "GRANTED_IN":
                bench.command("GRANT", grant=5, direction=1)
            case "GRANTED_OUT":
                bench.command("GRANT", grant=5, direction=2)
            case "FREE":
                bench.command("FREE")
            case "ALARM":
                bench.reader.walk(bench.now_ms, "in", force=True)
            case "SERVICE":
                self.feel(service_key=True)
        bench.run(50)
        assert bench.reader.state == state
        self.before = len(bench.events())

    def feel(self, **changes: object) -> None:
        self.bench.reader.inputs = replace(self.bench.reader.inputs, **changes)  # type: ignore[arg-type]

    def happen(self, event: str) -> None:
        bench = self.bench
        match event:
            case "in" | "out":
                bench.reader.walk(bench.now_ms, event)
            case "push in":
                bench.reader.walk(bench.now_ms, "in", force=True)
            case "push out":
                bench.reader.walk(bench.now_ms, "out", force=True)
            case "leaf":
                self.feel(door_open=True)
            case "fire":
                self.feel(fire=True)
            case "key":
                self.feel(service_key=True)
            case "no key":
                self.feel(service_key=False)
            case "time":
                bench.run(6_000)
            case "power":
                bench.reader = AccessReader(bench.map, LABEL, bench.nvm, now_ms=bench.now_ms, unix_ms=UNIX_MS)
        bench.run(50)

    def said(self) -> list[str]:
        kinds = [kind for kind, _, _ in self.bench.events()[self.before :]]
        return [kind for kind in kinds if not kind.startswith("FAULT")]


SHUT = {
    "in": ("LOCKED", []), "out": ("LOCKED", []), "push in": ("ALARM", ["FORCED"]), "push out": ("ALARM", ["FORCED"]),
    "leaf": ("ALARM", ["FORCED"]), "fire": ("FREE", ["FIRE_FREE"]), "key": ("SERVICE", []), "time": ("LOCKED", []),
    "power": ("LOCKED", []),
}  # fmt: skip
GRANTED_IN = {
    "in": ("LOCKED", ["PASSAGE"]), "out": ("GRANTED_IN", []), "push in": ("LOCKED", ["PASSAGE"]),
    "push out": ("ALARM", ["GRANT_TIMEOUT", "FORCED"]), "leaf": ("GRANTED_IN", []),
    "fire": ("FREE", ["GRANT_TIMEOUT", "FIRE_FREE"]), "key": ("GRANTED_IN", []), "time": ("LOCKED", ["GRANT_TIMEOUT"]),
    "power": ("LOCKED", []),
}  # fmt: skip
SWAPPED = {"in": "out", "out": "in", "push in": "push out", "push out": "push in"}
DOOR: dict[str, dict[str, tuple[str, list[str]]]] = {
    "LOCKED": SHUT,
    "GRANTED_IN": GRANTED_IN,
    "GRANTED_OUT": {
        SWAPPED.get(event, event): ("GRANTED_OUT" if state == "GRANTED_IN" else state, said)
        for event, (state, said) in GRANTED_IN.items()
    },
    "FREE": {
        "in": ("FREE", ["PASSAGE"]), "out": ("FREE", ["PASSAGE"]), "push in": ("FREE", ["PASSAGE"]),
        "leaf": ("FREE", []), "fire": ("FREE", ["FIRE_FREE"]), "key": ("FREE", []), "time": ("FREE", []),
        "power": ("LOCKED", []),
    },
    "ALARM": {
        "in": ("ALARM", []), "push out": ("ALARM", ["FORCED"]), "leaf": ("ALARM", []), "fire": ("FREE", ["FIRE_FREE"]),
        "key": ("ALARM", []), "time": ("ALARM", []), "power": ("LOCKED", []),
    },
    "SERVICE": {
        "in": ("SERVICE", []), "push in": ("ALARM", ["FORCED"]), "leaf": ("SERVICE", []),
        "fire": ("FREE", ["FIRE_FREE"]), "no key": ("LOCKED", []), "time": ("SERVICE", []), "power": ("LOCKED", []),
    },
}  # fmt: skip


class TestDoor:
    @pytest.mark.parametrize(
        ("state", "event"), [(state, event) for state, events in sorted(DOOR.items()) for event in sorted(events)]
    )
    def test_ends_up_where_the_table_says(self, state: str, event: str) -> None:
        story = DoorStory(state)

        story.happen(event)

        expected, said = DOOR[state][event]
        assert story.bench.reader.state == expected
        assert story.said() == said

    def test_knows_every_state(self) -> None:
        assert set(DOOR) == set(DoorBench().map.enums["state"].values())
