"""Which sessions of programs take place on some days, for the schedule and the day sheet."""

from collections.abc import Iterable
from datetime import date, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, and_, func, or_, select

from portal.clinic import Location, Practitioner
from portal.programs.desk.rosters import Meeting
from portal.programs.states import Place
from portal.programs.tables import Program, ProgramSession, Registration
from portal.schedule.times import edge_at


class DaySession(NamedTuple):
    """A session, and how many take part."""

    program: str
    public_id: str
    location: str
    practitioner: str
    confirmed: int
    meeting: Meeting


_CONFIRMED = (
    select(func.count())
    .where(Registration.program_id == Program.id, Registration.state == Place.CONFIRMED)
    .correlate(Program)
    .scalar_subquery()
)


def sessions_on(
    connection: Connection, where: Iterable[tuple[int, str]], first: date, days: int = 1
) -> list[DaySession]:
    """The sessions of these days at these locations (number and time zone of each), in order.

    A day is the location's own, however long it is where clocks change.
    """
    spans = [
        and_(
            Program.location_id == location_id,
            ProgramSession.starts_at >= edge_at(first, 0, zone),
            ProgramSession.starts_at < edge_at(first + timedelta(days=days), 0, zone),
        )
        for location_id, zone in where
    ]
    rows = connection.execute(
        select(
            Program.name,
            Program.public_id,
            Location.name.label("location"),
            Location.timezone,
            Practitioner.name.label("practitioner"),
            _CONFIRMED.label("confirmed"),
            ProgramSession.id,
            ProgramSession.starts_at,
            ProgramSession.ends_at,
            ProgramSession.room,
        )
        .join(Program, Program.id == ProgramSession.program_id)
        .join(Location, Location.id == Program.location_id)
        .outerjoin(Practitioner, Practitioner.id == Program.practitioner_id)
        .where(or_(*spans))
        .order_by(ProgramSession.starts_at, ProgramSession.id)
    )
    return [
        DaySession(
            row.name,
            row.public_id,
            row.location,
            row.practitioner or "",
            row.confirmed,
            Meeting(row.id, row.starts_at, row.ends_at, row.room, row.timezone),
        )
        for row in rows
    ]
