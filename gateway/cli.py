"""`campustap-gateway`: make the gateway's key, and run it."""

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path

import msgspec

from gateway.bootstrap import key_path, run
from gateway.config import ConfigRefused, load_config
from gateway.contract.signing import load_or_create_key, public_text
from gateway.uplink.store import NoRoom

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and whatever the call added."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: str(value) for name, value in vars(record).items() if name not in _PLAIN}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def _set_up_logging(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="campustap-gateway", description="The edge of CampusTap.")
    commands = parser.add_subparsers(dest="command", required=True)
    init = commands.add_parser("init", help="make the gateway's key and print its public half as JSON")
    init.add_argument("--state", type=Path, required=True, help="folder for key and journal")
    start = commands.add_parser("run", help="run until SIGTERM")
    start.add_argument("--config", type=Path, required=True, help="TOML file")
    start.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    given = parser.parse_args(arguments)
    if given.command == "init":
        key = load_or_create_key(key_path(given.state))
        print(msgspec.json.encode({"public_key": public_text(key.public_key())}).decode())
        return 0
    _set_up_logging(given.log_level)
    trace = os.environ.get("CAMPUSTAP_TRACE_FILE")
    try:
        asyncio.run(run(load_config(given.config), trace=Path(trace) if trace else None))
    except ConfigRefused as error:
        print(error, file=sys.stderr)
        return 2
    except NoRoom as error:
        logging.getLogger(__name__).critical("cannot start without a journal", extra={"reason": str(error)})
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
