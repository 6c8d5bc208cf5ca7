"""Mails about invoices from the office's side: asking for a payment, what was sent, pay links and their QR codes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from flask import Blueprint, abort, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import ngettext
from markupsafe import Markup

from portal.errors import Refusal
from portal.invoices.reading import Head, invoice_for_staff
from portal.invoices.search.rows import PAGE
from portal.letters import again
from portal.letters.addressing import addressee
from portal.letters.on_paper import link_address, make_code, revoke, working_token
from portal.letters.reading import Mail, mails_of_invoice
from portal.letters.registrations import reader_now
from portal.letters.requests import RequestsOff
from portal.letters.several import Told, request_payments
from portal.parts import parts
from portal.permissions import May
from portal.web import typed
from portal.web.access import is_own_path, staff_may, who
from portal.web.pictures import qr_code
from portal.web.scope import done_reading, payment_modes, reading, settings

bp = Blueprint("mails", __name__, url_prefix="/office/invoices")

LONGEST_NUMBER = 24
MOST_NAMED = 5  # the next page says so many invoices with their addresses; the sentence travels in a cookie


# --- asking for a payment -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ask:
    """What can be mailed: where it would go (empty: nobody has an address), the press, and whether that may be a
    request to pay."""

    email: str
    request_id: UUID
    can_request: bool


def may_ask() -> bool:
    """Whether the clinic sends requests to pay, and whoever is signed in may send one."""
    return settings().yes("email_pay_online_request") and who().may(May.RECEIVE)


def ask_for(patient_id: int) -> Ask | None:
    """What stands beside the buttons that send a mail; None for whoever may send none."""
    if not who().may(May.RECEIVE):
        return None
    to = addressee(reading(), patient_id)
    return Ask(to.email if to else "", uuid4(), may_ask())


@bp.post("/request")
@staff_may(May.RECEIVE)
def ask() -> ResponseReturnValue:
    """Send a request to pay: of the one invoice whose button was pressed, or of all that are ticked."""
    press = typed.uuid(request.form.get("request")) or abort(400)
    only = request.form.get("only")
    asked = [only] if only else request.form.getlist("number")[:PAGE]
    numbers = list(dict.fromkeys(filter(None, (typed.words(one, LONGEST_NUMBER) for one in asked))))
    if not numbers:
        flash(_("No invoice is ticked.\nTick those to ask for, then press again."), "warn")
        return _back()
    done_reading()
    told = request_payments(parts(), numbers, press, by=who().id)
    if not (told.sent or told.not_sent):
        abort(404)
    _tell(told)
    return _back()


@bp.post("/email")
@staff_may(May.RECEIVE)
def email() -> ResponseReturnValue:
    """Email the invoice whose button was pressed to its patient."""
    press = typed.uuid(request.form.get("request")) or abort(400)
    number = typed.words(request.form.get("only"), LONGEST_NUMBER)
    head = _invoice(number)
    done_reading()
    try:
        sent = again.email_invoice(parts(), head.id, press, by=who().id)
    except Refusal as refusal:
        flash(f"{refusal.heading}\n{refusal.text}", "warn")
    else:
        flash(_("Invoice %(number)s is on its way.\nIt goes to %(email)s.", number=number, email=sent.email), "ok")
    return _back()


def _back(otherwise: str = "") -> ResponseReturnValue:
    """To the page with the button."""
    back = request.form.get("back", "")
    safe = is_own_path(back) and back.startswith("/office/")
    return redirect(back if safe else otherwise or url_for("search.invoices"), 303)


def _tell(told: Told) -> None:
    """One sentence for what was sent, and one for each reason why something was not."""
    if told.sent:
        heading = ngettext(
            "A request to pay is on its way", "%(num)s requests to pay are on their way", len(told.sent)
        )
        flash(f"{heading}\n{_sent_to(told.sent)}", "ok")
    if told.not_sent:
        count = sum(len(numbers) for numbers in told.not_sent.values())
        heading = ngettext("1 request was not sent", "%(num)s requests were not sent", count)
        reasons = (f"{', '.join(numbers)}: {why}" for why, numbers in told.not_sent.items())
        flash("\n".join([heading, *reasons]), "warn")


def _sent_to(sent: dict[str, str]) -> str:
    if len(sent) > MOST_NAMED:
        return str(_("Each invoice's page says to which address."))
    named = (_("invoice %(number)s to %(email)s", number=number, email=email) for number, email in sent.items())
    return _("For %(them)s.", them=", ".join(named))


# --- what was sent --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sent:
    """A mail of an invoice, and to whom it would go again; empty where it is not sent again."""

    mail: Mail
    again_to: str


def sent_about(head: Head) -> list[Sent]:
    """The mails of an invoice, for its page."""
    mails = mails_of_invoice(reading(), head.id)
    return [Sent(mail, to) for mail, to in zip(mails, _again_to(head, mails), strict=True)]


def _again_to(head: Head, mails: Sequence[Mail]) -> Iterator[str]:
    """For each mail the address it would go to again. Of requests to pay only the newest, while one can be sent."""
    can_send = who().may(May.RECEIVE)
    addresses: dict[int | None, str] = {}
    newest_request = next((mail for mail in mails if mail.kind == "pay_request"), None)
    asks = can_send and head.balance_cents > 0 and not head.voided and not head.is_checked and may_ask()
    for mail in mails:
        allowed = mail.kind in again.KINDS
        if mail.kind == "pay_request":
            allowed = asks and mail is newest_request
        elif mail.kind == "invoice":
            allowed = not head.voided
        elif mail.kind in ("reminder", "payment_failed"):
            allowed = head.balance_cents > 0 and not head.voided
        if not (can_send and allowed and mail.is_over):
            yield ""
            continue
        if mail.kind == "void":
            yield mail.to
            continue
        if mail.registration_id is not None:
            reader = reader_now(reading(), mail.registration_id) if mail.is_so else None
            yield reader.email if reader else ""
            continue
        payer_id = again.payer_of(reading(), mail.kind, mail.event_key)
        if payer_id not in addresses:
            to = addressee(reading(), head.patient_id, payer_id)
            addresses[payer_id] = to.email if to else ""
        yield addresses[payer_id]


@bp.post("/<number>/mails/<int:mail_id>/again")
@staff_may(May.RECEIVE)
def send_again(number: str, mail_id: int) -> ResponseReturnValue:
    """Write a mail anew and send it."""
    head = _invoice(number)
    press = typed.uuid(request.form.get("request")) or abort(400)
    if mail_id > typed.LARGEST_ID:
        abort(404)
    done_reading()
    try:
        sent = again.send_again(parts(), head.id, mail_id, press, by=who().id)
    except RequestsOff:
        raise
    except Refusal as refusal:
        if refusal.status == 404:
            abort(404)
        flash(f"{refusal.heading}\n{refusal.text}", "warn")
    else:
        flash(_("It is on its way again.\nIt goes to %(email)s.", email=sent.email), "ok")
    return _to_mails(number)


def _invoice(number: str) -> Head:
    return invoice_for_staff(reading(), number) or abort(404)


def _to_mails(number: str) -> ResponseReturnValue:
    return redirect(url_for("search.invoice", number=number, _anchor="mails"), 303)


# --- pay links, and the QR code of one ------------------------------------------------------------------------------


@dataclass(frozen=True)
class PayCode:
    """A QR code with which an invoice can be paid from a phone; without a picture, one can be made."""

    picture: Markup | None


def pay_code(invoice_id: int, mode: str | None, *, is_open: bool) -> PayCode | None:
    """The QR code of an invoice, drawn while its link works; None where it can't be paid online.

    `mode` is its gateway's; `is_open`: there is something left to pay, and no payment is being checked.
    """
    gives_links = settings().yes("email_pay_online_request") and settings().yes("portal_enabled")
    if not (is_open and gives_links and mode in payment_modes()):
        return None
    token = working_token(reading(), parts().vault, invoice_id)
    return PayCode(qr_code(link_address(parts(), token)) if token else None)


@bp.post("/<number>/code")
@staff_may(May.RECEIVE)
def code(number: str) -> ResponseReturnValue:
    """Make a QR code for an invoice that has none."""
    head = _invoice(number)
    done_reading()
    try:
        make_code(parts(), head.id, by=who().id)
    except RequestsOff:
        raise
    except Refusal as refusal:
        flash(f"{refusal.heading}\n{refusal.text}", "warn")
    else:
        flash(_("The QR code is ready."), "ok")
    return _back(url_for("search.invoice", number=number))


@bp.post("/<number>/links/<int:link_id>/revoke", endpoint="revoke")
@staff_may(May.RECEIVE)
def revoke_one(number: str, link_id: int) -> ResponseReturnValue:
    """Take a pay link back."""
    head = _invoice(number)
    done_reading()
    if link_id <= typed.LARGEST_ID and revoke(parts(), head.id, link_id, by=who().id):
        flash(_("The pay link is revoked.\nWhoever opens it is told so, and nothing can be paid through it."), "ok")
    else:
        flash(_("This pay link was not good any more.\nNothing changed."), "warn")
    return _to_mails(number)
