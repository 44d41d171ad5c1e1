"""
What the sandbox provider remembers: orders, operations by id, and what tests scripted. One SQLite file.

An order exists once per brand, merchant and order id; sending it again answers what it is. A capture or void happens
once per operation id. A void for an order nobody knows leaves a tombstone, so that the order cannot arrive later.
"""

import json
import sqlite3
from pathlib import Path
from typing import Any

Answer = dict[str, Any]
_ABSENT: Answer = {"result": "succeeded", "status": "absent", "amount_minor": 0, "reference": ""}

_SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    brand TEXT, merchant_id TEXT, order_id TEXT, kind TEXT, amount_minor INTEGER, captured_minor INTEGER,
    status TEXT, reason TEXT, reference TEXT, times_taken INTEGER, PRIMARY KEY (brand, merchant_id, order_id)
);
CREATE TABLE IF NOT EXISTS operations (
    brand TEXT, merchant_id TEXT, operation_id TEXT, asked TEXT, answer TEXT,
    PRIMARY KEY (brand, merchant_id, operation_id)
);
CREATE TABLE IF NOT EXISTS scripts (number INTEGER PRIMARY KEY, matches TEXT, verb TEXT, script TEXT);
"""


class OrderBook:
    """The provider's side of every order. Not for several threads at once."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def add_script(self, matches: str, verb: str, script: dict[str, Any]) -> None:
        """Remember how to behave once, for the next request that matches an order id (or `next`) and a verb."""
        self._db.execute(
            "INSERT INTO scripts (matches, verb, script) VALUES (?, ?, ?)", (matches, verb, json.dumps(script))
        )

    def take_script(self, order_id: str, verb: str) -> dict[str, Any]:
        """Return the oldest script for a request and forget it; empty when there is none."""
        row = self._db.execute(
            "SELECT number, script FROM scripts WHERE matches IN (?, 'next') AND verb IN (?, '')"
            " ORDER BY number LIMIT 1",
            (order_id, verb),
        ).fetchone()
        if row is None:
            return {}
        self._db.execute("DELETE FROM scripts WHERE number = ?", (row["number"],))
        script: dict[str, Any] = json.loads(row["script"])
        return script

    def orders(self, merchant_id: str = "") -> list[dict[str, Any]]:
        """Return all orders, or one merchant's, by id."""
        rows = self._db.execute(
            "SELECT * FROM orders WHERE ? IN ('', merchant_id) ORDER BY brand, merchant_id, order_id", (merchant_id,)
        )
        return [dict(row) for row in rows]

    def handle(self, brand: str, verb: str, asked: dict[str, Any], *, decline: str = "") -> Answer:
        """Return the answer to a request, having done what it asks; `decline` is a reason to say no."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            answer = self._answer(brand, verb, asked, decline)
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
        return {**answer, "order_id": asked["order_id"]}

    def _answer(self, brand: str, verb: str, asked: dict[str, Any], decline: str) -> Answer:
        key = (brand, asked["merchant_id"], asked["order_id"])
        if verb == "query":
            order = self._find(key)
            return _told(order) if order is not None else _no("not_found")
        if verb in ("authorize", "charge"):
            return self._new(key, verb, asked["amount_minor"], decline)
        operation = (brand, asked["merchant_id"], asked["operation_id"])
        fingerprint = json.dumps({**asked, "verb": verb}, sort_keys=True)
        known = self._db.execute(
            "SELECT asked, answer FROM operations WHERE brand = ? AND merchant_id = ? AND operation_id = ?", operation
        ).fetchone()
        if known is not None:
            answer: Answer = json.loads(known["answer"]) if known["asked"] == fingerprint else _no("operation_differs")
            return answer
        answer = _no(decline) if decline else self._change(key, verb, int(asked.get("amount_minor", 0)))
        self._db.execute("INSERT INTO operations VALUES (?, ?, ?, ?, ?)", (*operation, fingerprint, json.dumps(answer)))
        return answer

    def _find(self, key: tuple[str, str, str]) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._db.execute(
            "SELECT * FROM orders WHERE brand = ? AND merchant_id = ? AND order_id = ?", key
        ).fetchone()
        return row

    def _new(self, key: tuple[str, str, str], verb: str, amount_minor: int, decline: str) -> Answer:
        there = self._find(key)
        if there is not None:
            same = (there["kind"], there["amount_minor"]) == (verb, amount_minor) or there["kind"] == "tombstone"
            return _told(there) if same else _no("order_differs")
        status = "declined" if decline else {"authorize": "held", "charge": "charged"}[verb]
        self._insert(key, verb, amount_minor, status, decline)
        order = self._find(key)
        assert order is not None
        return _told(order)

    def _insert(self, key: tuple[str, str, str], kind: str, amount_minor: int, status: str, reason: str) -> None:
        taken = int(status in ("held", "charged"))
        reference = f"{key[0]}-{self._db.execute('SELECT count(*) FROM orders').fetchone()[0] + 1:08d}"
        self._db.execute(
            "INSERT INTO orders VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?)",
            (*key, kind, amount_minor, status, reason, reference, taken),
        )

    def _change(self, key: tuple[str, str, str], verb: str, amount_minor: int) -> Answer:
        order = self._find(key)
        if order is None:
            if verb == "capture":
                return _no("not_found")
            self._insert(key, "tombstone", 0, "voided", "canceled")
            return _ABSENT
        if verb == "capture":
            if order["status"] != "held":
                return _no(f"is_{order['status']}")
            if not 0 < amount_minor <= order["amount_minor"]:
                return _no("exceeds_hold")
            self._set(key, "captured", amount_minor)
        else:
            if order["status"] == "captured":
                return _no("is_captured")
            if order["status"] in ("declined", "voided"):
                return {
                    "result": "succeeded",
                    "status": "absent",
                    "amount_minor": order["amount_minor"],
                    "reference": "",
                }
            self._set(key, "voided", 0)
        changed = self._find(key)
        assert changed is not None
        return _told(changed)

    def _set(self, key: tuple[str, str, str], status: str, captured_minor: int) -> None:
        self._db.execute(
            "UPDATE orders SET status = ?, captured_minor = ? WHERE brand = ? AND merchant_id = ? AND order_id = ?",
            (status, captured_minor, *key),
        )


def _told(order: sqlite3.Row) -> Answer:
    if order["status"] == "declined":
        return _no(order["reason"])
    if order["kind"] == "tombstone":
        return _no("canceled")
    return {
        "result": "succeeded",
        "status": order["status"],
        "amount_minor": order["amount_minor"],
        "reference": order["reference"],
    }


def _no(reason: str) -> Answer:
    return {"result": "declined", "reason": reason}
