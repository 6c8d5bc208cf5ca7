"""The pay pages: the form, a press on Pay, the way back from a bank, and what became of it."""

from dataclasses import dataclass
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from babel.dates import format_time
from flask import Blueprint, Response, flash, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_wtf import FlaskForm
from werkzeug.exceptions import NotFound
from wtforms import BooleanField, HiddenField, StringField
from wtforms.validators import UUID as IsUuid
from wtforms.validators import InputRequired, Length, Regexp

from portal.cards import brand_name
from portal.errors import Refusal
from portal.gateway.configured import TEST
from portal.invoices.reading import large, long_day, weekday
from portal.money import format_money
from portal.parts import parts
from portal.payments import words
from portal.payments.outcomes import Checking, Declined, NeedsAction, Outcome, Paid
from portal.payments.owing import check_chargeable
from portal.payments.pay import PayerRef, PayForm
from portal.payments.pay import pay as pay_invoice
from portal.payments.reading import AttemptStatus, CardChoice, Payable, attempt_status, card_choices, payable
from portal.payments.settle import settle as settle_attempt
from portal.payments.states import State
from portal.web.access import patient_only, payer
from portal.web.asking import wants_json
from portal.web.cards import card_words, plastic
from portal.web.errors import refused as answer_refusal
from portal.web.headers import allow_gateway_scripts
from portal.web.scope import done_reading, person, reading, settings

bp = Blueprint("pay", __name__)

NEW_CARD = "new"


class PaymentForm(FlaskForm):
    """What the pay page sends. The card itself never comes here: a token of it does."""

    attempt = HiddenField(validators=[InputRequired(), IsUuid()])
    amount = HiddenField(validators=[InputRequired(), Regexp(r"^[0-9]{1,12}$")])
    currency = HiddenField(validators=[InputRequired(), Regexp(r"^[A-Za-z]{3}$")])
    card = StringField(validators=[InputRequired(), Regexp(r"^[0-9a-z]{1,32}$")])
    confirmation_token = HiddenField(validators=[Length(max=255), Regexp(r"^[!-~]*$")])
    save = BooleanField()
    script = HiddenField(validators=[Length(max=1)])
    name = StringField(validators=[Length(max=200)])

    def as_pressed(self) -> PayForm:
        """The form in the flow's words."""
        saved = self.card.data if self.card.data != NEW_CARD else None
        return PayForm(
            attempt_id=UUID(self.attempt.data),
            shown_cents=int(self.amount.data),
            shown_currency=self.currency.data,
            token=(self.confirmation_token.data or None) if saved is None else None,
            saved_card=saved,
            save_card=bool(self.save.data),
            sdk=self.script.data == "1",
        )


@dataclass(frozen=True)
class Message:
    """One thing to know above the form."""

    heading: str
    text: str
    kind: str = "bad"


# --- looking --------------------------------------------------------------------------------------------------------


def _payer() -> PayerRef:
    someone = person()
    assert someone is not None and someone.patient_id is not None
    return PayerRef(payer_id=someone.patient_id, user_id=someone.id)


def _payable(number: str) -> Payable:
    payer_id = _payer().payer_id
    assert payer_id is not None
    invoice = payable(reading(), payer_id, number)
    if invoice is None:
        raise NotFound
    return invoice


def _refuse_what_cannot_be_paid(invoice: Payable) -> None:
    """The sentences that a person reads instead of a form. The flow checks again, under lock."""
    rehearsal = parts().config.production and invoice.mode == TEST
    if not settings().portal_takes_payments or invoice.gateway_id is None or rehearsal:
        raise words.OnlinePaymentOff(phone=settings().text("clinic_phone"))
    check_chargeable(invoice.balance_cents, invoice.currency, is_void=invoice.is_void)


@bp.get("/invoices/<number>/pay")
@patient_only
def form(number: str) -> ResponseReturnValue:
    """The form, or the page of the attempt that is under way."""
    invoice = _payable(number)
    live = invoice.live
    if live is not None and live.is_at_work:
        return redirect(url_for("pay.status", number=number, attempt=live.id), 303)
    _refuse_what_cannot_be_paid(invoice)
    return _form_page(invoice, PaymentForm(formdata=None))


def _form_page(invoice: Payable, typed: PaymentForm, message: Message | None = None, status: int = 200) -> Response:
    us = _payer()
    assert us.payer_id is not None
    cards = card_choices(reading(), us.payer_id, invoice)
    live = invoice.live
    own = live is not None and (live.payer_id, live.user_id) == (us.payer_id, us.user_id)
    chosen = typed.card.data or (cards[0].public_id if cards else NEW_CARD)
    if all(chosen != card.public_id for card in cards):
        chosen = NEW_CARD
    page = render_template(
        "pay/form.html",
        invoice=invoice,
        form=typed,
        message=message,
        cards=[_choice(card) for card in cards],
        chosen=chosen,
        attempt_id=_attempt_id(invoice, own),
        waiting=live.id if live is not None and own and live.state == State.REQUIRES_ACTION else None,
        amount=format_money(invoice.balance_cents, invoice.currency, full=True),
        sum=large(invoice.balance_cents, invoice.currency),
        stripe_js=parts().config.stripe_js_url,
        card_name=typed.name.data or _own_name(),
        about=_about(invoice),
    )
    return allow_gateway_scripts(Response(page, status))


