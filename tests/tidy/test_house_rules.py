"""Remarks made twice in review, as checks: each message says the better way."""

import ast
import re
from pathlib import Path

import pytest

from backend.bootstrap.tables import load_tables

_ROOT = Path(__file__).parent.parent.parent
_PACKAGES = ("backend", "gateway", "firmware_sim", "hardware")
_SOURCES = sorted(
    path
    for package in _PACKAGES
    for path in (_ROOT / package).rglob("*.py")
    if "migrations/versions" not in str(path)  # generated
)


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


class TestDoors:
    @pytest.mark.parametrize(
        ("library", "doors"),
        [
            ("pymodbus", ("gateway/modbus/", "firmware_sim/bus")),
            ("paho", ("gateway/uplink/client.py", "backend/mqtt/")),
            ("psycopg", ("backend/db/sender.py", "firmware_sim/audit/rows.py")),
            (
                "sqlite3",
                ("gateway/uplink/", "firmware_sim/sandbox_", "firmware_sim/nvm.py", "firmware_sim/audit/rows.py"),
            ),
        ],
    )
    def test_one_module_a_side_imports_the_library(self, library: str, doors: tuple[str, ...]) -> None:
        strangers = [
            name
            for path in _SOURCES
            if library in _imports(path) and not (name := str(path.relative_to(_ROOT))).startswith(doors)
        ]

        assert not strangers, f"{library} comes in through {doors} only; translate its errors there"

    def test_sql_stays_in_repositories(self) -> None:
        allowed = ("models.py", "migrations", "backend/db", "backend/bootstrap")
        strangers = []
        for path in (_ROOT / "backend").rglob("*.py"):
            name = str(path.relative_to(_ROOT))
            if "repository" in path.name or any(part in name for part in allowed):
                continue
            tree = ast.parse(path.read_text(encoding="utf-8"))
            names = {
                alias.name
                for node in ast.walk(tree)
                if isinstance(node, ast.ImportFrom) and node.module == "sqlalchemy"
                for alias in node.names
            }
            if names & {"select", "insert", "update", "delete", "text"}:
                strangers.append(name)

        assert not strangers, "SQL belongs in the slice's repository"


class TestTables:
    def test_every_key_has_the_tenant_and_begins_with_it_where_rows_are_not_counted_by_the_million(self) -> None:
        keys = {table.name: list(table.primary_key.columns.keys()) for table in load_tables().sorted_tables}

        assert all("tenant_id" in key for key in keys.values()), "tenant_id is the distribution key"
        others = {name for name, key in keys.items() if key[0] != "tenant_id"}
        assert others == {"ledger_accounts", "ledger_transfers", "ledger_lines"}, "their keys are the dear ones"


class TestSources:
    @pytest.mark.parametrize("path", _SOURCES, ids=lambda path: str(path.relative_to(_ROOT)))
    def test_stay_small(self, path: Path) -> None:
        lines = len(path.read_text(encoding="utf-8").splitlines())

        assert lines <= 400, "look for the second noun inside"

    @pytest.mark.parametrize("path", _SOURCES, ids=lambda path: str(path.relative_to(_ROOT)))
    def test_say_what_public_things_do(self, path: Path) -> None:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        silent = [
            node.name
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and not node.name.startswith("_")
            and ast.get_docstring(node) is None
        ]

        assert not silent, "the first line completes: this function will…"

    def test_leave_nothing_for_later(self) -> None:
        words = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
        found = [str(path) for path in _SOURCES if words.search(path.read_text(encoding="utf-8"))]

        assert not found, "finish it, or say in DECISIONS.md why not"


class TestLockFile:
    def test_pins_every_package_with_a_hash_and_names_no_address(self) -> None:
        text = (_ROOT / "requirements.lock").read_text(encoding="utf-8")

        assert "://" not in text
        assert "--index" not in text
        assert text.count("==") <= text.count("--hash=sha256:")
