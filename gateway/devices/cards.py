"""
Cards at a reader of somebody else's: told once, and not again until there is a new one.

A `level` shows a card as long as it is there, a `flag` stays until it is cleared, a `seq` counts cards.
"""

from gateway.devices.ports import Mail
from gateway.modbus.access import PointAccess
from gateway.modbus.bus import Priority
from gateway.modbus.codec import Value
from hardware.model import RegisterMap

_WATCHED = {"seq": "mailbox_seq", "flag": "card_new", "level": "card_uid"}


def watched_role(register_map: RegisterMap) -> str | None:
    """Return the role of the point to look at for a new card, None when the device has no reader."""
    return _WATCHED.get(str(register_map.caps.get("mailbox")))


class CardReader:
    """The reader of one device; of a device without one, it never sees a card."""

    def __init__(self, access: PointAccess, register_map: RegisterMap) -> None:
        self._access, self._map = access, register_map
        self._kind = str(register_map.caps.get("mailbox"))
        self._card = self._name("card_uid")
        #: the point to look at for something new, None when there is no reader
        self.watched = self._name(_WATCHED[self._kind]) if self._kind in _WATCHED else None
        self._seen = ""
        self._sequence = 0

    def _name(self, role: str) -> str | None:
        point = self._map.by_role(role)
        return point.name if point is not None else None

    def shows_new(self, values: dict[str, Value]) -> bool:
        """Return whether the watched point tells of a card that has not been passed on."""
        value = values.get(self.watched) if self.watched is not None else None
        if self._kind == "level":
            card = _hex(value)
            if not card:
                self._seen = ""  # it was taken away: the same one may come again
            return bool(card) and card != self._seen
        if self._kind == "seq":
            return isinstance(value, int) and value not in (0, self._sequence)
        return bool(value)

    async def mail(self) -> Mail | None:
        """Return the card that is shown, None when it has gone meanwhile."""
        counted = self.watched if self._kind == "seq" else None
        names = [name for name in (self._card, counted) if name is not None]
        values = await self._access.read(names, Priority.MAILBOX)
        card = _hex(values.get(self._card or ""))
        sequence = values[counted] if counted is not None else self._sequence + 1
        if not card or not isinstance(sequence, int):
            return None
        return Mail(sequence=sequence, source="UID", value=card, time_s=0, stale=False, direction="in")

    async def acknowledge(self, mail: Mail) -> None:
        """Clear the flag, tell the reader the number, or remember the card here."""
        ack = self._name("mailbox_ack")
        if self._kind == "flag" and self.watched is not None:
            await self._access.acknowledge(self.watched, 1, Priority.MAILBOX)
        if self._kind == "seq" and ack is not None:
            await self._access.write(ack, mail.sequence, Priority.MAILBOX)
        self._seen, self._sequence = mail.value, mail.sequence


def _hex(value: Value) -> str:
    """Return a card's number as hex, empty when there is none."""
    if isinstance(value, bytes):
        return value.hex().upper() if any(value) else ""
    return f"{value:X}" if isinstance(value, int) and value else ""
