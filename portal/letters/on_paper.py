"""The pay link that is printed: a QR code on the invoice and on the desk's screen, to pay from one's own phone."""

from flask_babel import lazy_gettext as _l
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from portal.audit import record
from portal.errors import Refusal
from portal.invoices.books import locked_invoice
from portal.invoices.tables import Invoice
from portal.letters.requests import RequestsOff, check_that_link_would_work
from portal.parts import Parts
from portal.paylinks import PAPER, make_link, paper_token, revoke_link
from portal.settings import read_settings
from portal.vault import CannotOpen, Vault


class CodesOff(RequestsOff):
    """The clinic gives out no pay links."""

    title = _l("Requests to pay are switched off. No QR code was made.")


def link_address(parts: Parts, token: str) -> str:
    """What the QR code says: the address that opens the pay page."""
    return f"{parts.config.base_url}/pay/{token}"


def working_token(source: Connection | Session, vault: Vault, invoice_id: int) -> str | None:
    """The token of the link that works on paper; None also where its key is no longer on the ring."""
    try:
        return paper_token(source, vault, invoice_id)
    except CannotOpen:
        return None


def make_code(parts: Parts, invoice_id: int, *, by: int | None) -> None:
    """Make a link for a QR code, unless one works already: what was printed stays good.

    Raises CodesOff or CannotBePaidOnline.
    """
    with parts.database.transaction() as session:
        _make_code(parts, session, locked_invoice(session, invoice_id), by=by)


def make_code_at_checkout(parts: Parts, session: Session, invoice: Invoice, *, by: int | None) -> None:
    """As `make_code`, in the transaction that issues the invoice; where it can't be paid online there is none."""
    try:
        _make_code(parts, session, invoice, by=by)
    except Refusal:
        return


def _make_code(parts: Parts, session: Session, invoice: Invoice, *, by: int | None) -> None:
    """As `make_code`, in the caller's transaction and for a locked invoice."""
    settings = read_settings(session)
    if not settings.yes("email_pay_online_request"):
        raise CodesOff
    check_that_link_would_work(parts, session, invoice)
    if working_token(session, parts.vault, invoice.id) is not None:
        return
    make_link(session, parts.vault, settings, invoice, PAPER, by=by)
    record(session, "pay_link.made", f"invoice {invoice.number}", by=by, after=PAPER, patient_id=invoice.patient_id)


def revoke(parts: Parts, invoice_id: int, link_id: int, *, by: int | None) -> bool:
    """Take back one of an invoice's pay links, in a mail or on paper; False when it does not stand any more."""
    with parts.database.transaction() as session:
        return revoke_link(session, locked_invoice(session, invoice_id), link_id, by=by)
