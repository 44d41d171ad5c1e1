"""The seal on a command frame: the first half of an AES-CMAC under the device's own key."""

from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from firmware_sim.codec import bytes_of

SEALED_WORDS = 14


def command_mac(key: bytes, frame: Sequence[int], device_uid: int) -> int:
    """Return the MAC over the first 14 registers of a frame and the device's number, as the frame's u64."""
    cmac = CMAC(AES(key))
    cmac.update(bytes_of(frame[:SEALED_WORDS]) + device_uid.to_bytes(8, "big"))
    return int.from_bytes(cmac.finalize()[:8], "big")
