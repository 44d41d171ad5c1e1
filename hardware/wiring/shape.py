"""Whether a document is a harness at all, before anything is compared."""

import re
from collections.abc import Iterator
from typing import Any


class HarnessMalformed(Exception):
    """A file is no harness; the message says why."""


def malformed(document: object) -> list[str]:
    """Return why a document is no harness; nothing for one that can be checked."""
    if not isinstance(document, dict):
        return ["is no harness: metadata, connectors, cables and connections are missing"]
    found = [
        f"{each} is missing" for each in ("metadata", "connectors", "cables") if not _is_mapping(document.get(each))
    ]
    if not isinstance(document.get("connections"), list):
        found.append("connections is missing")
    return found or [*_metadata(document), *_parts(document)] or [*_mates(document), *_connections(document)]


def _is_mapping(value: object) -> bool:
    return isinstance(value, dict)


def _metadata(document: dict[str, Any]) -> Iterator[str]:
    metadata = document["metadata"]
    if not re.fullmatch(r"[a-z_]+", str(metadata.get("bom", ""))):
        yield "metadata.bom must name a parts list"
    for name in ("nc", "mates"):
        if not isinstance(metadata.get(name), list):
            yield f"metadata.{name} must be a list"
    if not _is_mapping(metadata.get("earthed", {})) or not _is_mapping(metadata.get("feed", {})):
        yield "metadata.earthed and metadata.feed must have names"


def _parts(document: dict[str, Any]) -> Iterator[str]:
    for name, each in document["connectors"].items():
        if not _is_mapping(each) or not isinstance(each.get("pinlabels"), list) or not each["pinlabels"]:
            yield f"{name}: pinlabels are missing"
        elif len(each.get("pins", each["pinlabels"])) != len(each["pinlabels"]):
            yield f"{name}: has not as many pins as pinlabels"
    for name, each in document["cables"].items():
        if not _is_mapping(each) or not isinstance(each.get("colors"), list) or not each["colors"]:
            yield f"{name}: colors are missing"
        elif not re.fullmatch(r"\d+(\.\d+)? mm2", str(each.get("gauge"))):
            yield f"{name}: gauge must be like 0.5 mm2"
        elif isinstance(each.get("length"), bool) or not isinstance(each.get("length"), int | float):
            yield f"{name}: length must be metres"


def _mates(document: dict[str, Any]) -> Iterator[str]:
    for pair in document["metadata"]["mates"]:
        if not isinstance(pair, list) or len(pair) != 2:
            yield f"mates {pair} must be two connectors"
            continue
        yield from (f"mates: there is no connector {name}" for name in pair if name not in document["connectors"])


def _connections(document: dict[str, Any]) -> Iterator[str]:
    for chain in document["connections"]:
        if not isinstance(chain, list) or not 1 <= len(chain) <= 3:
            yield f"connection {chain} must have one to three members"
        elif len(chain) > 1:
            kinds = ("connectors", "cables", "connectors")
            named = [(each, kind) for each, kind in zip(chain, kinds, strict=False) if not isinstance(each, str)]
            if len(named) < 2 or isinstance(chain[0], str) or isinstance(chain[-1], str):
                yield f"connection {chain} must lead from a connector to another end"
                continue
            problems = [said for each, kind in named for said in _member(document, each, kind)]
            yield from problems
            if not problems and len({len(next(iter(each.values()))) for each, _ in named}) != 1:
                yield f"connection {chain} has ends with different numbers of pins"
            if not problems and len(chain) == 2 and len(next(iter(chain[0].values()))) != 1:
                yield f"connection {chain}: a screen with one end has one pin"


def _member(document: dict[str, Any], each: object, kind: str) -> Iterator[str]:
    if not isinstance(each, dict) or len(each) != 1 or not isinstance(next(iter(each.values())), list):
        yield f"connection to {each} must name one of the {kind} and its pins"
        return
    name, pins = next(iter(each.items()))
    if name not in document[kind]:
        yield f"{name} is not one of the {kind}"
        return
    part = document[kind][name]
    if kind == "connectors":
        there = {str(pin) for pin in part.get("pins", range(1, len(part["pinlabels"]) + 1))}
    else:
        there = {str(core) for core in range(1, len(part["colors"]) + 1)} | ({"s"} if part.get("shield") else set())
    yield from (f"{name}:{pin} does not exist" for pin in pins if str(pin) not in there)
