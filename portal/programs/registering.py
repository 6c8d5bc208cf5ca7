"""Register: hold a place, say for whom, answer, take a promo code, and get the invoice that is then paid.

A place is held before anybody is asked to pay, and before they need to sign in; the invoice is an ordinary one that
can be paid only while the place is held (`places.py`), and the money that arrives confirms it (`following.py`).
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import and_, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal.clinic import Location
from portal.clock import now
from portal.invoices.books import issue_invoice, locked_invoice
from portal.invoices.tables import Invoice
from portal.money import format_money
from portal.parts import Parts
from portal.payments.steps import live_attempt
from portal.payments.tables import DESK, PORTAL
from portal.people import Patient
from portal.programs.naming import name_for
from portal.programs.pricing import code_for, discount_of, line_for, price_now, price_of, taxes_of
from portal.programs.refusals import (
    BadCode,
    FormSentBefore,
    NobodyNamed,
    NotOpenYet,
    PlaceGone,
    PlaceIsBeingPaid,
    PriceChanged,
    ProgramFull,
    ProgramNotFound,
    RegisteredAlready,
    RegistrationClosed,
    RegistrationNotFound,
)
from portal.programs.seats import (
    are_called,
    confirm,
    ends_registration,
    give_up,
    locked_program,
    locked_registration,
    note,
    starts_at,
    step,
)
from portal.programs.states import LIVE, ON_A_CLOCK, TAKES_PLACE, Place, Why
from portal.programs.tables import Program, ProgramSession, Registration, RegistrationAnswer
from portal.programs.words import moment_in_full
from portal.settings import read_settings


@dataclass(frozen=True)
class Holder:
    """Who asks for a place: an account and for whom; or a browser, by the secret in its cookie, before sign-in."""

    user_id: int | None = None
    patient_id: int | None = None
    secret: str | None = None
    channel: str = PORTAL


def hash_of(secret: str) -> str:
    """What is kept of a browser's secret."""
    return sha256(secret.encode()).hexdigest()


# --- hold -----------------------------------------------------------------------------------------------------------


def hold(parts: Parts, program_public_id: str, request_id: UUID, holder: Holder) -> str:
    """Hold a place; gives the registration's public id. The same press, and the same person again, get the same one.

    Raises ProgramNotFound, NotOpenYet, RegistrationClosed, ProgramFull or RegisteredAlready.
    """
    check_places(parts, program_public_id, request_id, holder)
    return parts.database.looking_again(lambda session: _hold(session, program_public_id, request_id, holder))


def check_places(parts: Parts, program_public_id: str, request_id: UUID, holder: Holder) -> None:
    """What most of a rush are told: that no place is left for them, by reading alone, without waiting for a lock.

    Raises as `hold` does; where it raises nothing, the lock decides.
    """
    with Session(parts.database.reading) as session:
        program = session.scalars(select(Program).where(Program.public_id == program_public_id)).first()
        if program is not None and _there_already(session, program, request_id, holder) is None:
            check_open(session, program, holder.channel)
            check_free(session, program)


def _hold(session: Session, program_public_id: str, request_id: UUID, holder: Holder) -> str:
    program_id = session.scalar(select(Program.id).where(Program.public_id == program_public_id))
    if program_id is None:
        raise ProgramNotFound
    program = locked_program(session, program_id)
    there = _there_already(session, program, request_id, holder)
    if there is not None and not _lapsed_here(session, there, request_id):
        return there.public_id
    check_open(session, program, holder.channel)
    check_free(session, program)
    minutes = read_settings(session).number("program_hold_minutes")
    until = now() + timedelta(minutes=minutes)
    registration = Registration(
        public_id=secrets.token_urlsafe(12),
        program_id=program.id,
        patient_id=holder.patient_id,
        user_id=holder.user_id,
        holder_hash=hash_of(holder.secret) if holder.secret else None,
        channel=holder.channel,
        request_id=request_id,
        state=Place.HELD,
        held_until=until,
        first_until=until,
        price_cents=price_now(session, program),
        created_at=now(),
    )
    try:
        with session.begin_nested():
            session.add(registration)
            session.flush()
    except IntegrityError as error:
        if "places_are_enough" in str(error.orig):
            raise _full(program) from error
        raise
    note(session, registration, "held", holder.user_id)
    return registration.public_id


