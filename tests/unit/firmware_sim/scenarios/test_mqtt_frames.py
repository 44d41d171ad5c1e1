"""MQTT packets are cut where they end."""

import pytest

from firmware_sim.scenarios.mqtt_frames import PUBACK, PUBLISH, NotMqtt, take


def publish(payload: bytes, *, quality: int = 1, packet_id: int = 0x1234) -> bytes:
    body = b"\x00\x03a/b" + (packet_id.to_bytes(2, "big") if quality else b"") + b"\x00" + payload
    length, size = len(body), bytearray()
    while True:
        length, digit = divmod(length, 128)
        size.append(digit | (0x80 if length else 0))
        if not length:
            return bytes([PUBLISH << 4 | quality << 1]) + bytes(size) + body


class TestTake:
    @pytest.mark.parametrize("size", [0, 1, 120, 121, 122, 200, 16_370, 16_380, 70_000])
    def test_takes_a_packet_only_when_it_is_whole(self, size: int) -> None:
        raw = publish(b"x" * size)
        data = bytearray()
        for at in range(0, len(raw) - 1, 997):
            data[:] = raw[:at]
            assert take(data) is None
        data[:] = raw + b"\x40\x02\x12\x34"

        first, second = take(data), take(data)

        assert first is not None
        assert second is not None
        assert (first.raw, first.kind, first.quality, first.packet_id()) == (raw, PUBLISH, 1, 0x1234)
        assert (second.kind, second.packet_id()) == (PUBACK, 0x1234)
        assert not data

    def test_gives_no_id_to_quality_zero_and_to_other_packets(self) -> None:
        data = bytearray(publish(b"x", quality=0) + b"\xc0\x00")
        first, ping = take(data), take(data)

        assert first is not None
        assert ping is not None
        assert first.packet_id() is None
        assert ping.packet_id() is None

    @pytest.mark.parametrize("raw", [b"\x30\xff\xff\xff\xff\x01", b"\x00\x00", b"\x30\xff\xff\xff\x7f"])
    def test_refuses_what_is_no_packet(self, raw: bytes) -> None:
        with pytest.raises(NotMqtt):
            take(bytearray(raw))


class TestAgain:
    def test_marks_a_repeat_as_a_sender_would(self) -> None:
        one, none = take(bytearray(publish(b"x"))), take(bytearray(publish(b"x", quality=0)))

        assert one is not None
        assert none is not None
        assert one.again()[0] == one.raw[0] | 0x08
        assert one.again()[1:] == one.raw[1:]
        assert none.again() == none.raw
