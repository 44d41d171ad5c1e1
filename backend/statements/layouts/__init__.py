"""Versioned layouts of the providers' files, as data beside this module."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

Syntax = Literal["any", "digits", "digits?", "signed", "signed?", "id", "id?"]


@cache
def load(name: str) -> dict[str, Any]:
    """Return the data of a layout file."""
    return tomllib.loads(Path(__file__).with_name(f"{name}.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Field:
    """A field of fixed width. `start` counts bytes from the record's first."""

    name: str
    start: int
    byte_count: int
    syntax: Syntax
    title: str

    @property
    def end(self) -> int:
        """Return where the byte after its last one is."""
        return self.start + self.byte_count

    def allows(self, value: bytes) -> bool:
        """Return whether bytes of its width are written as its syntax says."""
        return re.fullmatch(self.pattern.encode(), value) is not None

    @property
    def pattern(self) -> str:
        """Return the regular expression (over bytes) of its syntax."""
        width = self.byte_count
        match self.syntax:
            case "any":
                return f"[\\x00-\\xff]{{{width}}}"
            case "digits":
                return f"[0-9]{{{width}}}"
            case "digits?":
                return f"(?:[0-9]{{{width}}}|[ ]{{{width}}})"
            case "signed":
                return f"[CD][0-9]{{{width - 1}}}"
            case "signed?":
                return f"(?:[CD][0-9]{{{width - 1}}}|[ ]{{{width}}})"
            case "id":
                return f"[!-~][ -~]{{{width - 1}}}"
            case "id?":
                return f"[ -~]{{{width}}}"


@dataclass(frozen=True, slots=True)
class FixedWidth:
    """A version of a record of fixed width."""

    name: str
    record_bytes: int
    separator: bytes
    fields: tuple[Field, ...]
    pattern: re.Pattern[bytes]

    def field(self, name: str) -> Field | None:
        """Return the field of a name, or None if this version has none."""
        return next((field for field in self.fields if field.name == name), None)


def fixed_width(data: dict[str, Any], section: str, wanted: tuple[str, ...]) -> list[FixedWidth]:
    """
    Return the versions of a section, in their order; their patterns have a group for each wanted field they have.

    A layout whose widths do not add up to its record is a mistake in the data.
    """
    separator = data["separator"].encode()
    versions = []
    for version in data[section]["versions"]:
        fields, start = [], 0
        for name, byte_count, syntax, title in [*data[section]["fields"], *version["tail"]]:
            fields.append(Field(name, start, byte_count, syntax, title))
            start += byte_count + len(separator)
        assert start - len(separator) == version["record_bytes"], version["name"]
        pattern = re.escape(data["separator"]).join(
            f"(?P<{field.name}>{field.pattern})" if field.name in wanted else field.pattern for field in fields
        )
        versions.append(
            FixedWidth(version["name"], version["record_bytes"], separator, tuple(fields), re.compile(pattern.encode()))
        )
    return versions
