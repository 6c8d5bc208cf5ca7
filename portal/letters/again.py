"""Sending a mail about an invoice again: written anew from the books, since what was said is forgotten once sent."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from flask_babel import lazy_gettext as _l
from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from portal.audit import record
from portal.errors import Refusal
from portal.invoices.books import locked_invoice
from portal.invoices.tables import Invoice
from portal.letters.addressing import Addressee, addressee
from portal.letters.invoices import queue_invoice, write_of_void
from portal.letters.receipts import queue_receipt, write_of_failure, write_of_refund
from portal.letters.registrations import queue_again
from portal.letters.reminders import remind_again
from portal.letters.requests import NoAddress, Requested, queue_request
from portal.outbox import OutboxMessage
from portal.parts import Parts
from portal.payments.tables import Payment, PaymentAttempt, Refund
from portal.settings import PROGRAM_LETTERS


class InvoiceIsVoid(Refusal):
    """A void invoice is not sent to its patient."""

    title = _l("Invoice {number} is void. Nothing was sent.")
    message = _l("There is nothing to pay on it.")


class NoSuchMail(Refusal):
    """A mail that is none of this invoice's, or of a kind that is not sent again."""

    status = 404
    title = _l("This email can't be sent again.")
    message = _l("Nothing was sent.")


class NotToBeSent(Refusal):
    """What the mail said is not so any more, or nobody wants it."""

    title = _l("This email is not to be sent now. Nothing was sent.")
    message = _l("The invoice is not owed beyond doubt any more, or its patient wants no reminders.")


@dataclass(frozen=True)
class Again:
    """A mail to send once more, in a transaction that has the invoice locked. `event_key` is the new mail's."""

    parts: Parts
    session: Session
    invoice: Invoice
    former: OutboxMessage
    request_id: UUID
    by: int | None

    @property
    def stem(self) -> str:
        return stem_of(self.former.event_key)

    @property
    def event_key(self) -> str:
        return f"{self.stem}:again:{self.request_id}"

    @property
    def to(self) -> Addressee:
        """Who paid, or tried to, as they are on file now. Raises NoAddress."""
        payer_id = payer_of(self.session, self.former.kind, self.former.event_key)
        found = addressee(self.session, self.invoice.patient_id, payer_id)
        if found is None:
            raise NoAddress
        return found


def stem_of(event_key: str) -> str:
    """The event that a mail tells of: "receipt:7" for "receipt:7" and for "receipt:7:again:…"."""
    return event_key.partition(":again:")[0]


def payer_of(session: Session | Connection, kind: str, event_key: str) -> int | None:
    """Who made, or tried, the payment that a mail tells of; None for a mail about none, or where nobody knows."""
    row = _row_of(kind, event_key)
    if row is None:
        return None
    if row.table is PaymentAttempt:
        return session.scalar(select(PaymentAttempt.payer_id).where(PaymentAttempt.id == UUID(row.key)))
    if row.table is Refund:
        paid = select(Payment.payer_id).join(Refund, Refund.payment_id == Payment.id)
        return session.scalar(paid.where(Refund.id == int(row.key)))
    return session.scalar(select(Payment.payer_id).where(Payment.id == int(row.key)))


class _Row(NamedTuple):
    table: type[Payment] | type[Refund] | type[PaymentAttempt]
    key: str


def _row_of(kind: str, event_key: str) -> _Row | None:
    """What a mail about a payment was queued for, by the key of its event."""
    event = stem_of(event_key).split(":")[1:]
    match kind, event:
        case ("receipt", [key]) | ("refund", ["by hand", key]) if key.isdecimal():
            return _Row(Payment, key)
        case "refund", [key] if key.isdecimal():
            return _Row(Refund, key)
        case "payment_failed", [key, _]:
            return _Row(PaymentAttempt, key)
    return None


def _request_again(again: Again) -> Requested:
    return queue_request(again.parts, again.session, again.invoice, again.request_id, by=again.by)


def _receipt_again(again: Again) -> Requested:
    payment = _payment(again)
    is_new = queue_receipt(
        again.session, again.parts.vault, again.invoice, payment, event_key=again.event_key, by=again.by
    )
    return Requested(again.to.email, is_new)


def _payment(again: Again) -> Payment:
    """The row of posted money that the mail tells of. Raises NoSuchMail."""
    row = _row_of(again.former.kind, again.former.event_key)
    payment = again.session.get(Payment, int(row.key)) if row is not None else None
    if payment is None or payment.invoice_id != again.invoice.id:
        raise NoSuchMail
    return payment


