"""Queues one mail about one invoice, with the words that all of them share."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy.orm import Session

from portal.invoices.reading import full_day
from portal.invoices.tables import Invoice
from portal.letters.addressing import Addressee
from portal.money import format_money
from portal.outbox import About, queue_mail
from portal.vault import Vault

log = logging.getLogger(__name__)


@contextmanager
def beside(session: Session, kind: str) -> Iterator[None]:
    """What queueing a mail trips over is undone and logged: it never stops the money that the mail tells of.

    Not where a person has asked for this very mail: they are told.
    """
    try:
        with session.begin_nested():
            yield
    except Exception as error:  # noqa: BLE001  whatever it is, the books come first
        # Its kind alone: an error's text may hold an address.
        log.error("no mail (%s) was queued: %s", kind, type(error).__name__)


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
