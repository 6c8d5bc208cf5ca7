"""Finding people by the beginning of anything one knows of them: names, email, telephone, number."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, select

from portal.audit import RecordView
from portal.people import LONGEST_WORD, WORD, Patient, PatientWord, folded, national

SHOWN = 20
LONGEST_QUERY = 200
MOST_WORDS = 8

_ROWS = 12 * (SHOWN + 1)
"""Rows of words to look at for so many people: one person seldom has more than twelve that begin alike."""

_RARE = 500
_LAST = "\U0010ffff"
_NUMBER = re.compile(r"p-?\s*(\d{1,9})")
_PHONE = re.compile(r"(?<![\w@.])\+?\(?\d[\d\s().+/-]{3,}\d(?![\w@])")
_LEAST_PHONE = 7

_patients, _words = Patient.__table__.c, PatientWord.__table__.c


@dataclass(frozen=True)
class Found:
    """One person of a list."""

    id: int
    given_name: str
    family_name: str
    birth_date: date | None
    email: str
    phone: str

    @property
    def name(self) -> str:
        return f"{self.given_name} {self.family_name}".strip()

    @property
    def number(self) -> str:
        return number_of(self.id)


@dataclass(frozen=True)
class People:
    """What a search found; `more`: there are others, which a longer query would tell apart."""

    rows: Sequence[Found]
    more: bool = False


_SHOWN = select(
    _patients.id, _patients.given_name, _patients.family_name, _patients.birth_date, _patients.email, _patients.phone
)


def number_of(patient_id: int) -> str:
    """A person's number, as it is written: "P-2207"."""
    return f"P-{patient_id}"


def people_found(connection: Connection, query: str) -> People:
    """The people who have every word of the query: in any order, by its beginning, accents and case aside.

    A telephone is found by its digits, its last seven or its last four; a person by "P-2207" or the plain number.
    """
    query = folded(query[:LONGEST_QUERY])
    numbered = _NUMBER.fullmatch(query)
    if numbered:
        return People(_people(connection, [int(numbered[1])]))
    wanted = _wanted(query)
    ids = _ids(connection, wanted) if wanted else []
    if query.isdecimal() and len(query) <= 9:
        ids = list(dict.fromkeys([int(query), *ids]))
    return People(_people(connection, ids[:SHOWN]), more=len(ids) > SHOWN)


def _wanted(query: str) -> list[str]:
    """The beginnings of words that a query asks for, the most telling first."""
    wanted: list[str] = []

    def take_phone(found: re.Match[str]) -> str:
        digits = national(found[0])
        if len(digits) < _LEAST_PHONE:
            return found[0]
        wanted.append(digits)
        return " "

    wanted += WORD.findall(_PHONE.sub(take_phone, query))
    wanted = [word[:LONGEST_WORD] for word in dict.fromkeys(wanted)]
    return sorted(wanted, key=len, reverse=True)[:MOST_WORDS]


def _begins(words: Any, beginning: str) -> ColumnElement[bool]:
    """A range of the table's key, which both databases walk."""
    return and_(words.word >= beginning, words.word < beginning + _LAST)


def _ids(connection: Connection, wanted: list[str]) -> list[int]:
    """At most SHOWN + 1 people who have all these words, from the rarest of them on."""
    first, *others = _rarest_first(connection, wanted)
    statement = select(_words.patient_id).where(_begins(_words, first))
    for number, other in enumerate(others):
        also = PatientWord.__table__.alias(f"also_{number}")
        statement = statement.where(exists().where(also.c.patient_id == _words.patient_id, _begins(also.c, other)))
    rows = connection.scalars(statement.order_by(_words.word, _words.patient_id).limit(_ROWS))
    return list(dict.fromkeys(rows))[: SHOWN + 1]


def _rarest_first(connection: Connection, wanted: list[str]) -> list[str]:
    """The words by how many people have them; counting stops early, for common ones are alike."""
    if len(wanted) == 1:
        return wanted
    counts = connection.execute(
        select(*(select(func.count()).select_from(_a_few(word)).scalar_subquery() for word in wanted))
    ).one()
    return [word for _, word in sorted(zip(counts, wanted, strict=True), key=lambda pair: pair[0])]


def _a_few(beginning: str) -> Any:
    return select(_words.patient_id).where(_begins(_words, beginning)).limit(_RARE).subquery()


def _people(connection: Connection, ids: Sequence[int]) -> list[Found]:
    if not ids:
        return []
    rows = connection.execute(_SHOWN.where(_patients.id.in_(ids)).order_by(_patients.search_key, _patients.id))
    return [Found(*row) for row in rows]


def people_lately(connection: Connection, user_id: int) -> People:
    """Whose file this member of staff opened last; where there is none, the newest people on file."""
    opened = select(RecordView.patient_id).where(RecordView.user_id == user_id).order_by(RecordView.id.desc())
    ids = list(dict.fromkeys(connection.scalars(opened.limit(100))))[:10]
    if ids:
        known = {person.id: person for person in _people(connection, ids)}
        return People([known[patient_id] for patient_id in ids])
    newest: Select[Any] = _SHOWN.order_by(_patients.id.desc()).limit(10)
    return People([Found(*row) for row in connection.execute(newest)])
