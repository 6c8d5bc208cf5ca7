"""Set programs up: what the clinic says about one, the rules that it has to keep, and every change written down.

A program that people are registered for can be changed too. Who has a place keeps the price at which it was taken; no
place is taken away; and a place that a larger group makes free is offered to whoever waits, in the same transaction.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from flask_babel import lazy_gettext as _l
from flask_babel.speaklater import LazyString
from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from portal.audit import record
from portal.clinic import Location, Practitioner, Tax
from portal.clock import now
from portal.db import Database
from portal.errors import Refusal
from portal.invoices.books import TaxRate
from portal.money import format_money, is_chargeable, smallest_charge
from portal.programs.pricing import priced
from portal.programs.refusals import NotSaved, ProgramNotFound
from portal.programs.seats import confirmed_count, ends_registration, locked_program, offer_next, tell_everybody
from portal.programs.setup.sessions import Meeting, Wall, in_order, meeting_of, overlap, wall_of
from portal.programs.setup.wanted import Question, Wanted, in_words, wanted_of
from portal.programs.tables import (
    CHOICE,
    Attendance,
    Program,
    ProgramQuestion,
    ProgramSession,
    ProgramTax,
    Registration,
)
from portal.schedule.times import TimeDoesNotExist

Wrong = dict[str, LazyString | str]


@dataclass(frozen=True)
class Kept:
    """What became of a program: how many confirmed places have new dates or another location, how many emails tell
    them, how many places are offered, and whether anybody can register now or later."""

    public_id: str
    name: str
    concerned: int = 0
    told: int = 0
    offered: int = 0
    is_closed: bool = False


class ProgramNotSaved(NotSaved):
    """The program can't be kept like that. `wrong` has a sentence for each field, by its name in `Wanted`; a session
    is "session-0", and so is a question."""


class ProgramChanged(Refusal):
    """Somebody else saved the program after this form was opened."""

    title = _l("Somebody else has changed this program meanwhile")
    message = _l("Nothing of yours was saved. Open the program again to see what it says now, and change it there.")


# --- the verbs ------------------------------------------------------------------------------------------------------


def set_up(database: Database, request_id: UUID, wanted: Wanted, by: int | None) -> Kept:
    """Set a program up; the same form sent twice makes one. Raises ProgramNotSaved."""
    return database.looking_again(lambda session: _set_up(session, request_id, wanted, by))


def change(
    database: Database, public_id: str, version: int, wanted: Wanted, by: int | None, *, tells: bool = False
) -> Kept:
    """Change a program. `version` is the one that the form showed; `tells`: who has a confirmed place gets an email
    where the sessions or the location change.

    Raises ProgramNotFound, ProgramChanged or ProgramNotSaved.
    """
    return database.looking_again(lambda session: _change(session, public_id, version, wanted, by, tells))


def _set_up(session: Session, request_id: UUID, wanted: Wanted, by: int | None) -> Kept:
    made = session.scalars(select(Program).where(Program.request_id == request_id)).first()
    if made is not None:
        return Kept(made.public_id, made.name)
    location = _check(session, wanted, None)
    program = Program(public_id=secrets.token_urlsafe(9), request_id=request_id, created_at=now(), created_by=by)
    _write(session, program, wanted, location)
    after = "; ".join(f"{what}: {value}" for what, value in in_words(session, program).items() if value)
    record(session, "program.added", f"program {program.name}", by=by, after=after)
    return Kept(program.public_id, program.name, is_closed=_is_closed(session, program))


def _change(session: Session, public_id: str, version: int, wanted: Wanted, by: int | None, tells: bool) -> Kept:
    found = session.scalar(select(Program.id).where(Program.public_id == public_id))
    if found is None:
        raise ProgramNotFound
    program = locked_program(session, found)
    if program.version != version:
        if program.version == version + 1 and wanted.says_the_same_as(wanted_of(session, program)):
            return Kept(public_id, program.name)  # pressed twice
        raise ProgramChanged
    before = in_words(session, program)
    location = _check(session, wanted, program)
    _write(session, program, wanted, location)
    after = in_words(session, program)
    differing = [what for what in after if before[what] != after[what]]
    for what in differing:
        subject = f"program {program.name}, {what.lower()}"
        record(session, "program.changed", subject, by=by, before=before[what], after=after[what])
    if differing:
        program.version += 1
        session.flush()
    concerned = confirmed_count(session, program.id) if {"Sessions", "Location"}.intersection(differing) else 0
    told = _tell(session, program, by) if concerned and tells else 0
    offered = offer_next(session, program)
    return Kept(public_id, program.name, concerned, told, offered, _is_closed(session, program))


def _tell(session: Session, program: Program, by: int | None) -> int:
    told = tell_everybody(session, program, by)
    record(session, "program.told", f"program {program.name}", by=by, after=f"emails: {told}")
    return told


def _is_closed(session: Session, program: Program) -> bool:
    """Whether registration is over, so that nobody can register any more."""
    end = ends_registration(session, program)
    return end is not None and end <= now()


# --- rules ----------------------------------------------------------------------------------------------------------


def _check(session: Session, wanted: Wanted, own: Program | None) -> Location:
    """Raises ProgramNotSaved with all that is wrong; gives the location."""
    wrong = _wrong_alone(wanted)
    location = session.get(Location, wanted.location_id)
    if location is None or not (location.active or (own and own.location_id == location.id)):
        raise ProgramNotSaved({"location": _l("Location: please choose one from the list."), **wrong})
    wrong |= _wrong_times(wanted, location.timezone)
    wrong |= _wrong_price(session, wanted, location)
    if wanted.practitioner_id is not None:
        healer = session.get(Practitioner, wanted.practitioner_id)
        if healer is None or not (healer.active or (own and own.practitioner_id == healer.id)):
            wrong["practitioner"] = _l("Led by: please choose one from the list.")
    if own is not None:
        wrong |= _wrong_for_those_registered(session, wanted, own, location)
    if wrong:
        raise ProgramNotSaved(wrong)
    return location


def _wrong_alone(wanted: Wanted) -> Wrong:
    """What is wrong whatever the clinic is like."""
    wrong: Wrong = {}
    if wanted.visible and not wanted.meetings:
        wrong["sessions"] = _l("Add a session before patients can see the program.")
    twice = overlap(wanted.meetings)
    if twice is not None:
        wrong[f"session-{wanted.meetings.index(twice)}"] = _l("Two sessions are at the same time.")
    for place, meeting in enumerate(wanted.meetings):
        if meeting.to_minute <= meeting.from_minute:
            wrong[f"session-{place}"] = _l("A session ends after it begins, on the same day.")
    if wanted.early_price_cents is not None and wanted.early_price_cents >= wanted.price_cents:
        wrong["early_price"] = _l("The early price is lower than the price.")
    for place, question in enumerate(wanted.questions):
        if not question.text:
            wrong[f"question-{place}"] = _l("Write the question, or remove it.")
        elif question.kind == CHOICE and len(set(question.choices)) < 2:
            wrong[f"question-{place}-choices"] = _l("A choice needs two answers or more, one in each line.")
    return wrong


def _wrong_times(wanted: Wanted, zone: str) -> Wrong:
    """Times that the location's clock does not have, and registration that closes before it opens."""
    wrong: Wrong = {}
    walls = {"opens": wanted.opens, "closes": wanted.closes}
    for place, meeting in enumerate(wanted.meetings):
        walls |= {f"session-{place}": meeting.starts, f"session-{place} ends": meeting.ends}
    for name, wall in walls.items():
        try:
            if wall is not None:
                wall.moment(zone)
        except TimeDoesNotExist as skipped:
            wrong[name.removesuffix(" ends")] = skipped.text
    if wanted.opens and wanted.closes and wanted.opens >= wanted.closes:
        wrong.setdefault("closes", _l("Registration closes after it opens."))
    begins = min((meeting.starts for meeting in wanted.meetings), default=None)
    if wanted.opens and not wanted.closes and begins and wanted.opens >= begins:
        wrong.setdefault("opens", _l("Registration opens before the first session begins, or say when it closes."))
    return wrong


