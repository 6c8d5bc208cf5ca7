"""What an invoice's money means for the place that it is for: one table, in one place.

| The invoice's books say | held or offered | confirmed | let go or lapsed | cancelled |
|---|---|---|---|---|
| money arrives | confirmed | - | the place again where one is free; else it goes back | what is not owed goes back |
| void | given up | cancelled | - | - |
| all of it went back, and nothing is owed any more | - | cancelled | - | - |
| a dispute is lost | - | cancelled, and owed no more | - | - |
| a dispute under way, a part refunded, a reversal, refunded but still owed | - | stays | - | - |

Whoever has no place owes nothing but what a cancellation's rule keeps: the rest is credited, so that money which is
there all the same is an *overpaid* case, and goes back (`giving_back.py`). So does money on an invoice that another
one replaced before anybody was to pay it.

`money_arrives` is asked before a payment is posted, `follow_places` at every change of an invoice's books; both in
the transaction that changes them, with invoice and program locked. Doing it again changes nothing.
"""

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from portal.audit import record
from portal.clock import now
from portal.invoices.books import give_number, is_numbered
from portal.invoices.tables import Adjustment, Invoice
from portal.money import format_money
from portal.payments.tables import Case, Payment
from portal.programs.seats import (
    CANCELLED,
    NO_PLACE,
    confirm,
    ends_registration,
    give_up,
    locked_program,
    locked_registration,
    note,
    tell,
)
from portal.programs.states import ON_A_CLOCK, TAKES_PLACE, Place, Why
from portal.programs.tables import Registration

NO_PLACE_LEFT, REGISTRATION_CANCELLED = "No place was left.", "Registration cancelled."
"""Stand on the invoice, where the patient reads them."""

GOES_BACK = frozenset({Place.LAPSED, Place.RELEASED})
"""Where money for these arrives, it goes back: they have no place, and never had it confirmed."""


def registration_of(session: Session, invoice: Invoice) -> Registration | None:
    """The registration that a locked invoice is for, as it stands now; None for any other invoice."""
    if invoice.program_id is None:
        return None
    found = session.scalar(select(Registration.id).where(Registration.invoice_id == invoice.id))
    return None if found is None else locked_registration(session, found)


def money_arrives(session: Session, invoice: Invoice, by: int | None = None) -> None:
    """A payment of this locked invoice is about to be posted: it gets its place, or will go back.

    The invoice has its number afterwards in any case: money in the books stands on a numbered invoice.
    """
    if invoice.program_id is None:
        return
    registration = registration_of(session, invoice)
    if registration is not None and registration.state in ON_A_CLOCK:
        confirm(session, registration, by)
    elif registration is not None and registration.state in GOES_BACK:
        _find_a_place_again(session, invoice, registration, by)
    elif registration is not None and registration.state == Place.CANCELLED and invoice.balance_cents <= 0:
        _goes_back(session, registration, by)
    give_number(session, invoice)


def _find_a_place_again(session: Session, invoice: Invoice, registration: Registration, by: int | None) -> None:
    """Money came for a place that was given up meanwhile: the place again, or a mail that the money goes back."""
    if registration.why != Why.FULL and invoice.voided_at is None and _is_free(session, registration):
        registration.promo_code_id = None  # its use may be another's by now; the price that was shown stays
        session.flush()
        confirm(session, registration, by)
        return
    if registration.why != Why.FULL:
        registration.why = Why.FULL
        registration.give_back_cents = invoice.owed_cents
    _goes_back(session, registration, by)


def _goes_back(session: Session, registration: Registration, by: int | None) -> None:
    """Never in silence: whoever paid for a place that they don't have is written to."""
    registration.version += 1
    note(session, registration, "paid_without_place", by)
    tell(session, registration, NO_PLACE)


def _is_free(session: Session, registration: Registration) -> bool:
    """Whether they can have a place after all: one is free, nobody waits for it, and they have no other by now."""
    program = locked_program(session, registration.program_id)
    session.refresh(program)
    end = ends_registration(session, program)
    other = exists().where(
        Registration.program_id == program.id,
        Registration.patient_id == registration.patient_id,
        Registration.id != registration.id,
        Registration.state.in_(TAKES_PLACE | {Place.WAITING}),
    )
    is_taken = program.taken >= program.capacity or program.waiting > 0 or end is None or end <= now()
    return not is_taken and registration.patient_id is not None and not session.scalar(select(other))


def follow_places(session: Session, invoice: Invoice) -> None:
    """Let the place follow the books of this locked invoice, and what is owed follow the place."""
    if invoice.program_id is None:
        return
    registration = registration_of(session, invoice)
    if registration is None or registration.state in GOES_BACK:
        if is_numbered(invoice.number):
            owe_no_more_than(session, invoice, 0, NO_PLACE_LEFT)
        return
    why = _why_lost(session, invoice, registration) if registration.state in TAKES_PLACE else Why.NONE
    if why == Why.NONE:
        return
    if registration.state == Place.CONFIRMED:
        give_up(session, registration, Place.CANCELLED, why)
        tell(session, registration, CANCELLED)
    else:
        give_up(session, registration, Place.RELEASED, why)
    if why == Why.DISPUTE:
        owe_no_more_than(session, invoice, 0, REGISTRATION_CANCELLED)


def _why_lost(session: Session, invoice: Invoice, registration: Registration) -> Why:
    if invoice.voided_at is not None:
        return Why.VOID
    lost = exists().where(Case.invoice_id == invoice.id, Case.kind == "dispute", Case.stage == "lost")
    if session.scalar(select(lost)):
        return Why.DISPUTE
    went_back = exists().where(Payment.invoice_id == invoice.id, Payment.nature == "refund")
    # (Whoever moved to a free program got all of it back, and keeps the place.)
    costs = registration.price_cents > registration.discount_cents
    if costs and invoice.paid_cents <= 0 and invoice.owed_cents <= 0 and session.scalar(select(went_back)):
        return Why.REFUNDED
    return Why.NONE


def owe_no_more_than(
    session: Session, invoice: Invoice, keeps_cents: int, reason: str, by: int | None = None
) -> None:
    """Credit a locked invoice down to what the clinic keeps of it; a void one owes nothing anyway."""
    credit = invoice.owed_cents - keeps_cents
    if credit <= 0 or invoice.voided_at is not None:
        return
    session.add(Adjustment(invoice_id=invoice.id, amount_cents=-credit, reason=reason, made_at=now(), made_by=by))
    session.flush()
    session.refresh(invoice)
    record(
        session,
        "invoice.adjusted",
        f"invoice {invoice.number}",
        by=by,
        after=f"{format_money(-credit, invoice.currency)}: {reason}",
        patient_id=invoice.patient_id,
    )
