"""The systemd unit of a gateway, as data."""

from pathlib import Path

UNIT_FILE = Path(__file__).parent / "campustap-gateway.service"


def unit(*, program: Path, config: Path, state_dir: Path) -> str:
    """
    Return the unit that runs a gateway with as few rights as it can do with.

    :raises ValueError: if a path cannot stand in a unit.
    """
    text = UNIT_FILE.read_text(encoding="utf-8")
    for name, path in (("PROGRAM", program), ("CONFIG", config), ("STATE", state_dir)):
        said = str(path)
        if not path.is_absolute() or any(letter in said for letter in "\n\r\"'\\%$ "):
            raise ValueError(f"{said!r} must be an absolute path without spaces, quotes, % and $")
        text = text.replace(f"@{name}@", said)
    return text
