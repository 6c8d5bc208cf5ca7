"""Cancel a confirmed place: the rule says what goes back, the place goes to the next in line at once.

What is not kept is owed no more from then on, so that what was paid of it is too much: an open case says so, and
`giving_back` sees to the refund. A crash between the two loses nothing.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from portal.clinic import Location
from portal.clock import now
from portal.invoices.books import mark_void
from portal.invoices.tables import Invoice
from portal.money import share
from portal.parts import Parts
from portal.payments.cases import follow_books
from portal.payments.steps import live_attempt
from portal.payments.tables import Payment
from portal.programs.ending import TRIES, end_attempt
from portal.programs.following import REGISTRATION_CANCELLED, owe_no_more_than
from portal.programs.giving_back import give_back
from portal.programs.refusals import NotConfirmed, PlaceIsBeingPaid
from portal.programs.registering import locked_with_invoice
from portal.programs.seats import CANCELLED, give_up, starts_at, tell
from portal.programs.states import Place, Why
from portal.programs.tables import Program, Registration


@dataclass(frozen=True)
class Rule:
    """What a cancellation at this moment gives back: a share in percent; in full until the end of `full_until`."""

    percent: int
    full_until: date | None


class RefundTerms(Protocol):
    """What a program says about cancelling."""

    @property
    def refund_days(self) -> int: ...

    @property
    def late_share_percent(self) -> int: ...


def rule_for(program: RefundTerms, first_session: datetime | None, zone: str, moment: datetime) -> Rule:
    """The program's rule at this moment, by the location's clock. Once it has begun, the late share holds."""
    if first_session is None:
        return Rule(100, None)
    last_day = first_session.astimezone(ZoneInfo(zone)).date() - timedelta(days=program.refund_days)
    ends = datetime.combine(last_day + timedelta(days=1), time(), ZoneInfo(zone))
    in_time = moment < min(ends, first_session)
    return Rule(100 if in_time else program.late_share_percent, last_day)


def kept_and_back(owed_cents: int, paid_cents: int, percent: int) -> tuple[int, int]:
    """What the clinic keeps of what is owed where this share goes back, and what goes back of what was paid."""
    kept = owed_cents - share(owed_cents, percent * 1_000)
    return kept, max(paid_cents - kept, 0)


def cancel(
    parts: Parts, public_id: str, by: int | None, *, by_staff: bool = False, percent: int | None = None
) -> Registration:
    """Cancel a confirmed registration and give back what the rule says, or this `percent` where staff decide.

    Asked again it changes nothing. Raises RegistrationNotFound, NotConfirmed or PlaceIsBeingPaid.
    """
    for _try in range(TRIES):
        if not end_attempt(parts, public_id):
            raise PlaceIsBeingPaid
        with parts.database.transaction() as session:
            registration = locked_with_invoice(session, public_id)
            if registration.state != Place.CONFIRMED:
                raise NotConfirmed
            if registration.invoice_id and live_attempt(session, registration.invoice_id) is not None:
                continue  # somebody began to pay just now
            _cancel(session, registration, by, Why.STAFF if by_staff else Why.PERSON, percent)
            found = registration
        if found.invoice_id is not None:
            give_back(parts, found.invoice_id)
        return found
    raise PlaceIsBeingPaid


def _cancel(session: Session, registration: Registration, by: int | None, why: Why, percent: int | None) -> None:
    program = session.get_one(Program, registration.program_id)
    zone = session.get_one(Location, program.location_id).timezone
    rule = rule_for(program, starts_at(session, program.id), zone, now())
    part = rule.percent if percent is None else percent
    kept, back = 0, 0
    invoice = session.get_one(Invoice, registration.invoice_id) if registration.invoice_id else None
    if invoice is not None:
        kept, back = kept_and_back(invoice.owed_cents, invoice.paid_cents, part)
    give_up(session, registration, Place.CANCELLED, why, by, kept_cents=kept, give_back_cents=back)
    if invoice is not None and invoice.voided_at is None:
        if kept == 0 and not _was_ever_paid(session, invoice):
            mark_void(session, invoice, "Registration cancelled", by)
        owe_no_more_than(session, invoice, kept, REGISTRATION_CANCELLED, by)
        follow_books(session, invoice)
    tell(session, registration, CANCELLED)


def _was_ever_paid(session: Session, invoice: Invoice) -> bool:
    return bool(session.scalar(select(exists().where(Payment.invoice_id == invoice.id))))
