"""What the sandbox remembers: Stripe's objects by account and mode, and a few side tables.

Everything lives in memory behind one lock. With a journal file every change is also written as one line of JSON, so
that the sandbox survives a restart; the file is rewritten, in one atomic step, each time it is opened.

An object is a plain dict in Stripe's own form. Names that begin with an underscore are the sandbox's notes to
itself; no answer carries them.
"""

from __future__ import annotations

import json
import os
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from portal.sandbox.problems import Json


class Scope(NamedTuple):
    """One side of one account: its test data or its live data. Nothing crosses from one to the other."""

    account: str
    livemode: bool


LINKS: dict[str, tuple[str, ...]] = {
    "balance_transaction": ("source", "_payout"),
    "charge": ("payment_intent", "customer"),
    "dispute": ("charge", "payment_intent"),
    "payment_intent": ("customer",),
    "payment_method": ("customer",),
    "refund": ("charge", "payment_intent"),
}
"""The fields by which objects are looked up, per kind: kept indexed, so that a long simulation stays fast."""


class Store:
    def __init__(self, journal: Path | None = None) -> None:
        self.lock = threading.RLock()
        self._tables: defaultdict[str, dict[str, Any]] = defaultdict(dict)
        self._shelves: defaultdict[tuple[Scope, str], dict[str, Json]] = defaultdict(dict)
        self._index: defaultdict[tuple[str, str, Any], dict[str, None]] = defaultdict(dict)
        self._indexed: dict[tuple[str, str], Any] = {}
        self._journal = _Journal(journal) if journal else None
        if self._journal:
            for table, key, value in self._journal.read():
                self._take(table, key, value)
            self._journal.rewrite(
                (table, key, value) for table, rows in self._tables.items() for key, value in rows.items()
            )

    # objects

    def add(self, scope: Scope, thing: Json) -> Json:
        thing["_scope"] = list(scope)
        self.save(thing)
        return thing

    def save(self, thing: Json) -> None:
        """To be called after every change of an object."""
        self.put("objects", thing["id"], thing)

    def remove(self, thing: Json) -> None:
        self.put("objects", thing["id"], None)

    def find(self, object_id: str) -> Json | None:
        """Whatever bears this id, in any account: only for the sandbox's own use."""
        found: Json | None = self._tables["objects"].get(object_id)
        return found

    def get(self, scope: Scope, kind: str, object_id: str) -> Json | None:
        return self._shelves[scope, kind].get(object_id)

    def newest_first(self, scope: Scope, kind: str) -> Iterator[Json]:
        return reversed(self._shelves[scope, kind].values())

    def linked(self, scope: Scope, kind: str, field: str, value: str) -> Iterator[Json]:
        """The objects whose `field` is `value`, newest first."""
        shelf = self._shelves[scope, kind]
        ids = self._index.get((kind, field, value), {})
        return (shelf[object_id] for object_id in reversed(ids) if object_id in shelf)

    # side tables

    def table(self, name: str) -> dict[str, Any]:
        """For reading; changes go through `put`."""
        return self._tables[name]

    def put(self, table: str, key: str, value: Any) -> None:
        """Write one row; None deletes it."""
        self._take(table, key, value)
        if self._journal:
            self._journal.append(table, key, value)

    def flush(self) -> None:
        """Bring all that happened so far to the disk. Called before each answer."""
        if self._journal:
            self._journal.flush()

    def clear(self) -> None:
        self._tables.clear()
        self._shelves.clear()
        self._index.clear()
        self._indexed.clear()
        if self._journal:
            self._journal.rewrite(())

    def _take(self, table: str, key: str, value: Any) -> None:
        rows = self._tables[table]
        if value is None:
            old = rows.pop(key, None)
            if table == "objects" and old is not None:
                self._shelves[Scope(*old["_scope"]), old["object"]].pop(key, None)
            return
        rows[key] = value
        if table == "objects":
            self._shelves[Scope(*value["_scope"]), value["object"]][key] = value
            self._link(value)

    def _link(self, thing: Json) -> None:
        kind, object_id = thing["object"], thing["id"]
        for field in LINKS.get(kind, ()):
            value = thing.get(field)
            before = self._indexed.get((object_id, field))
            if value == before:
                continue
            if before is not None:
                self._index[kind, field, before].pop(object_id, None)
            if value is not None:
                self._index[kind, field, value][object_id] = None
            self._indexed[object_id, field] = value


class _Journal:
    """One line of JSON per change. A torn last line, from a crash in mid-write, is passed over."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: list[str] = []

    def read(self) -> Iterator[tuple[str, str, Any]]:
        if not self._path.exists():
            return
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                table, key, value = json.loads(line)
            except ValueError:
                continue
            yield table, key, value

    def rewrite(self, rows: Any) -> None:
        fresh = self._path.with_name(self._path.name + ".new")
        with fresh.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())
        fresh.chmod(0o600)
        fresh.replace(self._path)
        self._lines.clear()

    def append(self, table: str, key: str, value: Any) -> None:
        self._lines.append(json.dumps((table, key, value)) + "\n")

    def flush(self) -> None:
        if not self._lines:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write("".join(self._lines))
        self._lines.clear()
