"""Pay links: what whoever holds one sees, who need not be signed in.

The token leaves the address bar at once: opening a link answers with a cookie that is named after the link, proves
for some hours that this browser has opened it, and is good for nothing else. So no later address, referrer, log or
request to the gateway holds the token, and two links in one browser never mix. Opening one changes nothing.
"""

from dataclasses import dataclass, replace
from typing import Any, NoReturn
from uuid import UUID, uuid4

from flask import Blueprint, Response, current_app, flash, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from itsdangerous import BadData, URLSafeTimedSerializer
from werkzeug.exceptions import HTTPException
from wtforms import StringField
from wtforms.validators import Length

from portal.accounts import BadAccount, mail_address
from portal.errors import Refusal
from portal.invoices.reading import full_day, large, local_day, long_day
from portal.letters.renewals import can_be_renewed, send_new_link
from portal.parts import parts
from portal.paylinks import LinkState, LinkWorksNoMore, public_id_of
from portal.payments import words
from portal.payments.by_link import HeldLink, LinkReceipt, attempt_on, held_link, receipt_of
from portal.payments.pay import PayerRef, PayForm
from portal.payments.pay import pay as pay_invoice
from portal.payments.reading import AttemptStatus, Payable
from portal.payments.tables import LINK
from portal.web import limits
from portal.web.access import public
from portal.web.asking import wants_json
from portal.web.errors import refused as answer_refusal
from portal.web.headers import allow_gateway_scripts
from portal.web.paying import (
    NEW_CARD,
    Message,
    PaymentForm,
    Till,
    answer,
    answer_on_return,
    answer_to_whoever_waits,
    fields_wrong,
    form_words,
    needs_script,
    refuse_what_cannot_be_paid,
    status_page,
)
from portal.web.paying import refused as say_no
from portal.web.scope import done_reading, person, reading, settings
from portal.web.typed import uuid

bp = Blueprint("pay_links", __name__, url_prefix="/pay")

HELD_FOR_S = 4 * 3600
MOST_HELD = 20  # cookies travel with every request, and a server takes only so many bytes of them


@dataclass(frozen=True)
class LinkTill(Till):
    """The pages behind one link."""

    link: str
    room = "pay_links"
    bank_page = "pay/bank.html"
    checking_page = "pay/link_checking.html"

    def place(self, number: str) -> dict[str, Any]:
        return {"link": self.link}

    def paid_url(self, number: str, receipt_number: str) -> str:
        return url_for("pay_links.receipt", link=self.link, receipt=receipt_number)

    def say_paid(self) -> None:
        flash(_("Thank you, your payment went through."), "ok")


class LinkForm(PaymentForm):
    """What a link's pay page sends: a card for this one payment, and where the receipt goes."""

    email = StringField(validators=[Length(max=254)])

    @property
    def receipt_email(self) -> str | None:
        """The address that was typed, as it is kept. Raises BadAccount."""
        typed = (self.email.data or "").strip()
        return mail_address(typed) if typed else None

    def as_pressed(self) -> PayForm:
        return replace(super().as_pressed(), receipt_email=self.receipt_email)


# --- opening a link -------------------------------------------------------------------------------------------------


@bp.get("/<path:token>")
@public
def open_link(token: str) -> ResponseReturnValue:
    """Takes the token out of the address bar. Whatever we never gave out is answered alike, at the same cost."""
    link = public_id_of(reading(), token)
    if link is None:
        limits.count(limits.UNKNOWN_LINK_BY_ADDRESS, "unknown link", limits.network())
        limits.count(limits.UNKNOWN_LINK_BY_NETWORK, "unknown link near", limits.wider_network())
        return Response(render_template("pay/link_unknown.html"), 404)
    onward = redirect(url_for(".form", link=link), 303)
    how: dict[str, Any] = {"secure": parts().config.over_https, "httponly": True, "samesite": "Lax"}
    others = [name for name in request.cookies if name.startswith(_cookie_of("")) and name != _cookie_of(link)]
    for oldest in others[: -(MOST_HELD - 1)]:  # browsers send the oldest first (RFC 6265, 5.4)
        onward.delete_cookie(oldest, **how)
    onward.set_cookie(_cookie_of(link), _proofs().dumps(link), max_age=HELD_FOR_S, **how)
    return onward


def _cookie_of(link: str) -> str:
    return f"__Host-pay-{link}" if parts().config.over_https else f"pay-{link}"


def _proofs() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(str(current_app.secret_key), salt="pay link")


class NotHeld(HTTPException):
    """This browser has not opened the link, or too long ago."""

    code = 403


