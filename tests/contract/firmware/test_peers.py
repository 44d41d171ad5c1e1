"""The firmware as a program on a terminal, in real time, as mbpoll and libmodbus see it."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardware.firmware_ref.build import Built
from tests.contract.firmware.steps import MAP, command
from tests.fakes.firmware_outlet import FirmwareOutlet
from tests.fakes.gateway_site import wait_until
from tests.fakes.libmodbus import LibmodbusPeer, PeerRefused

UNIT = 17


@pytest.fixture
def outlet(sanitized: Built, tmp_path: Path) -> Iterator[FirmwareOutlet]:
    """Return a powered unit whose program ends at the first wrong memory access."""
    made = FirmwareOutlet(sanitized.program, tmp_path, unit=UNIT, flow_ml_per_s=200)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def peer(outlet: FirmwareOutlet) -> Iterator[LibmodbusPeer]:
    """Return libmodbus on its line."""
    made = LibmodbusPeer(str(outlet.terminal), UNIT, baud=38_400, timeout_s=30)
    yield made
    made.close()


def mbpoll(outlet: FirmwareOutlet, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("mbpoll")
    assert program, "mbpoll is missing: apt-get install mbpoll"
    command_ = [program, "-m", "rtu", "-b", "38400", "-P", "none", "-0", "-1", "-o", "10", *arguments]
    return subprocess.run([*command_, str(outlet.terminal)], check=False, capture_output=True, text=True, timeout=60)


def number(peer: LibmodbusPeer, name: str) -> int:
    point = MAP.points[name]
    value = 0
    for word in peer.read(point.table, point.address, point.words):
        value = value << 16 | word
    return value


class TestMbpoll:
    def test_reads_identity_and_status(self, outlet: FirmwareOutlet) -> None:
        identity = mbpoll(outlet, "-a", str(UNIT), "-r", "0", "-c", "45", "-t", "3:hex")
        status = mbpoll(outlet, "-a", str(UNIT), "-r", "100", "-c", "28", "-t", "3")

        assert identity.returncode == 0, identity.stderr
        assert all(f"[{at}]: \t0x{word:04X}" in identity.stdout for at, word in enumerate((0x4348, 0x5731, 0x4801)))
        assert f"[4]: \t0x{MAP.crc:04X}" in identity.stdout
        assert status.returncode == 0, status.stderr
        assert "[115]: \t400" in status.stdout

    def test_is_told_what_is_wrong(self, outlet: FirmwareOutlet) -> None:
        outside = mbpoll(outlet, "-a", str(UNIT), "-r", "45", "-c", "1", "-t", "3")

        assert outside.returncode != 0
        assert "Illegal data address" in outside.stderr


class TestLibmodbus:
    def test_reads_identity_and_status_before_and_after_a_power_cut(self, outlet: FirmwareOutlet) -> None:
        for boot in (1, 2, 3):
            peer = LibmodbusPeer(str(outlet.terminal), UNIT, baud=38_400, timeout_s=30)
            assert peer.read("input", 0, 3) == [0x4348, 0x5731, 0x4801]
            assert (number(peer, "boot_id"), number(peer, "log_head")) == (boot, boot)
            peer.close()
            outlet.cut()
            outlet.start()

    def test_opens_a_shower_that_ends_at_its_volume(self, outlet: FirmwareOutlet, peer: LibmodbusPeer) -> None:
        wait_until(lambda: number(peer, "state") == MAP.code("state", "IDLE"), why="for the boot")

        peer.write_registers(
            256, command("OPEN", token=5, session=7, limit_volume=300, limit_time=600, lease=60, idle=60)
        )

        assert number(peer, "res_code") == MAP.code("result", "DONE")
        wait_until(lambda: number(peer, "close_reason") == MAP.code("close_reason", "VOLUME_LIMIT"), why="for the end")
        assert 300 <= number(peer, "sess_volume") <= 320
        assert number(peer, "total_pulses") == number(peer, "sess_pulses") > 0

    def test_is_refused_what_the_map_does_not_allow(self, peer: LibmodbusPeer) -> None:
        for address, value in ((257, 1), (6, 60), (0, 1), (91, 1)):
            with pytest.raises(PeerRefused, match="Illegal data"):
                peer.write_register(address, value)

    def test_sees_a_card(self, outlet: FirmwareOutlet, peer: LibmodbusPeer) -> None:
        outlet.say("card 04A1B2C3D4E5F6")

        wait_until(lambda: peer.read("discrete", 9, 1) == [1], why="for the card")
        assert peer.read("input", 206, 5) == [7, 0x04A1, 0xB2C3, 0xD4E5, 0xF600]
        peer.write_register(68, number(peer, "mbx_item_seq"))
        assert peer.read("discrete", 9, 1) == [0]
