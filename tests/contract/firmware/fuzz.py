"""
Run a library through scenarios and through frames made of chance: `python -m tests.contract.firmware.fuzz LIBRARY`.

Meant for a library with sanitizers, which ends the process at the first wrong access. Prints how much it did.
"""

import ctypes
import random
import sys
from pathlib import Path

from hardware.firmware_ref.host import Firmware, Sample, load
from tests.contract.firmware.chance import Chance
from tests.contract.firmware.scenarios import SCENARIOS
from tests.contract.firmware.steps import Frame
from tests.contract.firmware.twins import LABEL, same

SEEDS = range(100, 102)
FRAMES = 100_000
_FUNCTIONS = (1, 2, 3, 4, 5, 6, 15, 16, 22, 23, 20, 43, 0, 255)
_ADDRESSES = (0, 1, 2, 17, 64, 66, 69, 72, 100, 200, 255, 256, 274, 288, 400, 405, 524, 0xFFFF)


def malformed(chance: random.Random) -> bytes:
    """Return a request whose head is often right and whose length often is not."""
    head = bytes((chance.choice(_FUNCTIONS),)) + chance.choice(_ADDRESSES).to_bytes(2, "big")
    count = chance.choice((0, 1, 2, 3, 19, 121, 123, 124, 125, 126, 1_968, 2_000, 2_001, 0xFFFF)).to_bytes(2, "big")
    size = chance.choice((0, 2, 4, 6, 38, 242, 246, 250))
    body = bytes((chance.choice((size, size & 0xFF, 255)),)) + chance.randbytes(size)
    return (head + count + body)[: chance.choice((1, 2, 5, 6, 10, 253))]


def _frames(library: ctypes.CDLL) -> int:
    """Send frames made of chance, with water and mail in between; return how many were answered."""
    chance = random.Random(7)
    firmware = Firmware(library, LABEL)
    sample = Sample(temp=400, temp_in=200, supply_mv=24_000, backup_mv=3_300)
    firmware.power_up(1_000, None, sample)
    answers = 0
    for number in range(FRAMES):
        now_ms = 2_000 + number * 10
        if number % 5 == 0:
            sample.pulses = chance.choice((0, 1, 50, 0xFFFFFFFF))
            firmware.tick(now_ms, sample)
        pdu = malformed(chance) if number % 4 else chance.randbytes(chance.randint(1, 253))
        answers += len(firmware.send(Frame(pdu, good=number % 50 != 0).adu(), now_ms)) > 0
        firmware.post(chance.randint(0, 5), chance.randbytes(chance.randint(0, 40)), chance.randbytes(number % 300))
    firmware.close()
    return answers


def main(library_path: Path) -> str:
    """Run everything and return what was done."""
    library = load(library_path)
    answers = _frames(library)
    for scenario in SCENARIOS:
        same(
            library,
            scenario.steps,
            battery=scenario.battery,
            key=scenario.key,
            k_factor=scenario.k_factor,
            name=scenario.name,
        )
    for seed in SEEDS:
        same(library, Chance(seed).steps(150), name=f"seed {seed}")
    return f"{len(SCENARIOS)} scenarios, {len(SEEDS)} seeds, {answers} of {FRAMES} frames answered"


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