def _held(link: str) -> HeldLink:
    """The link of an address, for the browser that has opened it. What no browser has opened looks like any other."""
    try:
        proved = _proofs().loads(request.cookies.get(_cookie_of(link), ""), max_age=HELD_FOR_S)
    except BadData:
        raise NotHeld from None
    found = held_link(reading(), link) if proved == link else None
    if found is None:
        raise NotHeld
    return found


@bp.errorhandler(NotHeld)
def not_held(_error: NotHeld) -> ResponseReturnValue:
    """The link in the mail opens the page again."""
    if wants_json():
        return jsonify(outcome="refused", title=_("Please open the link again"), text="", reload=True), 403
    return Response(render_template("pay/link_lapsed.html"), 403)


# --- looking --------------------------------------------------------------------------------------------------------


@bp.get("/i/<link>")
@public
def form(link: str) -> ResponseReturnValue:
    """The form; or what became of the link, of its invoice, or of the attempt that is under way."""
    held = _held(link)
    invoice = held.invoice
    if _may_sign_in_instead(invoice):
        return redirect(url_for("pay.form", number=invoice.number), 303)
    live = invoice.live
    if live is not None and live.is_at_work and (held.is_own(live) or held.state != LinkState.REVOKED):
        return redirect(url_for(".status", link=link, attempt=live.id), 303)
    try:
        _refuse_what_is_closed(held)
    except Refusal as refusal:
        return _closed_page(held, refusal)
    return _form_page(held, LinkForm(formdata=None))


def _may_sign_in_instead(invoice: Payable) -> bool:
    """Whether who asks is signed in, and may pay this invoice on the page that has all of it."""
    someone = person()
    is_patient = someone is not None and not someone.is_staff and settings().yes("portal_enabled")
    return is_patient and someone is not None and invoice.patient_id in someone.payer.patients


def _refuse_what_is_closed(held: HeldLink) -> None:
    """Raises why no form is shown. The holder of a link that was taken back learns no more about the invoice."""
    if held.state != LinkState.REVOKED:
        refuse_what_cannot_be_paid(held.invoice, LINK)
    if held.state != LinkState.WORKS:
        raise LinkWorksNoMore


def _closed_page(held: HeldLink, refusal: Refusal) -> Response:
    """Why nothing can be paid here, and what to do."""
    paid = receipt_of(reading(), held) if isinstance(refusal, words.NothingToPay) else None
    page = render_template(
        "pay/link_closed.html",
        link=held,
        why=held.state.value if isinstance(refusal, LinkWorksNoMore) else "",
        title=refusal.heading,
        text=refusal.text,
        until=_until(held),
        receipt=_in_words(paid, held) if paid else None,
        press=uuid4() if _renews(held) else None,
    )
    return Response(page, refusal.status)


def _until(held: HeldLink) -> str:
    return full_day(local_day(held.expires_at, held.invoice.timezone))


def _form_page(
    held: HeldLink, typed: LinkForm, message: Message | None = None, status: int = 200, *, email_error: str = ""
) -> Response:
    live = held.invoice.live
    page = render_template(
        "pay/link.html",
        message=message,
        email_error=email_error,
        card_name=typed.name.data or "",
        due=full_day(held.invoice.due_on),
        until=_until(held),
        **form_words(LinkTill(held.public_id), held.invoice, typed, live is not None and held.is_own(live)),
    )
    return allow_gateway_scripts(Response(page, status))


class TooManyCards(limits.TooManyTries):
    """Pay was pressed too often on one link."""

    @property
    def heading(self) -> str:
        return _("This link was tried too often. You have not been charged.")


# --- pressing -------------------------------------------------------------------------------------------------------


@bp.post("/i/<link>")
@public
def press(link: str) -> ResponseReturnValue:
    """Pay, once. Whether the link still works is asked under lock, so that a repeated press answers the same."""
    held, typed = _held(link), LinkForm()
    if not typed.validate():
        return _refused(held, typed, words.FormUsedUp())
    try:
        pressed = typed.as_pressed()
    except BadAccount as bad:
        return _wrong_email(held, typed, bad.text)
    if typed.card.data == NEW_CARD and not typed.confirmation_token.data:
        return _form_page(held, typed, needs_script(), 422)
    try:
        limits.count(limits.PRESS_BY_LINK, "press on a link", link)
    except limits.TooManyTries as many:
        raise TooManyCards(many.wait_s) from None
    done_reading()
    till, number = LinkTill(link), held.invoice.number
    payer = PayerRef(None, None, LINK, pay_link_id=held.id)
    try:
        outcome = pay_invoice(parts(), held.invoice.id, pressed, payer, till.return_url(number))
    except Refusal as refusal:
        return _refused(held, typed, refusal)
    return answer(till, number, outcome)


