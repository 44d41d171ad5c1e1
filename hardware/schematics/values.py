"""Reads the values that parts carry in schematic and parts list: `2k2`, `220u`, `100R`, `10 nF`."""

import re

_FACTORS = {"p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "m": 1e-3, "": 1.0, "R": 1.0, "k": 1e3, "K": 1e3, "M": 1e6}
_VALUE = re.compile(r"(\d+(?:\.\d+)?) ?([pnuµmkKMR]?)(\d*)")


def value(text: str) -> float | None:
    """Return the value a text begins with, in ohm or farad; nothing if it begins with none."""
    found = _VALUE.match(text)
    if found is None:
        return None
    whole, prefix, rest = found.groups()
    return float(f"{whole}.{rest}" if rest and prefix and "." not in whole else whole) * _FACTORS[prefix]
