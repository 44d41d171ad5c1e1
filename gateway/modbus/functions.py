"""
The requests that only some devices need: coils, single registers, masked writes, and the coil that takes a delay.

The others are methods of the bus.
"""

import struct
from collections.abc import Sequence

from pymodbus.pdu.bit_message import WriteSingleCoilRequest

from gateway.modbus.bus import Bus, NoAnswer, Priority


class _DelayCoilRequest(WriteSingleCoilRequest):
    """Function code 5 with a number where the standard has 0000 or FF00."""

    delay = 0

    def encode(self) -> bytes:
        """Return address and number."""
        return struct.pack(">HH", self.address, self.delay)


async def read(bus: Bus, unit: int, table: str, address: int, count: int, priority: Priority) -> list[int]:
    """
    Return registers, or bits as 0 and 1.

    :raises NoAnswer: if there are fewer than were asked for, which no right answer has.
    """
    if table == "input":
        words = await bus.read_input(unit, address, count, priority)
    elif table == "holding":
        words = await bus.read_holding(unit, address, count, priority)
    elif table == "discrete":
        words = await bus.read_discrete(unit, address, count, priority)
    else:
        answer = await bus.request(unit, priority, lambda c: c.read_coils(address, count=count, device_id=unit))
        words = [int(bit) for bit in answer.bits[:count]]
    if len(words) != count:
        raise NoAnswer(f"unit {unit} answered {len(words)} where {count} were asked for")
    return words


async def write_coil(bus: Bus, unit: int, address: int, value: bool, priority: Priority) -> None:
    """Write one coil with function code 5."""
    await bus.request(unit, priority, lambda c: c.write_coil(address, value, device_id=unit))


async def write_coils(bus: Bus, unit: int, address: int, values: Sequence[bool], priority: Priority) -> None:
    """Write coils with function code 15."""
    await bus.request(unit, priority, lambda c: c.write_coils(address, list(values), device_id=unit))


async def write_delay(bus: Bus, unit: int, address: int, delay: int, priority: Priority) -> None:
    """Write a number to a coil with function code 5, as timed relays want it."""
    message = _DelayCoilRequest(address=address, dev_id=unit)
    message.delay = delay
    await bus.request(unit, priority, lambda c: c.execute(False, message))


async def write_register(bus: Bus, unit: int, address: int, value: int, priority: Priority) -> None:
    """Write one register with function code 6."""
    await bus.request(unit, priority, lambda c: c.write_register(address, value, device_id=unit))


async def mask_register(bus: Bus, unit: int, address: int, mask: int, value: int, priority: Priority) -> None:
    """Change only the bits of a mask in one register, with function code 22."""
    await bus.request(
        unit,
        priority,
        lambda c: c.mask_write_register(address=address, and_mask=~mask & 0xFFFF, or_mask=value, device_id=unit),
    )
