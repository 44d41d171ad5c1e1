"""One running school for all journeys; each test takes its own student and outlet."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from firmware_sim.plan import PlanSize
from firmware_sim.stack import Stack
from tests.e2e.journeys.school import School
from tests.patience import PATIENCE_S

SIZE = PlanSize(buildings=2, floors=1, outlets_per_floor=4, students=80, idle_limit_s=4)


def run_school(folder: Path, **options: object) -> Iterator[School]:
    """Yield a school with every outlet online, and stop it afterwards."""
    stack = Stack(folder, seed=11, size=SIZE, supervise=False, **options)  # type: ignore[arg-type]
    stack.start()
    try:
        with httpx.Client(base_url=stack.base_url, timeout=PATIENCE_S) as http:
            school = School(stack, http)
            school.devices_online()
            yield school
    finally:
        stack.stop()


@pytest.fixture(scope="package")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[School]:
    """Yield the running school on SQLite and the embedded broker; it stops before other tests need the machine."""
    yield from run_school(tmp_path_factory.mktemp("school"))
