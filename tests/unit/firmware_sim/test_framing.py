"""Streams of bytes become frames, however they are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.framing import Frame, rtu, sum_holds, take_rtu, take_tcp, tcp

PDUS = [
    bytes.fromhex(text)
    for text in (
        "01 0000 0010", "04 0064 001C", "05 0000 FF00", "06 0059 0007", "0F 0000 0009 02 FF01",
        "10 0045 0003 06 6B025A80 01F4", "16 0000 FFFF 0000", "17 0190 007D 0042 0002 04 00000001",
    )
]  # fmt: skip


class TestTakeRtu:
    @given(choice=st.lists(st.sampled_from(PDUS), max_size=6), cuts=st.lists(st.integers(1, 40), min_size=1))
    def test_finds_every_frame_wherever_the_stream_is_cut(self, choice: list[bytes], cuts: list[int]) -> None:
        stream = b"".join(rtu(3, pdu) for pdu in choice)
        data, found, at = bytearray(), [], 0
        for number in range(len(stream) + 1):
            size = cuts[number % len(cuts)]
            data += stream[at : at + size]
            at += size
            found += take_rtu(data).frames
            if at >= len(stream):
                break

        assert found == [Frame(0, 3, pdu) for pdu in choice]
        assert not data

    def test_throws_away_what_follows_a_wrong_sum(self) -> None:
        data = bytearray(bytes.fromhex("01 03 00 00 00 05 84 4D") + rtu(3, PDUS[0]))

        taken = take_rtu(data)

        assert (taken.frames, taken.bad, bytes(data)) == ([], 1, b"")

    @pytest.mark.parametrize(
        "frame", ["01 03 00 00 00 0A C5 CD", "0C 14 07 06 0004 0001 0008 C9 18", "F7 14 07 06 0003 0000 0004 59 3B"]
    )
    def test_knows_the_sums_of_published_frames(self, frame: str) -> None:
        assert sum_holds(bytes.fromhex(frame))
        assert take_rtu(bytearray.fromhex(frame)).frames[0].pdu == bytes.fromhex(frame)[1:-2]


class TestTakeTcp:
    @given(choice=st.lists(st.sampled_from(PDUS), max_size=8), cut=st.integers(min_value=0, max_value=200))
    def test_leaves_the_piece_of_a_frame_for_later(self, choice: list[bytes], cut: int) -> None:
        stream = b"".join(tcp(number, 3, pdu) for number, pdu in enumerate(choice))
        data = bytearray(stream[:cut])

        found = take_tcp(data).frames
        data += stream[cut:]
        found += take_tcp(data).frames

        assert found == [Frame(number, 3, pdu) for number, pdu in enumerate(choice)]
        assert not data

    @pytest.mark.parametrize("head", ["0001 0001 0006 03", "0001 0000 0000 03", "0001 0000 00FF 03"])
    def test_drops_a_peer_that_speaks_something_else(self, head: str) -> None:
        assert take_tcp(bytearray.fromhex(head + "04 0000 0001")).foreign
