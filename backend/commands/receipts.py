"""`campustap verify-receipt FILE…`: checks a downloaded receipt offline."""

import argparse
from pathlib import Path
from typing import Any

from backend.commands.common import CommandRefused
from backend.config import Config
from backend.settlement import receipt_check
from gateway.contract.signing import public_from_text

_BYTES_MAX = 5_000_000
_FILES_MAX = 1_000
NOT_GENUINE = 1


def add_to(commands: Any) -> None:
    """Add `verify-receipt` to the parser of commands."""
    parser = commands.add_parser("verify-receipt", help="check a downloaded receipt offline: signatures, chain, amount")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="all pages of one receipt")
    parser.add_argument("--key", action="append", default=[], metavar="KEY", help="the school's published key")
    parser.set_defaults(run=_verify)


def _verify(_config: Config, args: argparse.Namespace) -> int:
    """Print each finding; return 0 for a genuine receipt, 1 for one that is not."""
    for key in args.key:
        try:
            public_from_text(key)
        except ValueError as error:
            raise CommandRefused(f"--key: {key!r} is not 32 bytes in base 64") from error
    if len(args.files) > _FILES_MAX:
        raise CommandRefused(f"more than {_FILES_MAX} files")
    found = receipt_check.check([_read(path) for path in args.files], trusted=args.key)
    for finding in found:
        print(f"{'ok  ' if finding.is_good else 'FAIL'} {finding.what}: {finding.said}")
    is_genuine = all(finding.is_good for finding in found)
    print("The receipt is genuine." if is_genuine else "The receipt is NOT proven; see the line above.")
    return 0 if is_genuine else NOT_GENUINE


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _BYTES_MAX:
            raise CommandRefused(f"{path}: is larger than any page of a receipt")
        return path.read_bytes()
    except OSError as error:
        raise CommandRefused(f"{path}: cannot be read: {error.strerror}") from error