def _there_already(session: Session, program: Program, request_id: UUID, holder: Holder) -> Registration | None:
    """What this press, or this person, has already. Raises RegisteredAlready where that is more than a hold."""
    of_press = session.scalars(select(Registration).where(Registration.request_id == request_id)).first()
    if of_press is not None:
        if of_press.program_id != program.id or not (
            _is_theirs(of_press, holder) or _is_same_browser(of_press, holder)
        ):
            raise FormSentBefore
        return of_press
    of_program = select(Registration).where(Registration.program_id == program.id)
    if holder.patient_id is not None:
        own = session.scalars(
            of_program.where(Registration.patient_id == holder.patient_id, Registration.state.in_(LIVE))
        ).first()
        if own is not None and own.state == Place.CONFIRMED:
            person = session.get_one(Patient, holder.patient_id)
            raise RegisteredAlready(person=person.name, name=program.name)
        if own is not None or holder.channel == DESK:
            return own
    browsers = and_(Registration.user_id.is_(None), Registration.holder_hash == hash_of(holder.secret or ""))
    whose = browsers if holder.user_id is None else or_(Registration.user_id == holder.user_id, browsers)
    return session.scalars(
        of_program.where(whose, Registration.patient_id.is_(None), Registration.state == Place.HELD)
    ).first()


def _is_theirs(registration: Registration, holder: Holder) -> bool:
    if holder.user_id is not None and registration.user_id is not None:
        return registration.user_id == holder.user_id
    return bool(holder.secret and registration.holder_hash == hash_of(holder.secret))


def _is_same_browser(registration: Registration, holder: Holder) -> bool:
    """A stranger pressed twice before the first answer brought its cookie: only that form knows its number. The newer
    cookie counts."""
    is_strangers = holder.user_id is None and registration.user_id is None and registration.patient_id is None
    if not (is_strangers and holder.secret and registration.state == Place.HELD):
        return False
    registration.holder_hash = hash_of(holder.secret)
    return True


def _lapsed_here(session: Session, there: Registration, request_id: UUID) -> bool:
    """Whether their hold's time is over, and it was only not taken back yet: it goes now, and they may hold anew.

    With the program locked and the time over, no payment of it can begin any more; one that is open keeps it.
    """
    is_over = there.state == Place.HELD and there.held_until is not None and there.held_until <= now()
    if not is_over or there.request_id == request_id:
        return False
    if there.invoice_id is not None and live_attempt(session, there.invoice_id) is not None:
        return False
    give_up(session, locked_registration(session, there.id), Place.LAPSED, Why.TIME)
    session.refresh(session.get_one(Program, there.program_id))
    return True


def check_open(session: Session, program: Program, channel: str) -> None:
    """Whether people can register now. The desk may register whom it likes, as long as there are sessions to come."""
    if channel == DESK:
        return
    if not program.visible:
        raise ProgramNotFound
    moment = now()
    if program.opens_at is not None and moment < program.opens_at:
        zone = session.get_one(Location, program.location_id).timezone
        raise NotOpenYet(name=program.name, opens=moment_in_full(program.opens_at, zone))
    end = ends_registration(session, program)
    if end is None or moment >= end:
        raise RegistrationClosed(name=program.name)


def check_free(session: Session, program: Program) -> None:
    """Whether a place is free for somebody new: those who wait come first, as long as they are called. Raises
    ProgramFull.
    """
    if program.taken >= program.capacity or (program.waiting > 0 and are_called(session, program)):
        raise _full(program)


def _full(program: Program) -> ProgramFull:
    return ProgramFull(name=program.name, has_list=program.waiting < program.waitlist_size)


# --- whose ----------------------------------------------------------------------------------------------------------


def claim(parts: Parts, public_id: str, secret: str, user_id: int) -> None:
    """Who held a place as a stranger has signed in: it is their account's now. Raises RegistrationNotFound."""
    with parts.database.transaction() as session:
        registration = locked_with_invoice(session, public_id)
        if registration.user_id is None and registration.holder_hash == hash_of(secret):
            registration.user_id = user_id
        elif registration.user_id != user_id:
            raise RegistrationNotFound


