"""The audit log and the access log as lists: narrowed by filters, newest first, a page at a time by key."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from flask_babel import gettext as _
from sqlalchemy import Connection, Select, func, select
from werkzeug.datastructures import MultiDict

from portal.audit import AuditEntry, RecordView
from portal.people import PATIENT, Patient, User, folded
from portal.web.office.times import when

PAGE = 50
SYSTEM = "system"
"""Stands for changes that no account made: the command line's and the worker's."""
LARGEST_ID = 2**31 - 1
SLACK = 10_000
"""Ids follow time closely, not strictly: so far around the first and last id of some days rows are looked for."""


@dataclass(frozen=True)
class Filters:
    """What a list is narrowed to, as it stands in the address. `wrong` has a sentence for what could not be read."""

    who: str = ""
    action: str = ""
    text: str = ""
    patient: str = ""
    since: date | None = None
    until: date | None = None
    before: int | None = None
    typed: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)

    def address(self, **more: object) -> str:
        """These filters as a query string, with `more` set."""
        pairs = {**{name: value for name, value in self.typed.items() if name != "before"}, **more}
        return "?" + urlencode({name: value for name, value in pairs.items() if value not in ("", None)})


def read_filters(given: MultiDict[str, str]) -> Filters:
    """The filters of an address. What can't be read narrows nothing, and is said."""
    names = ("who", "action", "text", "patient", "from", "until", "before")
    typed = {name: "".join(filter(str.isprintable, given.get(name, "")))[:100].strip() for name in names}
    wrong: dict[str, str] = {}
    before = _number(typed["before"])
    return Filters(
        who=typed["who"] if typed["who"] == SYSTEM or _number(typed["who"]) else "",
        action=typed["action"][:60],
        text=typed["text"],
        patient=typed["patient"] if _number(typed["patient"]) else "",
        since=_day(typed["from"], "from", wrong),
        until=_day(typed["until"], "until", wrong),
        before=before,
        typed=typed,
        wrong=wrong,
    )


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 11 and int(text) <= LARGEST_ID else None


def _day(text: str, name: str, wrong: dict[str, str]) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        wrong[name] = _("This is not a date. It looks like 2026-11-24.")
        return None


class ChangeLine(NamedTuple):
    """One change in words."""

    number: int
    when: str
    who: str
    what: str
    subject: str
    before: str
    after: str
    patient_id: int | None


class ViewLine(NamedTuple):
    """One look at a patient's record in words."""

    when: str
    who: str
    patient: str
    patient_id: int
    page: str


class Page(NamedTuple):
    """Some lines, and the id after which the next page goes on; None on the last one."""

    lines: Sequence[Any]
    following: int | None


# --- the lists ------------------------------------------------------------------------------------------------------


def changes_page(connection: Connection, filters: Filters, zone: ZoneInfo) -> Page:
    """Changes, newest first."""
    entry = AuditEntry.__table__.c
    statement = select(*entry, User.name).outerjoin(User, User.id == entry.user_id)
    if filters.who:
        statement = statement.where(
            entry.user_id.is_(None) if filters.who == SYSTEM else entry.user_id == int(filters.who)
        )
    if filters.action:
        statement = statement.where(entry.action == filters.action)
    if filters.text:
        statement = statement.where(entry.subject.icontains(filters.text, autoescape=True))
    rows, following = _rows(connection, statement, entry, filters, zone)
    lines = [
        ChangeLine(row.id, when(row.at, zone), row.name or _("The system"), action_words(row.action), row.subject,
                   row.before, row.after, row.patient_id)
        for row in rows
    ]  # fmt: skip
    return Page(lines, following)


def views_page(connection: Connection, filters: Filters, zone: ZoneInfo) -> Page:
    """Looks at patients' records, newest first."""
    view = RecordView.__table__.c
    statement = (
        select(*view, User.name, Patient.given_name, Patient.family_name)
        .join(User, User.id == view.user_id)
        .join(Patient, Patient.id == view.patient_id)
    )
    if filters.who and filters.who != SYSTEM:
        statement = statement.where(view.user_id == int(filters.who))
    if filters.patient:
        statement = statement.where(view.patient_id == int(filters.patient))
    if filters.text:
        found = [Patient.search_key.contains(word, autoescape=True) for word in folded(filters.text).split()]
        statement = statement.where(*found)
    rows, following = _rows(connection, statement, view, filters, zone)
    lines = [
        ViewLine(when(row.at, zone), row.name, f"{row.family_name}, {row.given_name}", row.patient_id, row.page)
        for row in rows
    ]
    return Page(lines, following)


def _rows(
    connection: Connection, statement: Select[Any], columns: Any, filters: Filters, zone: ZoneInfo
) -> tuple[Sequence[Any], int | None]:
    """One page of rows, walked by id: each page costs the same, however many lie before it, and so does each filter
    that has an index of its own by id."""
    if filters.since:
        moment = datetime.combine(filters.since, time(), zone)
        first = connection.scalar(select(columns.id).where(columns.at >= moment).order_by(columns.at).limit(1))
        statement = statement.where(columns.at >= moment, columns.id > (first or LARGEST_ID) - SLACK)
    if filters.until and filters.until < date.max:
        moment = datetime.combine(filters.until + timedelta(days=1), time(), zone)
        last = connection.scalar(select(columns.id).where(columns.at < moment).order_by(columns.at.desc()).limit(1))
        statement = statement.where(columns.at < moment, columns.id < (last or 0) + SLACK)
    if filters.before:
        statement = statement.where(columns.id < filters.before)
    rows = connection.execute(statement.order_by(columns.id.desc()).limit(PAGE + 1)).all()
    return rows[:PAGE], rows[PAGE - 1].id if len(rows) > PAGE else None


# --- what the filters offer -----------------------------------------------------------------------------------------


def staff_choices(connection: Connection, *, with_system: bool) -> list[tuple[str, str]]:
    """Everybody who may have done something, also those who have left."""
    rows = connection.execute(select(User.id, User.name).where(User.role != PATIENT).order_by(User.name, User.id))
    everybody = [(str(row.id), row.name) for row in rows]
    return [("", _("Everybody")), *([(SYSTEM, _("The system"))] if with_system else []), *everybody]


def action_choices(connection: Connection) -> list[tuple[str, str]]:
    """The kinds of change that there are. Each is reached by a jump in the index, so a long log costs no more."""
    entry = AuditEntry.__table__
    first = select(func.min(entry.c.action).label("action")).cte("kinds", recursive=True)
    following = select(func.min(entry.c.action)).where(entry.c.action > first.c.action).scalar_subquery()
    kinds = first.union_all(select(following).where(first.c.action.is_not(None)))
    found = connection.scalars(select(kinds.c.action).where(kinds.c.action.is_not(None))).all()
    return [("", _("Every kind")), *sorted((action, action_words(action)) for action in found)]


def action_words(action: str) -> str:
    """ "second_factor.reset" as people read it: "Second factor reset"."""
    return action.replace("_", " ").replace(".", " ").capitalize()
