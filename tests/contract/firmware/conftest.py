"""The firmware, built once for all tests of a process."""

import ctypes

import pytest

from hardware.firmware_ref.build import Built, build
from hardware.firmware_ref.host import load


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Return the library and the program."""
    return build(tmp_path_factory.mktemp("firmware"))


@pytest.fixture(scope="session")
def library(built: Built) -> ctypes.CDLL:
    """Return the library, loaded."""
    return load(built.library)
