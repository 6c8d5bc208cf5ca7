"""What the clinic says about a program, in its own words: as a form has it, as it stands, and as a copy of it."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Connection, Select, select
from sqlalchemy.orm import Session

from portal.clinic import Location, Practitioner, Tax
from portal.money import format_money
from portal.programs.refusals import ProgramNotFound
from portal.programs.seats import confirmed_count
from portal.programs.setup.sessions import Meeting, Wall, in_order, meeting_of, moved, wall_of
from portal.programs.tables import Program, ProgramQuestion, ProgramSession, ProgramTax
from portal.schedule.times import clock, week_of

_programs, _locations = Program.__table__.c, Location.__table__.c


@dataclass(frozen=True)
class Question:
    """Something to ask whoever registers. `id` is that of a question that is asked already."""

    kind: str
    text: str
    choices: tuple[str, ...] = ()
    required: bool = True
    id: int | None = None


@dataclass(frozen=True)
class Wanted:
    """A program as the clinic wants it. Days and times are those of its location's clock."""

    name: str
    location_id: int
    price_cents: int
    capacity: int
    description: str = ""
    practitioner_id: int | None = None
    tax_ids: frozenset[int] = frozenset()
    early_price_cents: int | None = None
    early_until: date | None = None
    waitlist_size: int = 0
    opens: Wall | None = None
    closes: Wall | None = None
    visible: bool = False
    refund_days: int = 7
    late_share_percent: int = 0
    meetings: tuple[Meeting, ...] = ()
    questions: tuple[Question, ...] = ()

    def says_the_same_as(self, other: "Wanted") -> bool:
        """Whether both say the same of a program, whether it is kept yet or not."""
        return not self.differs_from(other)

    def differs_from(self, other: "Wanted") -> list[str]:
        """The fields in which the two differ."""
        one, two = _bare(self), _bare(other)
        return [each.name for each in fields(self) if getattr(one, each.name) != getattr(two, each.name)]


def _bare(wanted: Wanted) -> Wanted:
    return replace(
        wanted,
        meetings=tuple(replace(each, id=None) for each in in_order(wanted.meetings)),
        questions=tuple(replace(each, id=None) for each in wanted.questions),
    )


@dataclass(frozen=True)
class Standing:
    """A program as it stands, with what its form has to know."""

    public_id: str
    version: int
    taken: int
    confirmed: int
    zone: str
    currency: str
    wanted: Wanted


# --- as it stands ---------------------------------------------------------------------------------------------------


def standing(source: Session | Connection, public_id: str) -> Standing:
    """A program as it stands, in five statements. Raises ProgramNotFound."""
    row = source.execute(
        select(*_programs, _locations.timezone, _locations.currency)
        .join(Location.__table__, _locations.id == _programs.location_id)
        .where(_programs.public_id == public_id)
    ).first()
    if row is None:
        raise ProgramNotFound
    wanted = _wanted(source, row, row.timezone)
    confirmed = confirmed_count(source, row.id)
    return Standing(row.public_id, row.version, row.taken, confirmed, row.timezone, row.currency, wanted)


def wanted_of(session: Session, program: Program) -> Wanted:
    """What a program that is at hand says, in its location's time."""
    return _wanted(session, program, session.get_one(Location, program.location_id).timezone)


def _wanted(source: Session | Connection, row: Any, zone: str) -> Wanted:
    return Wanted(
        name=row.name,
        description=row.description,
        location_id=row.location_id,
        practitioner_id=row.practitioner_id,
        price_cents=row.price_cents,
        tax_ids=frozenset(
            found.tax_id for found in source.execute(select(ProgramTax.tax_id).where(ProgramTax.program_id == row.id))
        ),
        early_price_cents=row.early_price_cents,
        early_until=row.early_until,
        capacity=row.capacity,
        waitlist_size=row.waitlist_size,
        opens=wall_of(row.opens_at, zone) if row.opens_at else None,
        closes=wall_of(row.closes_at, zone) if row.closes_at else None,
        visible=row.visible,
        refund_days=row.refund_days,
        late_share_percent=row.late_share_percent,
        meetings=tuple(
            meeting_of(each.starts_at, each.ends_at, zone, each.room, each.id)
            for each in source.execute(_sessions_of(row.id))
        ),
        questions=tuple(
            Question(each.kind, each.text, tuple(each.choices.splitlines()), each.required, each.id)
            for each in source.execute(_asked_by(row.id))
        ),
    )


