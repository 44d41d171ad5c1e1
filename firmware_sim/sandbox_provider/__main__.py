"""
Serves the sandbox provider: `python -m firmware_sim.sandbox_provider --port 8090 --secrets DIR --state FILE`.

    /unionpay, /alipay, /wechat   the brands, each as below its real address
    POST /script      {"match": order number, our id or "next", "verb": "" or one, "behaviour": …, "seconds", "reason"}
    GET  /orders      what it has taken and what is under way
    POST /notify      {"order_no": …, "behaviour": again|reordered|forged|changed_amount|other_merchant}
    POST /adjustment  {"order_no": …, "amount_minor": …}, for UnionPay's file of adjustments
    POST /clock       {"now": …} to play a day of any date

Behaviours, each for one request: `decline` says no · `delay` waits, then does it · `timeout_before` never does it ·
`timeout_after` does it, answers when nobody listens · `duplicate` does it twice, as a re-sending proxy would ·
`waiting` lets the payer confirm after some seconds · `success_after_cancel` lets the payer confirm after the cancel.
With `reason`, what is done is a decline. One more script may say how the news goes out: `notify_none`, `notify_late`,
`notify_duplicate`, `notify_reordered`, `notify_forged`, `notify_changed_amount`, `notify_other_merchant`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from firmware_sim.sandbox_provider.app import build
from firmware_sim.sandbox_provider.desk import Options


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stopped and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="sandbox-provider", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--secrets", type=Path, required=True, help="folder of secrets, shared with the backend")
    parser.add_argument("--state", type=Path, required=True, help="SQLite file that survives restarts")
    parser.add_argument("--time-scale", type=float, default=1.0, help="multiplies pauses between notifications")
    parser.add_argument("--waiting-ttl", type=float, default=45.0, help="seconds a payer has to confirm")
    parser.add_argument("--reverse-after", type=float, default=15.0, help="seconds before WeChat reverses an order")
    given = parser.parse_args(argv)
    options = Options(waiting_ttl_s=given.waiting_ttl, reverse_after_s=given.reverse_after, time_scale=given.time_scale)
    uvicorn.run(
        build(given.secrets, given.state, options),
        host="127.0.0.1",
        port=given.port,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
