"""Practitioners: who treats patients, with the registration number that insurers want on a receipt."""

from collections.abc import Iterable
from typing import Any

from flask_babel import lazy_gettext as _l
from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from portal.clinic import Practitioner
from portal.setup.entry import Entry
from portal.setup.kinds import Kind, Shown, namesake

BLANK: Shown = {"active": "yes"}


def _shown(_connection: Connection | Session, rows: Iterable[Any]) -> list[Shown]:
    return [
        {
            "name": row.name,
            "credentials": row.credentials,
            "registration": row.registration,
            "active": "yes" if row.active else "",
        }
        for row in rows
    ]


def _read(_session: Session, entry: Entry, _own: Practitioner | None) -> dict[str, Any]:
    return {
        "name": entry.line("name", 120, required=True),
        "credentials": entry.line("credentials", 40),
        "registration": entry.line("registration", 60),
        "active": entry.yes("active"),
    }


def _check(session: Session, entry: Entry, values: dict[str, Any], own: Practitioner | None) -> None:
    if namesake(session, Practitioner, values["name"], own) is not None:
        sentence = _l("There is a practitioner called %(name)s already. For a second one, add what tells them apart.",
                      name=values["name"])  # fmt: skip
        entry.refuse("name", sentence)
    number = values["registration"].casefold()
    registered = session.scalars(select(Practitioner).where(Practitioner.registration != ""))
    holder = next((each for each in registered if each is not own and each.registration.casefold() == number), None)
    if holder is not None:
        sentence = _l("%(name)s has the registration number %(number)s already.",
                      name=holder.name, number=values["registration"])  # fmt: skip
        entry.refuse("registration", sentence)


PRACTITIONERS = Kind(
    what="practitioner",
    table=Practitioner,
    words={
        "name": _l("Name"),
        "credentials": _l("Credentials"),
        "registration": _l("Registration number"),
        "active": _l("Active"),
    },
    read=_read,
    check=_check,
    shown=_shown,
    order=(Practitioner.active.desc(), Practitioner.name),
)
