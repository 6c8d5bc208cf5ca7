"""Whose invoices are looked for: by the beginnings of the words of a name, or by a number, in one statement."""

import re

from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, Connection, exists, select

from portal.errors import Refusal
from portal.people import LONGEST_WORD, WORD, PatientWord, folded

MOST = 20
MOST_WORDS = 6
_ROWS = 12 * (MOST + 1)
"""Rows of words to look at for so many people: one person seldom has more than twelve that begin alike."""

_NUMBER = re.compile(r"p-?\s*(\d{1,9})")
_LAST = "\U0010ffff"


class TooManyPatients(Refusal):
    """A name that more people share than anybody wants to look through."""

    message = _l("More than {most} people on file are called that. Type more of the name.")


def patients_named(connection: Connection, text: str) -> tuple[int, ...]:
    """The ids of the people who have every word that was typed, by its beginning and in any order; "P-2207" is one.

    Raises TooManyPatients.
    """
    text = folded(text)
    number = _NUMBER.fullmatch(text)
    if number:
        return (int(number[1]),)
    first, *others = sorted(WORD.findall(text), key=len, reverse=True)[:MOST_WORDS] or [""]
    if not first:
        return ()
    words = PatientWord.__table__.c
    statement = select(words.patient_id).where(_begins(words.word, first))
    for turn, other in enumerate(others):
        also = PatientWord.__table__.alias(f"also_{turn}").c
        statement = statement.where(exists().where(also.patient_id == words.patient_id, _begins(also.word, other)))
    rows = connection.scalars(statement.order_by(words.word, words.patient_id).limit(_ROWS))
    found = tuple(dict.fromkeys(rows))
    if len(found) > MOST:
        raise TooManyPatients(most=MOST)
    return found


def _begins(word: ColumnElement[str], beginning: str) -> ColumnElement[bool]:
    """A range of the table's key, which both databases walk."""
    beginning = beginning[:LONGEST_WORD]
    return (word >= beginning) & (word < beginning + _LAST)
