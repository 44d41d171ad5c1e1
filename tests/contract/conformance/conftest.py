"""The peers that are compiled, and targets that are started."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.contract.conformance.targets import SimTarget
from tests.contract.conformance.voices import Voice, connect

PEERS = Path(__file__).parent / "peers"


@pytest.fixture(scope="session")
def peers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the programs on libmodbus, by name."""
    compiler = shutil.which("gcc")
    assert compiler, "gcc is missing: apt-get install gcc libmodbus-dev"
    folder = tmp_path_factory.mktemp("peers")
    programs = {source.stem: folder / source.stem for source in sorted(PEERS.glob("*.c"))}
    for source in sorted(PEERS.glob("*.c")):
        subprocess.run(
            [compiler, "-O1", "-Wall", "-Wextra", "-Werror", "-I/usr/include/modbus", "-o",
             os.fspath(programs[source.stem]), os.fspath(source), "-lmodbus"],
            check=True,
        )  # fmt: skip
    return programs


@pytest.fixture
def meet(peers: dict[str, Path]) -> Iterator[Callable[[str, str], tuple[SimTarget, Voice]]]:
    """Yield what starts the simulator's outlet on a transport and connects a peer to it."""
    with ExitStack() as stack:

        def start(peer: str, transport: str) -> tuple[SimTarget, Voice]:
            target = SimTarget(transport)
            target.start()
            stack.callback(target.stop)
            voice = connect(peer, target.address, transport, program=peers["client"])
            stack.callback(voice.close)
            return target, voice

        yield start
