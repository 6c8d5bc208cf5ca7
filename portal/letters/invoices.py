"""The mail with a new invoice to its patient, and the one about a void invoice to the clinic's own staff."""

from hashlib import sha256

from sqlalchemy.orm import Session

from portal.clinic import Location
from portal.invoices.reading import full_day, local_day
from portal.invoices.tables import Invoice
from portal.letters.addressing import Addressee, addressee
from portal.letters.queueing import beside, queue_letter
from portal.letters.requests import link_if_it_works
from portal.money import format_money
from portal.parts import Parts
from portal.people import User
from portal.settings import read_settings


def queue_invoice(parts: Parts, session: Session, invoice: Invoice, *, by: int | None, event_key: str = "") -> bool:
    """Queue the mail that *Email invoice to patient* asks for; False when there is nobody to write to.

    `event_key`: of one that staff send later, or again.

    With *Email Pay Online Request* on, and where the invoice can be paid online, it holds the pay link as well: one
    mail, not two.
    """
    to = addressee(session, invoice.patient_id)
    if to is None:
        return False
    return queue_letter(
        session,
        parts.vault,
        "invoice",
        event_key or f"invoice:{invoice.id}",
        to,
        invoice,
        by=by,
        is_owed=invoice.balance_cents > 0,
        **link_if_it_works(parts, session, read_settings(session), invoice, by=by),
    )


def queue_void(parts: Parts, session: Session, invoice: Invoice, *, by: int | None) -> int:
    """Tell each of the clinic's addresses for it that a locked invoice is void; gives how many.

    Why stays in the books: a reason may hold a health detail.
    """
    queued = 0
    with beside(session, "void"):
        for email in filter(None, read_settings(session).text("email_void_addresses").split(", ")):
            event_key = f"void:{invoice.id}:{sha256(email.lower().encode()).hexdigest()[:16]}"
            queued += write_of_void(parts, session, invoice, email, event_key, by=by)
    return queued


def write_of_void(
    parts: Parts, session: Session, invoice: Invoice, email: str, event_key: str, *, by: int | None
) -> bool:
    """Queue the mail about a void invoice to one address of the clinic. `by`: who asks for this mail."""
    assert invoice.voided_at is not None, "an invoice that stands"
    staff = session.get(User, invoice.voided_by) if invoice.voided_by is not None else None
    zone = session.get_one(Location, invoice.location_id).timezone
    return queue_letter(
        session,
        parts.vault,
        "void",
        event_key,
        Addressee(invoice.patient_id, "", email),
        invoice,
        by=by,
        amount=format_money(invoice.owed_cents, invoice.currency, full=True),
        who=staff.name if staff else "",
        void_on=full_day(local_day(invoice.voided_at, zone)),
    )
