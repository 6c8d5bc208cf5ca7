"""Who came to a session. Written down by whoever led it, or at the desk."""

from collections.abc import Collection, Mapping
from zoneinfo import ZoneInfo

from babel.dates import format_datetime
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.clinic import Location
from portal.clock import now
from portal.db import Database
from portal.programs.refusals import ProgramNotFound
from portal.programs.states import Place
from portal.programs.tables import Attendance, Program, ProgramSession, Registration


def mark(
    database: Database, session_id: int, came: Mapping[str, bool], by: int, *, if_not_noted: Collection[str] = ()
) -> int:
    """Write down who came, by registration; gives how many notes changed. What is not named stays as it was noted,
    and so do those in `if_not_noted` of whom somebody has noted something meanwhile.

    Only those with a confirmed place are taken. Raises ProgramNotFound where there is no such session.
    """
    return database.looking_again(lambda session: _mark(session, session_id, came, by, if_not_noted))


def _mark(session: Session, session_id: int, came: Mapping[str, bool], by: int, if_not_noted: Collection[str]) -> int:
    meeting = session.get(ProgramSession, session_id, with_for_update=True)
    if meeting is None:
        raise ProgramNotFound
    registrations = session.scalars(
        select(Registration).where(
            Registration.program_id == meeting.program_id,
            Registration.public_id.in_(came),
            Registration.state == Place.CONFIRMED,
        )
    ).all()
    known = {
        note.registration_id: note
        for note in session.scalars(select(Attendance).where(Attendance.session_id == session_id))
    }
    changed = 0
    for registration in registrations:
        present, note = came[registration.public_id], known.get(registration.id)
        if note is not None and (note.present == present or registration.public_id in if_not_noted):
            continue
        changed += 1
        if note is None:
            note = Attendance(session_id=session_id, registration_id=registration.id)
            session.add(note)
        note.present, note.noted_at, note.noted_by = present, now(), by
    session.flush()
    if changed:
        _record(session, meeting, by)
    return changed


def _record(session: Session, meeting: ProgramSession, by: int) -> None:
    program = session.get_one(Program, meeting.program_id)
    zone = ZoneInfo(session.get_one(Location, program.location_id).timezone)
    notes = session.scalars(select(Attendance.present).where(Attendance.session_id == meeting.id)).all()
    day = format_datetime(meeting.starts_at.astimezone(zone), "d MMM y, HH:mm", locale="en")
    audit.record(
        session,
        "attendance.marked",
        f"{program.name}, {day}",
        by=by,
        after=f"{sum(notes)} came, {len(notes) - sum(notes)} did not",
    )
