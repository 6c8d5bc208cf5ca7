"""Asking for a payment by mail: a link that opens the pay page of one invoice (E1)."""

from dataclasses import dataclass
from uuid import UUID

from flask_babel import lazy_gettext as _l
from flask_babel.speaklater import LazyString
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.audit import record
from portal.clinic import Location
from portal.errors import Refusal
from portal.invoices.books import is_numbered, locked_invoice
from portal.invoices.reading import full_day, local_day
from portal.invoices.tables import Invoice
from portal.letters.addressing import addressee
from portal.letters.queueing import queue_letter
from portal.outbox import OutboxMessage
from portal.parts import Parts
from portal.paylinks import MAIL, make_link
from portal.payments import words
from portal.payments.begin import check_open_to_cards
from portal.payments.tables import LINK
from portal.settings import Settings, read_settings


class RequestsOff(Refusal):
    """The clinic sends no requests to pay."""

    status = 403
    title = _l("Requests to pay are switched off. Nothing was sent.")
    message = _l("They are switched on under Settings, General: Email Pay Online Request.")


class NoAddress(Refusal):
    """Nobody to write to."""

    title = _l("There is no email address on file. Nothing was sent.")
    message = _l("Add one to the patient's details, or to somebody who pays for them, and send the request again.")


class CannotBePaidOnline(Refusal):
    """The link would lead to a page that takes no payment."""

    title = _l("Invoice {number} can't be paid online. Nothing was sent.")
    message = _l("{why}")


_WHY_NOT: dict[type[Refusal], LazyString] = {
    words.OnlinePaymentOff: _l("Online payment is switched off, or its location has no active payment gateway."),
    words.InvoiceIsVoid: _l("It is void."),
    words.NothingToPay: _l("Nothing is left to pay on it."),
    words.PaymentDisputed: _l("An earlier payment of it is disputed, and the bank is deciding about that."),
    words.TooSmallForCards: _l("What is left to pay is too small for a card."),
    words.TooLargeForCards: _l("What is left to pay is too large for one card payment."),
    words.TooFineForCards: _l("Cards can't be charged this exact amount."),
}


@dataclass(frozen=True)
class Requested:
    """A request that is queued: to whom, and whether this press queued it or one before."""

    email: str
    is_new: bool


def request_payment(parts: Parts, invoice_id: int, request_id: UUID, *, by: int | None) -> Requested:
    """Queue a mail with a new pay link; the link of the request before works no more. The same press queues one mail.

    Raises RequestsOff, NoAddress or CannotBePaidOnline.
    """
    with parts.database.transaction() as session:
        return queue_request(parts, session, locked_invoice(session, invoice_id), request_id, by=by)


def queue_request(parts: Parts, session: Session, invoice: Invoice, request_id: UUID, *, by: int | None) -> Requested:
    """As `request_payment`, in the caller's transaction and for a locked invoice."""
    settings = read_settings(session)
    if not settings.yes("email_pay_online_request"):
        raise RequestsOff
    event_key = f"pay_request:{request_id}:{invoice.id}"
    sent = session.scalar(select(OutboxMessage.recipient).where(OutboxMessage.event_key == event_key))
    if sent is not None:
        return Requested(sent, is_new=False)
    check_that_link_would_work(parts, session, invoice)
    email = queue_link(parts, session, settings, invoice, event_key, by=by)
    record(
        session,
        "invoice.payment_requested",
        f"invoice {invoice.number}",
        by=by,
        after=email,
        patient_id=invoice.patient_id,
    )
    return Requested(email, is_new=True)


def check_that_link_would_work(parts: Parts, session: Session, invoice: Invoice) -> None:
    """Raises CannotBePaidOnline, which says to staff why the link's holder could not pay."""
    if not is_numbered(invoice.number):
        raise CannotBePaidOnline(number="", why=_l("Its place in the program is not confirmed yet."))
    try:
        check_open_to_cards(parts, session, invoice, LINK, invoice.balance_cents)
    except Refusal as refusal:
        why = _WHY_NOT.get(type(refusal), refusal.heading)
        raise CannotBePaidOnline(number=invoice.number, why=why) from None


def queue_link(
    parts: Parts, session: Session, settings: Settings, invoice: Invoice, event_key: str, *, by: int | None
) -> str:
    """Make a new link to a locked invoice and queue the mail that holds it; gives the address. Raises NoAddress."""
    to = addressee(session, invoice.patient_id)
    if to is None:
        raise NoAddress
    words_of_link = link_words(parts, session, settings, invoice, by=by)
    queue_letter(session, parts.vault, "pay_request", event_key, to, invoice, by=by, **words_of_link)
    return to.email


def link_if_it_works(
    parts: Parts, session: Session, settings: Settings, invoice: Invoice, *, by: int | None
) -> dict[str, str]:
    """As `link_words`; empty ones where the clinic sends no links or this one would lead nowhere: then the mail leads
    to sign-in.
    """
    if settings.yes("email_pay_online_request"):
        try:
            check_that_link_would_work(parts, session, invoice)
        except CannotBePaidOnline:
            pass
        else:
            return link_words(parts, session, settings, invoice, by=by)
    return {"link": "", "until": ""}


def link_words(
    parts: Parts, session: Session, settings: Settings, invoice: Invoice, *, by: int | None
) -> dict[str, str]:
    """Make a new link to a locked invoice; gives what a mail says of it: its address, and until when it works."""
    link = make_link(session, parts.vault, settings, invoice, MAIL, by=by)
    zone = session.get_one(Location, invoice.location_id).timezone
    return {
        "link": f"{parts.config.base_url}/pay/{link.token}",
        "until": full_day(local_day(link.expires_at, zone)),
    }
