"""`campustap stickers TENANT --out FILE`: prints the QR codes of a school's outlets, or of those in one place."""

import argparse
import csv
import io
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection

from backend.commands.common import CommandRefused, ready, write_text
from backend.config import Config
from backend.fleet import service as fleet
from backend.fleet.sticker_sheet import PER_PAGE, Label, draw, link_of
from backend.tenants import service as tenants

_LABELS_MAX = 20_000
_COLUMNS = ("device_id", "place", "name", "name_en", "link")
_ONLY_HERE = ("127.0.0.1", "localhost", "::1")


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
        found = labels(conn, args.tenant, config.public_url, place_id=args.place, device_ids=args.device)
    host = urlsplit(config.public_url).hostname or ""
    if host in _ONLY_HERE:
        print(f"campustap: these codes lead to {host}; set CAMPUSTAP_PUBLIC_URL before you print", file=sys.stderr)
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


def labels(
    conn: Connection, tenant_id: str, public_url: str, *, place_id: str | None = None, device_ids: list[str]
) -> list[Label]:
    """
    Return the stickers of a school's outlets, by place and id.

    :raises CommandRefused: if there are none, or too many for one file.
    :raises PlaceUnknown: if the school has no such place.
    :raises DeviceUnknown: if one of the devices is none of the school's outlets.
    """
    tenants.get(conn, tenant_id)
    if place_id is not None:
        fleet.place(conn, tenant_id, place_id)
    places = {each.place_id: each for each in fleet.places(conn, tenant_id)}
    outlets = {each.device_id: each for each in fleet.devices(conn, tenant_id, kind="outlet")}
    for device_id in device_ids:
        if device_id not in outlets:
            raise fleet.DeviceUnknown(f"no outlet {device_id!r}")
    found = []
    for device in outlets.values():
        path = _path(places, device.place_id)
        if (place_id is None or place_id in path) and (not device_ids or device.device_id in device_ids):
            around = [places[each].name for each in path if places[each].kind in ("building", "floor", "room")]
            label = Label(
                link=link_of(public_url, device.sticker_token),
                place=" ".join(around),
                name=device.name,
                name_en=device.name_en,
                device_id=device.device_id,
            )
            found.append((path, label))
    if not found:
        raise CommandRefused("no outlet is there to print a sticker for")
    if len(found) > _LABELS_MAX:
        raise CommandRefused(f"{len(found)} outlets are more than one file holds ({_LABELS_MAX}); use --place")
    return [label for _, label in sorted(found, key=lambda each: (each[0], each[1].device_id))]


def _path(places: dict[str, fleet.Place], place_id: str) -> tuple[str, ...]:
    """Return a place's id with those it lies in, root first."""
    path: list[str] = []
    at: str | None = place_id
    while at is not None and at in places:
        assert at not in path, "the place tree has a loop"
        path.append(at)
        at = places[at].parent_id
    return tuple(reversed(path))
