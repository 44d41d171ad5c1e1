"""Units on a serial line, one of them twice: a pseudo-terminal with RTU devices of a few lines behind it."""

import asyncio
import os
import select
import struct
import threading
import tty
from collections.abc import Callable, Iterator

import pytest

from gateway.commands.scan import Found, ScanRefused, Verdict, compare, name_twins, scan, units_of
from gateway.config import Line
from gateway.modbus.codec import crc16
from hardware.points import load


def identity(serial: str) -> list[int]:
    """Return the identity block of an HWO-1 with a serial number."""
    known = load("chw.hwo1")
    assert known.match is not None
    words = [0] * 64
    words[: len(known.match.words)] = known.match.words
    for name, text in (("model", "HWO-1"), ("serial", serial)):
        point = known.block("id").point(name)
        raw = text.encode().ljust(2 * point.words, b"\0")
        words[point.address : point.address + point.words] = struct.unpack(f">{point.words}H", raw)
    return words


def frame(unit: int, function: int, body: bytes) -> bytes:
    whole = bytes([unit, function]) + body
    return whole + struct.pack("<H", crc16(whole))


def answers(words: list[int]) -> Callable[[int, int, int], bytes]:
    """Return a unit that answers reads of input registers."""

    def unit(address: int, start: int, count: int) -> bytes:
        body = struct.pack(f">{count}H", *words[start : start + count])
        return frame(address, 4, bytes([len(body)]) + body)

    return unit


class SerialLine:
    """The far end of a pseudo-terminal."""

    def __init__(self, units: dict[int, Callable[[int, int, int], bytes]]) -> None:
        self._units = units
        self._far, near = os.openpty()
        tty.setraw(self._far)
        tty.setraw(near)
        self.path, self._near = os.ttyname(near), near
        self.functions: set[int] = set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        data = b""
        while not self._closing.is_set():
            if not select.select([self._far], [], [], 0.05)[0]:  # a blocked read would hold up who sets the speed
                continue
            data += os.read(self._far, 256)
            while len(data) >= 8:
                unit, function, start, count, _ = struct.unpack(">BBHHH", data[:8])
                data = data[8:]
                self.functions.add(function)
                if unit in self._units:
                    os.write(self._far, self._units[unit](unit, start, count))

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        os.close(self._near)
        os.close(self._far)


@pytest.fixture
def line() -> Iterator[SerialLine]:
    one, two = answers(identity("A0001")), answers(identity("A0002"))
    turns = iter([one, one, two, one] * 10)

    def garbled(unit: int, start: int, count: int) -> bytes:
        return bytes(a ^ b for a, b in zip(one(unit, start, count), two(unit, start, count)[1:] + b"\0", strict=True))

    units = {
        1: one,
        2: garbled,
        3: lambda unit, start, count: next(turns)(unit, start, count),
        5: lambda unit, start, count: frame(unit, 0x84, b"\x02"),
    }
    opened = SerialLine(units)
    yield opened
    opened.close()


class TestScan:
    def test_finds_units_on_a_serial_line_and_writes_nothing(self, line: SerialLine) -> None:
        asked = Line(line_id="l1", transport="serial", path=line.path, parity="N", timeout_ms=100)

        found = asyncio.run(scan(asked, (1, 2, 3, 4, 5)))

        by = {each.unit: each for each in found}
        assert by[1].identities == ("shows HWO-1 A0001",)
        assert by[2].is_garbled
        assert by[3].identities == ("shows HWO-1 A0001", "shows HWO-1 A0002")
        assert not by[4].is_there
        assert by[5].is_there
        assert line.functions == {4}

    def test_names_a_line_that_cannot_be_opened(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("gateway.commands.scan._RECONNECT_WAITS", 2)

        with pytest.raises(ScanRefused, match=r"127\.0\.0\.1:1 cannot be opened"):
            asyncio.run(scan(Line(line_id="l1", transport="tcp", host="127.0.0.1", port=1, timeout_ms=50), (1,)))

    def test_names_a_port_that_refuses_its_settings(self, line: SerialLine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("gateway.commands.scan._RECONNECT_WAITS", 2)
        asked = Line(line_id="l1", transport="serial", path=line.path, parity="E", timeout_ms=50)

        with pytest.raises(ScanRefused, match="cannot be opened"):  # a pseudo-terminal has no parity
            asyncio.run(scan(asked, (1,)))


class TestCompare:
    def test_says_of_each_address_what_is_wrong(self) -> None:
        found = [
            Found(1, ("shows HWO-1 A",)), Found(2), Found(3, ("shows HWO-1 B",)), Found(4, ("x", "y")),
            Found(5, (), True), Found(6),
        ]  # fmt: skip

        verdicts = compare("l1", found, {1: "dev_1", 2: "dev_2", 4: "dev_4", 5: "dev_5"}, asked=(1, 2, 3, 4, 5, 6))

        assert [(v.unit, v.verdict, v.device_id) for v in verdicts] == [
            (1, "ok", "dev_1"), (2, "missing", "dev_2"), (3, "unknown", ""), (4, "duplicate", "dev_4"),
            (5, "garbled", "dev_5"),
        ]  # fmt: skip


class TestNameTwins:
    def test_finds_one_serial_number_at_two_places(self) -> None:
        rows = [
            Verdict("l1", 1, "ok", "dev_1", "shows HWO-1 A"),
            Verdict("l2", 7, "unknown", "", "shows HWO-1 A"),
            Verdict("l1", 2, "ok", "dev_2", "shows HWO-1 B"),
            Verdict("l1", 3, "ok", "dev_3", "answers"),
            Verdict("l1", 4, "ok", "dev_4", "answers"),
        ]

        named = name_twins(rows)

        assert [v.verdict for v in named] == ["duplicate", "duplicate", "ok", "ok", "ok"]
        assert "also at l2 unit 7" in named[0].shown


class TestUnitsOf:
    @pytest.mark.parametrize(
        ("text", "units"), [("1", (1,)), ("3-5", (3, 4, 5)), ("7, 1-2,2", (1, 2, 7)), ("247", (247,))]
    )
    def test_reads_lists_and_ranges(self, text: str, units: tuple[int, ...]) -> None:
        assert units_of(text) == units

    @pytest.mark.parametrize("text", ["", "0", "248", "5-3", "x", "1-", "-1", "1--2", "²", "1;2"])
    def test_refuses_the_rest(self, text: str) -> None:
        with pytest.raises(ScanRefused, match="--units"):
            units_of(text)
