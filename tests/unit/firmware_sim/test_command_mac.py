"""A command frame with a seal: the right one opens, any other does not and is not remembered."""

import pytest
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from firmware_sim.command_mac import command_mac
from firmware_sim.device import Identity
from firmware_sim.water_outlet import WaterOutlet
from tests.unit.firmware_sim.rig import K_FACTOR, OPEN, UNIX_MS, Bench

KEY = bytes(range(16))
UID = 0x4357_0000_0000_0009
LABEL = Identity(
    device_id="dev_m", serial="HW-9", device_uid=UID, model="HWO-1", k_factor_pulses_per_m3=K_FACTOR, mac_key=KEY
)


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.nvm.body = None
    bench.outlet = WaterOutlet(bench.map, LABEL, bench.nvm, now_ms=bench.now_ms, unix_ms=UNIX_MS)
    return bench.ready()


def sealed(bench: Bench, **fields: int) -> list[int]:
    frame = bench.frame("OPEN", **{**OPEN, **fields})
    mac = command_mac(KEY, frame, UID)
    frame[14:18] = [mac >> shift & 0xFFFF for shift in (48, 32, 16, 0)]
    return frame


class TestCommandMac:
    def test_is_the_front_of_a_cmac_over_frame_and_number(self, bench: Bench) -> None:
        frame = bench.frame("OPEN", token=5, **OPEN)
        cmac = CMAC(AES(KEY))
        cmac.update(b"".join(word.to_bytes(2, "big") for word in frame[:14]) + UID.to_bytes(8, "big"))

        assert command_mac(KEY, frame, UID).to_bytes(8, "big") == cmac.finalize()[:8]


class TestSealedCommands:
    def test_open(self, bench: Bench) -> None:
        assert bench.value("cap_bits") & 1
        assert bench.send(sealed(bench)) == ("DONE", 0)

    @pytest.mark.parametrize("word", range(18))
    def test_do_not_open_with_any_bit_changed(self, bench: Bench, word: int) -> None:
        frame = sealed(bench)
        frame[word] ^= 1
        frame[18] = 0xA5C3 ^ frame[0]

        assert bench.send(frame)[0] == "BAD_MAC"
        assert bench.outlet.state == "IDLE"
        assert not bench.records("START")

    def test_may_use_the_token_of_a_forgery(self, bench: Bench) -> None:
        frame = sealed(bench, token=5)
        forged = [*frame[:14], 0, 0, 0, 0, frame[18]]
        assert bench.send(forged) == ("BAD_MAC", 0)

        assert bench.send(frame) == ("DONE", 0)
        assert bench.send(forged) == ("BAD_MAC", 0)
        assert bench.send(frame) == ("DUPLICATE", bench.map.code("result", "DONE"))
