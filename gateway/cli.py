"""`campustap-gateway`: its commands and their exit status. Bad input is one line that says what to write, status 2."""

import argparse
import logging
import sys

import msgspec

from gateway.care.enrolling import EnrollmentFailed
from gateway.commands import doctor, init, running, scan, watch
from gateway.commands.init import InitRefused
from gateway.commands.local import NotRunning
from gateway.commands.scan import ScanRefused
from gateway.config import ConfigRefused

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_NOT_RUNNING, _REFUSED = 1, 2


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


def _say_results_only() -> None:
    """Keep warnings of the parts a command uses off the terminal: it says itself what it found."""
    for name in ("gateway", "pymodbus"):
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="campustap-gateway", description="The edge of CampusTap.")
    commands = parser.add_subparsers(dest="command", required=True)
    for command in (init, running, doctor, scan, watch):
        command.add_to(commands)
    given = parser.parse_args(arguments)
    if "log_level" in given:
        _set_up_logging(given.log_level)
    else:
        _say_results_only()
    try:
        status: int = given.run(given)
    except (ConfigRefused, InitRefused, EnrollmentFailed, ScanRefused) as error:
        print(error, file=sys.stderr)
        return _REFUSED
    except NotRunning as error:
        print(error, file=sys.stderr)
        return _NOT_RUNNING
    return status


if __name__ == "__main__":
    sys.exit(main())
