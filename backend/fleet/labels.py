"""Which stickers a place needs, in the order in which somebody walks through it, and how many each place has."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from backend.errors import BackendError, NotFound
from backend.fleet import service
from backend.fleet.sticker_sheet import Label, link_of
from backend.fleet.types import Place

LABELS_MAX = 20_000
_NAMED = ("building", "floor", "room")


class NothingToPrint(NotFound):
    """There is no outlet that needs a sticker."""

    code = "nothing_to_print"


class TooManyLabels(BackendError):
    """One file does not hold so many stickers."""

    code = "too_many_labels"
    status = 422


@dataclass(frozen=True, slots=True)
class PlaceCount:
    """A place, its id with those it lies in, and how many outlets it has."""

    place: Place
    path: tuple[str, ...]
    outlets: int


def labels(
    conn: Connection,
    tenant_id: str,
    public_url: str,
    *,
    place_id: str | None = None,
    device_ids: Sequence[str] = (),
    labels_max: int = LABELS_MAX,
) -> list[Label]:
    """
    Return the stickers of a school's outlets, or of those in one place, by place and id.

    :raises NothingToPrint: if there is no outlet.
    :raises TooManyLabels: if there are more than one file may hold.
    :raises PlaceUnknown: if the school has no such place.
    :raises DeviceUnknown: if one of the devices is none of the school's outlets.
    """
    if place_id is not None:
        service.place(conn, tenant_id, place_id)
    places = {each.place_id: each for each in service.places(conn, tenant_id)}
    outlets = {each.device_id: each for each in service.devices(conn, tenant_id, kind="outlet")}
    for device_id in device_ids:
        if device_id not in outlets:
            raise service.DeviceUnknown(f"no outlet {device_id!r}")
    found = []
    for device in outlets.values():
        path = _path(places, device.place_id)
        if (place_id is None or place_id in path) and (not device_ids or device.device_id in device_ids):
            around = [places[each].name for each in path if places[each].kind in _NAMED]
            label = Label(
                link=link_of(public_url, device.sticker_token),
                place=" ".join(around),
                name=device.name,
                name_en=device.name_en,
                device_id=device.device_id,
            )
            found.append((path, label))
    if not found:
        raise NothingToPrint("no outlet is there to print a sticker for")
    if len(found) > labels_max:
        raise TooManyLabels(f"{len(found)} outlets are more than one file holds ({labels_max}); print place by place")
    return [label for _, label in sorted(found, key=lambda each: (each[0], each[1].device_id))]


def counts(conn: Connection, tenant_id: str) -> list[PlaceCount]:
    """Return the campuses, buildings and floors that have outlets, each before what lies in it."""
    places = {each.place_id: each for each in service.places(conn, tenant_id)}
    numbers: dict[str, int] = {}
    for device in service.devices(conn, tenant_id, kind="outlet"):
        for place_id in _path(places, device.place_id):
            numbers[place_id] = numbers.get(place_id, 0) + 1
    found = [
        PlaceCount(places[place_id], _path(places, place_id), number)
        for place_id, number in numbers.items()
        if places[place_id].kind in ("campus", "building", "floor")
    ]
    return sorted(found, key=lambda each: each.path)


def _path(places: dict[str, Place], place_id: str) -> tuple[str, ...]:
    """Return a place's id with those it lies in, root first."""
    path: list[str] = []
    at: str | None = place_id
    while at is not None and at in places:
        assert at not in path, "the place tree has a loop"
        path.append(at)
        at = places[at].parent_id
    return tuple(reversed(path))
