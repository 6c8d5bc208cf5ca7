"""Mails about money that came in or went back, each queued with its booking, once (E3).

The receipt comes with the payment itself, whoever settles it; the mail of a refund when it is really done.

The PDF of a receipt names what was paid for. It is attached only where the clinic's setting and the patient's own
recorded consent allow it, to the address on file, and both are asked when it is sent; else the mail leads to the page
behind sign-in.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.cards import brand_name
from portal.clinic import Location
from portal.clock import now
from portal.invoices.books import is_numbered
from portal.invoices.reading import Payer, full_day, invoice_for, local_day, receipt_for
from portal.invoices.tables import Invoice
from portal.letters.addressing import Addressee, addressee
from portal.letters.queueing import beside, queue_letter
from portal.money import format_money
from portal.parts import Parts
from portal.payments.tables import Payment, PaymentAttempt
from portal.people import Patient
from portal.programs.tables import Program, Registration
from portal.receipt_pdf import CannotPrint, printed, words_of
from portal.settings import Settings
from portal.vault import Vault

INSURER = "insurance"
"""The kind of payment that nobody on file made: its money goes back to the insurer, who gets no mail."""


def queue_receipt(
    session: Session,
    vault: Vault,
    invoice: Invoice,
    payment: Payment,
    *,
    typed_email: str | None = None,
    event_key: str = "",
    by: int | None = None,
) -> bool:
    """Queue the receipt of a posted payment; False when there is nobody to write to, or it has its mail already.

    `typed_email`: where the holder of a pay link wants it. It holds no health detail, so it may go there.
    `event_key`: of a receipt that staff (`by`) send again.
    """
    to = _payer(session, invoice, payment.payer_id, typed_email)
    if to is None:
        return False
    session.refresh(invoice)  # the payment has changed what is left
    return queue_letter(
        session,
        vault,
        "receipt",
        event_key or f"receipt:{payment.id}",
        to,
        invoice,
        by=by,
        receipt=payment.receipt_number,
        amount=format_money(payment.amount_cents, payment.currency, full=True),
        paid_on=full_day(local_day(payment.received_at, _zone(session, invoice))),
        own_patient_id=invoice.patient_id if to.patient_id == invoice.patient_id and not typed_email else None,
        card=_card(payment.brand, payment.last4),
        is_settled=invoice.balance_cents <= 0,
    )


def attached_receipt(parts: Parts, settings: Settings, words: Mapping[str, Any]) -> bytes | None:
    """The PDF for a mail that is about to be sent; None where it is not to be attached, or can't be made just now:
    the mail leads to the receipt all the same.
    """
    patient_id = words.get("own_patient_id")
    if patient_id is None or not settings.yes("email_receipt_pdf"):
        return None
    with parts.database.read() as connection:
        consent = select(Patient.receipt_pdf_allowed_at).where(Patient.id == patient_id)
        if connection.scalar(consent) is None:
            return None
        head = invoice_for(connection, Payer(patient_id, ""), words["number"])
        receipt = receipt_for(connection, head, words["receipt"]) if head else None
    try:
        return printed(words_of(receipt, settings)) if receipt else None
    except CannotPrint:
        return None


def queue_refund_mail(
    session: Session, vault: Vault, invoice: Invoice, payment: Payment, amount_cents: int, event: str, how: str = ""
) -> bool:
    """Tell whoever made this payment that so much of it went back just now, under the event's own name.

    `how`: the kind by which it was handed back over the counter; nothing where it went back to the card.
    """
    if payment.kind == INSURER or how == INSURER:
        return False
    with beside(session, "refund"):
        typed = select(PaymentAttempt.receipt_email).where(PaymentAttempt.id == payment.attempt_id)
        to = _payer(session, invoice, payment.payer_id, session.scalar(typed) if payment.attempt_id else None)
        return to is not None and write_of_refund(
            session, vault, invoice, payment, to, f"refund:{event}", amount_cents, on=now(), how=how
        )
    return False


def write_of_refund(
    session: Session,
    vault: Vault,
    invoice: Invoice,
    payment: Payment,
    to: Addressee,
    event_key: str,
    amount_cents: int,
    *,
    on: datetime,
    how: str,
    by: int | None = None,
) -> bool:
    """Queue the mail about money that went back at that moment."""
    return queue_letter(
        session,
        vault,
        "refund",
        event_key,
        to,
        invoice,
        by=by,
        amount=format_money(amount_cents, payment.currency, full=True),
        given_back_on=full_day(local_day(on, _zone(session, invoice))),
        how=how,
        card="" if how else _card(payment.brand, payment.last4),
    )


def queue_payment_failed(session: Session, vault: Vault, invoice: Invoice, attempt: PaymentAttempt) -> bool:
    """Tell a payer who has left the page that nothing was charged after all, and how to pay.

    Not where nothing is left to pay by now: a later try, or somebody else, has paid.
    """
    if invoice.balance_cents <= 0:
        return False
    with beside(session, "payment_failed"):
        to = _payer(session, invoice, attempt.payer_id, attempt.receipt_email)
        event_key = f"payment_failed:{attempt.id}:{attempt.confirmations}"
        return to is not None and write_of_failure(session, vault, invoice, attempt, to, event_key)
    return False


def write_of_failure(
    session: Session,
    vault: Vault,
    invoice: Invoice,
    attempt: PaymentAttempt,
    to: Addressee,
    event_key: str,
    *,
    by: int | None = None,
) -> bool:
    """Queue the mail about a payment that failed unseen."""
    return queue_letter(
        session,
        vault,
        "payment_failed",
        event_key,
        to,
        invoice,
        by=by,
        amount=format_money(attempt.amount_cents, attempt.currency, full=True),
        tried_on=full_day(local_day(attempt.started_at, _zone(session, invoice))),
        has_link=attempt.pay_link_id is not None,
        **_place(session, invoice),
    )


def _place(session: Session, invoice: Invoice) -> dict[str, str]:
    """Which place in a program the invoice is for, while that is all it is: empty for one that has a number."""
    row = None
    if not is_numbered(invoice.number):
        named = select(Program.name, Registration.public_id).join(Program, Program.id == Registration.program_id)
        row = session.execute(named.where(Registration.invoice_id == invoice.id)).first()
    if row is None:
        return {"program": "", "registration_path": ""}
    return {"program": row.name, "registration_path": f"/registrations/{row.public_id}"}


def _payer(session: Session, invoice: Invoice, payer_id: int | None, typed_email: str | None) -> Addressee | None:
    """Who paid, or tried to: where they wanted their receipt; else as they are on file."""
    if typed_email:
        return Addressee(invoice.patient_id, "", typed_email)
    return addressee(session, invoice.patient_id, payer_id)


def _card(brand: str | None, last4: str | None) -> str:
    return f"{brand_name(brand)} {last4}" if last4 else ""


def _zone(session: Session, invoice: Invoice) -> str:
    return session.get_one(Location, invoice.location_id).timezone
