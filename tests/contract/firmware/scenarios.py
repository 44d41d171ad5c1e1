"""Written scenarios: a name, the steps, and log records they must leave behind, so that each tests what it says."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.contract.firmware.steps import (
    KEY,
    Acknowledge,
    Cut,
    CutInSave,
    Damage,
    Frame,
    Post,
    Press,
    Step,
    TakeMail,
    Tick,
    command,
    long,
    open_order,
    order,
    read,
    sealed,
    write,
    write_one,
    write_read,
)

#: a record as its type and its aux
Mark = tuple[str, int]
_LIMITS = {"session": 7, "limit_volume": 9_000, "limit_time": 60, "lease": 30}
_UNLOCK = Frame(write_one(1, 0x55AA))
_LOG = Frame(write_read(66, [0, 0], 400, 125))


@dataclass(frozen=True, slots=True)
class Scenario:
    """`marks` appear among the log records in this order; `battery` keeps the clock through a power cut."""

    name: str
    steps: Sequence[Step]
    marks: Sequence[Mark]
    battery: bool = True
    key: bytes = b""
    k_factor: int = 450_000


def _open(token: int = 1, session: int = 7, **changes: int) -> list[Step]:
    return [Tick(300), open_order(token=token, session=session, **changes)]


def _water(seconds: int, *, rate: int = 64, **changes: object) -> list[Step]:
    """Water for some seconds, in ticks of a quarter second, with a poll each second; `rate` in pulses per second."""
    made: list[Step] = []
    for _ in range(seconds):
        made += [Tick(250, rate // 4, **changes)] * 4  # type: ignore[arg-type]
        made.append(Frame(read(2, 0, 16)))
    return made


_CLOSING: list[Step] = [Tick(100)] * 6
_OPCODES = ("OPEN", "CLOSE", "EXTEND", "PAUSE", "CLEAR_FAULT", "SELF_TEST", "SET_CLOCK", "IDENTIFY", "REBOOT", 77)
_STATES = ("BOOT", "IDLE", "ARMED", "DISPENSING", "PAUSED", "CLOSING", "LOCKED", "SERVICE")


def _way_to(state: str, session: int) -> list[Step]:
    """Return how to come to a state from a power-up."""
    if state == "BOOT":
        return [Tick(10)]
    if state == "SERVICE":
        return [Tick(300), Tick(10, inputs={"service_key": True})]
    made: list[Step] = [Tick(300)]
    if state != "IDLE":
        made += [open_order(token=1_000 + session, session=session), Tick(50)]
    if state in ("DISPENSING", "PAUSED", "CLOSING"):
        made.append(Tick(250, 16))
    if state in ("PAUSED", "CLOSING"):
        made.append(order("PAUSE" if state == "PAUSED" else "CLOSE", token=2_000 + session, session=session))
    if state == "LOCKED":
        made += [Tick(250, 16, 500), Tick(2_000, 9, 500), Tick(500, 0, 500)]
    return made


def _each_opcode(state: str) -> list[Step]:
    """Come to a state and send an opcode, for each of them."""
    made: list[Step] = []
    for session, opcode in enumerate(_OPCODES, start=7):
        fields = {"limit_volume": 20_000, "limit_time": 0 if opcode == "CLOSE" else 700, "lease": 30}
        about = 1_795_348_900 if opcode == "SET_CLOCK" else session
        made += [*_way_to(state, session), Frame(read(4, 100, 28))]
        made += [order(opcode, token=100 + session, session=about, **fields), Tick(100, 4), Frame(read(4, 100, 28))]
        made += [Tick(200), Tick(200), Frame(read(3, 288, 8)), Tick(1_000), Acknowledge(), Cut(10)]
    return made


_CONFIGURE = (
    (6, 5), (7, 10), (10, 450), (11, 1), (12, 10), (13, 3_600), (14, 600), (15, 10), (16, 100), (19, 0),
)  # fmt: skip

SCENARIOS = (
    Scenario("volume", [*_open(limit_volume=2_000), *_water(20, rate=60), *_CLOSING], [("START", 0), ("END", 1)]),
    Scenario("time", [*_open(limit_time=5), *_water(7), *_CLOSING], [("END", 2)]),
    Scenario(
        "time_of_configuration",
        [Tick(300), _UNLOCK, Frame(write_one(7, 10)), *_open(limit_time=10), _UNLOCK, *_water(12), *_CLOSING],
        [("CONFIG", 7), ("END", 2)],
    ),
    Scenario("lease", [*_open(lease=3), *_water(5), *_CLOSING], [("FAULT_SET", 15), ("END", 3)]),
    Scenario(
        "lease_renewed",
        [
            *_open(lease=3),
            *_water(2),
            order("EXTEND", token=2, session=7),
            *_water(2),
            order("EXTEND", token=3, session=7, lease=10),
            *_water(8),
            *_open(4, 8),
        ],
        [("START", 0)],
    ),
    Scenario(
        "poll_watchdog",
        [*_open(), Tick(29_000, 9), Tick(999, 9), Tick(1, 9), *_CLOSING, Frame(read(4, 100, 28))],
        [("FAULT_SET", 14), ("END", 4), ("FAULT_CLR", 14)],
    ),
    Scenario("no_flow", [*_open(idle=3), *_water(2), *_water(4, rate=0), *_CLOSING], [("END", 5)]),
    Scenario(
        "no_flow_at_all",
        [*_open(idle=3), *_water(4, rate=0), *_CLOSING, Tick(100, 0, 400, 3)],
        [("FAULT_SET", 3), ("END", 5), ("FAULT_CLR", 3)],
    ),
    Scenario(
        "scald",
        [
            *_open(temp_max=450),
            *_water(2, temp=450),
            *_water(1, temp=451),
            *_water(1, temp=450),
            *_water(3, temp=451),
            *([Tick(100, 0, 451)] * 6),
            Tick(10, 0, 451),
            open_order(token=2, session=8),
            order("CLEAR_FAULT", token=3),
            Cut(100),
            Tick(300, 0, 460),
            Tick(100, 0, 430),
            Tick(100, 0, 429),
            *_open(4, 9),
            *_water(1),
        ],
        [("FAULT_SET", 4), ("END", 6), ("BOOT", 0), ("FAULT_CLR", 4), ("START", 0)],
    ),
    Scenario(
        "scald_of_the_device",
        [
            _UNLOCK,
            Frame(write_one(10, 450)),
            *_open(temp_max=600),
            *_water(3, temp=450),
            *_water(4, temp=500),
            *([Tick(100, 0, 500)] * 6),
            Tick(100, 0, 429),
            *_open(2, 8),
            *_water(4, temp=455),
            *_CLOSING,
        ],
        [("CONFIG", 10), ("FAULT_SET", 4), ("END", 6), ("FAULT_CLR", 4), ("START", 0), ("FAULT_SET", 4), ("END", 6)],
    ),
    Scenario(
        "burst",
        [*_open(), *_water(5, rate=400), *_CLOSING, order("CLEAR_FAULT", token=2)],
        [("FAULT_SET", 16), ("END", 7), ("FAULT_CLR", 16)],
    ),
    Scenario(
        "blocking_fault",
        [*_open(), *_water(1), Tick(50, 3, None), *_CLOSING, Tick(50)],
        [("FAULT_SET", 5), ("FAULT_CLR", 5), ("END", 12)],
    ),
    Scenario(
        "stuck_open",
        [*_open(limit_volume=100), Tick(250, 64), *([Tick(250, 0, 400, 12)] * 24), *_open(2, 8)],
        [("END", 1), ("FAULT_SET", 0)],
    ),
    Scenario(
        "leak",
        [
            Tick(300),
            *([Tick(1_000, 0, 400, 5)] * 12),
            Tick(61_000),
            *_open(),
            order("CLEAR_FAULT", token=9),
            Tick(10),
            *_open(3),
        ],
        [("FAULT_SET", 2), ("UNBILLED_FLOW", 0), ("FAULT_CLR", 2), ("START", 0)],
    ),
    Scenario("slow_leak", [Tick(300), *([Tick(20_000, 0, 400, 5)] * 20), Tick(61_000)], [("UNBILLED_FLOW", 0)]),
    Scenario(
        "leak_window",
        [Tick(300), Tick(90_000), *([Tick(20_000, 0, 400, 15)] * 10), Tick(61_000), *([Tick(20_000, 0, 400, 20)] * 3)],
        [("UNBILLED_FLOW", 0), ("FAULT_SET", 2), ("UNBILLED_FLOW", 0)],
    ),
    Scenario(
        "great_numbers",
        [
            *_open(limit_volume=200_000),
            *([Tick(1_000, 0, 400, 4_000_000_007)] * 3),
            Tick(1_000, 0, 400, 0, 4_000_000_007),
            Tick(1_000, 0, 400, 0, 4_000_000_007),
            *([Tick(1_000, 0, 400, 4_000_000_007)] * 2),
            Tick(61_000),
            Cut(20),
            Tick(300),
        ],
        [("END", 1), ("FAULT_SET", 2), ("UNBILLED_FLOW", 0), ("UNBILLED_FLOW", 0), ("BOOT", 0)],
    ),
    Scenario(
        "ten_milliseconds",
        [
            *_open(),
            *([Tick(10, 1)] * 90),
            Frame(read(4, 100, 28)),
            *([Tick(10)] * 20),
            *([Tick(10, 1)] * 150),
            *_CLOSING,
        ],
        [("START", 0)],
    ),
    Scenario(
        "slot_at_exactly_a_liter",
        [*_open(), *([Tick(250, 45)] * 10), Cut(500), Tick(300)],
        [("END", 8)],
    ),
    Scenario(
        "slot_at_exactly_ten_seconds",
        [*_open(), Tick(5_000, 1), Tick(5_000, 1), Cut(500), Tick(300)],
        [("END", 8)],
    ),
    Scenario(
        "bounds_to_the_millisecond",
        [
            *_open(1, 1, limit_time=2),
            *([Tick(1_000, 1)] * 2),
            Tick(300),
            *_open(2, 2, lease=2),
            *([Tick(1_000, 1)] * 2),
            Tick(300),
            *_open(3, 3, idle=2),
            Tick(1_000, 1),
            *([Tick(1_000)] * 2),
            Tick(300),
            *_open(4, 4),
            *([Tick(10_000, 1)] * 3),
            Tick(300),
            *_open(5, 5),
            Tick(100, 1, 500),
            Tick(2_000, 1, 500),
            Tick(300),
            *_open(6, 6),
            *([Tick(1_000, 300)] * 3),
            Tick(300),
        ],
        [("END", 2), ("END", 3), ("END", 5), ("END", 4), ("END", 6), ("END", 7)],
    ),
    Scenario(
        "stale_mail",
        [Tick(300), Post(1, b"\1\2\3\4", b""), Tick(10_000), Tick(1), Frame(read(4, 200, 12)), TakeMail()],
        [("BOOT", 0)],
    ),
    Scenario(
        "unbilled_before_a_session",
        [Tick(300), Tick(1_000, 0, 400, 5), *_open(), *_water(1), Cut(10), Tick(300)],
        [("UNBILLED_FLOW", 0), ("START", 0), ("END", 8)],
    ),
    Scenario(
        "pause",
        [
            *_open(),
            *_water(2),
            order("PAUSE", token=2, session=7),
            *_water(40, rate=0),
            open_order(token=3, session=8),
            open_order(token=4, session=7, limit_volume=30_000),
            *_water(1),
            order("PAUSE", token=5, session=8),
            order("CLOSE", token=6, session=7, limit_time=11),
            *_CLOSING,
        ],
        [("START", 0), ("CHECKPOINT", 4), ("CHECKPOINT", 2), ("END", 11)],
    ),
    Scenario(
        "extend",
        [
            *_open(limit_volume=2_000, limit_time=60),
            order("EXTEND", token=2, session=7, limit_volume=1_999),
            order("EXTEND", token=3, session=7, limit_volume=200_001),
            order("EXTEND", token=4, session=7, limit_time=59),
            order("EXTEND", token=5, session=7, lease=601),
            order("EXTEND", token=6, session=8),
            order("EXTEND", token=7, session=7, limit_volume=3_000),
            *_water(25),
            *_CLOSING,
        ],
        [("END", 1)],
    ),
    Scenario(
        "close_reasons",
        [
            step
            for number, reason in enumerate((0, 10, 11, 13, 14, 15))
            for step in (
                *_open(2 * number + 1, number + 1),
                *_water(1),
                order("CLOSE", token=100, session=99),
                order("CLOSE", token=200 + number, session=number + 1, limit_time=3),
                order("CLOSE", token=300 + number, limit_time=reason),
                order("CLOSE", token=400 + number, limit_time=11),
                *_CLOSING,
                order("CLOSE", token=500 + number, session=number + 1),
            )
        ],
        [("END", 10), ("END", 10), ("END", 11), ("END", 13), ("END", 14), ("END", 15)],
    ),
    Scenario(
        "bad_limits",
        [
            *_open(limit_volume=0),
            *_open(2, limit_volume=200_001),
            *_open(3, limit_time=0),
            *_open(4, limit_time=1_801),
            *_open(5, lease=0),
            *_open(6, lease=601),
            *_open(7, idle=601),
            *_open(8, temp_max=199),
            *_open(9, temp_max=601),
            *_open(10, temp_max=0xFFFF),
            *_open(11, 0),
            *_open(12, lease=600, idle=600, temp_max=600),
        ],
        [("START", 0)],
    ),
    Scenario(
        "limits_at_their_ends",
        [
            *_open(1, limit_volume=200_000, limit_time=1_800, lease=1, temp_max=200),
            order("CLOSE", token=2),
            *_CLOSING,
            *_open(3, 8, limit_volume=1, limit_time=1, lease=600, idle=600, temp_max=600),
        ],
        [("START", 0), ("END", 10), ("START", 0)],
    ),
    Scenario(
        "repeated_token",
        [
            *_open(5),
            *_open(5),
            *_water(1),
            order("CLOSE", token=6),
            *_CLOSING,
            *_open(5),
            *_open(6),
            order("IDENTIFY", token=7),
            order("IDENTIFY", token=8),
            order("IDENTIFY", token=9),
            Cut(50),
            Tick(300),
            *_open(7),
            *_open(6),
            *_open(5, 9),
        ],
        [("START", 0), ("END", 10), ("BOOT", 0), ("START", 0)],
    ),
    Scenario(
        "torn_commands",
        [
            Tick(300),
            Frame(write(256, *command("OPEN", token=3, session=1)[:18])),
            Frame(write(257, *command("OPEN", token=3, session=1)[1:])),
            Frame(write_one(274, 0xA5C0)),
            Frame(write(256, *command("OPEN", token=3, session=1, commit=0))),
            Frame(write(256, *([0] * 19))),
            Frame(write(255, *([0] * 20))),
            Frame(read(3, 256, 19)),
            Frame(read(3, 260, 3)),
            Frame(read(3, 255, 19)),
        ],
        [],
    ),
    Scenario(
        "sealed_commands",
        [
            Tick(300),
            open_order(token=1, session=7, mac=5),
            sealed("OPEN", token=1, key=bytes(16), **_LIMITS),
            sealed("OPEN", token=1, device_uid=2, **_LIMITS),
            Frame(read(3, 256, 40)),
            sealed("OPEN", token=1, **_LIMITS),
            sealed("OPEN", token=1, **_LIMITS),
            open_order(token=1, session=7),
            *_water(1),
            order("CLOSE", token=2),
            sealed("CLOSE", token=2, session=7, limit_time=11),
            *_CLOSING,
            Cut(50),
            Tick(300),
            order("IDENTIFY", token=3),
            sealed("OPEN", token=1, **_LIMITS),
        ],
        [("START", 0), ("END", 11), ("BOOT", 0)],
        key=KEY,
    ),
    Scenario(
        "too_late",
        [
            *_open(not_after=1_795_348_801),
            Tick(1_000),
            *_open(2, not_after=1_795_348_801),
            *_open(3, not_after=1_795_349_000),
        ],
        [("START", 0)],
    ),
    Scenario(
        "no_clock",
        [
            *_open(not_after=2_000_000_000),
            Frame(write(69, *long(1_795_000_000), 7)),
            *_open(2, not_after=2_000_000_000),
            *_water(1),
            Cut(50),
            Tick(300),
        ],
        [("CLOCK_STEP", 65_535), ("FAULT_CLR", 13), ("START", 0), ("END", 8)],
        battery=False,
    ),
    Scenario(
        "clock",
        [
            Tick(300),
            Frame(write(69, *long(1_795_348_803), 0), unit=0),
            Frame(write(69, *long(1_795_348_806), 999)),
            Frame(write(69, *long(1_795_348_800), 1_000)),
            Frame(write(69, *long(1_795_348_800))),
            Frame(write(69, *long(1_795_348_900), 1_000), unit=0),
            Frame(write(69, *long(1_795_348_900)), unit=0),
            Frame(write(72, *long(1_795_348_900), 0), unit=0),
            order("SET_CLOCK", token=1, session=1_795_350_000),
            Tick(1_800_000),
            Tick(1_799_990),
            order("SET_CLOCK", token=3, session=1_795_353_600),
            *([Tick(1_800_000)] * 2),
            order("SET_CLOCK", token=2, session=1_795_357_300),
            Tick(86_399_000),
            Tick(1_000),
        ],
        [("CLOCK_STEP", 1_192)],
    ),
    Scenario(
        "configuration",
        [
            Tick(300),
            Frame(write_one(6, 10)),
            _UNLOCK,
            *(Frame(write_one(a, v)) for a, v in _CONFIGURE),
            Frame(write(2, 1, 384, 0, 5, 7)),
            Frame(write(8, *long(100))),
            Frame(write(8, *long(99))),
            Frame(write(17, *long(500_000))),
            Frame(write(17, *long(999))),
            Frame(write(17, 1)),
            Tick(30_000),
            Frame(write_one(6, 11)),
            _UNLOCK,
            Frame(write_one(1, 0)),
            Frame(write_one(6, 12)),
            Cut(10),
            Tick(300),
            _UNLOCK,
            *_open(limit_volume=90, limit_time=9),
            Frame(write_one(6, 13)),
            *_water(1, rate=16),
            Cut(10),
            Tick(300),
        ],
        [("CONFIG", 6), ("CONFIG", 19), ("CONFIG", 8), ("CONFIG", 17), ("BOOT", 0), ("END", 8)],
    ),
    Scenario(
        "full_ring",
        [
            Tick(300),
            *(
                step
                for n in range(1, 62)
                for step in (
                    open_order(token=2 * n, session=n, limit_volume=100),
                    Tick(50, 9),
                    Tick(300, 1),
                    Tick(300),
                    Tick(100),
                )
            ),
            *_open(900, 900),
            _LOG,
            Frame(write_read(66, list(long(100)), 400, 125)),
            *(Tick(50, 0, temp) for _ in range(10) for temp in (None, 400)),
            Acknowledge(115),
            Acknowledge(),
            Frame(write(64, *long(3))),
            Frame(write(64, *long(9_999))),
            *_open(901, 901),
        ],
        [("END", 1), ("FAULT_SET", 5), ("START", 0)],
    ),
    Scenario(
        "last_places",
        [
            Tick(300),
            _UNLOCK,
            *(Frame(write_one(6, 20 + n % 2)) for n in range(119)),
            open_order(token=1, session=5),
            *(Tick(50, 3, temp) for temp in (400, *(None, 400) * 8)),
            *_CLOSING,
            Cut(10),
            Tick(300),
            Acknowledge(2),
            *(Tick(50, 0, temp) for _ in range(5) for temp in (None, 400)),
            *_open(2, 6),
        ],
        [("CONFIG", 6), ("FAULT_SET", 5), ("START", 0)],
    ),
    Scenario(
        "mail",
        [
            Tick(300),
            *(Post(1, bytes([n] * 7), b"") for n in range(6)),
            Frame(read(4, 200, 117)),
            TakeMail(),
            Frame(write_one(68, 1)),
            Tick(10_000),
            Frame(read(4, 200, 10)),
            Tick(1),
            *([TakeMail()] * 4),
            Post(3, bytes(12), bytes(range(209))),
            Frame(read(4, 200, 117)),
            Press(),
            TakeMail(),
            TakeMail(),
            Cut(5),
            Tick(300),
        ],
        [("BOOT", 0)],
    ),
    Scenario(
        "silent_reader",
        [
            Tick(300),
            Tick(10, inputs={"reader_online": False}),
            Post(1, b"\1\2\3\4", b""),
            Press(),
            Frame(read(4, 200, 117)),
            Tick(10),
        ],
        [("FAULT_SET", 18), ("FAULT_CLR", 18)],
    ),
    Scenario(
        "button_and_key",
        [
            *_open(),
            *_water(1),
            Press(),
            Press(),
            *_CLOSING,
            *_open(2, 8),
            *_water(1),
            Tick(10, inputs={"service_key": True}),
            *([Tick(200, inputs={"service_key": True})] * 3),
            *_open(3, 9),
            Tick(10),
            *_open(4, 9),
        ],
        [("LOCAL_CLOSE", 1), ("END", 11), ("LOCAL_CLOSE", 2), ("END", 11), ("START", 0)],
    ),
    Scenario(
        "self_test",
        [
            Tick(300),
            order("SELF_TEST", token=1),
            order("SELF_TEST", token=2),
            open_order(token=3, session=7),
            Tick(970),
            Tick(10, inputs={"coil_ok": False}),
            *_open(4),
            order("SELF_TEST", token=5),
            Tick(990),
            Tick(10),
            *_open(6),
        ],
        [("FAULT_SET", 1), ("FAULT_CLR", 1), ("START", 0)],
    ),
    Scenario(
        "tamper",
        [
            *_open(),
            *_water(1),
            Tick(10, inputs={"tamper": True}),
            Tick(10, inputs={"tamper": True}),
            *_CLOSING,
            order("CLEAR_FAULT", token=2),
            *_open(3, 8),
            Tick(10, inputs={"sensor_unplugged": True}),
            Tick(10),
        ],
        [("TAMPER", 1), ("FAULT_SET", 8), ("END", 12), ("FAULT_CLR", 8), ("TAMPER", 2), ("FAULT_SET", 6)],
    ),
    Scenario(
        "voltages",
        [
            Tick(300),
            *(
                Tick(10, inputs={"supply_mv": mv, "backup_mv": mv // 7})
                for mv in (20_400, 20_399, 21_599, 21_600, 19_599, 20_999, 21_000)
            ),
            *_open(),
        ],
        [("FAULT_SET", 9), ("FAULT_CLR", 9)],
    ),
    Scenario(
        "freeze_and_reverse",
        [
            Tick(300, 0, 11),
            Tick(10, 0, 10),
            Tick(10, 0, 400, 0, 2),
            order("CLEAR_FAULT", token=1),
            Tick(10, inputs={"temp_in_decidegc": 9}),
        ],
        [("FAULT_SET", 17), ("FAULT_SET", 7), ("FAULT_CLR", 17)],
    ),
    *(Scenario(f"each_opcode_in_{state.lower()}", _each_opcode(state), []) for state in _STATES),
    Scenario(
        "damaged_memory",
        [
            *_open(),
            *_water(2),
            Damage(),
            Tick(300),
            Frame(read(4, 0, 45)),
            _LOG,
            *_open(2, 8),
            order("CLEAR_FAULT", token=3),
            *_open(4, 8),
            *_water(1),
            Cut(10),
            Tick(300),
        ],
        [("BOOT", 0), ("FAULT_CLR", 11), ("START", 0), ("END", 8)],
    ),
    Scenario(
        "no_calibration",
        [
            *_open(),
            order("CLEAR_FAULT", token=2),
            *_open(3),
            _UNLOCK,
            Frame(write(17, *long(999))),
            Frame(write(17, *long(1_000))),
            *_open(4),
            *_water(1, rate=4),
            *_CLOSING,
        ],
        [("FAULT_CLR", 19), ("START", 0)],
        k_factor=0,
    ),
    Scenario(
        "every_refusal",
        [
            Tick(300),
            *(Frame(read(f, 0, n)) for f in (1, 2) for n in (0, 2_001)),
            *(Frame(read(f, 0, n)) for f in (3, 4) for n in (0, 126)),
            *(Frame(read(f, 0xFFF0, 1)) for f in (1, 2, 3, 4)),
            *(Frame(bytes((5, 0, at, high, low))) for at, high, low in ((9, 255, 0), (0, 1, 0), (0, 255, 1))),
            *(Frame(bytes((15, 0, at, 0, n, size)) + bytes(size)) for at, n, size in ((9, 1, 1), (0, 0, 0), (0, 9, 1))),
            Frame(bytes((15, 0, 0, 7, 0xB1, 247)) + bytes(247)),
            *(Frame(write_one(at, 0)) for at in (45, 0, 64)),
            *(Frame(bytes((16, 0, 64, 0, n, size)) + bytes(size)) for n, size in ((0, 0), (2, 2), (124, 246))),
            Frame(write(45, 0)),
            *(Frame(bytes((22, 0, at, 0, 0, 0, 0))) for at in (45, 0, 64)),
            Frame(bytes((22, 0, 89, 0, 0, 0))),
            *(Frame(write_read(89, [0], at, n)) for at, n in ((400, 0), (400, 126), (600, 1))),
            Frame(write_read(89, [], 400, 1)),
            Frame(write_read(89, [0] * 122, 400, 1)[:-4]),
            *(Frame(bytes((f, 0, 0, 0, 1))) for f in (0, 7, 8, 11, 17, 20, 21, 24, 43, 65, 100, 127)),
            _UNLOCK,
            *_open(),
            Frame(write_one(6, 20)),
            Frame(write(6, 20)),
            Frame(bytes((22, 0, 6, 0, 0, 0, 20))),
            Frame(write_read(6, [20], 400, 1)),
            Frame(read(3, 0, 20)),
        ],
        [("START", 0)],
    ),
    Scenario("energy", [*_open(), *_water(30, inputs={"temp_in_decidegc": 150})], [("START", 0)]),
    Scenario(
        "commanded_reboot",
        [
            *_open(),
            *_water(2),
            order("REBOOT", token=2),
            *_CLOSING,
            Tick(300),
            *_open(3, 8),
            Frame(write(72, *([0x4142] * 16), 5)),
            Frame(bytes((5, 0, 0, 0xFF, 0))),
            order("CLOSE", token=4),
            *_CLOSING,
            order("REBOOT", token=5),
            Tick(50),
            order("IDENTIFY", token=5),
            Tick(300),
        ],
        [("END", 9), ("BOOT", 0), ("BOOT", 0)],
    ),
    Scenario(
        "identify",
        [
            Tick(300),
            order("IDENTIFY", token=1),
            Tick(9_000),
            Tick(1_000),
            Frame(bytes((5, 0, 0, 0xFF, 0))),
            Tick(9_990),
            Frame(bytes((15, 0, 0, 0, 2, 1, 2))),
            Frame(read(1, 0, 2)),
            Tick(10),
            Frame(read(1, 0, 3)),
        ],
        [],
    ),
    Scenario(
        "slot_by_volume_and_time",
        [
            *_open(),
            *_water(7),
            Cut(500),
            Tick(300),
            *_open(2, 8),
            *_water(11, rate=4),
            Cut(500),
            Tick(300),
            *_open(3, 9),
            *_water(1),
            Cut(500, warned=True),
            Tick(300),
        ],
        [("END", 8), ("END", 8), ("END", 8)],
    ),
    Scenario(
        "cut_before_a_save", [*_open(), *_water(1), CutInSave(1, kept=False), *_water(9), Tick(300), _LOG], [("END", 8)]
    ),
    Scenario(
        "cut_after_a_save", [*_open(), *_water(1), CutInSave(1, kept=True), *_water(9), Tick(300), _LOG], [("END", 8)]
    ),
    Scenario(
        "cut_at_the_end",
        [*_open(limit_volume=300), *_water(1), CutInSave(1, kept=False), *_water(9), *_CLOSING, Tick(300)],
        [("END", 8)],
    ),
    Scenario(
        "masks_and_halves",
        [
            Tick(300),
            Frame(bytes.fromhex("16 0059 00F2 0025")),
            Frame(bytes.fromhex("16 0058 0000 1234")),
            Frame(bytes.fromhex("16 0040 FFFF 0001")),
            Frame(bytes.fromhex("16 0100 FFFF 0001")),
            Frame(write_one(64, 0)),
            Frame(write(64, *([0] * 27))),
            Frame(write(63, 0)),
            Frame(write(255, 0)),
            Frame(bytes((15, 0, 1, 0, 1, 1, 1))),
            Frame(read(1, 0, 2)),
            Frame(write(275, 0)),
            Frame(write(90, 1, 2)),
            Frame(write_read(64, [0, 0], 400, 126)),
            Frame(write_read(64, [0, 0], 600, 1)),
            Frame(read(2, 0, 17)),
            Frame(read(2, 15, 1)),
            Frame(read(4, 44, 1)),
            Frame(read(4, 0xFFFF, 1)),
            Frame(read(4, 0xFFFF, 2)),
            Frame(bytes((3, 0))),
            Frame(bytes((43, 14, 1, 0))),
        ],
        [],
    ),
)
