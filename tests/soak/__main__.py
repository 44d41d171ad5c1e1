"""`python -m tests.soak --minutes N [--seed S] [--ber P] [--bad]`: a gateway, four outlets and a bad serial line."""

import argparse
import asyncio
import logging
import sys
import time

from tests.soak.life import Soak
from tests.soak.noise import Mishaps

REPORT_S = 60.0


async def soak(seed: int, mishaps: Mishaps, *, seconds: float = 0.0, steps: int = 0) -> Soak:
    """Return what was seen in so many seconds or steps."""
    run = Soak(seed, mishaps)
    await run.start()
    started = reported = time.monotonic()
    try:
        while run.done.total() + run.loud.total() < steps or time.monotonic() - started < seconds:
            await run.step()
            if time.monotonic() - reported > REPORT_S:
                reported = time.monotonic()
                print(summary(run), flush=True)
        run.judge()
    finally:
        await run.stop()
    return run


def summary(run: Soak) -> str:
    """Return one line about a run."""
    crc = sum(run.bus.unit(unit).crc_errors for unit in run.outlets.benches)
    return (
        f"{run.done.total()} done, {run.loud.total()} failed loudly {dict(run.loud)}, "
        f"line {dict(run.line.counts)}, damaged frames seen by gateway {crc} and devices {run.server.bad_frames}, "
        f"openings told {sum(map(len, run.told.values()))}, WRONG {len(run.wrong)}"
    )


def main() -> int:
    """Soak and print totals; return 1 when anything was silently wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ber", type=float, default=1e-4, help="chance that a bit flips")
    parser.add_argument("--bad", action="store_true", help="answers are also lost, late and doubled")
    given = parser.parse_args()
    logging.disable(logging.ERROR)  # the library writes down every frame that did not fit
    share = 0.01 if given.bad else 0.0
    mishaps = Mishaps(bit_error=given.ber, lost=share, late=share, doubled=share)
    run = asyncio.run(soak(given.seed, mishaps, seconds=60 * given.minutes))
    print(summary(run))
    print(f"done: {dict(run.done)}")
    for wrong in run.wrong[:20]:
        print(f"WRONG {wrong}")
    return 1 if run.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
