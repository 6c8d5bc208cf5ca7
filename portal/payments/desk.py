"""Money taken at the desk that no gateway moves: it is counted, and goes into the books as it is.

What somebody pays with, in the clinic's words; and `record_payment`, which posts it once.
"""

from dataclasses import dataclass
from uuid import UUID

from flask_babel import lazy_gettext as _l
from flask_babel.speaklater import LazyString
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal.clock import now
from portal.invoices.books import locked_invoice, take_receipt_numbers
from portal.invoices.tables import Invoice
from portal.money import format_money
from portal.parts import Parts
from portal.payments import words
from portal.payments.begin import check_shown
from portal.payments.cases import follow_books, is_disputed
from portal.payments.kinds import KIND_NAMES
from portal.payments.outcomes import Paid
from portal.payments.posting import note_receipt
from portal.payments.settle import end
from portal.payments.states import State
from portal.payments.steps import is_held, live_attempt
from portal.payments.tables import DESK, Payment, PaymentAttempt
from portal.programs.following import money_arrives
from portal.programs.places import check_place


@dataclass(frozen=True)
class PaidBy:
    """One thing that people pay with: its name, what it is in the books, and for a card its brand and funding."""

    name: LazyString
    kind: str
    brand: str | None = None
    funding: str | None = None

    @property
    def is_card(self) -> bool:
        """Whether the gateway can process it."""
        return self.kind == "card"


PAID_BY: dict[str, PaidBy] = {
    "visa": PaidBy(_l("Visa"), "card", "visa"),
    "mastercard": PaidBy(_l("Mastercard"), "card", "mastercard"),
    "amex": PaidBy(_l("Amex"), "card", "amex"),
    "discover": PaidBy(_l("Discover"), "card", "discover"),
    "diners": PaidBy(_l("Diners Club"), "card", "diners"),
    "jcb": PaidBy(_l("JCB"), "card", "jcb"),
    "unionpay": PaidBy(_l("UnionPay"), "card", "unionpay"),
    "visa-debit": PaidBy(_l("Visa Debit"), "card", "visa", "debit"),
    "cash": PaidBy(KIND_NAMES["cash"], "cash"),
    "cheque": PaidBy(KIND_NAMES["cheque"], "cheque"),
    "e-transfer": PaidBy(KIND_NAMES["e-transfer"], "e-transfer"),
    "insurance": PaidBy(KIND_NAMES["insurance"], "insurance"),
    "debit": PaidBy(KIND_NAMES["debit"], "debit"),
    "other": PaidBy(KIND_NAMES["other"], "other"),
}
"""By the key that a form sends. Through the gateway, what is booked is the brand that it reports."""


@dataclass(frozen=True)
class DeskPayment:
    """What the desk received. The balance and version that the form showed are preconditions.

    `take_over`: also while somebody else is paying by card; they are stopped where they still can be.
    """

    request_id: UUID
    paid_by: PaidBy
    amount_cents: int
    shown_cents: int
    shown_currency: str
    shown_version: int
    payer_id: int | None
    note: str = ""
    take_over: bool = False


def record_payment(parts: Parts, invoice_id: int, received: DeskPayment, by: int) -> Paid:
    """Post a payment that no gateway moves, once however often it is asked for. No money moves here.

    Raises AmountChanged, MoreThanIsLeft, NothingToPay, InvoiceIsVoid, PaymentDisputed, SomebodyIsPaying or
    FormUsedUp.
    """
    _stop_who_waits(parts, invoice_id, received, by)
    try:
        with parts.database.transaction() as session:
            return _recorded(session, invoice_id, received, by)
    except IntegrityError as error:
        # The same request on another invoice: only somebody who makes it up can do that.
        raise words.FormUsedUp from error


def _recorded(session: Session, invoice_id: int, received: DeskPayment, by: int) -> Paid:
    invoice = locked_invoice(session, invoice_id)
    earlier = session.scalars(select(Payment).where(Payment.request_id == received.request_id)).first()
    if earlier is not None:
        return _as_before(invoice, earlier, received)
    check_receivable(session, invoice, received)
    live = live_attempt(session, invoice_id)
    if live is not None and not (received.take_over or _is_own_and_waits(live, by)):
        raise words.SomebodyIsPaying
    money_arrives(session, invoice, by)
    payment = Payment(
        receipt_number=take_receipt_numbers(session)[0],
        invoice_id=invoice_id,
        payer_id=received.payer_id,
        channel=DESK,
        request_id=received.request_id,
        kind=received.paid_by.kind,
        brand=received.paid_by.brand,
        funding=received.paid_by.funding,
        amount_cents=received.amount_cents,
        currency=invoice.currency,
        note=received.note,
        received_at=now(),
        recorded_by=by,
    )
    session.add(payment)
    follow_books(session, invoice)
    note_receipt(session, invoice, payment)
    return Paid(invoice.number, str(payment.receipt_number))


def _as_before(invoice: Invoice, earlier: Payment, received: DeskPayment) -> Paid:
    """The same press again: the same receipt. A form that was sent before with other details is used up."""
    same = (invoice.id, "payment", received.amount_cents, received.paid_by.kind, received.paid_by.brand)
    is_same = (earlier.invoice_id, earlier.nature, earlier.amount_cents, earlier.kind, earlier.brand) == same
    if not is_same or earlier.receipt_number is None:
        raise words.FormUsedUp
    return Paid(invoice.number, earlier.receipt_number)


def check_receivable(session: Session, invoice: Invoice, received: DeskPayment) -> None:
    """Whether the invoice, as the form showed it, takes this amount. No payment makes a balance negative (I4)."""
    check_place(session, invoice)
    if invoice.voided_at is not None:
        raise words.InvoiceIsVoid
    if invoice.balance_cents <= 0:
        raise words.NothingToPay
    if is_disputed(session, invoice.id):
        raise words.PaymentDisputed
    check_shown(invoice, received.shown_cents, received.shown_currency, received.shown_version)
    assert received.amount_cents > 0, "the form lets no such amount through"
    if received.amount_cents > invoice.balance_cents:
        raise words.MoreThanIsLeft(balance=format_money(invoice.balance_cents, invoice.currency, full=True))


# --- somebody else's card payment meanwhile -------------------------------------------------------------------------


def _stop_who_waits(parts: Parts, invoice_id: int, received: DeskPayment, by: int) -> None:
    """End a card payment that only waits for its payer, so that it can't be finished after this one.

    One whose outcome is open can't be stopped; nor one whose gateway does not answer. If both go through, the
    payment that comes second opens the overpaid case (`posting.py`).
    """
    with Session(parts.database.reading) as session:
        live = live_attempt(session, invoice_id)
        known = session.scalar(select(Payment.id).where(Payment.request_id == received.request_id))
    if live is None or known is not None or _is_at_work(live):
        return
    if received.take_over or _is_own_and_waits(live, by):
        end(parts, live.id)


def _is_at_work(live: PaymentAttempt) -> bool:
    return live.state in (State.CONFIRMING, State.PROCESSING) or is_held(live)


def _is_own_and_waits(live: PaymentAttempt, by: int) -> bool:
    """A card that the same clerk tried before, in vain: to end that needs no word."""
    return (live.user_id, live.channel) == (by, DESK) and not _is_at_work(live)
