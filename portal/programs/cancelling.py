"""Cancel a confirmed place: the rule says what goes back, the place goes to the next in line at once.

What goes back is written down with the cancellation, so that a crash between the two loses nothing: the sweep asks
for the refunds that nobody has asked for yet. What came over the counter goes back there; a case says so until then.
"""

import logging
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from portal.audit import record
from portal.clinic import Location
from portal.clock import now
from portal.errors import Refusal
from portal.gateway import GatewayError
from portal.invoices.books import mark_void
from portal.invoices.tables import Adjustment, Invoice
from portal.money import format_money, share
from portal.parts import Parts
from portal.payments.cases import case_of, follow_books
from portal.payments.steps import live_attempt
from portal.payments.tables import Payment
from portal.programs.ending import TRIES, end_attempt
from portal.programs.refusals import NotConfirmed, PlaceIsBeingPaid
from portal.programs.registering import locked_with_invoice
from portal.programs.seats import CANCELLED, give_up, starts_at, tell
from portal.programs.states import Place, Why
from portal.programs.tables import Program, Registration
from portal.refunds.asking import RefundForm, refund

REQUESTS = UUID("6f2c1d0a-6f5e-4c5b-9a53-5f1f1e4b8a11")
"""The namespace of the refunds that cancellations ask for: each payment's is asked for once."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rule:
    """What a cancellation at this moment gives back: a share in percent; in full until the end of `full_until`."""

    percent: int
    full_until: date | None


def rule_for(program: Program, first_session: datetime | None, zone: str, moment: datetime) -> Rule:
    """The program's rule at this moment, by the location's clock. Once it has begun, the late share holds."""
    if first_session is None:
        return Rule(100, None)
    last_day = first_session.astimezone(ZoneInfo(zone)).date() - timedelta(days=program.refund_days)
    ends = datetime.combine(last_day + timedelta(days=1), time(), ZoneInfo(zone))
    in_time = moment < min(ends, first_session)
    return Rule(100 if in_time else program.late_share_percent, last_day)


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
        give_back(parts, found.id)
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
        kept = invoice.owed_cents - share(invoice.owed_cents, part * 1_000)
        back = max(invoice.paid_cents - kept, 0)
    give_up(session, registration, Place.CANCELLED, why, by, kept_cents=kept, give_back_cents=back)
    if invoice is not None and invoice.voided_at is None:
        _owe_no_more(session, invoice, kept, back, by)
        follow_books(session, invoice)
    tell(session, registration, CANCELLED)


def _owe_no_more(session: Session, invoice: Invoice, kept: int, back: int, by: int | None) -> None:
    """What was not paid yet and is not kept is owed no more. (What is refunded is credited with its refund.)"""
    if kept == 0 and invoice.paid_cents == 0:
        mark_void(session, invoice, "Registration cancelled", by)
        return
    credit = invoice.owed_cents - back - kept
    if credit > 0:
        session.add(
            Adjustment(
                invoice_id=invoice.id,
                amount_cents=-credit,
                reason="Registration cancelled.",
                made_at=now(),
                made_by=by,
            )
        )
        session.flush()
        session.refresh(invoice)
        record(
            session,
            "invoice.adjusted",
            f"invoice {invoice.number}",
            by=by,
            after=f"{format_money(-credit, invoice.currency)}: Registration cancelled.",
            patient_id=invoice.patient_id,
        )


# --- what goes back -------------------------------------------------------------------------------------------------


def give_back(parts: Parts, registration_id: int) -> None:
    """Ask for the refunds that a lost place makes due, each once; what can't be refunded stays a person's case."""
    for invoice_id, form, by in _to_refund(parts, registration_id):
        try:
            refund(parts, invoice_id, form, by)
        except GatewayError as error:
            log.warning("registration %s: its refund has to wait: %s", registration_id, type(error).__name__)
            return
        except Refusal as refusal:
            log.error("registration %s: its refund is a person's now: %s", registration_id, type(refusal).__name__)
    with parts.database.transaction() as session:
        session.execute(
            update(Registration)
            .where(Registration.id == registration_id, Registration.give_back_asked_at.is_(None))
            .values(give_back_asked_at=now())
        )


def _to_refund(parts: Parts, registration_id: int) -> list[tuple[int, RefundForm, int | None]]:
    """By the open cases of the registration's invoice: which payment of a card goes back, and how much of it."""
    with Session(parts.database.reading) as session:
        registration = session.get_one(Registration, registration_id)
        if registration.invoice_id is None or registration.give_back_asked_at is not None:
            return []
        payments = session.scalars(
            select(Payment)
            .where(
                Payment.invoice_id == registration.invoice_id,
                Payment.nature == "payment",
                Payment.charge_id.is_not(None),
            )
            .order_by(Payment.id)
        ).all()
        forms = []
        for payment in payments:
            case = case_of(session, payment.id, "refund_due")
            if case is not None and case.closed_at is None:
                key = uuid5(REQUESTS, f"{registration.public_id}:{payment.id}")
                cents = case.amount_cents - case.matched_cents
                form = RefundForm(key, payment.id, cents, "Registration cancelled")
                forms.append((registration.invoice_id, form, registration.ended_by))
        return forms
