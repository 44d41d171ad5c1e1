"""Read the golden vectors of a map, and refuse one that its points do not make true."""

from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from hardware import vectors
from hardware.document import Document
from hardware.model import RegisterMap, Vector
from hardware.vocabulary import ORIGINS


def read_vectors(doc: Document, register_map: RegisterMap) -> tuple[Vector, ...]:
    """Return the golden vectors, each of which must be right."""
    found = []
    in_layouts = {f"{b.id}.{p.name}": p for b in register_map.layouts.values() for p in b.points}
    for number, raw in enumerate(doc.tables("vectors", doc.top["vectors"])):
        where = f"vectors[{number}]"
        doc.only_keys(where, raw, {"point", "raw", "value", "given", "from"})
        name = doc.text_of(where, raw, "point")
        point = register_map.points.get(name) or in_layouts.get(name)
        if point is None:
            doc.fail(where, f"unknown point {name!r}")
        given = doc.table(where, raw.get("given", {}))
        if not all(type(each) is int for each in given.values()):
            doc.fail(where, "given must name points and their whole numbers")
        try:
            data = bytes.fromhex(doc.text_of(where, raw, "raw"))
            value = _vector_value(raw.get("value"))
            decoded = vectors.meaning(register_map, point, data, given)
            right = vectors.agrees(point, decoded, value)
        except (KeyError, ValueError, OverflowError) as error:
            doc.fail(where, f"{name}: {error}")
        if not right:
            doc.fail(
                where,
                f"{name}: {raw['raw']} decodes to {decoded}, not {raw.get('value')}",
                vectors.hint(register_map, point, data, given, value),
            )
        origin = doc.one_of(where, raw.get("from", "computed"), ORIGINS, "origin")
        found.append(Vector(point=name, raw=data, value=value, given=MappingProxyType(dict(given)), origin=origin))
    if len(found) < 2:
        doc.fail("vectors", "at least two are needed")
    return tuple(found)


def _vector_value(value: Any) -> Fraction | str | bool | None:
    if value == "nan":
        return None
    if isinstance(value, str | bool):
        return value
    if isinstance(value, int | Decimal):
        return Fraction(value)
    raise ValueError(f"value {value!r} is neither number, text, flag nor nan")
