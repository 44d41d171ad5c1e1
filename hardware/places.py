"""Where in a TOML text something stands, so that a complaint can name the line."""

import re
from collections.abc import Iterator

_AT_LINE = re.compile(r"\(at line (\d+),")


def line_of_error(message: str) -> int | None:
    """Return the line a TOML parser's message names."""
    found = _AT_LINE.search(message)
    return int(found.group(1)) if found else None


def line_of(text: str, where: str) -> int | None:
    """
    Return the line, from 1, of a place such as `blocks.st.volume`, `vectors[2]`, `enums.state` or `bus`.

    The nearest enclosing thing is taken when the place itself is not written out, and None when nothing is found.
    """
    lines = text.splitlines()
    numbered = re.fullmatch(r"(\w+)\[(\d+)\]", where)
    if numbered:
        return _nth(lines, numbered.group(1), int(numbered.group(2)))
    head, *rest = where.split(".")
    if head in ("blocks", "layouts"):
        return _in_block(lines, head, rest)
    best = _header(lines, head)
    if rest:
        best = _header(lines, where) or _key(lines, rest[0], after=best or 0) or best
    return best


def _nth(lines: list[str], array: str, number: int) -> int | None:
    starts = [at for at, line in enumerate(lines, 1) if re.match(rf"\s*\[\[\s*{array}\s*\]\]", line)]
    if number < len(starts):
        return starts[number]
    inline = _header(lines, array)
    return inline


def _header(lines: list[str], name: str) -> int | None:
    pattern = re.compile(rf"\s*(\[{{1,2}}\s*{re.escape(name)}\s*\]{{1,2}}|{re.escape(name)}\s*=)")
    return next((at for at, line in enumerate(lines, 1) if pattern.match(line)), None)


def _key(lines: list[str], key: str, *, after: int) -> int | None:
    pattern = re.compile(rf"(^|[\s{{,\"']){re.escape(key)}[\"']?\s*=")
    return next((at for at, line in enumerate(lines, 1) if at >= after and pattern.search(line)), None)


def _in_block(lines: list[str], kind: str, names: list[str]) -> int | None:
    if not names:
        return _header(lines, kind)
    for begin, end in _sections(lines, kind):
        section = lines[begin - 1 : end]
        here = _named(section, "id", names[0])
        if here is None:
            continue
        point = _named(section, "n", names[1]) if len(names) > 1 else None
        return begin + (here if point is None else point)
    return _header(lines, kind)


def _sections(lines: list[str], kind: str) -> Iterator[tuple[int, int]]:
    """Yield first and last line of each `[[kind]]` section."""
    heads = [at for at, line in enumerate(lines, 1) if re.match(r"\s*\[", line) and not line.strip().endswith(",")]
    for at in heads:
        if re.match(rf"\s*\[\[\s*{kind}\s*\]\]", lines[at - 1]):
            yield at, next((later - 1 for later in heads if later > at), len(lines))


def _named(section: list[str], key: str, value: str) -> int | None:
    """Return how many lines into a section `key = "value"` is last written, which for a doubled name is the second."""
    pattern = re.compile(rf"\b{key}\s*=\s*[\"']{re.escape(value)}[\"']")
    found = [offset for offset, line in enumerate(section) if pattern.search(line)]
    return found[-1] if found else None