def _about(invoice: Payable) -> str:
    """What the invoice is for, as far as this payer may know (P9)."""
    clinic, day = settings().clinic_name, long_day(invoice.service_on)
    payee = next((one for one in payer().payees if one.id == invoice.patient_id), None)
    if payee is not None and not payee.sees_lines:
        return _("%(clinic)s, for %(patient)s", clinic=clinic, patient=invoice.patient)
    visit = _("%(clinic)s, visit of %(day)s", clinic=clinic, day=day)
    if invoice.practitioner:
        visit += " " + _("with %(practitioner)s", practitioner=invoice.practitioner)
    return visit if payee is None else visit + " " + _("for %(patient)s", patient=invoice.patient)


def _own_name() -> str:
    someone = person()
    return someone.name if someone is not None else ""


def _attempt_id(invoice: Payable, own: bool) -> UUID:
    """A declined attempt of the same payer over the same amount is taken up again; anything else begins anew."""
    live = invoice.live
    if live is None or not own or live.state != State.DECLINED:
        return uuid4()
    unchanged = (live.amount_cents, live.invoice_version) == (invoice.balance_cents, invoice.version)
    return live.id if unchanged else uuid4()


def _choice(card: CardChoice) -> dict[str, object]:
    usual = _("Expires %(date)s, your usual card", date=card.expires)
    return {
        "id": card.public_id,
        "label": card_words(card.brand, card.funding, card.last4),
        "hint": usual if card.is_usual else _("Expires %(date)s", date=card.expires),
        "plastic": plastic(card.brand),
    }


# --- pressing -------------------------------------------------------------------------------------------------------


@bp.post("/invoices/<number>/pay")
@patient_only
def press(number: str) -> ResponseReturnValue:
    """Pay, once."""
    invoice = _payable(number)
    typed = PaymentForm()
    if not typed.validate():
        return _refused(invoice, typed, words.FormUsedUp())
    if typed.card.data == NEW_CARD and not typed.confirmation_token.data:
        return _form_page(invoice, typed, _needs_script(), 422)
    done_reading()
    try:
        outcome = pay_invoice(parts(), invoice.id, typed.as_pressed(), _payer(), _return_url(number))
    except Refusal as refusal:
        return _refused(invoice, typed, refusal)
    return _answer(number, outcome)


def _needs_script() -> Message:
    return Message(
        _("The card has not been entered. You have not been charged."),
        _("Card fields need JavaScript. Turn it on and load this page again, or call the front desk to pay."),
    )


def _return_url(number: str) -> str:
    path = url_for("pay.come_back", number=number, attempt=UUID(int=0)).replace(str(UUID(int=0)), "{attempt}")
    return parts().config.base_url + path


def _refused(invoice: Payable, typed: PaymentForm, refusal: Refusal) -> ResponseReturnValue:
    """Say no in place where the form can be used again, or on a fresh form where it can't."""
    if isinstance(refusal, words.AttemptNotFound):
        raise refusal
    again = isinstance(refusal, words.GatewayDown) or refusal.status == 422
    if wants_json():
        if isinstance(
            refusal, (words.AmountChanged, words.FormUsedUp)
        ):  # the other refusals are that page's own words
            _tell_on_next_page(refusal.heading, refusal.text)
        answer = jsonify(outcome="refused", title=refusal.heading, text=refusal.text, reload=not again)
        answer.status_code = refusal.status
        return answer
    if again:
        message = Message(refusal.heading, refusal.text, "warn" if refusal.status == 422 else "bad")
        return _form_page(invoice, typed, message, refusal.status)
    if isinstance(refusal, (words.AmountChanged, words.FormUsedUp)):
        _tell_on_next_page(refusal.heading, refusal.text)
        return redirect(_form_url(invoice.number), 303)
    raise refusal


def _tell_on_next_page(heading: str, text: str) -> None:
    flash(f"{heading}\n{text}", "warn")


def _form_url(number: str) -> str:
    return url_for("pay.form", number=number)


