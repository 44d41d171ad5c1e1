"""Arguments of the command line that are checked before anything starts."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


class PlanWrong(Exception):
    """A plan file cannot be used; the message says why."""


def within(low: int, high: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from `low` to `high`."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from error
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be from {low} to {high}, not {value}")
        return value

    return read


#: 0 is any free one
port_number = within(0, 65_535)


def plan_from(path: Path, *needed: str) -> dict[str, Any]:
    """
    Return a plan file's content.

    :param needed: lists of the plan that must be there.
    :raises PlanWrong: when it cannot be read, is not JSON, or lacks one of them.
    """
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise PlanWrong(f"{path} cannot be read: {error}") from error
    except json.JSONDecodeError as error:
        raise PlanWrong(f"{path} is not JSON: {error}") from error
    if not isinstance(plan, dict):
        raise PlanWrong(f"{path} is not a plan: a plan is a JSON object")
    for name in needed:
        entries = plan.get(name)
        if not isinstance(entries, list) or not entries or not all(isinstance(each, dict) for each in entries):
            raise PlanWrong(f"{path} is not a plan: it needs {name!r}, a list of objects")
    return plan
