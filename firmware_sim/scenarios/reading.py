"""
Reads scenario files strictly: whatever is not understood is refused with file, line, reason and the nearest known word.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firmware_sim.chances import Chances
from firmware_sim.plan import PlanSize
from firmware_sim.scenarios.model import Day, Fault, People, Scenario, Uplink
from firmware_sim.scenarios.values import Shape, Unfit, fit
from firmware_sim.scenarios.words import FAULTS, INVARIANTS, NOISES, SECTIONS, Key

FOLDER = Path(__file__).parent
_MOMENT = {"at_s": Key("number", None, 0, 86_400, optional=True), "at": Key("clock", optional=True)}
_NOT_BY_DEFAULT = ("day", "scenario", "ends")
_TABLE = re.compile(r"^\s*(\[\[?)\s*([\w.-]+)\s*\]")
_ENTRY = re.compile(r"^\s*([\w-]+)\s*=")
_AT = re.compile(r"\(at line (\d+), column \d+\)|\(at end of document\)")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a file."""

    file: str
    line: int
    reason: str
    suggestion: str = ""

    def __str__(self) -> str:
        """Return it as compilers do."""
        hint = f" ({self.suggestion})" if self.suggestion else ""
        return f"{self.file}:{self.line}: {self.reason}{hint}"


class ScenarioWrong(Exception):
    """A scenario file cannot be used; `problems` says everything that is wrong with it."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint at the nearest known word, or at all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(names)}"


def lines_of(text: str) -> dict[tuple[str | int, ...], int]:
    """Return on which line each table and key of a file stands; the n-th `[[name]]` is ("name", n)."""
    found: dict[tuple[str | int, ...], int] = {}
    table: tuple[str | int, ...] = ()
    counts: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _TABLE.match(line):
            name = header.group(2)
            table = tuple(name.split("."))
            if header.group(1) == "[[":
                table = (name, counts.get(name, 0))
                counts[name] = counts.get(name, 0) + 1
            found.setdefault(table, number)
        elif entry := _ENTRY.match(line):
            found.setdefault((*table, entry.group(1)), number)
    return found


class _Reader:
    """One file on its way to a scenario; problems are gathered, not thrown one by one."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self._lines = lines_of(text)
        self.problems: list[Problem] = []

    def wrong(self, where: tuple[str | int, ...], reason: str, suggestion: str = "") -> None:
        """Note a problem at the line where it stands, or at the nearest line around it."""
        at = where
        while at and at not in self._lines:
            at = at[:-1]
        self.problems.append(Problem(self.file, self._lines.get(at, 1), reason, suggestion))

    def table(self, raw: Any, keys: Mapping[str, Key], where: tuple[str | int, ...], shape: Shape) -> dict[str, Any]:
        """Return the values of a table, defaults filled in."""
        if not isinstance(raw, dict):
            self.wrong(where, f"{where[0]} must be a table")
            return {}
        name = " ".join(str(part) for part in where if isinstance(part, str))
        for key in raw:
            if key not in keys:
                self.wrong((*where, key), f"{name} has no {key!r}", nearest(key, keys))
        values: dict[str, Any] = {}
        for key, rule in keys.items():
            if key in raw:
                try:
                    values[key] = fit(raw[key], rule, shape)
                except Unfit as unfit:
                    hint = nearest(unfit.word, unfit.known) if unfit.known else ""
                    self.wrong((*where, key), f"{key} {unfit}", hint)
            elif rule.default is not None:
                values[key] = rule.default
            elif not rule.optional:
                self.wrong(where, f"{name} needs {key!r}")
        return values


def parse(text: str, *, file: str, name: str) -> Scenario:
    """
    Return the scenario that a file's text describes.

    :raises ScenarioWrong: with every problem found.
    """
    reader = _Reader(file, text)
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _AT.search(str(error))
        line = int(found.group(1)) if found and found.group(1) else len(text.splitlines())
        raise ScenarioWrong([Problem(file, line, f"not TOML: {_AT.sub('', str(error)).strip()}")]) from error
    for section in raw:
        if section not in SECTIONS and section != "faults":
            reader.wrong((section,), f"no section is called {section!r}", nearest(section, [*SECTIONS, "faults"]))
    for needed in ("scenario", "ends"):
        if needed not in raw:
            reader.wrong((), f"[{needed}] is missing")
    anywhere = Shape()
    school = reader.table(raw.get("school", {}), SECTIONS["school"], ("school",), anywhere)
    neighbor = school.pop("neighbor", True)
    if not reader.problems:
        anywhere = Shape.of(PlanSize(**school))
    parts: dict[str, dict[str, Any]] = {}
    for section, keys in SECTIONS.items():
        if section != "school" and (section in raw or section not in _NOT_BY_DEFAULT):
            parts[section] = reader.table(raw.get(section, {}), keys, (section,), anywhere)
    day = _day(reader, parts["day"]) if "day" in parts else None
    faults = _faults(reader, raw.get("faults", []), anywhere, day)
    _invariants(reader, parts.get("ends", {}).get("invariants", ()))
    if not reader.problems:
        _sense(reader, parts["people"], school)
    if reader.problems:
        raise ScenarioWrong(reader.problems)
    people, ends = parts["people"], parts["ends"]
    cheats = {cheat: int(times) for cheat, times in people.pop("cheats").items()}
    return Scenario(
        name=name,
        title=parts["scenario"]["title"],
        seed=parts["scenario"]["seed"],
        size=PlanSize(**school),
        neighbor=neighbor,
        people=People(**people, cheats=cheats),
        day=day,
        physics=parts["physics"],
        chance=Chances(**parts["chance"]),
        uplink=Uplink(**parts["uplink"]),
        faults=tuple(sorted(faults, key=lambda fault: fault.at_s)),
        invariants=tuple(ends["invariants"]),
        settle_within_s=ends["settle_within_s"],
        served_share=ends["served_share"],
    )


