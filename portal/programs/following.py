"""What an invoice's money means for the place that it is for: one table, in one place.

| The invoice's books say | held or offered | confirmed | no place any more |
|---|---|---|---|
| money arrives | confirmed | - | the place again where one is free; else all of it goes back |
| void | given up | cancelled | - |
| all of it went back, and nothing is owed any more | - | cancelled | - |
| a dispute is lost | - | cancelled | - |
| a dispute under way, a part refunded, a reversal, refunded but still owed | - | stays | - |

`money_arrives` is asked before a payment is posted, `follow_places` after every change of an invoice's books; both in
the transaction that changes them, with invoice and program locked. Doing it again changes nothing.
"""

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from portal.clock import now
from portal.invoices.books import give_number
from portal.invoices.tables import Invoice
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
    give_number(session, invoice)


def _find_a_place_again(session: Session, invoice: Invoice, registration: Registration, by: int | None) -> None:
    """Money came for a place that was given up meanwhile: the place again, or a mail that the money goes back."""
    if _is_free(session, registration):
        registration.promo_code_id = None  # its use may be another's by now; the price that was shown stays
        session.flush()
        confirm(session, registration, by)
    elif registration.why != Why.FULL:
        registration.why = Why.FULL
        registration.give_back_cents = invoice.owed_cents
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
    """Let the place follow the books of this locked invoice."""
    registration = registration_of(session, invoice)
    if registration is None or registration.state not in TAKES_PLACE:
        return
    why = _why_lost(session, invoice)
    if why == Why.NONE:
        return
    if registration.state == Place.CONFIRMED:
        give_up(session, registration, Place.CANCELLED, why)
        tell(session, registration, CANCELLED)
    else:
        give_up(session, registration, Place.RELEASED, why)


def _why_lost(session: Session, invoice: Invoice) -> Why:
    if invoice.voided_at is not None:
        return Why.VOID
    lost = exists().where(Case.invoice_id == invoice.id, Case.kind == "dispute", Case.stage == "lost")
    if session.scalar(select(lost)):
        return Why.DISPUTE
    went_back = exists().where(Payment.invoice_id == invoice.id, Payment.nature == "refund")
    if invoice.paid_cents <= 0 and invoice.owed_cents <= 0 and session.scalar(select(went_back)):
        return Why.REFUNDED
    return Why.NONE


def due_back_cents(session: Session, invoice: Invoice, there_cents: int) -> int:
    """Of what is there on a locked invoice, how much goes back because its place is gone (the rest the clinic keeps).

    A cancelled registration gives back what its rule says; money that came for a place that nobody has any more goes
    back whole.
    """
    if invoice.program_id is None:
        return 0
    registration = registration_of(session, invoice)
    if registration is None:  # an invoice that another one has replaced, before anybody was to pay it
        return there_cents
    if registration.state in TAKES_PLACE | {Place.WAITING}:
        return 0
    return max(there_cents - registration.kept_cents, 0)