def _refund_again(again: Again) -> Requested:
    row = _row_of(again.former.kind, again.former.event_key)
    if row is not None and row.table is Refund:
        refund = again.session.get_one(Refund, int(row.key))
        payment, cents, how = again.session.get_one(Payment, refund.payment_id), refund.amount_cents, ""
        on = refund.ended_at or refund.asked_at
    else:
        back = _payment(again)
        payment = again.session.get_one(Payment, back.reverses_id)
        cents, how, on = -back.amount_cents, back.kind, back.received_at
    is_new = write_of_refund(
        again.session, again.parts.vault, again.invoice, payment, again.to, again.event_key, cents,
        on=on, how=how, by=again.by,
    )  # fmt: skip
    return Requested(again.to.email, is_new)


def _failure_again(again: Again) -> Requested:
    row = _row_of(again.former.kind, again.former.event_key)
    attempt = again.session.get(PaymentAttempt, UUID(row.key)) if row is not None else None
    if attempt is None:
        raise NoSuchMail
    if again.invoice.balance_cents <= 0:
        raise NotToBeSent
    vault = again.parts.vault
    is_new = write_of_failure(again.session, vault, again.invoice, attempt, again.to, again.event_key, by=again.by)
    return Requested(again.to.email, is_new)


def _void_again(again: Again) -> Requested:
    email = again.former.recipient
    is_new = write_of_void(again.parts, again.session, again.invoice, email, again.event_key, by=again.by)
    return Requested(email, is_new)


def _reminder_again(again: Again) -> Requested:
    event_key = f"reminder:{again.invoice.id}:again:{again.request_id}"  # none of those that the plan counts
    sent = again.session.scalar(select(OutboxMessage.recipient).where(OutboxMessage.event_key == event_key))
    if sent is not None:
        return Requested(sent, is_new=False)
    email = remind_again(again.parts, again.session, again.invoice, event_key, by=again.by)
    if not email:
        raise NotToBeSent
    return Requested(email, is_new=True)


def _invoice_again(again: Again) -> Requested:
    return _queue_invoice(again.parts, again.session, again.invoice, again.event_key, again.by)


def _queue_invoice(parts: Parts, session: Session, invoice: Invoice, event_key: str, by: int | None) -> Requested:
    sent = session.scalar(select(OutboxMessage.recipient).where(OutboxMessage.event_key == event_key))
    if sent is not None:
        return Requested(sent, is_new=False)
    if invoice.voided_at is not None:
        raise InvoiceIsVoid(number=invoice.number)
    to = addressee(session, invoice.patient_id)
    if to is None:
        raise NoAddress
    return Requested(to.email, queue_invoice(parts, session, invoice, by=by, event_key=event_key))


def _place_again(again: Again) -> Requested:
    return queue_again(again.session, again.former, again.request_id, by=again.by)


KINDS: Mapping[str, Callable[[Again], Requested]] = {
    "pay_request": _request_again,
    "receipt": _receipt_again,
    "invoice": _invoice_again,
    "refund": _refund_again,
    "payment_failed": _failure_again,
    "reminder": _reminder_again,
    "void": _void_again,
    **dict.fromkeys(PROGRAM_LETTERS, _place_again),
}
"""The kinds of mail that are sent again, each with what queues a new one."""


def send_again(parts: Parts, invoice_id: int, mail_id: int, request_id: UUID, *, by: int | None) -> Requested:
    """Queue a fresh mail of the same kind and about the same, to the address on file now; the same press queues one.

    Raises NoSuchMail, NoAddress, RequestsOff, CannotBePaidOnline, InvoiceIsVoid, NotToBeSent or NotSoAnyMore.
    """
    with parts.database.transaction() as session:
        invoice = locked_invoice(session, invoice_id)
        former = session.scalars(
            select(OutboxMessage).where(OutboxMessage.id == mail_id, OutboxMessage.invoice_id == invoice_id)
        ).first()
        if former is None or former.kind not in KINDS:
            raise NoSuchMail
        sent = KINDS[former.kind](Again(parts, session, invoice, former, request_id, by))
        if sent.is_new and former.kind != "pay_request":  # a request is recorded by itself
            _record(session, invoice, former.kind, sent.email, by)
        return sent


def email_invoice(parts: Parts, invoice_id: int, request_id: UUID, *, by: int | None) -> Requested:
    """Queue the mail with the invoice, whether it was emailed before or not; the same press queues one.

    Where the clinic sends requests to pay, it holds a pay link, which replaces the one sent before. Raises NoAddress
    or InvoiceIsVoid.
    """
    with parts.database.transaction() as session:
        invoice = locked_invoice(session, invoice_id)
        sent = _queue_invoice(parts, session, invoice, f"invoice:{invoice.id}:again:{request_id}", by)
        if sent.is_new:
            _record(session, invoice, "invoice", sent.email, by)
        return sent


def _record(session: Session, invoice: Invoice, kind: str, email: str, by: int | None) -> None:
    subject = f"invoice {invoice.number}"
    record(session, "mail.asked_for", subject, by=by, after=f"{kind} to {email}", patient_id=invoice.patient_id)
