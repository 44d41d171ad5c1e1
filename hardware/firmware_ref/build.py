"""Build the reference firmware for this computer with make and gcc, every warning an error."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parent
BUILD_S_MAX = 300


class BuildFailed(Exception):
    """The compiler objected; the message is what it said."""


@dataclass(frozen=True, slots=True)
class Built:
    """Both forms of the firmware on a host."""

    #: shared library with virtual time, see `hardware.firmware_ref.host`
    library: Path
    #: program that speaks RTU on a serial device
    program: Path


def build(
    directory: Path, *, defines: Sequence[str] = (), sanitize: bool = False, target: str = "all", quick: bool = False
) -> Built:
    """
    Return the firmware built into a directory; `target` is all, library or program.

    `quick` builds faster what runs slower.

    :raises BuildFailed: if the compiler or make objects, or is not there.
    """
    directory.mkdir(parents=True, exist_ok=True)
    command = ["make", "--silent", "--file", str(SOURCES / "Makefile"), f"BUILD={directory}"]
    command += [target, f"DEFINES={' '.join(f'-D{name}' for name in defines)}", f"SANITIZE={int(sanitize)}"]
    if quick:
        command.append("OPTIMIZE=-O0")
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=BUILD_S_MAX)
    except FileNotFoundError as error:
        raise BuildFailed("make is not installed") from error
    except subprocess.CalledProcessError as error:
        raise BuildFailed(f"{error.stdout}{error.stderr}") from error
    return Built(library=directory / "libhwo1_ref.so", program=directory / "hwo1_ref")
