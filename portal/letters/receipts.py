"""The receipt by mail, queued with the payment itself: whoever settles it, once (E3).

Its PDF names what was paid for. It is attached only where the clinic's setting and the patient's own recorded consent
allow it, to the address on file, and both are asked when it is sent; else the mail leads to the page behind sign-in.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.cards import brand_name
from portal.clinic import Location
from portal.invoices.reading import Payer, full_day, invoice_for, local_day, receipt_for
from portal.invoices.tables import Invoice
from portal.letters.addressing import Addressee, addressee
from portal.letters.queueing import queue_letter
from portal.money import format_money
from portal.parts import Parts
from portal.payments.tables import Payment
from portal.people import Patient
from portal.receipt_pdf import CannotPrint, printed, words_of
from portal.settings import Settings
from portal.vault import Vault


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
    to = addressee(session, invoice.patient_id, payment.payer_id)
    if typed_email:
        to = Addressee(invoice.patient_id, "", typed_email)
    if to is None:
        return False
    session.refresh(invoice)  # the payment has changed what is left
    zone = session.get_one(Location, invoice.location_id).timezone
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
        paid_on=full_day(local_day(payment.received_at, zone)),
        own_patient_id=invoice.patient_id if to.patient_id == invoice.patient_id and not typed_email else None,
        card=f"{brand_name(payment.brand)} {payment.last4}" if payment.last4 else "",
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