def locked_with_invoice(session: Session, public_id: str) -> Registration:
    """The registration, with its invoice and program locked before it, always in that order. Raises
    RegistrationNotFound.
    """
    while True:
        found = session.execute(
            select(Registration.id, Registration.invoice_id, Registration.program_id).where(
                Registration.public_id == public_id
            )
        ).first()
        if found is None:
            raise RegistrationNotFound
        with session.begin_nested() as locking:
            if found.invoice_id is not None:
                locked_invoice(session, found.invoice_id)
            locked_program(session, found.program_id)
            registration = locked_registration(session, found.id)
            if (registration.invoice_id, registration.program_id) == (found.invoice_id, found.program_id):
                return registration
            locking.rollback()  # it got its invoice just now: let go of the locks, and take them in order


# --- the details, and the invoice -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Details:
    """What the form about a held place says: for whom, the answers by question, a promo code, the total it showed."""

    patient_id: int
    answers: Mapping[int, tuple[str, str]]
    code: str = ""
    shown_cents: int | None = None


def register(parts: Parts, public_id: str, details: Details, by: int | None) -> Registration:
    """Keep the details, and make the invoice; what costs nothing is confirmed at once. Gives the registration.

    `answers`: question id → the question as it was asked, and the answer; checked by the caller's form. Raises
    RegistrationNotFound, PlaceGone, PlaceIsBeingPaid, RegisteredAlready, BadCode or PriceChanged.
    """
    return parts.database.looking_again(lambda session: _register(session, public_id, details, by))


def _register(session: Session, public_id: str, details: Details, by: int | None) -> Registration:
    registration = locked_with_invoice(session, public_id)
    if registration.state == Place.CONFIRMED and registration.patient_id == details.patient_id:
        return registration  # pressed twice
    moment = now()
    if registration.state not in ON_A_CLOCK or (registration.held_until or moment) <= moment:
        raise PlaceGone
    program = session.get_one(Program, registration.program_id)
    _take_patient(session, program, registration, details.patient_id)
    _take_code(session, program, registration, details.code)
    _keep_answers(session, registration, details.answers)
    price = price_of(session, registration)
    currency = session.get_one(Location, program.location_id).currency
    if details.shown_cents is not None and details.shown_cents != price.total_cents:
        raise PriceChanged(
            now=format_money(price.total_cents, currency), shown=format_money(details.shown_cents, currency)
        )
    if registration.state == Place.OFFERED:
        _accept(session, registration)
    if price.is_free:
        confirm(session, registration, by)
    else:
        make_invoice(session, program, registration, by)
    session.flush()
    return registration


def _accept(session: Session, registration: Registration) -> None:
    """An offered place is taken up: it is held for as long as it was offered, and long enough to pay in any case."""
    minutes = read_settings(session).number("program_hold_minutes")
    until = max(registration.held_until or now(), now() + timedelta(minutes=minutes))
    step(session, registration, Place.HELD, held_until=until, first_until=until)


def _take_patient(session: Session, program: Program, registration: Registration, patient_id: int) -> None:
    if registration.patient_id == patient_id:
        return
    _check_no_invoice(session, registration)
    other = session.scalar(
        select(Registration.id).where(
            Registration.program_id == program.id,
            Registration.patient_id == patient_id,
            Registration.id != registration.id,
            Registration.state.in_(LIVE),
        )
    )
    if other is not None:
        raise RegisteredAlready(person=session.get_one(Patient, patient_id).name, name=program.name)
    registration.patient_id = patient_id
    session.flush()


def use_code(parts: Parts, public_id: str, typed: str) -> None:
    """Take up a promo code for a held place, before its other details are known. Raises BadCode or
    RegistrationNotFound.
    """
    with parts.database.transaction() as session:
        registration = locked_with_invoice(session, public_id)
        if registration.state in ON_A_CLOCK:
            _take_code(session, session.get_one(Program, registration.program_id), registration, typed)


