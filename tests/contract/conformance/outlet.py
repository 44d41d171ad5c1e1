"""An outlet as a peer sees it: points by name, command frames, the log; everything through its registers."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from hardware.points import load
from tests.contract.conformance.targets import OUTLET
from tests.contract.conformance.voices import Voice, ask, ask_briefly
from tests.contract.conformance.wire import crc

MAP = load("chw.hwo1")
COMMAND_AT, COMMAND_WORDS, RESULT_AT, LOG_AT, LOG_WORDS = 256, 19, 288, 400, 125
_READ_WITH = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
GENEROUS = {"session": 7, "limit_volume": 10_000, "limit_time": 600, "lease": 60, "idle": 30, "token_tag": 99}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A log record."""

    sequence: int
    kind: str
    boot_id: int
    session: int
    pulses: int
    total: int
    aux: int


def words_of(value: int, count: int) -> list[int]:
    """Return an integer as registers, high word first."""
    return [value >> 16 * at & 0xFFFF for at in reversed(range(count))]


def number_of(words: Sequence[int]) -> int:
    """Return registers as an integer, high word first."""
    return int.from_bytes(b"".join(word.to_bytes(2, "big") for word in words), "big")


class Outlet:
    """Talks to the outlet under test through a peer."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice
        self._tokens = itertools.count(1)

    def value(self, name: str) -> int:
        """Return a point as an unsigned number."""
        point = MAP.points[name]
        return number_of(ask(self._voice, OUTLET, _READ_WITH[point.table], point.address, point.words))

    def label(self, name: str, enum: str) -> str:
        """Return the name of what a point holds."""
        return MAP.enums[enum][self.value(name)]

    def faults(self) -> set[str]:
        """Return the names of the faults that are on."""
        bits = self.value("faults")
        return {name for bit, name in enumerate(MAP.bits["faults"]) if bits >> bit & 1}

    def write(self, name: str, value: int) -> None:
        """Write a point."""
        point = MAP.points[name]
        ask(self._voice, OUTLET, 16, point.address, point.words, words_of(value, point.words))

    def frame(self, opcode: str, *, token: int | None = None, **fields: int) -> list[int]:
        """Return a command frame with a fresh token unless one is given."""
        token = next(self._tokens) if token is None else token
        given = {"token": token, "opcode": MAP.code("opcode", opcode), "commit": 0xA5C3 ^ token, **fields}
        points = MAP.block("cmd").points
        return [word for p in points for word in words_of(given.get(p.name.removeprefix("cmd_"), 0), p.words)]

    def send(self, frame: list[int]) -> tuple[str, int]:
        """Write a frame and read the result in the same transaction; return its label and detail."""
        token, code, detail, *_ = ask(self._voice, OUTLET, 23, COMMAND_AT, 1, [RESULT_AT, 8, *frame])
        assert token == frame[0]
        return MAP.enums["result"][code], detail

    def send_in_vain(self, frame: list[int]) -> None:
        """Write a frame once and wait only a moment for the result."""
        ask_briefly(self._voice, OUTLET, 23, COMMAND_AT, 1, [RESULT_AT, 8, *frame])

    def command(self, opcode: str, **fields: int) -> tuple[str, int]:
        """Send a command with a fresh token."""
        result = self.send(self.frame(opcode, **fields))
        if result[0] == "DUPLICATE":  # the peer asked twice: the first answer came too late
            return MAP.enums["result"][result[1]], 0
        return result

    def open(self, **changes: int) -> tuple[str, int]:
        """Open with generous limits."""
        return self.command("OPEN", **{**GENEROUS, **changes})

    def window(self, cursor: int) -> tuple[int, list[Entry]]:
        """Return the newest sequence and up to six records from a cursor on, each with its check bytes checked."""
        cursor_words = words_of(cursor, 2)
        at = MAP.points["log_cursor"].address
        words = ask(self._voice, OUTLET, 23, at, 1, [LOG_AT, LOG_WORDS, *cursor_words])
        assert words[:2] == cursor_words
        entries = []
        for number in range(words[4]):
            record = words[5 + 20 * number :][:20]
            octets = b"".join(word.to_bytes(2, "big") for word in record)
            assert int.from_bytes(crc(octets[:-2]), "little") == record[19]
            entries.append(
                Entry(
                    sequence=number_of(record[0:2]),
                    kind=MAP.enums["record_type"][record[2]],
                    boot_id=record[3],
                    session=number_of(record[7:9]),
                    pulses=number_of(record[11:13]),
                    total=number_of(record[13:17]),
                    aux=record[17],
                )
            )
        return number_of(words[2:4]), entries

    def log(self, cursor: int = 1) -> list[Entry]:
        """Return every record the log still has, oldest first."""
        entries: list[Entry] = []
        while True:
            head, page = self.window(cursor)
            entries += page
            if not page or page[-1].sequence >= head:
                return entries
            cursor = page[-1].sequence + 1

    def ends(self) -> list[tuple[int, str, int]]:
        """Return session, reason and pulses of every END in the log."""
        return [(e.session, MAP.enums["close_reason"][e.aux], e.pulses) for e in self.log() if e.kind == "END"]

    def acknowledge(self) -> None:
        """Acknowledge the whole log."""
        self.write("log_ack", self.value("log_head"))
