"""Queues one mail about one invoice, with the words that all of them share."""

from typing import Any

from sqlalchemy.orm import Session

from portal.invoices.reading import full_day
from portal.invoices.tables import Invoice
from portal.letters.addressing import Addressee
from portal.money import format_money
from portal.outbox import About, queue_mail
from portal.vault import Vault


def queue_letter(
    session: Session,
    vault: Vault,
    kind: str,
    event_key: str,
    to: Addressee,
    invoice: Invoice,
    *,
    by: int | None = None,
    **words: Any,
) -> bool:
    """Queue a mail of this kind (templates/email/<kind>) in the caller's transaction; False when its event has one.

    `words` come on top of the addressee's name, the invoice's number, due date and what is left on it.
    """
    shared = {
        "name": to.given_name,
        "number": invoice.number,
        "due": full_day(invoice.due_on),
        "balance": format_money(invoice.balance_cents, invoice.currency, full=True),
    }
    about = About(invoice_id=invoice.id, patient_id=invoice.patient_id, queued_by=by)
    return queue_mail(session, vault, kind, event_key, to.email, about=about, **{**shared, **words})
