"""The firmware, built once for all tests of a process."""

import ctypes

import pytest

from hardware.firmware_ref.build import Built, build
from hardware.firmware_ref.host import load


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """Return the library, loaded."""
    return load(build(tmp_path_factory.mktemp("firmware"), target="library").library)


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Return library and program that end at the first wrong memory access or undefined operation."""
    return build(tmp_path_factory.mktemp("sanitized"), sanitize=True, quick=True)
