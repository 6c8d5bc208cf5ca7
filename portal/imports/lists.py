"""Practitioners and services: the same rules as their forms in the office."""

from collections.abc import Mapping
from typing import Any

from flask_babel import lazy_gettext as _l
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.clinic import Location, Practitioner, Service, Tax
from portal.imports.files import Line
from portal.imports.report import Report
from portal.setup.entry import Entry
from portal.setup.kinds import Kind
from portal.setup.practitioners import PRACTITIONERS
from portal.setup.services import SERVICES

YES, NO = ("yes", "y", "true", "1"), ("no", "n", "false", "0")


def flag(line: Line, name: str, default: str, report: Report) -> str:
    """A yes or no as the forms send it: "yes" or nothing."""
    text = (line.fields.get(name) or default).lower()
    if text not in (*YES, *NO):
        report.refuse(line.number, _l("%(what)s: yes or no.", what=name.capitalize()))
    return "yes" if text in YES else ""


class _Listed:
    """A file of one of the clinic's lists. A line whose key is there already stays as it is."""

    kind: Kind[Any]

    def __init__(self, session: Session, report: Report) -> None:
        self._session = session
        self._report = report
        self._seen: dict[str, int] = {}
        self._new: list[dict[str, Any]] = []

    def _plan(self, line: Line, keys: list[str], there: set[str], typed: Mapping[str, Any]) -> None:
        """Keep what the form would keep, once. `keys` are what the line is known by, each folded in its case."""
        for key in keys:
            first = self._seen.setdefault(key, line.number)
            if first != line.number:
                self._report.refuse(line.number, _l("The same stands in line %(line)s already.", line=first))
                return
        if keys[0] in there:
            self._report.there += 1
            return
        entry = Entry(typed, self.kind.words)
        values = self.kind.read(self._session, entry, None)
        if not entry.wrong:
            self.kind.check(self._session, entry, values, None)
        for sentence in entry.wrong.values():
            self._report.refuse(line.number, sentence)
        self._report.new += 1
        self._new.append(values)

    def end(self) -> None:
        """Each line stands for itself."""

    def write(self, session: Session) -> None:
        """Add them."""
        for values in self._new:
            columns = {name: value for name, value in values.items() if name in self.kind.table.__table__.c}
            made = self.kind.table(**columns)
            session.add(made)
            session.flush()
            if self.kind.write_more is not None:
                self.kind.write_more(session, made, values)


class Practitioners(_Listed):
    """A file of practitioners, found again by registration number, else by name."""

    columns = ("name", "credentials", "registration", "active")
    required = ("name",)
    kind = PRACTITIONERS

    def __init__(self, session: Session, report: Report) -> None:
        super().__init__(session, report)
        rows = session.execute(select(Practitioner.name, Practitioner.registration)).all()
        self._there = {_key("number", row.registration) for row in rows if row.registration}
        self._there |= {_key("name", row.name) for row in rows}

    def take(self, line: Line) -> None:
        """One practitioner."""
        number, name = line.fields.get("registration", ""), line.fields["name"]
        keys = [*([_key("number", number)] if number else []), _key("name", name)]
        self._plan(line, keys, self._there, {**line.fields, "active": flag(line, "active", "yes", self._report)})


class Services(_Listed):
    """A file of services and products, found again by name."""

    columns = ("name", "kind", "price", "minutes", "taxes", "active")
    required = ("name", "price")
    kind = SERVICES

    def __init__(self, session: Session, report: Report) -> None:
        super().__init__(session, report)
        self._there = {_key("name", name) for name in session.scalars(select(Service.name))}
        self._taxes = {tax.name.casefold(): str(tax.id) for tax in session.scalars(select(Tax))}
        self._has_location = session.scalar(select(Location.id).limit(1)) is not None

    def take(self, line: Line) -> None:
        """One service or product."""
        if not self._has_location:
            self._report.refuse(line.number, _l("Add a location first: it says in which currency a price is."))
        names = [name.strip() for name in line.fields.get("taxes", "").split(";") if name.strip()]
        for name in names:
            if name.casefold() not in self._taxes:
                self._report.refuse(line.number, _l("There is no tax called %(name)s.", name=name[:40]))
        typed = {
            **line.fields,
            "kind": (line.fields.get("kind") or "service").lower(),
            "duration": line.fields.get("minutes") or "30",
            "taxes": [self._taxes[name.casefold()] for name in names if name.casefold() in self._taxes],
            "active": flag(line, "active", "yes", self._report),
        }
        self._plan(line, [_key("name", line.fields["name"])], self._there, typed)


def _key(what: str, text: str) -> str:
    return f"{what} {' '.join(text.split()).casefold()}"