def _wrong_email(held: HeldLink, typed: LinkForm, why: str) -> ResponseReturnValue:
    heading = _("The address for the receipt needs a correction. Nothing was charged.")
    if wants_json():
        return fields_wrong(heading, {"email": why})
    return _form_page(held, typed, Message(heading, why), 422, email_error=why)


def _refused(held: HeldLink, typed: LinkForm, refusal: Refusal) -> ResponseReturnValue:
    def form_again(message: Message, status: int) -> ResponseReturnValue:
        return _form_page(held, typed, message, status)

    return say_no(LinkTill(held.public_id), held.invoice.number, refusal, form_again)


# --- what became of it ----------------------------------------------------------------------------------------------


def _seen(link: str, attempt: UUID) -> tuple[HeldLink, AttemptStatus]:
    """An attempt on the link's invoice; perhaps of somebody else, of which this holder learns how it ends."""
    held = _held(link)
    found = attempt_on(reading(), held, attempt)
    if found is None or (held.state == LinkState.REVOKED and not held.is_own(found)):
        _not_there()
    return held, found


def _not_there() -> NoReturn:
    raise words.AttemptNotFound


@bp.post("/i/<link>/<uuid:attempt>/settle")
@public
def settle(link: str, attempt: UUID) -> ResponseReturnValue:
    """Ask the gateway again, for the page that waits."""
    held, found = _seen(link, attempt)
    done_reading()
    return answer_to_whoever_waits(LinkTill(link), held.invoice.number, attempt, held.is_own(found))


@bp.get("/i/<link>/<uuid:attempt>/return")
@public
def come_back(link: str, attempt: UUID) -> ResponseReturnValue:
    """Back from a bank's page. Records what the gateway already did, as the portal's does; then a clean URL."""
    held, found = _seen(link, attempt)
    if not held.is_own(found):
        _not_there()
    done_reading()
    return answer_on_return(LinkTill(link), held.invoice.number, attempt)


@bp.get("/i/<link>/<uuid:attempt>")
@public
def status(link: str, attempt: UUID) -> ResponseReturnValue:
    """What is known of an attempt: that we are checking, or how it ended."""
    held, found = _seen(link, attempt)
    return status_page(LinkTill(link), held.invoice.number, found, held.is_own(found))


@bp.get("/i/<link>/receipts/<receipt>")
@public
def receipt(link: str, receipt: str) -> ResponseReturnValue:
    """What was paid through this link. What somebody else paid leads back to the page that says so."""
    held = _held(link)
    found = receipt_of(reading(), held, receipt)
    if found is None:
        return redirect(url_for(".form", link=link), 303)
    page = render_template("pay/link_receipt.html", receipt=_in_words(found, held), link=held)
    return Response(page)


def _in_words(found: LinkReceipt, held: HeldLink) -> dict[str, Any]:
    return {
        "number": found.number,
        "sum": large(found.amount_cents, found.currency),
        "day": long_day(local_day(found.received_at, held.invoice.timezone)),
        "to": _masked(found.typed_email) if found.typed_email else "",
        "is_mailed": found.is_mailed,
    }


def _masked(address: str) -> str:
    """ "m•••@example.com" """
    name, _at, host = address.partition("@")
    return f"{name[:1]}•••@{host}"


# --- a new link -----------------------------------------------------------------------------------------------------


def _renews(held: HeldLink) -> bool:
    return can_be_renewed(held.state) and settings().yes("email_pay_online_request")


@bp.post("/i/<link>/new")
@public
def renew(link: str) -> ResponseReturnValue:
    """Send a new link to the address on file. The answer is the same whether or not there is one."""
    held = _held(link)
    if not _renews(held):
        return redirect(url_for(".form", link=link), 303)
    limits.count(limits.NEW_LINK_BY_NETWORK, "new link from", limits.network())
    limits.count(limits.NEW_LINK_BY_INVOICE, "new link", str(held.invoice.id))
    done_reading()
    send_new_link(parts(), held.id, held.invoice.id, uuid(request.form.get("press")) or uuid4())
    return redirect(url_for(".renewed", link=link), 303)


@bp.get("/i/<link>/new")
@public
def renewed(link: str) -> ResponseReturnValue:
    """What to expect after asking for a new link."""
    _held(link)
    return render_template("pay/link_sent.html")


@bp.errorhandler(Refusal)
def refused(refusal: Refusal) -> ResponseReturnValue:
    """What stops a press leads to the page that says so, with what to do next."""
    link = (request.view_args or {}).get("link")
    if wants_json() or link is None or refusal.status not in (409, 410):
        return answer_refusal(refusal)
    return _closed_page(_held(link), refusal)
