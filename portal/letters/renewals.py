"""A new pay link for the holder of an old one, sent to nobody but the address on file (E2)."""

import logging
from uuid import UUID

from sqlalchemy import select

from portal.audit import record
from portal.errors import Refusal
from portal.invoices.books import locked_invoice
from portal.letters.requests import check_that_link_would_work, queue_link
from portal.outbox import OutboxMessage
from portal.parts import Parts
from portal.paylinks import LinkState, PayLink, state_of
from portal.settings import read_settings

log = logging.getLogger(__name__)


def can_be_renewed(state: LinkState) -> bool:
    """Whether the holder may ask for a new link. What staff took back, staff give again."""
    return state in (LinkState.EXPIRED, LinkState.REPLACED)


def send_new_link(parts: Parts, link_id: int, invoice_id: int, press: UUID) -> None:
    """Queue a mail with a new link, where one may be sent and there is an address. The same press queues one mail.

    Says nothing of how it went: the holder of an old link need not learn what is on file.
    """
    try:
        with parts.database.transaction() as session:
            invoice = locked_invoice(session, invoice_id)
            settings = read_settings(session)
            event_key = f"pay_request:{press}:{invoice.id}"
            link = session.get_one(PayLink, link_id)
            state = state_of(link.expires_at, link.revoked_at, link.replaced_at)
            if not (can_be_renewed(state) and settings.yes("email_pay_online_request")):
                return
            if session.scalar(select(OutboxMessage.id).where(OutboxMessage.event_key == event_key)) is not None:
                return
            check_that_link_would_work(parts, session, invoice)
            email = queue_link(parts, session, settings, invoice, event_key, by=None)
            record(
                session,
                "invoice.payment_requested",
                f"invoice {invoice.number}",
                by=None,
                after=email,
                patient_id=invoice.patient_id,
            )
    except Refusal as refusal:
        log.info("no new link was sent: %s", type(refusal).__name__)
