"""The office's list of programs: what runs, what comes, and how full it is. Two statements, however many."""

from datetime import datetime
from typing import Any, NamedTuple

from flask_babel import gettext as _
from sqlalchemy import ColumnElement, Connection, func, or_, select

from portal.clinic import Location, Practitioner
from portal.clock import now
from portal.invoices.reading.words import Tag, local_day, money, plain_day, with_credentials
from portal.programs.pricing import price_on
from portal.programs.tables import Program, ProgramSession
from portal.programs.words import meets_words

MOST = 200
"""So many programs at once; of those that are over, the latest."""

_programs, _locations, _practitioners = Program.__table__.c, Location.__table__.c, Practitioner.__table__.c
_sessions = ProgramSession.__table__.c
_MEETS = (
    select(
        _sessions.program_id,
        func.count().label("count"),
        func.min(_sessions.starts_at).label("first"),
        func.max(_sessions.ends_at).label("last"),
    )
    .group_by(_sessions.program_id)
    .subquery()
)
_ALL = (
    select(
        *_programs,
        _locations.name.label("place"),
        _locations.timezone,
        _locations.currency,
        _practitioners.name.label("healer"),
        _practitioners.credentials,
        _MEETS.c.count,
        _MEETS.c.first,
        _MEETS.c.last,
    )
    .join(Location.__table__, _locations.id == _programs.location_id)
    .outerjoin(Practitioner.__table__, _practitioners.id == _programs.practitioner_id)
    .outerjoin(_MEETS, _MEETS.c.program_id == _programs.id)
    .limit(MOST)
)


class Listed(NamedTuple):
    """A program in the office's list, in words."""

    public_id: str
    name: str
    meets: str
    place: str
    healer: str
    price: str
    taken: int
    capacity: int
    waiting: int
    tag: Tag


class Overview(NamedTuple):
    """The programs of one tab, and how many each tab has."""

    programs: list[Listed]
    coming: int
    over: int


def programs(connection: Connection, *, over: bool) -> Overview:
    """The programs that run or come, the next one first; or those that are over, the last one first."""
    moment = now()
    is_over = _MEETS.c.last < moment
    if over:
        found = _ALL.where(is_over).order_by(_MEETS.c.last.desc(), _programs.id)
    else:
        found = _ALL.where(_comes(moment)).order_by(_MEETS.c.first.is_(None).desc(), _MEETS.c.first, _programs.id)
    rows = [_listed(row, moment) for row in connection.execute(found)]
    counts = connection.execute(
        select(func.count(_programs.id), func.count(_MEETS.c.last).filter(is_over))
        .select_from(Program.__table__)
        .outerjoin(_MEETS, _MEETS.c.program_id == _programs.id)
    ).one()
    return Overview(rows, counts[0] - counts[1], counts[1])


def _comes(moment: datetime) -> ColumnElement[bool]:
    return or_(_MEETS.c.last.is_(None), _MEETS.c.last >= moment)


def _listed(row: Any, moment: datetime) -> Listed:
    price = price_on(row, local_day(moment, row.timezone))
    return Listed(
        row.public_id,
        row.name,
        meets_words(row.count or 0, row.first, row.timezone),
        row.place,
        with_credentials(row.healer, row.credentials) if row.healer else "–",
        money(price, row.currency) if price else _("Free"),
        row.taken,
        row.capacity,
        row.waiting,
        standing_tag(row, moment),
    )


def standing_tag(row: Any, moment: datetime) -> Tag:
    """Where a program stands for whoever would register: the first of these that holds."""
    if row.last is not None and row.last < moment:
        return Tag("void", _("Over"))
    if not row.visible:
        return Tag("void", _("Hidden"))
    ends = row.closes_at or row.first
    if ends is None or ends <= moment:
        return Tag("void", _("Registration closed"))
    if row.opens_at is not None and row.opens_at > moment:
        return Tag("new", _("Opens %(day)s", day=plain_day(local_day(row.opens_at, row.timezone))))
    if row.taken >= row.capacity:
        return Tag("part", _("Full"))
    return Tag("paid", _("Open"))
