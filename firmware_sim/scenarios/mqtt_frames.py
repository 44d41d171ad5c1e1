"""Just enough of MQTT to tell its packets apart on the wire: fixed header, remaining length, quality, packet id."""

from dataclasses import dataclass

CONNECT, PUBLISH, PUBACK = 1, 3, 4
#: longer packets are nobody's here; a peer that announces one is cut off
PACKET_BYTES_MAX = 4 * 1024 * 1024
_DUP = 0x08


class NotMqtt(Exception):
    """The bytes are not MQTT packets."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet as it was on the wire; `body_at` is where the fixed header ends."""

    raw: bytes
    body_at: int

    @property
    def kind(self) -> int:
        """Return the packet type."""
        return self.raw[0] >> 4

    @property
    def quality(self) -> int:
        """Return the quality of service of a PUBLISH."""
        return self.raw[0] >> 1 & 0x03

    def packet_id(self) -> int | None:
        """Return the packet id of a PUBLISH above quality 0 or of a PUBACK, else None."""
        at = self.body_at
        if self.kind == PUBLISH and self.quality:
            at += 2 + int.from_bytes(self.raw[at : at + 2], "big")
        elif self.kind != PUBACK:
            return None
        return int.from_bytes(self.raw[at : at + 2], "big")

    def message(self) -> tuple[str, bytes]:
        """Return topic and payload of a PUBLISH of MQTT 5; an empty topic stands for one that was agreed before."""
        at = self.body_at
        length = int.from_bytes(self.raw[at : at + 2], "big")
        topic = self.raw[at + 2 : at + 2 + length].decode("utf-8", "replace")
        at += 2 + length + (2 if self.quality else 0)
        properties, at = _varint(self.raw, at)
        return topic, self.raw[at + properties :]

    def client_id(self) -> str:
        """Return under which name a CONNECT of MQTT 5 comes."""
        at = self.body_at
        at += 2 + int.from_bytes(self.raw[at : at + 2], "big") + 4  # protocol, level, flags, keep alive
        properties, at = _varint(self.raw, at)
        at += properties
        length = int.from_bytes(self.raw[at : at + 2], "big")
        return self.raw[at + 2 : at + 2 + length].decode("utf-8", "replace")

    def again(self) -> bytes:
        """Return a PUBLISH as a sender that heard no answer would send it again."""
        flag = _DUP if self.quality else 0
        return bytes([self.raw[0] | flag]) + self.raw[1:]


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """Return a number of variable length and where it ends; 0 where the packet does."""
    value = shift = 0
    while at < len(raw):
        value |= (raw[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if not raw[at - 1] & 0x80:
            break
    return value, at


def take(data: bytearray) -> Packet | None:
    """
    Take the packet at the front, or None while it is not whole.

    :raises NotMqtt: when the front cannot be a packet.
    """
    length, shift, at = 0, 0, 1
    while True:
        if at >= len(data):
            return None
        if at > 4:
            raise NotMqtt("a remaining length of five bytes")
        length |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not data[at - 1] & 0x80:
            break
    if data[0] >> 4 == 0 or length > PACKET_BYTES_MAX:
        raise NotMqtt("no packet begins like this")
    if len(data) < at + length:
        return None
    packet = Packet(bytes(data[: at + length]), at)
    del data[: at + length]
    return packet
