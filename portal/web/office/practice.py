"""Settings: a practice payment through a gateway's Test keys. It shows that the gateway works, outside all totals."""

from uuid import UUID, uuid4

from flask import Blueprint, Response, abort, flash, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.errors import Refusal
from portal.gateway import Intent
from portal.invoices.reading import large
from portal.money import format_money
from portal.parts import parts
from portal.payments import staff_words
from portal.payments.practice import (
    PRACTICE_CENTS,
    NoTestKeys,
    Practice,
    note_practice,
    practice_for,
    practice_stands,
    practise,
)
from portal.payments.words import reason_of
from portal.permissions import May
from portal.web.access import staff_may, who
from portal.web.asking import wants_json
from portal.web.headers import allow_gateway_scripts
from portal.web.paying import Message, needs_script
from portal.web.scope import done_reading, reading

bp = Blueprint("practice", __name__, url_prefix="/office/settings/gateways/<public_id>/practice")


@bp.get("")
@staff_may(May.SETTINGS, fresh=True)
def form(public_id: str) -> ResponseReturnValue:
    """The card fields, as patients see them, and cards to try."""
    try:
        return _page(_practice(public_id))
    except NoTestKeys as refusal:
        flash(f"{refusal.heading}\n{refusal.text}", "warn")
        return redirect(url_for("gateways.edit", public_id=public_id), 303)


def _practice(public_id: str) -> Practice:
    return practice_for(reading(), public_id) or abort(404)


def _page(practice: Practice, message: Message | None = None, status: int = 200) -> Response:
    page = render_template(
        "office/gateways/practice.html",
        practice=practice,
        message=message,
        press=uuid4(),
        cents=PRACTICE_CENTS,
        amount=format_money(PRACTICE_CENTS, practice.currency, full=True),
        sum=large(PRACTICE_CENTS, practice.currency),
        stripe_js=parts().config.stripe_js_url,
    )
    return allow_gateway_scripts(Response(page, status))


@bp.post("")
@staff_may(May.SETTINGS, fresh=True)
def press(public_id: str) -> ResponseReturnValue:
    """Pay once."""
    practice = _practice(public_id)
    token = request.form.get("confirmation_token", "")[:255]
    if not token or not token.isascii() or not token.isprintable():
        return _said(practice, needs_script(), 422)
    done_reading()
    back = url_for("practice.form", public_id=public_id, _external=False)
    try:
        intent = practise(parts(), practice, _press(), token, parts().config.base_url + back)
    except Refusal as refusal:
        return _said(practice, Message(*staff_words.refused(refusal)), refusal.status)
    return _answer(practice, intent)


def _press() -> UUID:
    try:
        return UUID(request.form.get("attempt", ""))
    except ValueError:
        return uuid4()


@bp.post("/<intent_id>/settle")
@staff_may(May.SETTINGS, fresh=True)
def settle(public_id: str, intent_id: str) -> ResponseReturnValue:
    """After the bank's question: look how it stands."""
    practice = _practice(public_id)
    done_reading()
    try:
        intent = practice_stands(parts(), practice, intent_id)
    except Refusal as refusal:
        return _said(practice, Message(*staff_words.refused(refusal)), refusal.status)
    return _answer(practice, intent or abort(404))


def _answer(practice: Practice, intent: Intent) -> ResponseReturnValue:
    if intent.status == "succeeded":
        return _went_through(practice)
    if intent.status == "requires_action" and wants_json():
        return jsonify(
            outcome="action",
            client_secret=intent.client_secret,
            settle=url_for("practice.settle", public_id=practice.public_id, intent_id=intent.id),
            redirect=intent.redirect_url,
        )
    return _said(practice, Message(*staff_words.why_declined(reason_of(intent.decline))), 422)


def _went_through(practice: Practice) -> ResponseReturnValue:
    note_practice(parts(), practice, by=who().id)
    amount = format_money(PRACTICE_CENTS, practice.currency, full=True)
    flash(
        _("The practice payment went through\n%(amount)s by a test card. No money moved, and no total counts it.",
          amount=amount),
        "ok",
    )  # fmt: skip
    location = url_for("gateways.edit", public_id=practice.public_id)
    return jsonify(outcome="paid", location=location) if wants_json() else redirect(location, 303)


def _said(practice: Practice, message: Message, status: int) -> ResponseReturnValue:
    if not wants_json():
        return _page(practice, message, status)
    answer = jsonify(outcome="refused", attempt=uuid4(), title=str(message.heading), text=str(message.text))
    answer.status_code = 200 if status == 422 else status
    return answer
