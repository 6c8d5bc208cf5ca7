"""Money for a place that nobody has goes back by itself: what came by card, to that card, each payment once.

The open *overpaid* cases of the invoices say what is due, whoever opened them, so a crash between a cancellation and
its refund, or a payment that comes in much later, needs nothing written down beside them. What a machine should not
decide stays a person's: money over the counter, a payment that was ever disputed, and one whose refund has failed.
"""

import logging
from uuid import UUID, uuid5

from sqlalchemy import Select, and_, exists, or_, select, update
from sqlalchemy.orm import Session

from portal.clock import now
from portal.errors import Refusal
from portal.invoices.tables import Invoice
from portal.parts import Parts
from portal.payments.tables import Case, Payment, Refund
from portal.programs.states import TAKES_PLACE, Place
from portal.programs.tables import Registration
from portal.refunds.asking import RefundForm, refund
from portal.refunds.standing import rest_of

REQUESTS = UUID("6f2c1d0a-6f5e-4c5b-9a53-5f1f1e4b8a11")
"""The namespace of these refunds: a second look at the same payment's same case asks for the same one."""

REASONS: dict[str, str] = {Place.CANCELLED: "Registration cancelled", Place.CONFIRMED: "Moved to another program"}

log = logging.getLogger(__name__)


def give_back_due(parts: Parts, most: int) -> int:
    """Ask for every refund that is due and nobody has asked for; gives of how many invoices."""
    with parts.database.read() as connection:
        found = connection.scalars(
            _due().with_only_columns(Payment.invoice_id).order_by(None).distinct().limit(most)
        ).all()
    for invoice_id in found:
        try:
            give_back(parts, invoice_id)
        except Exception:  # one that can't be asked for must not keep the others
            log.exception("invoice id %s: its refund could not be asked for", invoice_id)
    return len(found)


def give_back(parts: Parts, invoice_id: int) -> None:
    """Ask for the refunds that the lost place of this invoice makes due; what can't be refunded stays a case."""
    for form, by in _forms(parts, invoice_id):
        try:
            refund(parts, invoice_id, form, by)
        except Refusal as refusal:
            log.error("invoice id %s: its refund is a person's now: %s", invoice_id, type(refusal).__name__)
    with parts.database.transaction() as session:
        session.execute(
            update(Registration)
            .where(Registration.invoice_id == invoice_id, Registration.give_back_asked_at.is_(None))
            .values(give_back_asked_at=now())
        )


def _forms(parts: Parts, invoice_id: int) -> list[tuple[RefundForm, int | None]]:
    with Session(parts.database.reading) as session:
        forms = []
        for payment, case, registration in session.execute(_due().where(Payment.invoice_id == invoice_id)).all():
            cents = min(case.amount_cents - case.matched_cents, rest_of(session, payment).refundable_cents)
            if cents > 0:
                key = uuid5(REQUESTS, f"{payment.id}:{case.amount_cents}:{case.matched_cents}")
                reason = REASONS.get(registration.state if registration is not None else "", "No place was left")
                by = registration.ended_by if registration is not None else None
                forms.append((RefundForm(key, payment.id, cents, reason), by))
        return forms


def _due() -> Select[Payment, Case, Registration]:
    """Payments by card of invoices without a place, of which too much is there, and that nobody looks after yet."""
    tried = exists().where(Refund.payment_id == Payment.id, Refund.state.in_(("asked", "failed")))
    other = Case.__table__.alias("other")
    disputed = exists().where(other.c.payment_id == Payment.id, other.c.kind == "dispute")
    return (
        select(Payment, Case, Registration)
        .join(Case, and_(Case.payment_id == Payment.id, Case.kind == "overpaid", Case.closed_at.is_(None)))
        .join(Invoice, Invoice.id == Payment.invoice_id)
        .outerjoin(Registration, Registration.invoice_id == Invoice.id)
        .where(
            Invoice.program_id.is_not(None),
            Payment.charge_id.is_not(None),
            or_(
                Registration.id.is_(None),
                Registration.state.not_in(sorted(TAKES_PLACE)),
                # Whoever moved to a program that costs less has a place, and gets the rest back.
                and_(Registration.give_back_cents > 0, Registration.give_back_asked_at.is_(None)),
            ),
            ~tried,
            ~disputed,
        )
        .order_by(Payment.id)
    )
