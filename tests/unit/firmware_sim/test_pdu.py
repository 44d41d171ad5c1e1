"""Every function code, every exception, every length limit."""

import pytest

from firmware_sim.pdu import answer, broadcast_write
from tests.unit.firmware_sim.rig import OPEN, Bench


@pytest.fixture
def bench() -> Bench:
    return Bench().ready()


def ask(bench: Bench, request: str) -> str:
    return answer(bench.outlet, bytes.fromhex(request.replace(" ", "")), bench.now_ms).hex(" ").upper()


class TestAnswer:
    @pytest.mark.parametrize(
        ("request_", "response"),
        [
            ("04 0000 0003", "04 06 43 48 57 31 48 01"),
            ("03 0006 0001", "03 02 00 1E"),
            ("02 0000 0010", "02 02 00 00"),
            ("01 0000 0002", "01 01 00"),
            ("05 0000 FF00", "05 00 00 FF 00"),
            ("05 0000 0000", "05 00 00 00 00"),
            ("06 0059 0001", "06 00 59 00 01"),
            ("0F 0000 0002 01 03", "0F 00 00 00 02"),
            ("10 0042 0002 04 0000 0001", "10 00 42 00 02"),
            ("16 0059 0000 0003", "16 00 59 00 00 00 03"),
            ("17 0190 0001 0042 0002 04 0000 0001", "17 02 00 00"),
        ],
    )
    def test_serves(self, bench: Bench, request_: str, response: str) -> None:
        assert ask(bench, request_) == response

    @pytest.mark.parametrize(
        ("request_", "code"),
        [
            ("07", 1),
            ("14 07 06 0001 0000 0001", 1),
            ("2B 0E 01 00", 1),
            ("04 0080 0001", 2),
            ("04 002D 0001", 2),
            ("03 FFFF 0002", 2),
            ("02 0010 0001", 2),
            ("06 0120 0001", 2),
            ("05 0002 FF00", 2),
            ("04 0000 0000", 3),
            ("04 0000 007E", 3),
            ("02 0000 07D1", 3),
            ("04 0000", 3),
            ("05 0000 0100", 3),
            ("06 0040 0001", 3),
            ("06 0100 0001", 3),
            ("10 0042 0002 03 000000", 3),
            ("10 0042 0000 00", 3),
            ("10 0042 007C F8" + "00" * 248, 3),
            ("0F 0000 0002 02 0300", 3),
            ("0F 0000 07B1 F7" + "00" * 247, 3),
            ("17 0190 007E 0042 0002 04 0000 0001", 3),
            ("17 0190 0001 0042 007A F4" + "00" * 244, 3),
            ("17 0190", 3),
        ],
    )
    def test_refuses(self, bench: Bench, request_: str, code: int) -> None:
        function = int(request_[:2], 16)

        assert ask(bench, request_) == f"{function | 0x80:02X} {code:02X}"

    def test_reads_the_longest_window(self, bench: Bench) -> None:
        assert len(ask(bench, "03 0190 007D").split()) == 2 + 250

    def test_carries_command_and_result_in_one_transaction(self, bench: Bench) -> None:
        frame = bench.frame("OPEN", token=0x1234, **OPEN)
        words = "".join(f"{word:04X}" for word in frame)

        response = ask(bench, f"17 0120 0008 0100 0013 26 {words}").split()

        assert response[:6] == ["17", "10", "12", "34", "00", "02"]
        assert bench.outlet.state == "ARMED"

    def test_counts_even_a_refused_frame_as_a_sign_of_life(self, bench: Bench) -> None:
        bench.polled = False
        bench.run(5_000)
        assert bench.outlet.link_age_s() == 5

        ask(bench, "04 0080 0001")

        assert bench.outlet.link_age_s() == 0


class TestBroadcastWrite:
    def test_reads_only_a_write_of_registers(self) -> None:
        assert broadcast_write(bytes.fromhex("10 0045 0003 06 6921 0000 00FA")) == (69, [0x6921, 0, 250])
        assert broadcast_write(bytes.fromhex("06 0045 0003")) is None
        assert broadcast_write(bytes.fromhex("10 0045 0003 06 6921")) is None
