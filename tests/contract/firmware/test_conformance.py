"""What independent peers ask of the simulated outlet, they ask of the firmware: the same tests, on another device."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.contract.conformance import test_functions
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


class TestFunctions:
    def test_each_that_the_peer_speaks(
        self, meet: Callable[[str, str], tuple[FirmwareTarget, Voice]], peer: str, transport: str
    ) -> None:
        test_functions.TestHappyPaths().test_of_every_function_the_peer_speaks(meet, peer, transport)  # type: ignore[arg-type]

    def test_each_refusal_of_address_and_value(
        self, meet: Callable[[str, str], tuple[FirmwareTarget, Voice]], peer: str, transport: str
    ) -> None:
        test_functions.TestHappyPaths().test_refusals_of_address_and_value(meet, peer, transport)  # type: ignore[arg-type]