def _day(reader: _Reader, given: Mapping[str, Any]) -> Day | None:
    if not {"from", "to", "lasts_s"} <= set(given):
        return None
    if given["from"] >= given["to"]:
        reader.wrong(("day", "to"), "to must be after from")
        return None
    return Day(from_hour=given["from"], to_hour=given["to"], lasts_s=given["lasts_s"], per_person=given["per_person"])


def _faults(reader: _Reader, raw: Any, shape: Shape, day: Day | None) -> list[Fault]:
    if not isinstance(raw, list):
        reader.wrong(("faults",), "faults are written as [[faults]]")
        return []
    found = []
    for number, each in enumerate(raw):
        where = ("faults", number)
        if not isinstance(each, dict):
            reader.wrong(("faults",), "faults are written as [[faults]]")
            return []
        if "fault" not in each:
            reader.wrong((*where, "fault"), "a fault needs 'fault', its name", nearest("", FAULTS))
            continue
        name = each["fault"]
        if not isinstance(name, str):
            reader.wrong((*where, "fault"), "fault must be a text, its name")
            continue
        if name not in FAULTS:
            reader.wrong((*where, "fault"), f"no fault is called {name!r}", nearest(name, FAULTS))
            continue
        rest = {key: value for key, value in each.items() if key != "fault"}
        given = reader.table(rest, {**_MOMENT, **FAULTS[name]}, where, shape)
        _fault_sense(reader, name, given, where)
        at_s, at_hour = given.pop("at_s", None), given.pop("at", None)
        if (at_s is None) == (at_hour is None):
            reader.wrong(where, "a fault needs either at_s, in seconds, or at, a time of the day")
        elif at_hour is not None and (day is None or not day.from_hour <= at_hour <= day.to_hour):
            reader.wrong((*where, "at"), "at needs a [day] that contains it")
        else:
            when = at_s if at_hour is None or day is None else (at_hour - day.from_hour) * 3600 / day.factor
            found.append(Fault(at_s=float(when), name=name, given=given))
    return found


def _fault_sense(reader: _Reader, name: str, given: Mapping[str, Any], where: tuple[str | int, ...]) -> None:
    """Check what the parameters of one fault say together."""
    if "building" in given and "device" in given:
        reader.wrong((*where, "device"), f"{name} is about a building or a device, not both", "leave one of them out")
    if name == "line_noise":
        if "building" not in given and "device" not in given:
            reader.wrong(where, "line_noise needs 'building', a whole line, or 'device', the wire to one")
        if not any(given.get(kind) for kind in NOISES if kind != "late_ms"):
            kinds = ", ".join(kind for kind in NOISES if kind != "late_ms")
            reader.wrong(where, "line_noise that disturbs nothing", f"give one of {kinds}")


def _invariants(reader: _Reader, names: Iterable[str]) -> None:
    listed = list(names)
    for name in listed:
        if name not in INVARIANTS:
            reader.wrong(("ends", "invariants"), f"no invariant is called {name!r}", nearest(name, INVARIANTS))
    for name in sorted({name for name in listed if listed.count(name) > 1}):
        reader.wrong(("ends", "invariants"), f"{name!r} is listed more than once")
    if not listed and not reader.problems:
        reader.wrong(("ends", "invariants"), "a scenario without invariants proves nothing")


def _sense(reader: _Reader, people: Mapping[str, Any], school: Mapping[str, Any]) -> None:
    """Check what each value alone cannot tell."""
    if people["shortest_s"] > people["longest_s"]:
        reader.wrong(("people", "shortest_s"), "shortest_s must not be more than longest_s")
    if not sum(people["endings"].values()):
        reader.wrong(("people", "endings"), "endings need at least one weight above 0")
    if school["poor_students"] >= school["students"]:
        reader.wrong(("school", "poor_students"), "poor_students must be fewer than students")
    needed = sum(people["cheats"].values()) + people["at_once"]
    if "hand_over" in people["endings"] and school["students"] < 4:
        reader.wrong(("school", "students"), "hand_over needs at least 4 students")
    if "meter_only" in people["cheats"] and not school["makers_floor"]:
        reader.wrong(("people", "cheats"), "meter_only needs a floor of other makers' devices", "makers_floor = true")
    if needed > school["students"]:
        reader.wrong(("school", "students"), f"at_once and cheats need {needed} students")


def load(name_or_path: str) -> Scenario:
    """
    Return a scenario by its name among ours, or by the path of a file.

    :raises ScenarioWrong: when there is none, or it says something that is not understood.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = FOLDER / f"{name_or_path}.toml"
        if not path.exists():
            hint = nearest(name_or_path, [known.stem for known in FOLDER.glob("*.toml")])
            raise ScenarioWrong([Problem(name_or_path, 1, "no scenario is called that", hint)])
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioWrong([Problem(str(path), 1, f"cannot be read: {error}")]) from error
    return parse(text, file=str(path), name=path.stem)


def all_scenarios() -> list[Scenario]:
    """Return our scenarios by name."""
    return [load(path.stem) for path in sorted(FOLDER.glob("*.toml"))]
