"""What locations, practitioners, services and taxes have in common: how they are listed, added, changed and recorded.

Rows are few; a list reads them all. A form shows a row as texts and sends texts back, with a stamp of what it showed,
so that nobody overwrites unseen what somebody else has saved meanwhile.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from flask_babel import lazy_gettext as _l
from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from portal.audit import record
from portal.clinic import take_number
from portal.db import Base
from portal.errors import Refusal
from portal.setup.entry import Entry, Typed, Words

AS_SHOWN = "as_shown"
"""The field with the stamp of what the form showed."""

Row = TypeVar("Row", bound=Base)
Shown = dict[str, str]
"""A row as its form and the audit log show it."""


class NotThere(Refusal):
    """Nothing has this number."""

    status = 404
    title = _l("Not found")
    message = _l("There is nothing here under this number.")


@dataclass(frozen=True)
class Kind(Generic[Row]):
    """One of the lists that make up a clinic.

    `read` gives the columns' values from what was typed; `check` refuses what clashes with other rows; `shown` gives
    a row as texts, under the names of `words`. `moving` are fields that change without anybody saving the form.
    """

    what: str
    table: type[Row]
    words: Words
    read: Callable[[Session, Entry, Row | None], dict[str, Any]]
    check: Callable[[Session, Entry, dict[str, Any], Row | None], None]
    shown: Callable[[Connection | Session, Iterable[Any]], list[Shown]]
    order: tuple[Any, ...]
    moving: frozenset[str] = frozenset()
    write_more: Callable[[Session, Row, dict[str, Any]], None] | None = None
    is_same: Callable[[Session, Row, dict[str, Any]], bool] | None = None

    def every(self, connection: Connection | Session) -> list[Shown]:
        """All of them as their forms show them, with `id`; those in use first."""
        rows = connection.execute(select(*self._columns).order_by(*self.order)).all()
        return [{"id": str(row.id), **shown} for row, shown in zip(rows, self.shown(connection, rows), strict=True)]

    def form(self, connection: Connection | Session, number: int) -> Shown:
        """One of them as its form shows it, with the stamp. Raises NotThere."""
        row = connection.execute(select(*self._columns).where(self._columns.id == number)).first()
        if row is None:
            raise NotThere
        (shown,) = self.shown(connection, [row])
        return {**shown, AS_SHOWN: self._stamp(shown)}

    def add(self, session: Session, typed: Typed, *, by: int | None) -> Row:
        """Add one; the same press twice adds one. Raises BadEntry."""
        one_at_a_time(session)
        entry = Entry(typed, self.words)
        values = self.read(session, entry, None)
        twin = None if entry.wrong else self._twin(session, values)
        if twin is not None:
            return twin
        self.check(session, entry, values, None)
        entry.check()
        made = self.table()
        self._write(session, made, values)
        (shown,) = self.shown(session, [made])
        after = "; ".join(f"{self.words[field]}: {value}" for field, value in shown.items() if value)
        record(session, f"{self.what}.added", f"{self.what} {shown['name']}", by=by, after=after)
        return made

    def change(self, session: Session, number: int, typed: Typed, *, by: int | None) -> Row:
        """Change one, and record each field that differs. Raises NotThere or BadEntry."""
        one_at_a_time(session)
        row = session.get(self.table, number, with_for_update=True, populate_existing=True)
        if row is None:
            raise NotThere
        (before,) = self.shown(session, [row])
        entry = Entry(typed, self.words)
        self._check_stamp(entry, before)
        values = self.read(session, entry, row)
        self.check(session, entry, values, row)
        entry.check()
        self._write(session, row, values)
        (after,) = self.shown(session, [row])
        for field in self.words:
            if before[field] != after[field]:
                subject = f"{self.what} {after['name']}, {str(self.words[field]).lower()}"
                record(session, f"{self.what}.changed", subject, by=by, before=before[field], after=after[field])
        return row

    @property
    def _columns(self) -> Any:
        return self.table.__table__.c

    def _write(self, session: Session, row: Row, values: dict[str, Any]) -> None:
        for column in self._columns.keys() & values.keys():
            setattr(row, column, values[column])
        session.add(row)
        session.flush()
        if self.write_more is not None:
            self.write_more(session, row, values)

    def _check_stamp(self, entry: Entry, before: Shown) -> None:
        stamp = entry.raw(AS_SHOWN)
        if not stamp or stamp == self._stamp(before):
            return
        differing = [field for field in self.words if entry.raw(field) != before[field] and field != "taxes"]
        now = "; ".join(f"{self.words[field]}: {before[field] or '–'}" for field in differing)
        sentence = _l("Somebody else saved this meanwhile. Where it differs from what stands below, it says now: "
                      "%(now)s. Save again to put your own in its place.", now=now or "–")  # fmt: skip
        entry.refuse("name", sentence)

    def _twin(self, session: Session, values: dict[str, Any]) -> Row | None:
        """The row that this very form has made already."""
        wanted = {column: values[column] for column in self._columns.keys() & values.keys()}
        twin = next(iter(session.scalars(select(self.table).filter_by(**wanted))), None)
        is_same = twin is not None and (self.is_same is None or self.is_same(session, twin, values))
        return twin if is_same else None

    def _stamp(self, shown: Shown) -> str:
        lasting = {field: value for field, value in shown.items() if field not in self.moving}
        return hashlib.sha256(json.dumps(lasting, sort_keys=True).encode()).hexdigest()[:16]


def one_at_a_time(session: Session) -> None:
    """From here to the end of the transaction, nobody else changes the clinic's set-up.

    So a name, a prefix or a run of numbers that was free when it was looked up is still free when it is written.
    (The row of a counter stays locked: that works on an empty table too.)
    """
    take_number(session, "set-up changes")


def namesake(session: Session, table: type[Row], name: str, own: Row | None) -> Row | None:
    """Another row of this name, whatever its case. (In Python: SQLite folds the case of ASCII alone.)"""
    wanted = name.casefold()
    others: Iterable[Any] = session.scalars(select(table))
    return next((each for each in others if each is not own and each.name.casefold() == wanted), None)
