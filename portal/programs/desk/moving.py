"""Move a person to another program: one place is given up and the other taken in one transaction, or neither.

Their invoice moves along. Where the other program costs more, the difference is owed; where it costs less, what was
not paid yet is owed no more, and what was paid goes back: the books say so first (the invoice is overpaid, and a case
is open until the money is back), then `giving_back` asks for it.
"""

import secrets
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal.audit import record
from portal.clinic import Location
from portal.clock import now
from portal.invoices.books import give_number
from portal.invoices.tables import Adjustment, Invoice
from portal.money import format_money
from portal.parts import Parts
from portal.payments.cases import follow_books
from portal.payments.steps import live_attempt
from portal.people import Patient
from portal.programs.ending import TRIES, end_attempt
from portal.programs.giving_back import give_back
from portal.programs.pricing import Price, price_now, price_of, priced, taxes_of
from portal.programs.refusals import (
    CannotMove,
    NotConfirmed,
    PlaceIsBeingPaid,
    PriceChanged,
    ProgramFull,
    ProgramNotFound,
    RegisteredAlready,
    RegistrationNotFound,
    WaitsAlready,
)
from portal.programs.registering import check_free, make_invoice
from portal.programs.seats import CONFIRMED, give_up, locked_program, locked_registration, note, tell
from portal.programs.states import LIVE, Place, Why
from portal.programs.tables import Program, Registration


@dataclass(frozen=True)
class Move:
    """Where to, and at which price: that of the other program now, or what was agreed. `shown_cents`: the difference
    that the form showed, in minor units; less than nothing where money goes back."""

    to_public_id: str
    keeps_price: bool = False
    shown_cents: int | None = None


@dataclass(frozen=True)
class Moved:
    """The registration in the other program, by how much its price differs, and the invoice that came along."""

    public_id: str
    difference_cents: int
    invoice_id: int | None = None


def difference(session: Session, registration: Registration, to: Program) -> int:
    """What a place in the other program costs more now than this registration was agreed for, with taxes."""
    return _new_price(session, to).total_cents - price_of(session, registration).total_cents


def _new_price(session: Session, to: Program) -> Price:
    return priced(price_now(session, to), 0, taxes_of(session, to.id))


def move(parts: Parts, public_id: str, wish: Move, by: int) -> Moved:
    """Move a confirmed registration. Pressed again, it gives what was made before.

    Raises RegistrationNotFound, ProgramNotFound, NotConfirmed, ProgramFull, RegisteredAlready, WaitsAlready,
    CannotMove, PlaceIsBeingPaid or PriceChanged.
    """
    for _try in range(TRIES):
        if not end_attempt(parts, public_id):
            raise PlaceIsBeingPaid
        moved = parts.database.looking_again(lambda session: _move(session, public_id, wish, by))
        if moved is None:
            continue  # somebody began to pay just now
        if moved.invoice_id is not None:
            give_back(parts, moved.invoice_id)
        return moved
    raise PlaceIsBeingPaid


def _move(session: Session, public_id: str, wish: Move, by: int) -> Moved | None:
    there = session.execute(
        select(Registration.id, Registration.invoice_id, Registration.program_id).where(
            Registration.public_id == public_id
        )
    ).first()
    if there is None:
        raise RegistrationNotFound
    to_id = session.scalar(select(Program.id).where(Program.public_id == wish.to_public_id))
    if to_id is None:
        raise ProgramNotFound
    invoice, to = _locked(session, there.invoice_id, there.program_id, to_id)
    registration = locked_registration(session, there.id)
    if registration.state != Place.CONFIRMED:
        return _moved_before(session, registration, to)
    if registration.invoice_id != there.invoice_id:
        return None  # its invoice was made just now: look again
    if invoice is not None and live_attempt(session, invoice.id) is not None:
        return None
    _check(session, registration, to)
    more = 0 if wish.keeps_price else difference(session, registration, to)
    if wish.shown_cents not in (None, more):
        currency = session.get_one(Location, to.location_id).currency
        raise PriceChanged(now=format_money(more, currency), shown=format_money(wish.shown_cents or 0, currency))
    return _take(session, registration, invoice, to, wish, more, by)


