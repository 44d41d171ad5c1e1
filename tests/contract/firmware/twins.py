"""
The simulator and the reference firmware side by side: the same steps, the same answers, the same registers.

After each step every register is compared but those that `hardware/HWO1_BEHAVIOR.md` leaves to the implementation. A
difference is cut down to the shortest list of steps that still shows one.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import replace

from firmware_sim.codec import crc16
from firmware_sim.device import Identity
from firmware_sim.inputs import QUIET, Inputs
from firmware_sim.nvm import MemoryNvm, NvmDamaged, PowerCut
from firmware_sim.pdu import answer, broadcast_write
from firmware_sim.water_outlet import WaterOutlet
from hardware.firmware_ref.host import FRAM_BYTES, NO_TEMPERATURE, Firmware, Label, PowerLost, Sample
from tests.contract.firmware.steps import (
    DEVICE_UID,
    MAP,
    UNIT,
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
    long,
    write,
    write_one,
)

K_FACTOR = 450_000
UNIX_MS = 1_795_348_800_000
OFF_MS = 500
LABEL = Label(model="HWO-1", serial="HW-00001", device_uid=DEVICE_UID, k_factor_pulses_per_m3=K_FACTOR, temp_in=True)
IDENTITY = Identity(
    device_id="dev_t",
    serial=LABEL.serial,
    device_uid=LABEL.device_uid,
    model=LABEL.model,
    k_factor_pulses_per_m3=K_FACTOR,
    temp_in=True,
)
#: points whose value is the implementation's own
OWN = ("fw", "fw_crc", "hw_rev", "snap_seq", "snap_end", "res_snap_seq")
_READS = {3: "holding", 4: "input", 23: "holding"}
_OWN_ADDRESSES = {
    (MAP.points[name].table, MAP.points[name].address + offset)
    for name in OWN
    for offset in range(MAP.points[name].words)
}


class Difference(Exception):
    """The twins disagree; the message says about what."""


class CutNvm(MemoryNvm):
    """Loses power at the n-th save: before the bytes count, or just after."""

    def __init__(self) -> None:
        super().__init__()
        self.saves_left = 0
        self.kept = False
        self.is_damaged = False

    def load(self) -> bytes | None:
        if self.is_damaged:
            self.is_damaged, self.body = False, None
            raise NvmDamaged
        return super().load()

    def save(self, body: bytes) -> None:
        last = self.saves_left == 1
        self.saves_left = max(0, self.saves_left - 1)
        if not last or self.kept:
            super().save(body)
        if last:
            raise PowerCut


class Twins:
    """Both outlets, moved through the same steps from the same power-up."""

    def __init__(
        self, library: ctypes.CDLL, *, battery: bool = True, key: bytes = b"", k_factor: int = K_FACTOR
    ) -> None:
        self.now_ms = 1_000
        self.battery = battery
        self.inputs = QUIET
        self.nvm = CutNvm()
        self.firmware = Firmware(library, replace(LABEL, mac_key=key, k_factor_pulses_per_m3=k_factor))
        self._identity = replace(IDENTITY, mac_key=key, k_factor_pulses_per_m3=k_factor)
        self.outlet: WaterOutlet | None = None
        self.last_answer = b""
        self._power_up()

    def close(self) -> None:
        """Free the firmware."""
        self.firmware.close()

    def apply(self, step: Step) -> None:
        """
        Let one step happen to both.

        :raises Difference: if they answer or look different afterwards.
        """
        if self.outlet is None:
            self.now_ms += OFF_MS
            self._power_up()
        if isinstance(step, CutInSave):
            self.nvm.saves_left, self.nvm.kept = step.saves, step.kept
            self.firmware.cut_at_save(step.saves, 0xFFFF if step.kept else 200)
            return
        if isinstance(step, Damage):
            self._damage()
            return
        step = self._made_concrete(step)
        if isinstance(step, Tick | Frame):
            self.now_ms += step.ms
        answers = self._on_simulator(step), self._on_firmware(step)
        if answers[0] != answers[1]:
            raise Difference(f"simulator answers {_shown(answers[0])}, firmware {_shown(answers[1])}")
        if answers[0] is None or isinstance(step, Cut):
            self.outlet = None
            self.now_ms += step.off_ms if isinstance(step, Cut) else 0
            self.nvm.saves_left = 0
            self.firmware.cut_at_save(0, 0)
            return
        self.last_answer = answers[0]
        self._compare()

    def _damage(self) -> None:
        self.firmware.pull_the_plug()
        self.outlet, self.nvm.is_damaged = None, True
        for at in range(0, FRAM_BYTES, 64):
            self.firmware.fram[at] ^= 0x5A

    def _made_concrete(self, step: Step) -> Step:
        match step:
            case Acknowledge():
                return Frame(write(64, *long(max(0, self.value("log_head") - step.but))))
            case TakeMail():
                return Frame(write_one(68, self.value("mbx_item_seq")))
            case Tick():
                assert self.outlet is not None
                return replace(step, pulses=step.leak + (step.pulses if self.outlet.valve_drive else 0), leak=0)
        return step

    def value(self, name: str) -> int:
        """Return an integer point."""
        point = MAP.points[name]
        value = 0
        for word in self.firmware.peek(point.table, point.address, point.words):
            value = value << 16 | word
        return value

    # one side each ------------------------------------------------------------------------------------------------

    def _power_up(self) -> None:
        unix_ms = self.now_ms + UNIX_MS if self.battery else None
        self.outlet = WaterOutlet(MAP, self._identity, self.nvm, now_ms=self.now_ms, unix_ms=unix_ms)
        self.outlet.inputs = self.inputs
        self.firmware.power_up(self.now_ms, unix_ms, self._sample(Tick(0)))
        self._saves_before = self.nvm.saves, self.firmware.saves
        self._compare()

    def _on_simulator(self, step: Step) -> bytes | None:
        """Return the answer, empty when there is none, or None when the power went."""
        assert self.outlet is not None
        try:
            match step:
                case Tick():
                    self.inputs = replace(QUIET, **step.inputs)  # type: ignore[arg-type]
                    self.outlet.inputs = self.inputs
                    self.outlet.tick(
                        self.now_ms, pulses=step.pulses, temp_decidegc=step.temp, reverse_pulses=step.reverse
                    )
                case Frame():
                    return self._answer(self.outlet, step)
                case Post():
                    self.outlet.mailboxes["mbx"].post(
                        source=step.source,
                        uid=step.uid,
                        payload=step.payload,
                        now_ms=self.now_ms,
                        unix_time=self.outlet.unix_ms() // 1000,
                    )
                case Press():
                    self.outlet.press_stop(self.now_ms)
                case Cut(warned=True):
                    self.outlet.falling_supply(self.now_ms)
        except PowerCut:
            return None
        return b""

    def _answer(self, outlet: WaterOutlet, frame: Frame) -> bytes:
        if not frame.good:
            outlet.crc_error_seen()
            return b""
        if frame.unit == 0:
            outlet.now_ms = self.now_ms
            write = broadcast_write(frame.pdu)
            if write is not None:
                outlet.broadcast(*write)
            return b""
        return comparable(frame, answer(outlet, frame.pdu, self.now_ms)) if frame.unit == UNIT else b""

    def _on_firmware(self, step: Step) -> bytes | None:
        try:
            match step:
                case Tick():
                    self.firmware.tick(self.now_ms, self._sample(step))
                case Frame():
                    return self._reply(step)
                case Post():
                    self.firmware.post(step.source, step.uid, step.payload)
                case Press():
                    self.firmware.press_stop(self.now_ms)
                case Cut():
                    if step.warned:
                        self.firmware.falling_supply(self.now_ms)
                    self.firmware.pull_the_plug()
        except PowerLost:
            return None
        return b""

    def _reply(self, frame: Frame) -> bytes:
        reply = self.firmware.send(frame.adu(), self.now_ms)
        if not reply:
            return b""
        if crc16(reply[:-2]) != int.from_bytes(reply[-2:], "little") or reply[0] != frame.unit:
            raise Difference(f"the firmware's answer {reply.hex(' ')} is no frame of unit {frame.unit}")
        return comparable(frame, reply[1:-2])

    def _sample(self, step: Tick) -> Sample:
        inputs = self.inputs
        return Sample(
            pulses=step.pulses,
            reverse_pulses=step.reverse,
            temp=_temperature(step.temp),
            temp_in=_temperature(inputs.temp_in_decidegc),
            temp_mcu=_temperature(inputs.temp_mcu_decidegc),
            supply_mv=inputs.supply_mv,
            backup_mv=inputs.backup_mv,
            flow_unplugged=inputs.sensor_unplugged,
            lid_open=inputs.tamper,
            reader_silent=not inputs.reader_online,
            service_key=inputs.service_key,
            coil_open=not inputs.coil_ok,
        )

    def _compare(self) -> None:
        assert self.outlet is not None
        for block in MAP.blocks:
            ours = self.outlet.read(block.table, block.address, block.words)
            theirs = self.firmware.peek(block.table, block.address, block.words)
            if ours == theirs:
                continue
            for point in block.points:
                span = slice(point.address - block.address, point.address - block.address + point.words)
                if point.name not in OWN and ours[span] != theirs[span]:
                    raise Difference(f"{point.name}: simulator {_hex(ours[span])}, firmware {_hex(theirs[span])}")
        saves = self.nvm.saves - self._saves_before[0], self.firmware.saves - self._saves_before[1]
        if saves[0] != saves[1]:
            raise Difference(f"saved since power-up: simulator {saves[0]} times, firmware {saves[1]} times")
        if self.outlet.valve_drive != self.firmware.valve:
            raise Difference(f"valve driven: simulator {self.outlet.valve_drive}, firmware {self.firmware.valve}")


def _temperature(decidegc: int | None) -> int:
    return NO_TEMPERATURE if decidegc is None else decidegc


def _hex(words: Sequence[int]) -> str:
    return " ".join(f"{word:04X}" for word in words)


def _shown(answer_: bytes | None) -> str:
    return "nothing: the power went" if answer_ is None else answer_.hex(" ").upper() or "nothing"


def comparable(frame: Frame, pdu: bytes) -> bytes:
    """Return a response PDU with the registers blanked whose value is the implementation's own."""
    table = _READS.get(pdu[0])
    if table is None:
        return pdu
    first = int.from_bytes(frame.pdu[1:3], "big")
    words = bytearray(pdu)
    for at in range(2, len(pdu), 2):
        if (table, first + at // 2 - 1) in _OWN_ADDRESSES:
            words[at : at + 2] = b"\0\0"
    return bytes(words)


def difference(
    library: ctypes.CDLL, steps: Sequence[Step], *, battery: bool = True, key: bytes = b"", k_factor: int = K_FACTOR
) -> tuple[int, str] | None:
    """Return which step of a scenario is the first to differ and how, or None."""
    twins = Twins(library, battery=battery, key=key, k_factor=k_factor)
    try:
        for number, step in enumerate(steps):
            try:
                twins.apply(step)
            except Difference as found:
                return number, str(found)
    finally:
        twins.close()
    return None


def shortest(
    library: ctypes.CDLL, steps: Sequence[Step], *, battery: bool = True, key: bytes = b"", k_factor: int = K_FACTOR
) -> list[Step]:
    """Return the fewest steps found that still end in a difference: leave out halves, quarters … single steps."""
    found = difference(library, steps, battery=battery, key=key, k_factor=k_factor)
    assert found is not None
    kept = list(steps[: found[0] + 1])
    size = len(kept) // 2
    while size >= 1:
        at = 0
        while at < len(kept):
            tried = kept[:at] + kept[at + size :]
            still = difference(library, tried, battery=battery, key=key, k_factor=k_factor)
            if still is None:
                at += size
            else:
                kept = tried[: still[0] + 1]
        size //= 2
    return kept


def same(
    library: ctypes.CDLL,
    steps: Sequence[Step],
    *,
    battery: bool = True,
    key: bytes = b"",
    k_factor: int = K_FACTOR,
    name: str = "",
) -> None:
    """Fail with the shortest difference unless both twins live through the steps alike."""
    if difference(library, steps, battery=battery, key=key, k_factor=k_factor) is None:
        return
    short = shortest(library, steps, battery=battery, key=key, k_factor=k_factor)
    end = difference(library, short, battery=battery, key=key, k_factor=k_factor)
    assert end is not None
    lines = "\n".join(f"    {step}," for step in short)
    raise AssertionError(f"{name}: after {len(short)} steps: {end[1]}\n{lines}")


__all__ = ["Difference", "Inputs", "Twins", "difference", "same", "shortest"]