def _wrong_price(session: Session, wanted: Wanted, location: Location) -> Wrong:
    """A price is free, or what a card can be charged; taxes come from the clinic's list."""
    rows = session.scalars(select(Tax).where(Tax.id.in_(wanted.tax_ids))).all()
    if len(rows) != len(wanted.tax_ids):
        return {"taxes": _l("Taxes: please choose from the list.")}
    rates = tuple(TaxRate(tax.name, tax.rate_per_100k, tax.compound) for tax in rows if tax.active)
    wrong: Wrong = {}
    for name, cents in (("price", wanted.price_cents), ("early_price", wanted.early_price_cents)):
        total = priced(cents or 0, 0, rates).total_cents
        if total != 0 and not is_chargeable(total, location.currency):
            least = format_money(smallest_charge(location.currency), location.currency)
            sentence = _l(
                "No card can be charged that, with taxes. Take %(least)s or more, or 0 for free.", least=least
            )
            wrong[name] = sentence
    return wrong


def _wrong_for_those_registered(session: Session, wanted: Wanted, own: Program, location: Location) -> Wrong:
    wrong: Wrong = {}
    if wanted.capacity < own.taken:
        wrong["capacity"] = _l("%(taken)s places are taken. The group can't be smaller.", taken=own.taken)
    before = session.get_one(Location, own.location_id)
    if before.currency != location.currency and session.scalar(
        select(exists().where(Registration.program_id == own.id))
    ):
        wrong["location"] = _l("People have registered in %(currency)s. Choose a location with that currency.",
                               currency=before.currency)  # fmt: skip
    staying = {meeting.id for meeting in wanted.meetings}
    attended = session.execute(
        select(ProgramSession.id, ProgramSession.starts_at)
        .where(ProgramSession.program_id == own.id, ProgramSession.id.in_(select(Attendance.session_id)))
        .order_by(ProgramSession.starts_at)
    )
    for row in attended:
        if row.id not in staying:
            day = wall_of(row.starts_at, before.timezone).day
            wrong["sessions"] = _l("Somebody has noted who came on %(day)s, so that session stays.",
                                   day=f"{day:%-d %B %Y}")  # fmt: skip
    return wrong