def _locked(session: Session, invoice_id: int | None, from_id: int, to_id: int) -> tuple[Invoice | None, Program]:
    """Invoice first, then both programs by their numbers: two people who change places don't wait for each other."""
    invoice = None
    if invoice_id is not None:
        invoice = session.get_one(Invoice, invoice_id, with_for_update=True, populate_existing=True)
    programs = {number: locked_program(session, number) for number in sorted({from_id, to_id})}
    return invoice, programs[to_id]


def _moved_before(session: Session, registration: Registration, to: Program) -> Moved:
    if registration.why == Why.MOVED:
        found = _live_in(session, registration, to)
        if found is not None:
            more = price_of(session, found).total_cents - price_of(session, registration).total_cents
            return Moved(found.public_id, more)
    raise NotConfirmed


def _live_in(session: Session, registration: Registration, to: Program) -> Registration | None:
    return session.scalars(
        select(Registration).where(
            Registration.program_id == to.id,
            Registration.patient_id == registration.patient_id,
            Registration.state.in_(LIVE),
        )
    ).first()


def _check(session: Session, registration: Registration, to: Program) -> None:
    there = _live_in(session, registration, to)
    if there is not None:
        person = session.get_one(Patient, registration.patient_id)
        refusal = WaitsAlready if there.state == Place.WAITING else RegisteredAlready
        raise refusal(person=person.name, name=to.name)
    locations = [session.get_one(Program, number).location_id for number in (registration.program_id, to.id)]
    if len({session.get_one(Location, number).currency for number in locations}) > 1:
        raise CannotMove(name=to.name)
    check_free(session, to)


def _take(
    session: Session,
    registration: Registration,
    invoice: Invoice | None,
    to: Program,
    wish: Move,
    more_cents: int,
    by: int,
) -> Moved:
    """The old place goes first, so that its promo code's use is free again where the price stays."""
    keeps = wish.keeps_price
    taken = Registration(
        public_id=secrets.token_urlsafe(12),
        program_id=to.id,
        patient_id=registration.patient_id,
        user_id=registration.user_id,
        channel=registration.channel,
        state=Place.CONFIRMED,
        price_cents=registration.price_cents if keeps else price_now(session, to),
        discount_cents=registration.discount_cents if keeps else 0,
        promo_code_id=registration.promo_code_id if keeps else None,
        invoice_id=invoice.id if invoice else None,
        created_at=now(),
        confirmed_at=now(),
    )
    name = session.get_one(Program, registration.program_id).name
    give_up(session, registration, Place.CANCELLED, Why.MOVED, by, invoice_id=None)
    try:
        with session.begin_nested():
            session.add(taken)
            session.flush()
    except IntegrityError as error:
        if "places_are_enough" in str(error.orig):
            raise ProgramFull(name=to.name) from error
        raise
    note(session, taken, "moved", by, f"from {name}")
    if invoice is not None:
        invoice.program_id = to.id
        _follow_price(session, invoice, f"Moved from {name} to {to.name}.", more_cents, by)
        taken.give_back_cents = max(-invoice.balance_cents, 0)
        follow_books(session, invoice)
    elif more_cents > 0:
        give_number(session, make_invoice(session, to, taken, by))
    tell(session, taken, CONFIRMED)
    return Moved(taken.public_id, more_cents, invoice.id if invoice else None)


def _follow_price(session: Session, invoice: Invoice, told: str, more_cents: int, by: int) -> None:
    """The invoice says where they moved to, and asks for that place's price."""
    invoice.note = "\n".join(filter(None, (invoice.note, told)))
    if more_cents != 0:
        session.add(
            Adjustment(
                invoice_id=invoice.id, amount_cents=more_cents, reason=told, made_at=now(), made_by=by
            )
        )  # fmt: skip
        session.flush()
        session.refresh(invoice)
        record(
            session,
            "invoice.adjusted",
            f"invoice {invoice.number}",
            by=by,
            after=f"{format_money(more_cents, invoice.currency)}: {told}",
            patient_id=invoice.patient_id,
        )