def _sessions_of(program_id: int) -> Select[Any]:
    columns = ProgramSession.__table__.c
    return (
        select(columns.id, columns.starts_at, columns.ends_at, columns.room)
        .where(columns.program_id == program_id)
        .order_by(columns.starts_at, columns.id)
    )


def _asked_by(program_id: int) -> Select[Any]:
    columns = ProgramQuestion.__table__.c
    return (
        select(columns.id, columns.kind, columns.text, columns.choices, columns.required)
        .where(columns.program_id == program_id, columns.active)
        .order_by(columns.position, columns.id)
    )


# --- a copy ---------------------------------------------------------------------------------------------------------


def next_term(wanted: Wanted, today: date) -> Wanted:
    """The same program once more: its first session in the week after the last one, or after today if that is later.

    All its days move by the same number of weeks; patients don't see it yet.
    """
    weeks = _weeks_on(wanted.meetings, today)
    days = 7 * weeks
    return replace(
        wanted,
        visible=False,
        meetings=tuple(replace(each, id=None) for each in moved(wanted.meetings, days)),
        questions=tuple(replace(each, id=None) for each in wanted.questions),
        opens=_later(wanted.opens, days),
        closes=_later(wanted.closes, days),
        early_until=wanted.early_until + timedelta(days=days) if wanted.early_until else None,
    )


def _weeks_on(meetings: Iterable[Meeting], today: date) -> int:
    days = [each.day for each in meetings]
    if not days:
        return 0
    after = week_of(max(*days, today)) + timedelta(weeks=1)
    return (after - week_of(min(days))).days // 7


def _later(wall: Wall | None, days: int) -> Wall | None:
    return Wall(wall.day + timedelta(days=days), wall.minute) if wall else None


# --- in words, for the audit log ------------------------------------------------------------------------------------


def in_words(session: Session, program: Program) -> dict[str, str]:
    """What a program says, field by field, as the audit log keeps it."""
    wanted = wanted_of(session, program)
    location = session.get_one(Location, wanted.location_id)
    healer = session.get(Practitioner, wanted.practitioner_id) if wanted.practitioner_id else None
    taxes = session.scalars(select(Tax.name).where(Tax.id.in_(wanted.tax_ids)).order_by(Tax.position, Tax.id))
    return {
        "Name": wanted.name,
        "Description": wanted.description,
        "Location": location.name,
        "Led by": healer.name if healer else "",
        "Price": format_money(wanted.price_cents, location.currency),
        "Taxes": ", ".join(taxes),
        "Early price": _early_words(wanted, location.currency),
        "Places": str(wanted.capacity),
        "Waitlist": str(wanted.waitlist_size) if wanted.waitlist_size else "no",
        "Registration opens": _wall_words(wanted.opens),
        "Registration closes": _wall_words(wanted.closes),
        "Seen by patients": "yes" if wanted.visible else "no",
        "Cancelling": f"all back until {wanted.refund_days} days before, then {wanted.late_share_percent}%",
        "Sessions": "; ".join(meeting_words(each) for each in wanted.meetings),
        "Questions": "; ".join(_question_words(each) for each in wanted.questions),
    }


def meeting_words(meeting: Meeting) -> str:
    """ "2027-01-12 5:30 pm to 6:30 pm, Studio 2" """
    times = f"{meeting.day} {clock(meeting.from_minute)} to {clock(meeting.to_minute)}"
    return f"{times}, {meeting.room}" if meeting.room else times


def _wall_words(wall: Wall | None) -> str:
    return f"{wall.day} {clock(wall.minute)}" if wall else ""


def _early_words(wanted: Wanted, currency: str) -> str:
    if wanted.early_price_cents is None:
        return ""
    return f"{format_money(wanted.early_price_cents, currency)} until {wanted.early_until}"


def _question_words(question: Question) -> str:
    choices = f": {' / '.join(question.choices)}" if question.choices else ""
    return f"{question.text} ({question.kind}{choices}{', must be answered' if question.required else ''})"
