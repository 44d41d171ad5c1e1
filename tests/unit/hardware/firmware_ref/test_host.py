import ctypes
from collections.abc import Iterator

import pytest

from hardware.firmware_ref.build import build
from hardware.firmware_ref.host import Firmware, Label, PowerLost, Sample, cmac, load

LABEL = Label(model="HWO-1", serial="HW-00042", device_uid=0x1122334455667788, k_factor_pulses_per_m3=450_000, unit=9)
WARM = Sample(temp=400, temp_in=-32768, temp_mcu=310, supply_mv=24_000, backup_mv=3_300)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return load(build(tmp_path_factory.mktemp("host"), target="library", quick=True).library)


@pytest.fixture
def firmware(library: ctypes.CDLL) -> Iterator[Firmware]:
    made = Firmware(library, LABEL)
    made.power_up(1_000, None, WARM)
    yield made
    made.close()


class TestPeek:
    def test_shows_the_label(self, firmware: Firmware) -> None:
        serial = b"".join(word.to_bytes(2, "big") for word in firmware.peek("input", 21, 8))

        assert serial == b"HW-00042".ljust(16, b"\0")
        assert firmware.peek("input", 29, 4) == [0x1122, 0x3344, 0x5566, 0x7788]
        assert firmware.peek("holding", 2, 1) == [9]

    def test_refuses_what_is_not_there(self, firmware: Firmware) -> None:
        with pytest.raises(AssertionError, match=r"input 45\+1: exception 2"):
            firmware.peek("input", 45, 1)


class TestTick:
    def test_counts_pulses(self, firmware: Firmware) -> None:
        firmware.tick(1_100, Sample(pulses=7, temp=400, temp_in=-32768, supply_mv=24_000, backup_mv=3_300))

        assert firmware.peek("input", 116, 4) == [0, 0, 0, 7]


class TestCuts:
    def test_lose_the_power_in_a_write_and_keep_what_was_written(self, firmware: Firmware) -> None:
        firmware.cut_at_write(1, 4)

        with pytest.raises(PowerLost):
            firmware.falling_supply(1_100)
        with pytest.raises(PowerLost):
            firmware.tick(1_200, WARM)
        assert bytes(firmware.fram[0:4]) == b"HW1B"

    def test_of_a_save_can_be_taken_back(self, firmware: Firmware) -> None:
        firmware.cut_at_save(1, 0)
        firmware.cut_at_save(0, 0)

        before = firmware.fram_writes
        firmware.falling_supply(1_100)

        assert firmware.fram_writes == before + 1


class TestCmac:
    """Vectors of RFC 4493."""

    KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    MESSAGE = bytes.fromhex(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
    )

    @pytest.mark.parametrize(
        ("size", "mac"),
        [
            (16, "070a16b46b4d4144f79bdd9dd04a287c"),
            (40, "dfa66747de9ae63030ca32611497c827"),
            (64, "51f0bebf7e3b9d92fc49741779363cfe"),
        ],
    )
    def test_is_what_was_published(self, library: ctypes.CDLL, size: int, mac: str) -> None:
        assert cmac(library, self.KEY, self.MESSAGE[:size]).hex() == mac


class TestPost:
    def test_returns_the_sequence_the_mailbox_shows(self, firmware: Firmware) -> None:
        sequence = firmware.post(1, b"\1\2\3\4", b"")

        assert firmware.peek("input", 200, 1) == [sequence]
