"""`campustap stickers TENANT --out FILE`: prints the QR codes of a school's outlets, or of those in one place."""

import argparse
import csv
import io
import sys
from pathlib import Path
from typing import Any

from backend.commands.common import CommandRefused, ready, write_text
from backend.config import Config
from backend.fleet.labels import labels
from backend.fleet.sticker_sheet import PER_PAGE, draw, leads_nowhere
from backend.tenants import service as tenants

_COLUMNS = ("device_id", "place", "name", "name_en", "link")


def add_to(commands: Any) -> None:
    """Add `stickers` to the parser of commands."""
    parser = commands.add_parser("stickers", help="print outlet QR codes as sheets of labels (PDF)")
    parser.add_argument("tenant", metavar="TENANT")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the PDF")
    parser.add_argument("--place", metavar="PLACE", help="only outlets in this building, floor or room")
    parser.add_argument("--device", action="append", default=[], metavar="DEVICE", help="only this outlet; repeatable")
    parser.add_argument("--list", type=Path, metavar="CSV", help="also write the outlets as a list, for checklists")
    parser.set_defaults(run=_stickers)


def _stickers(config: Config, args: argparse.Namespace) -> None:
    with ready(config).db.read() as conn:
        tenants.get(conn, args.tenant)
        found = labels(conn, args.tenant, config.public_url, place_id=args.place, device_ids=args.device)
    if leads_nowhere(config.public_url):
        print(
            f"campustap: these codes lead to {config.public_url}; set CAMPUSTAP_PUBLIC_URL before you print",
            file=sys.stderr,
        )
    try:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_bytes(draw(found, title=f"{args.tenant} stickers"))
    except OSError as error:
        raise CommandRefused(f"{args.out}: cannot be written: {error.strerror}") from error
    if args.list:
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows([getattr(label, name) for name in _COLUMNS] for label in found)
        write_text(args.list, table.getvalue())
    print(f"{args.out}: {len(found)} stickers on {-(-len(found) // PER_PAGE)} pages")