# --- writing --------------------------------------------------------------------------------------------------------


def _write(session: Session, program: Program, wanted: Wanted, location: Location) -> None:
    was = session.get(Location, program.location_id) if program.id is not None else None
    same_zone = was is not None and was.timezone == location.timezone
    program.opens_at = _kept_moment(program.opens_at if same_zone else None, wanted.opens, location.timezone)
    program.closes_at = _kept_moment(program.closes_at if same_zone else None, wanted.closes, location.timezone)
    program.location_id = location.id
    for name in (
        "name", "description", "practitioner_id", "price_cents", "early_price_cents", "early_until", "capacity",
        "waitlist_size", "visible", "refund_days", "late_share_percent",
    ):  # fmt: skip
        setattr(program, name, getattr(wanted, name))
    session.add(program)
    session.flush()
    _write_taxes(session, program.id, wanted.tax_ids)
    _write_sessions(session, program.id, wanted.meetings, location.timezone, same_zone)
    _write_questions(session, program.id, wanted.questions)
    session.flush()


def _kept_moment(stands: datetime | None, wall: Wall | None, zone: str) -> datetime | None:
    """The moment of what the clock shows; the one that stands where it shows just that (it can do so twice)."""
    if wall is None or (stands is not None and wall_of(stands, zone) == wall):
        return stands if wall is not None else None
    return wall.moment(zone)


def _write_taxes(session: Session, program_id: int, tax_ids: frozenset[int]) -> None:
    session.execute(delete(ProgramTax).where(ProgramTax.program_id == program_id, ProgramTax.tax_id.not_in(tax_ids)))
    there = set(session.scalars(select(ProgramTax.tax_id).where(ProgramTax.program_id == program_id)))
    session.add_all(ProgramTax(program_id=program_id, tax_id=tax_id) for tax_id in sorted(tax_ids - there))


def _write_sessions(
    session: Session, program_id: int, meetings: Iterable[Meeting], zone: str, same_zone: bool
) -> None:
    there = {row.id: row for row in session.scalars(select(ProgramSession).filter_by(program_id=program_id))}
    for meeting in in_order(meetings):
        row = there.pop(meeting.id or 0, None)
        if row is None:
            row = ProgramSession(program_id=program_id)
            session.add(row)
        elif same_zone and meeting_of(row.starts_at, row.ends_at, zone, row.room, row.id) == meeting:
            continue
        row.starts_at, row.ends_at, row.room = meeting.starts.moment(zone), meeting.ends.moment(zone), meeting.room
    for row in there.values():
        session.delete(row)


def _write_questions(session: Session, program_id: int, questions: Iterable[Question]) -> None:
    """Questions that are taken out are asked no more, and stay for the sake of their answers."""
    asked = {
        row.id: row for row in session.scalars(select(ProgramQuestion).filter_by(program_id=program_id, active=True))
    }
    for position, question in enumerate(questions):
        row = asked.pop(question.id or 0, None)
        if row is None:
            row = ProgramQuestion(program_id=program_id)
            session.add(row)
        row.position, row.kind, row.text, row.required = position, question.kind, question.text, question.required
        row.choices = "\n".join(dict.fromkeys(question.choices)) if question.kind == CHOICE else ""
    for row in asked.values():
        row.active = False
