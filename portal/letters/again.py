"""Sending a mail about an invoice again: written anew from the books, since what was said is forgotten once sent."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

from flask_babel import lazy_gettext as _l
from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from portal.audit import record
from portal.errors import Refusal
from portal.invoices.books import locked_invoice
from portal.invoices.tables import Invoice
from portal.letters.addressing import addressee
from portal.letters.invoices import queue_invoice
from portal.letters.receipts import queue_receipt
from portal.letters.requests import NoAddress, Requested, queue_request
from portal.outbox import OutboxMessage
from portal.parts import Parts
from portal.payments.tables import Payment


class InvoiceIsVoid(Refusal):
    """A void invoice is not sent to its patient."""

    title = _l("Invoice {number} is void. Nothing was sent.")
    message = _l("There is nothing to pay on it.")


class NoSuchMail(Refusal):
    """A mail that is none of this invoice's, or of a kind that is not sent again."""

    status = 404
    title = _l("This email can't be sent again.")
    message = _l("Nothing was sent.")


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
    def event_key(self) -> str:
        return f"{self.former.kind}:{event_id(self.former.event_key)}:again:{self.request_id}"


def event_id(event_key: str) -> int:
    """The row that a mail tells of: 7 for "receipt:7" and "receipt:7:again:…"; 0 for a key without one."""
    found = event_key.split(":")[1:2]
    return int(found[0]) if found and found[0].isdecimal() else 0


def _request_again(again: Again) -> Requested:
    return queue_request(again.parts, again.session, again.invoice, again.request_id, by=again.by)


def _receipt_again(again: Again) -> Requested:
    payment = again.session.get(Payment, event_id(again.former.event_key))
    if payment is None or payment.invoice_id != again.invoice.id:
        raise NoSuchMail
    to = addressee(again.session, again.invoice.patient_id, payment.payer_id)
    if to is None:
        raise NoAddress
    vault = again.parts.vault
    is_new = queue_receipt(again.session, vault, again.invoice, payment, event_key=again.event_key, by=again.by)
    return Requested(to.email, is_new)


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


KINDS: Mapping[str, Callable[[Again], Requested]] = {
    "pay_request": _request_again,
    "receipt": _receipt_again,
    "invoice": _invoice_again,
}
"""The kinds of mail that are sent again, each with what queues a new one."""


def send_again(parts: Parts, invoice_id: int, mail_id: int, request_id: UUID, *, by: int | None) -> Requested:
    """Queue a fresh mail of the same kind and about the same, to the address on file now; the same press queues one.

    Raises NoSuchMail, NoAddress, RequestsOff, CannotBePaidOnline or InvoiceIsVoid.
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


def payers_of_receipts(connection: Connection, invoice_id: int) -> Mapping[int, int | None]:
    """Who paid each payment of an invoice: to them its receipt goes again."""
    rows = connection.execute(select(Payment.id, Payment.payer_id).where(Payment.invoice_id == invoice_id))
    return {row.id: row.payer_id for row in rows}
