"""Everything the provider remembers, in one SQLite file that survives a crash of the process."""

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

_SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    brand TEXT, merchant_id TEXT, order_no TEXT, tenant_id TEXT, kind TEXT, amount_minor INTEGER,
    captured_minor INTEGER, refunded_minor INTEGER, status TEXT, reason TEXT, reference TEXT, times_taken INTEGER,
    notify_url TEXT, manner TEXT, details TEXT, created_ms INTEGER, changed_ms INTEGER, due_ms INTEGER, due_to TEXT,
    late_ms INTEGER, PRIMARY KEY (brand, merchant_id, order_no)
);
CREATE INDEX IF NOT EXISTS orders_due ON orders (due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX IF NOT EXISTS orders_reference ON orders (reference);
CREATE INDEX IF NOT EXISTS orders_created ON orders (created_ms);
CREATE TABLE IF NOT EXISTS operations (
    brand TEXT, merchant_id TEXT, operation_no TEXT, order_no TEXT, kind TEXT, amount_minor INTEGER,
    status TEXT, reason TEXT, reference TEXT, notify_url TEXT, manner TEXT, details TEXT, created_ms INTEGER,
    changed_ms INTEGER, due_ms INTEGER, due_to TEXT, PRIMARY KEY (brand, merchant_id, operation_no)
);
CREATE INDEX IF NOT EXISTS operations_due ON operations (due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX IF NOT EXISTS operations_order ON operations (brand, merchant_id, order_no);
CREATE INDEX IF NOT EXISTS operations_reference ON operations (reference);
CREATE INDEX IF NOT EXISTS operations_created ON operations (created_ms);
CREATE TABLE IF NOT EXISTS codes (brand TEXT, digest TEXT, order_no TEXT, PRIMARY KEY (brand, digest));
CREATE TABLE IF NOT EXISTS numbers (last INTEGER);
CREATE TABLE IF NOT EXISTS scripts (
    number INTEGER PRIMARY KEY, raw TEXT, matches TEXT, verb TEXT, side TEXT, script TEXT
);
CREATE TABLE IF NOT EXISTS notices (
    number INTEGER PRIMARY KEY, notify_id TEXT, brand TEXT, merchant_id TEXT, order_no TEXT, operation_no TEXT,
    twist TEXT, url TEXT, body TEXT, attempts INTEGER, attempts_max INTEGER, next_ms INTEGER, waits_for_next INTEGER,
    state TEXT, last_status INTEGER
);
CREATE INDEX IF NOT EXISTS notices_due ON notices (next_ms) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS notices_order ON notices (brand, merchant_id, order_no);
"""


@dataclass(slots=True, kw_only=True)
class Order:
    """
    An order of a merchant. `status` is waiting, held, charged, captured, voided, refunded or declined.

    `due_ms` is when something happens to it by itself (`due_to` says what), `late_ms` how long after a cancel its
    payment still succeeds.
    """

    table: ClassVar[str] = "orders"
    key: ClassVar[tuple[str, ...]] = ("brand", "merchant_id", "order_no")

    brand: str
    merchant_id: str
    order_no: str
    tenant_id: str
    kind: str
    amount_minor: int
    captured_minor: int = 0
    refunded_minor: int = 0
    status: str = ""
    reason: str = ""
    reference: str = ""
    times_taken: int = 0
    notify_url: str = ""
    manner: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    created_ms: int = 0
    changed_ms: int = 0
    due_ms: int | None = None
    due_to: str = ""
    late_ms: int | None = None


@dataclass(slots=True, kw_only=True)
class Operation:
    """A step of an order. `kind` is capture, void, restore or refund; `status` done, waiting, refused or voided."""

    table: ClassVar[str] = "operations"
    key: ClassVar[tuple[str, ...]] = ("brand", "merchant_id", "operation_no")

    brand: str
    merchant_id: str
    operation_no: str
    order_no: str
    kind: str
    amount_minor: int
    status: str = ""
    reason: str = ""
    reference: str = ""
    notify_url: str = ""
    manner: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    created_ms: int = 0
    changed_ms: int = 0
    due_ms: int | None = None
    due_to: str = ""


_Entry = TypeVar("_Entry", Order, Operation)


def _read(kind: type[_Entry], row: sqlite3.Row) -> _Entry:
    values = dict(row)
    return kind(**{**values, "manner": json.loads(values["manner"]), "details": json.loads(values["details"])})


class Store:
    """The file. Not for several threads at once."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")  # a killed process loses nothing; a lost machine may
        self._db.executescript(_SCHEMA)
        if self.row("SELECT last FROM numbers") is None:
            self.run("INSERT INTO numbers VALUES (0)")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all that is inside, or nothing of it."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def run(self, sql: str, values: Sequence[Any] = ()) -> None:
        """Execute one statement."""
        self._db.execute(sql, values)

    def row(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Row | None:
        """Return the first row of a query, or None."""
        found: sqlite3.Row | None = self._db.execute(sql, values).fetchone()
        return found

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """Return all rows of a query."""
        return self._db.execute(sql, values).fetchall()

    def next_number(self) -> int:
        """Return a number never given before."""
        self.run("UPDATE numbers SET last = last + 1")
        row = self.row("SELECT last FROM numbers")
        assert row is not None
        return int(row["last"])

    def add(self, entry: Order | Operation) -> None:
        """Write a new order or operation."""
        values = self._values(entry)
        marks = ", ".join("?" * len(values))
        self.run(f"INSERT INTO {entry.table} ({', '.join(values)}) VALUES ({marks})", list(values.values()))

    def save(self, entry: Order | Operation) -> None:
        """Write a changed order or operation."""
        values = self._values(entry)
        sets = ", ".join(f"{name} = ?" for name in values)
        where = " AND ".join(f"{name} = ?" for name in entry.key)
        keys = [values[name] for name in entry.key]
        self.run(f"UPDATE {entry.table} SET {sets} WHERE {where}", [*values.values(), *keys])

    def forget(self, operation: Operation) -> None:
        """Forget an operation of which nothing came."""
        where = " AND ".join(f"{name} = ?" for name in operation.key)
        keys = [getattr(operation, name) for name in operation.key]
        self.run(f"DELETE FROM {operation.table} WHERE {where}", keys)

    def _values(self, entry: Order | Operation) -> dict[str, Any]:
        values = asdict(entry)
        return {name: json.dumps(value) if isinstance(value, dict) else value for name, value in values.items()}

    def _select(self, kind: type[_Entry], where: str, values: Sequence[Any]) -> list[_Entry]:
        return [_read(kind, row) for row in self.rows(f"SELECT * FROM {kind.table} WHERE {where}", values)]

    def order(self, brand: str, merchant_id: str, order_no: str) -> Order | None:
        """Return an order by its number, or None."""
        found = self._select(Order, "brand = ? AND merchant_id = ? AND order_no = ?", (brand, merchant_id, order_no))
        return found[0] if found else None

    def operation(self, brand: str, merchant_id: str, operation_no: str) -> Operation | None:
        """Return an operation by its number, or None."""
        where = "brand = ? AND merchant_id = ? AND operation_no = ?"
        found = self._select(Operation, where, (brand, merchant_id, operation_no))
        return found[0] if found else None

    def fresh_number(self, brand: str, merchant_id: str, number: str) -> str:
        """Return an operation number for a call that has none of its own: this one, or made new when it was used."""
        used = self.operation(brand, merchant_id, number) is not None
        return f"{number}:{self.next_number()}" if used else number

    def order_by_reference(self, brand: str, merchant_id: str, reference: str) -> Order | None:
        """Return the order a brand calls this, or None."""
        found = self._select(Order, "reference = ? AND brand = ? AND merchant_id = ?", (reference, brand, merchant_id))
        return found[0] if found else None

    def operation_by_reference(self, brand: str, merchant_id: str, reference: str) -> Operation | None:
        """Return the operation a brand calls this, or None."""
        where = "reference = ? AND brand = ? AND merchant_id = ?"
        found = self._select(Operation, where, (reference, brand, merchant_id))
        return found[0] if found else None

    def operations_of(self, order: Order) -> list[Operation]:
        """Return the operations of an order, oldest first."""
        where = "brand = ? AND merchant_id = ? AND order_no = ? ORDER BY created_ms, rowid"
        return self._select(Operation, where, (order.brand, order.merchant_id, order.order_no))

    def orders(self, merchant_id: str = "") -> list[Order]:
        """Return all orders, or one merchant's, in the order they came."""
        return self._select(Order, "? IN ('', merchant_id) ORDER BY created_ms, rowid", (merchant_id,))

    def orders_numbered(self, numbers: Sequence[str]) -> list[Order]:
        """Return every brand's orders with one of these numbers."""
        marks = ", ".join("?" * len(numbers))
        return self._select(Order, f"order_no IN ({marks}) ORDER BY created_ms, rowid", list(numbers))

    def due_orders(self, now_ms: int) -> list[Order]:
        """Return orders to which something happens by itself by now."""
        return self._select(Order, "due_ms <= ? ORDER BY due_ms", (now_ms,))

    def due_operations(self, now_ms: int) -> list[Operation]:
        """Return operations to which something happens by itself by now."""
        return self._select(Operation, "due_ms <= ? ORDER BY due_ms", (now_ms,))

    def orders_between(self, brand: str, merchant_id: str, from_ms: int, to_ms: int) -> list[Order]:
        """Return a merchant's orders that were created or changed from, up to not including."""
        where = "brand = ? AND merchant_id = ? AND created_ms < ? AND changed_ms >= ? ORDER BY created_ms, rowid"
        return self._select(Order, where, (brand, merchant_id, to_ms, from_ms))

    def operations_between(self, brand: str, merchant_id: str, from_ms: int, to_ms: int) -> list[Operation]:
        """Return a merchant's operations that were created or changed from, up to not including."""
        where = "brand = ? AND merchant_id = ? AND created_ms < ? AND changed_ms >= ? ORDER BY created_ms, rowid"
        return self._select(Operation, where, (brand, merchant_id, to_ms, from_ms))

    def use_code(self, brand: str, code: str, order_no: str) -> bool:
        """Return whether a one-time code is this order's, having marked it used. Only its hash is kept."""
        digest = hashlib.sha256(code.encode()).hexdigest()
        self.run("INSERT INTO codes VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (brand, digest, order_no))
        row = self.row("SELECT order_no FROM codes WHERE brand = ? AND digest = ?", (brand, digest))
        return row is not None and row["order_no"] == order_no
