"""What HWO-1 and ACR-1 share: identity, flags, event log, mailbox, clock, display and the command frame."""

import secrets
from collections.abc import Callable, Mapping
from fractions import Fraction

from gateway.devices.ports import (
    CannotSay,
    CommandFailed,
    CommandResult,
    DeviceMismatch,
    Flags,
    Identity,
    LogPage,
    LogRecord,
    Mail,
)
from gateway.modbus.access import SNAPSHOT_TRIES, SnapshotTorn
from gateway.modbus.bus import Bus, Declined, Priority
from gateway.modbus.codec import CodecError, Value, crc16, decode_block, encode, encode_block, integer
from gateway.modbus.glances import Sight, bits
from hardware.points import Block, Point, RegisterMap

RECORD_BYTES = 40
DISPLAY_BYTES = 32
_NOTHING: frozenset[str] = frozenset()


def _text(value: Value) -> str:
    return value if isinstance(value, str) else ""


def _octets(value: Value) -> bytes:
    return value if isinstance(value, bytes) else b""


class ProfileDevice:
    """One unit on a bus, read and written as its map says."""

    def __init__(self, bus: Bus, unit: int, register_map: RegisterMap, mailboxes: Mapping[str, str]) -> None:
        """`mailboxes` maps a mailbox block to the direction of its reader."""
        self._bus, self._unit, self._map = bus, unit, register_map
        self._mailboxes = mailboxes
        self._token = secrets.randbelow(0xFFFF)
        self._blocks: dict[str, Block] = {block.id: block for block in register_map.blocks}
        self._flag_names = tuple(point.name for point in self._blocks["flags"].points)
        #: the few sets of flags that a device ever shows
        self._flags_known: dict[bytes, Flags] = {}
        self.deadman = str(register_map.caps.get("deadman", "none"))

    async def identify(self) -> Identity:
        """
        Return who answers.

        :raises DeviceMismatch: if it is not the device the map describes.
        """
        block, match = self._blocks["id"], self._map.match
        assert match is not None, "a profile has an identity"
        try:
            words = await self._bus.read_input(self._unit, block.address, block.words, Priority.SLOW)
        except Declined as error:
            raise DeviceMismatch(f"has no identity block: {error}", unknown=True) from error
        if tuple(words[match.address - block.address :][: len(match.words)]) != match.words:
            seen = " ".join(f"{word:04X}" for word in words[: len(match.words)])
            raise DeviceMismatch(
                f"identity is {seen}, not that of {self._map.map_id}", unknown=tuple(words[:1]) != match.words[:1]
            )
        values = decode_block(block, words)
        if integer(values, "map_crc") != self._map.crc:
            raise DeviceMismatch(
                f"was built from another map than {self._map.map_id} {self._map.version}", unknown=False
            )
        acked = await self._holding_point(self._map.points["log_ack"])
        metered = "k_factor" in values
        return Identity(
            model=_text(values["model"]),
            serial=_text(values["serial"]),
            firmware=_text(values["fw"]),
            k_factor_pulses_per_m3=integer(values, "k_factor", per_unit=1000) if metered else 0,
            log_ack=acked,
        )

    async def _holding_point(self, point: Point) -> int:
        words = await self._bus.read_holding(self._unit, point.address, point.words, Priority.SLOW)
        return int.from_bytes(b"".join(word.to_bytes(2, "big") for word in words), "big")

    async def flags(self) -> Flags:
        """Return the flags."""
        block = self._blocks["flags"]
        bits = await self._bus.read_discrete(self._unit, block.address, block.words, Priority.FLAGS)
        return Flags(names=frozenset(name for name, bit in zip(self._flag_names, bits, strict=True) if bit))

    def flags_in(self, data: bytes) -> Flags:
        """Return the flags in the bytes of an answer."""
        found = self._flags_known.get(data)
        if found is None:
            number = int.from_bytes(data, "little")
            names = frozenset(name for at, name in enumerate(self._flag_names) if number >> at & 1)
            found = self._flags_known[data] = Flags(names=names)
        return found

    def flags_sight(self, is_news: Callable[[bytes], bool]) -> Sight:
        """Return the look that reads the flags."""
        block = self._blocks["flags"]
        return bits(self._unit, block.address, block.words, is_news)

    async def snapshot(self, priority: Priority) -> dict[str, Value]:
        """Return the status block, read until begin and end agree."""
        block = self._blocks["st"]
        for _ in range(SNAPSHOT_TRIES):
            words = await self._bus.read_input(self._unit, block.address, block.words, priority)
            values = decode_block(block, words)
            if values["snap_seq"] == values["snap_end"]:
                return values
        raise SnapshotTorn(f"unit {self._unit}: no consistent snapshot in {SNAPSHOT_TRIES} tries")

    def label(self, enum: str, value: Value) -> str:
        """Return an enum's name for a number; an unknown number as `#n`."""
        number = int(value) if isinstance(value, int) else -1
        return self._map.enums[enum].get(number, f"#{number}")

    def set_bits(self, kind: str, value: Value) -> frozenset[str]:
        """Return the names of the bits that are set."""
        number = int(value) if isinstance(value, int) else 0
        if not number:
            return _NOTHING
        return frozenset(name for bit, name in enumerate(self._map.bits[kind]) if number >> bit & 1)

    async def set_clock(self, now_ms: int) -> None:
        """Set the device's clock, seconds and milliseconds in one write."""
        points = self._map.points
        words = encode(points["clock_set"], now_ms // 1000) + encode(points["clock_set_ms"], now_ms % 1000)
        await self._bus.write(self._unit, points["clock_set"].address, words, Priority.SLOW)

    async def log_page(self, cursor: int) -> LogPage:
        """Return log records from sequence `cursor` on, at most one window of them."""
        block, layout = self._blocks["log"], self._map.layouts[str(self._map.caps["log_layout"])]
        words = await self._bus.write_read(
            self._unit,
            write_address=self._map.points["log_cursor"].address,
            values=encode(self._map.points["log_cursor"], cursor),
            read_address=block.address,
            read_count=block.words,
            priority=Priority.LOG,
        )
        values = decode_block(block, words)
        data, records, damaged, through = _octets(values["log_records"]), [], 0, 0
        for number in range(min(integer(values, "log_valid"), len(data) // RECORD_BYTES)):
            octets = data[number * RECORD_BYTES : (number + 1) * RECORD_BYTES]
            through = max(through, int.from_bytes(octets[:4], "big"))
            if crc16(octets[:-2]) != int.from_bytes(octets[-2:], "big"):
                damaged += 1
                continue
            fields = decode_block(layout, [int.from_bytes(octets[i : i + 2], "big") for i in range(0, RECORD_BYTES, 2)])
            records.append(self.record(fields))
        return LogPage(
            head=integer(values, "log_window_head"), records=tuple(records), damaged=damaged, through=through
        )

    def record(self, fields: Mapping[str, Value]) -> LogRecord:
        """Return a log record of this kind of device."""
        raise AssertionError("each kind of device says what its records mean")

    async def acknowledge_log(self, through: int) -> None:
        """Let the device forget records up to and including a sequence; older values are ignored by it."""
        point = self._map.points["log_ack"]
        await self._bus.write(self._unit, point.address, encode(point, through), Priority.LOG)

    async def mail(self, flags: Flags) -> Mail | None:
        """Return the oldest thing a reader saw, if the flags say there is one."""
        for block_id, direction in self._mailboxes.items():
            if f"{block_id}_pending" in flags:
                return await self._read_mail(block_id, direction)
        return None

    async def _read_mail(self, prefix: str, direction: str) -> Mail | None:
        block = self._blocks[prefix]
        words = await self._bus.read_input(self._unit, block.address, block.words, Priority.MAILBOX)
        values = decode_block(block, words)
        sequence = integer(values, f"{prefix}_item_seq")
        if sequence == 0 or values[f"{prefix}_end"] != sequence:
            return None  # emptied or refilled while we read; the next poll sees it whole
        source = self.label("mailbox_source", values[f"{prefix}_source"])
        if source == "UID":
            value = _octets(values[f"{prefix}_uid"])[: integer(values, f"{prefix}_uid_len")].hex().upper()
        else:
            payload = _octets(values[f"{prefix}_payload"])[: integer(values, f"{prefix}_len")]
            value = payload.decode("utf-8", "replace")
        stale = "STALE" in self.set_bits("mailbox_flags", values[f"{prefix}_flags"])
        time_s = integer(values, f"{prefix}_time")
        return Mail(sequence=sequence, source=source, value=value, time_s=time_s, stale=stale, direction=direction)

    async def acknowledge_mail(self, mail: Mail) -> None:
        """Let the device forget a mail."""
        prefix = next(block for block, direction in self._mailboxes.items() if direction == mail.direction)
        point = self._map.points[f"{prefix}_ack"]
        await self._bus.write(self._unit, point.address, encode(point, mail.sequence), Priority.MAILBOX)

    async def display(self, text: str, seconds: int) -> None:
        """Show a text, cut to what the display takes without splitting a character."""
        data = text.encode()[:DISPLAY_BYTES].decode("utf-8", "ignore").encode()
        points = self._map.points
        words = encode(points["disp_text"], data) + encode(points["disp_ttl"], seconds)
        await self._bus.write(self._unit, points["disp_text"].address, words, Priority.SLOW)

    async def command(self, opcode: str, values: Mapping[str, int | Fraction], priority: Priority) -> CommandResult:
        """
        Write the all-or-nothing command frame and return the device's answer from the same transaction.

        :raises CannotSay: if a value does not fit the frame.
        :raises CommandFailed: if the answer is for another frame.
        """
        self._token = self._token % 0xFFFF + 1
        frame, result = self._blocks["cmd"], self._blocks["res"]
        fields_out = {
            **values,
            "cmd_token": self._token,
            "cmd_opcode": self._map.code("opcode", opcode),
            "cmd_commit": int(self._map.caps["commit_xor"]) ^ self._token,
        }
        try:
            words = encode_block(frame, fields_out)
        except CodecError as error:
            raise CannotSay(str(error)) from error
        answer = await self._bus.write_read(
            self._unit,
            write_address=frame.address,
            values=words,
            read_address=result.address,
            read_count=result.words,
            priority=priority,
        )
        fields = decode_block(result, answer)
        if fields["res_token"] != self._token:
            raise CommandFailed(f"unit {self._unit} answered for token {fields['res_token']!r}, not {self._token}")
        code, detail = self.label("result", fields["res_code"]), integer(fields, "res_detail")
        if code == "DUPLICATE":  # our first try did arrive; its answer is what counts, and is kept in the detail
            code = self.label("result", detail)
        return CommandResult(code=code, detail=detail)
