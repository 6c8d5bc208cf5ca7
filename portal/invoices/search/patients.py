"""Whose invoices are looked for, by name."""

from flask_babel import lazy_gettext as _l
from sqlalchemy import Connection, select

from portal.errors import Refusal
from portal.people import Patient, folded

MOST = 20


class TooManyPatients(Refusal):
    """A name that more people share than anybody wants to look through."""

    message = _l("More than {most} people on file match this. Type more of the name.")


def patients_named(connection: Connection, name: str) -> tuple[int, ...]:
    """The ids of the people whose name begins like this, family name first; none where nobody's does.

    Raises TooManyPatients.
    """
    key = folded(name.replace(",", " "))
    patients = Patient.__table__.c
    ids = connection.scalars(
        select(patients.id)
        .where(patients.search_key >= key, patients.search_key < key + "\U0010ffff")
        .limit(MOST + 1)
    ).all()
    if len(ids) > MOST:
        raise TooManyPatients(most=MOST)
    return tuple(ids)
