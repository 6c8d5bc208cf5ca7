"""The receipt by mail, queued with the payment itself: whoever settles it, once (E3)."""

from sqlalchemy.orm import Session

from portal.cards import brand_name
from portal.clinic import Location
from portal.invoices.reading import full_day, local_day
from portal.invoices.tables import Invoice
from portal.letters.addressing import Addressee, addressee
from portal.letters.queueing import queue_letter
from portal.money import format_money
from portal.payments.tables import Payment
from portal.vault import Vault


def queue_receipt(
    session: Session, vault: Vault, invoice: Invoice, payment: Payment, *, typed_email: str | None = None
) -> bool:
    """Queue the receipt of a posted payment; False when there is nobody to write to, or it has its mail already.

    `typed_email`: where the holder of a pay link wants it. It holds no health detail, so it may go there.
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
        f"receipt:{payment.id}",
        to,
        invoice,
        receipt=payment.receipt_number,
        amount=format_money(payment.amount_cents, payment.currency, full=True),
        paid_on=full_day(local_day(payment.received_at, zone)),
        card=f"{brand_name(payment.brand)} {payment.last4}" if payment.last4 else "",
        is_settled=invoice.balance_cents <= 0,
    )
