"""What independent peers ask of the simulated outlet, they ask of the firmware: the same tests, on another device."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.contract.conformance.conftest import peers
from tests.contract.conformance.test_outlet import TestBounds, TestCommands, TestLog, TestPowerCut, TestSnapshot
from tests.contract.conformance.voices import Voice, connect
from tests.contract.firmware.target import FirmwareTarget

__all__ = ["TestBounds", "TestCommands", "TestLog", "TestPowerCut", "TestSnapshot", "peers"]

PEERS = ("libmodbus", "modbus_tk")
pytestmark = pytest.mark.parametrize(("peer", "transport"), [(peer, "pty") for peer in PEERS], ids=PEERS)


@pytest.fixture
def meet(
    peers: dict[str, Path],
    library: ctypes.CDLL,
) -> Iterator[Callable[[str, str], tuple[FirmwareTarget, Voice]]]:
    """Yield what starts the firmware behind a terminal and connects a peer to it."""
    with ExitStack() as stack:

        def start(peer: str, transport: str) -> tuple[FirmwareTarget, Voice]:
            target = FirmwareTarget(library)
            target.start()
            stack.callback(target.stop)
            voice = connect(peer, target.address, transport, program=peers["client"])
            stack.callback(voice.close)
            return target, voice

        yield start
