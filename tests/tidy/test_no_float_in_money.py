"""Money is an integer. These folders compute with it, so no float may be written, made or divided into being there."""

import ast
from pathlib import Path

import pytest

import backend

_ROOT = Path(backend.__path__[0])
_PLACES = ("ledger", "payments", "statements", "tariffs", "settlement", "kit/money.py")
#: Lines that speak of seconds, not money: how long the HTTP client waits.
_ALLOWED = {("payments/rails/wire.py", "httpx.Timeout"), ("payments/rails/wire.py", "time.sleep")}


def _files() -> list[Path]:
    found: list[Path] = []
    for place in _PLACES:
        path = _ROOT / place
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path] if path.exists() else []
    return found


def floats_in(source: str, name: str) -> list[str]:
    """Return where a source makes floats: literals, `float(…)`, true division, `math` and `round`."""
    tree = ast.parse(source)
    allowed = [
        range(node.lineno, (node.end_lineno or node.lineno) + 1)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and (name, ast.unparse(node.func)) in _ALLOWED
    ]
    found = []
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if any(line in lines for lines in allowed):
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
            found.append(f"{name}:{line} float literal {node.value!r}")
        elif isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            found.append(f"{name}:{line} true division; use Fraction or //")
        elif isinstance(node, ast.Name) and node.id in ("float", "round"):
            found.append(f"{name}:{line} {node.id}; keep integers, round once in tariffs.rules")
        elif isinstance(node, ast.Attribute) and node.attr in ("total_seconds", "truediv"):
            found.append(f"{name}:{line} {node.attr} gives a float")
    return found


class TestFloatsInMoney:
    @pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(_ROOT)))
    def test_there_are_none(self, path: Path) -> None:
        assert floats_in(path.read_text(), str(path.relative_to(_ROOT))) == []

    @pytest.mark.parametrize(
        "source", ["x = 1.5", "x = float(3)", "x = a / b", "x /= 2", "x = round(a)", "x = d.total_seconds()"]
    )
    def test_the_check_sees_them(self, source: str) -> None:
        assert floats_in(source, "kit/money.py") != []

    def test_the_check_lets_integers_pass(self) -> None:
        assert floats_in("x = a // b + 3\ny = Fraction(1, 3)", "kit/money.py") == []