def _answer(number: str, outcome: Outcome) -> ResponseReturnValue:
    """What the page should do next: as JSON for its script, else as a redirect."""
    match outcome:
        case Paid(invoice_number, receipt_number):
            location = url_for("invoices.receipt", number=invoice_number, receipt=receipt_number)
            flash(_("Thank you, your payment went through."), "ok")
            return jsonify(outcome="paid", location=location) if wants_json() else redirect(location, 303)
        case NeedsAction(attempt_id, client_secret, redirect_url):
            if wants_json():
                settle_url = url_for("pay.settle", number=number, attempt=attempt_id)
                # `redirect` is for a page that could not load the gateway's script: it goes to the bank by itself.
                return jsonify(
                    outcome="action",
                    attempt=attempt_id,
                    client_secret=client_secret,
                    settle=settle_url,
                    redirect=redirect_url,
                )
            if redirect_url is None:
                return redirect(_form_url(number), 303)
            # A link, not a redirect: a form's redirects would have to name every bank in the page's policy.
            return Response(render_template("pay/bank.html", number=number, address=redirect_url))
        case Declined(attempt_id, reason, again):
            heading, text = words.why_declined(reason)
            if wants_json():
                return jsonify(outcome="declined", attempt=attempt_id if again else uuid4(), title=heading, text=text)
            _tell_on_next_page(heading, text)
            return redirect(_form_url(number), 303)
        case Checking(attempt_id):
            location = url_for("pay.status", number=number, attempt=attempt_id)
            return jsonify(outcome="checking", location=location) if wants_json() else redirect(location, 303)


# --- what became of it ----------------------------------------------------------------------------------------------


def _seen(number: str, attempt: UUID) -> AttemptStatus:
    """An attempt on an invoice that this payer may pay; perhaps by another who pays for the same person."""
    payer_id = _payer().payer_id
    assert payer_id is not None
    found = attempt_status(reading(), payer_id, number, attempt)
    if found is None:
        raise NotFound
    return found


def _is_own(found: AttemptStatus) -> bool:
    return PayerRef(found.payer_id, found.user_id) == _payer()


def _answer_to_whoever_waits(number: str, attempt: UUID) -> ResponseReturnValue:
    """How an attempt stands. Another payer learns that it is paid, or that they may pay: no more about a card or bank
    of somebody else's.
    """
    is_own = _is_own(_seen(number, attempt))
    done_reading()
    outcome = settle_attempt(parts(), attempt)
    if is_own or isinstance(outcome, Checking):
        return _answer(number, outcome)
    if not isinstance(outcome, Paid):
        return jsonify(outcome="refused", reload=True) if wants_json() else redirect(_form_url(number), 303)
    flash(_("Somebody else has just paid this invoice. You were not charged."), "ok")
    location = url_for("invoices.receipt", number=number, receipt=outcome.receipt_number)
    return jsonify(outcome="paid", location=location) if wants_json() else redirect(location, 303)


@bp.post("/invoices/<number>/pay/<uuid:attempt>/settle")
@patient_only
def settle(number: str, attempt: UUID) -> ResponseReturnValue:
    """Ask the gateway again, for the page that waits."""
    return _answer_to_whoever_waits(number, attempt)


@bp.get("/invoices/<number>/pay/<uuid:attempt>/return")
@patient_only
def come_back(number: str, attempt: UUID) -> ResponseReturnValue:
    """Back from a bank's page. Records what the gateway already did (the one GET that may); then a clean URL."""
    if not _is_own(_seen(number, attempt)):
        raise NotFound
    done_reading()
    outcome = settle_attempt(parts(), attempt)
    if isinstance(outcome, NeedsAction):
        return redirect(_form_url(number), 303)
    return _answer(number, outcome)


@bp.get("/invoices/<number>/pay/<uuid:attempt>")
@patient_only
def status(number: str, attempt: UUID) -> ResponseReturnValue:
    """What is known of an attempt: that we are checking, or how it ended."""
    found = _seen(number, attempt)
    is_own = _is_own(found)
    if found.receipt_number is not None:
        return redirect(url_for("invoices.receipt", number=number, receipt=found.receipt_number), 303)
    if found.state in (State.DECLINED, State.CANCELED, State.FAILED) and is_own:
        heading, text = words.why_declined(found.reason)
        return Response(render_template("pay/ended.html", attempt=found, heading=heading, text=text))
    if found.state not in (State.CREATED, State.CONFIRMING, State.PROCESSING, State.SUCCEEDED):
        return redirect(_form_url(number), 303)
    page = render_template(
        "pay/checking.html",
        attempt=found,
        sum=large(found.amount_cents, found.currency),
        card=_card_words(found) if is_own else "",
        sent=_moment(found),
        reference=f"P-{str(found.id)[:8].upper()}",
    )
    return allow_gateway_scripts(Response(page))


def _card_words(attempt: AttemptStatus) -> str:
    if not attempt.card_last4:
        return ""
    return _("%(brand)s ending %(last4)s", brand=brand_name(attempt.card_brand), last4=attempt.card_last4)


def _moment(attempt: AttemptStatus) -> str:
    local = attempt.started_at.astimezone(ZoneInfo(attempt.timezone))
    return f"{weekday(local.date())}, {format_time(local.time(), 'short', locale='en_CA')}"


@bp.errorhandler(Refusal)
def refused(refusal: Refusal) -> ResponseReturnValue:
    """A refusal on a pay page leads back to its invoice."""
    number = (request.view_args or {}).get("number")
    if wants_json() or number is None or refusal.status not in (409, 503):
        return answer_refusal(refusal)
    page = render_template("pay/refused.html", title=refusal.heading, text=refusal.text, number=number)
    return Response(page, refusal.status)
