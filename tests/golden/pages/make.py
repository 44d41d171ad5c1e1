"""
Draws the picture of a shower on a phone for the README: `python -m tests.golden.pages.make`, about a minute.

Starts the whole system with its simulated dormitory in a temporary folder, opens a sticker's page in Chromium as a
phone would, and puts three moments side by side into `shower.png`: ready, running, billed. Look at the picture before
committing it: it changes with the pages' style, and its figures with the moment at which water is stopped.
"""

import io
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from firmware_sim.demo import passwords
from tests.e2e.journeys.conftest import run_school
from tests.e2e.journeys.school import School
from tests.e2e.pages_conftest import Address, browser, visit

PICTURE = Path(__file__).with_name("shower.png")
BYTES_MAX = 250_000
_OUTLET = "dev_b1_103"
_RUN_S = 25.0
_GAP_PX, _EDGE = 24, (214, 219, 226)
_COLORS = 160


def _look(page: Page) -> Image.Image:
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def moments(school: School) -> list[Image.Image]:
    """Return the outlet's page before, during and after a shower."""
    student = school.fresh()
    address = Address(school.stack.base_url)
    with browser() as chromium, visit(
        chromium, address, login=student, password=passwords(school.stack.demo)[student], scale=2
    ) as page:  # fmt: skip
        page.goto(str(school.stack.demo["stickers"][_OUTLET]))
        page.get_by_role("checkbox").check()
        looks = [_look(page)]
        page.locator("button.round").click()
        page.wait_for_selector("[data-view=running]", timeout=15_000)
        until = time.monotonic() + _RUN_S
        while time.monotonic() < until:
            page.wait_for_timeout(200)
        looks.append(_look(page))
        page.locator("button.round").click()
        page.wait_for_selector(".receipt", timeout=15_000)
        page.wait_for_timeout(300)
        looks.append(_look(page))
    return looks


def side_by_side(looks: list[Image.Image]) -> Image.Image:
    """Return pictures of one size next to each other, with a thin edge around each."""
    width, height = looks[0].size
    whole = Image.new("RGB", ((width + 2 + _GAP_PX) * len(looks) + _GAP_PX, height + 2 + 2 * _GAP_PX), "white")
    for number, look in enumerate(looks):
        left = _GAP_PX + number * (width + 2 + _GAP_PX)
        whole.paste(_EDGE, (left, _GAP_PX, left + width + 2, _GAP_PX + height + 2))
        whole.paste(look, (left + 1, _GAP_PX + 1))
    return whole


def main() -> int:
    """Write the picture; return 1 if it is larger than a README should carry."""
    with tempfile.TemporaryDirectory(prefix="campustap-picture-") as folder:
        for school in run_school(Path(folder)):
            whole = side_by_side(moments(school))
    whole.quantize(_COLORS, dither=Image.Dither.NONE).save(PICTURE, optimize=True)
    size = PICTURE.stat().st_size
    print(f"{PICTURE}: {whole.width} x {whole.height}, {size} bytes")
    return int(size > BYTES_MAX)


if __name__ == "__main__":
    sys.exit(main())