def _take_code(session: Session, program: Program, registration: Registration, typed: str) -> None:
    """Take up a promo code, or none; its uses are counted by the database as places are."""
    code = code_for(session, typed, program, now(), registration.promo_code_id) if typed.strip() else None
    discount = discount_of(code, registration.price_cents) if code else 0
    if (code.id if code else None, discount) == (registration.promo_code_id, registration.discount_cents):
        return
    _check_no_invoice(session, registration)
    try:
        with session.begin_nested():
            registration.promo_code_id, registration.discount_cents = (code.id if code else None), discount
            session.flush()
    except IntegrityError as error:
        if "uses_are_enough" in str(error.orig):
            raise BadCode from error
        raise


def _check_no_invoice(session: Session, registration: Registration) -> None:
    """What the invoice was made for can't change under a payment; before one begins, the invoice is made anew."""
    if registration.invoice_id is None:
        return
    if live_attempt(session, registration.invoice_id) is not None:
        raise PlaceIsBeingPaid
    registration.invoice_id = None
    session.flush()


def _keep_answers(session: Session, registration: Registration, answers: Mapping[int, tuple[str, str]]) -> None:
    for question_id, (question, answer) in answers.items():
        session.merge(
            RegistrationAnswer(
                registration_id=registration.id,
                question_id=question_id,
                question=question,
                answer=answer,
                answered_at=now(),
            )
        )


def make_invoice(session: Session, program: Program, registration: Registration, by: int | None) -> Invoice:
    """The unnumbered invoice of a registration whose patient is known; the one that it has already."""
    if registration.invoice_id is not None:
        return session.get_one(Invoice, registration.invoice_id)
    assert registration.patient_id is not None
    location = session.get_one(Location, program.location_id)
    first = starts_at(session, program.id)
    zone = ZoneInfo(location.timezone)
    taxes = taxes_of(session, program.id)
    invoice = issue_invoice(
        session,
        location=location,
        patient_id=registration.patient_id,
        practitioner_id=program.practitioner_id,
        service_on=(first or now()).astimezone(zone).date(),
        due_on=now().astimezone(zone).date(),
        lines=[line_for(program, _what(session, program), price_of(session, registration), taxes)],
        created_by=by,
        program_id=program.id,
        held_as=name_for(registration),
    )
    registration.invoice_id = invoice.id
    return invoice


def _what(session: Session, program: Program) -> str:
    count = session.scalar(select(func.count()).where(ProgramSession.program_id == program.id)) or 0
    sessions = f", {count} sessions" if count > 1 else ""
    return f"{program.name}{sessions}"


# --- let go ---------------------------------------------------------------------------------------------------------


def let_go(parts: Parts, public_id: str, by: int | None, *, by_staff: bool = False) -> bool:
    """Give up a held or offered place, or one's turn in line, at once; the next in line is offered it. False where it
    is confirmed, or was given up before: then nothing changes.

    Nobody may be paying for it: an attempt under way is ended first, by whoever calls (`ending.py`). Raises
    RegistrationNotFound or PlaceIsBeingPaid.
    """
    with parts.database.transaction() as session:
        registration = locked_with_invoice(session, public_id)
        if registration.invoice_id is not None and live_attempt(session, registration.invoice_id) is not None:
            raise PlaceIsBeingPaid
        own = Why.DECLINED if registration.state == Place.OFFERED else Why.LET_GO
        why = Why.STAFF if by_staff else own
        return give_up(session, registration, Place.RELEASED, why, by)


# --- at the desk ----------------------------------------------------------------------------------------------------


def confirm_unpaid(parts: Parts, public_id: str, by: int) -> Registration:
    """The desk confirms a held place without a payment; its invoice is owed like any other from now on.

    Raises RegistrationNotFound or PlaceGone; NobodyNamed while it does not say for whom the place is.
    """
    with parts.database.transaction() as session:
        registration = locked_with_invoice(session, public_id)
        if registration.state not in TAKES_PLACE:
            raise PlaceGone
        if registration.patient_id is None:
            raise NobodyNamed
        if not price_of(session, registration).is_free:
            make_invoice(session, session.get_one(Program, registration.program_id), registration, by)
        confirm(session, registration, by)
        return registration
