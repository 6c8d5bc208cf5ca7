"""The pay pages: the form, a press on Pay, the way back from a bank, and what became of it."""

from uuid import UUID

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from werkzeug.exceptions import NotFound

from portal.errors import Refusal
from portal.invoices.books import is_numbered
from portal.invoices.reading import long_day
from portal.parts import parts
from portal.payments import words
from portal.payments.pay import PayerRef
from portal.payments.pay import pay as pay_invoice
from portal.payments.reading import AttemptStatus, CardChoice, Payable, attempt_status, card_choices, payable
from portal.payments.tables import PORTAL
from portal.programs.naming import registration_in
from portal.web.access import patient_only, payer
from portal.web.asking import wants_json
from portal.web.cards import card_words, plastic
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
    form_words,
    needs_script,
    refuse_what_cannot_be_paid,
    status_page,
)
from portal.web.paying import refused as say_no
from portal.web.scope import done_reading, person, reading, settings

bp = Blueprint("pay", __name__)


class PatientsTill(Till):
    """The patient portal."""

    room = "pay"
    form_page = "pay/form.html"
    bank_page = "pay/bank.html"
    checking_page = "pay/checking.html"

    def back_url(self, number: str) -> str:
        return url_for("invoices.one", number=number)

    def paid_url(self, number: str, receipt_number: str) -> str:
        return url_for("invoices.receipt", number=number, receipt=receipt_number)

    def say_paid(self) -> None:
        flash(_("Thank you, your payment went through."), "ok")

    def about(self, invoice: Payable) -> str:
        """What the invoice is for, as far as this payer may know (P9)."""
        clinic, day = settings().clinic_name, long_day(invoice.service_on)
        payee = next((one for one in payer().payees if one.id == invoice.patient_id), None)
        if payee is not None and not payee.sees_lines:
            return _("%(clinic)s, for %(patient)s", clinic=clinic, patient=invoice.patient)
        visit = _("%(clinic)s, visit of %(day)s", clinic=clinic, day=day)
        if invoice.practitioner:
            visit += " " + _("with %(practitioner)s", practitioner=invoice.practitioner)
        return visit if payee is None else visit + " " + _("for %(patient)s", patient=invoice.patient)


TILL = PatientsTill()


# --- looking --------------------------------------------------------------------------------------------------------


def paying() -> PayerRef:
    """Who pays, and whose account presses Pay."""
    someone = person()
    assert someone is not None and someone.patient_id is not None
    return PayerRef(payer_id=someone.patient_id, user_id=someone.id)


def _payable(number: str) -> Payable:
    payer_id = paying().payer_id
    assert payer_id is not None
    invoice = payable(reading(), payer_id, number)
    if invoice is None or not is_numbered(number):
        raise NotFound
    return invoice


@bp.get("/invoices/<number>/pay")
@patient_only
def form(number: str) -> ResponseReturnValue:
    """The form, or the page of the attempt that is under way. A held place has pay pages of its own."""
    if not is_numbered(number):
        return redirect(url_for("place_pay.form", public_id=registration_in(number)), 303)
    return show_form(TILL, _payable(number))


def show_form(till: PatientsTill, invoice: Payable) -> ResponseReturnValue:
    """The form of an invoice that was loaded for its payer, or the page of the attempt that is under way."""
    live = invoice.live
    if live is not None and live.is_at_work:
        return redirect(till.status_url(invoice.number, live.id), 303)
    refuse_what_cannot_be_paid(invoice, PORTAL)
    return _form_page(till, invoice, PaymentForm(formdata=None))


def _form_page(
    till: PatientsTill, invoice: Payable, typed: PaymentForm, message: Message | None = None, status: int = 200
) -> Response:
    us = paying()
    assert us.payer_id is not None
    cards = card_choices(reading(), us.payer_id, invoice)
    live = invoice.live
    own = live is not None and (live.payer_id, live.user_id) == (us.payer_id, us.user_id)
    chosen = typed.card.data or (cards[0].public_id if cards else NEW_CARD)
    if all(chosen != card.public_id for card in cards):
        chosen = NEW_CARD
    page = render_template(
        till.form_page,
        message=message,
        cards=[_choice(card) for card in cards],
        chosen=chosen,
        card_name=typed.name.data or _own_name(),
        about=till.about(invoice),
        **form_words(till, invoice, typed, own),
    )
    return allow_gateway_scripts(Response(page, status))


def _own_name() -> str:
    someone = person()
    return someone.name if someone is not None else ""


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
    return press_pay(TILL, _payable(number))


def press_pay(till: PatientsTill, invoice: Payable) -> ResponseReturnValue:
    """A press on Pay, on the form of an invoice that was loaded for its payer."""
    typed = PaymentForm()
    if not typed.validate():
        return _refused(till, invoice, typed, words.FormUsedUp())
    if typed.card.data == NEW_CARD and not typed.confirmation_token.data:
        return _form_page(till, invoice, typed, needs_script(), 422)
    done_reading()
    try:
        outcome = pay_invoice(parts(), invoice.id, typed.as_pressed(), paying(), till.return_url(invoice.number))
    except Refusal as refusal:
        return _refused(till, invoice, typed, refusal)
    return answer(till, invoice.number, outcome)


def _refused(till: PatientsTill, invoice: Payable, typed: PaymentForm, refusal: Refusal) -> ResponseReturnValue:
    def form_again(message: Message, status: int) -> ResponseReturnValue:
        return _form_page(till, invoice, typed, message, status)

    return say_no(till, invoice.number, refusal, form_again)


# --- what became of it ----------------------------------------------------------------------------------------------


def _seen(number: str, attempt: UUID) -> AttemptStatus:
    """An attempt on an invoice that this payer may pay; perhaps by another who pays for the same person."""
    payer_id = paying().payer_id
    assert payer_id is not None
    found = attempt_status(reading(), payer_id, number, attempt)
    if found is None:
        raise NotFound
    return found


def is_own(found: AttemptStatus) -> bool:
    """Whether this account made the attempt."""
    return PayerRef(found.payer_id, found.user_id) == paying()


@bp.post("/invoices/<number>/pay/<uuid:attempt>/settle")
@patient_only
def settle(number: str, attempt: UUID) -> ResponseReturnValue:
    """Ask the gateway again, for the page that waits."""
    own = is_own(_seen(number, attempt))
    done_reading()
    return answer_to_whoever_waits(TILL, number, attempt, own)


@bp.get("/invoices/<number>/pay/<uuid:attempt>/return")
@patient_only
def come_back(number: str, attempt: UUID) -> ResponseReturnValue:
    """Back from a bank's page. Records what the gateway already did (the one GET that may); then a clean URL."""
    if not is_own(_seen(number, attempt)):
        raise NotFound
    done_reading()
    return answer_on_return(TILL, number, attempt)


@bp.get("/invoices/<number>/pay/<uuid:attempt>")
@patient_only
def status(number: str, attempt: UUID) -> ResponseReturnValue:
    """What is known of an attempt: that we are checking, or how it ended."""
    found = _seen(number, attempt)
    return status_page(TILL, number, found, is_own(found))


@bp.errorhandler(Refusal)
def refused(refusal: Refusal) -> ResponseReturnValue:
    """A refusal on a pay page leads back to its invoice."""
    number = (request.view_args or {}).get("number")
    return answer_refusal(refusal) if number is None else refused_at(TILL, number, refusal)


def refused_at(till: PatientsTill, number: str, refusal: Refusal) -> ResponseReturnValue:
    """A refusal on a pay page, with the way back."""
    if wants_json() or refusal.status not in (409, 503):
        return answer_refusal(refusal)
    page = render_template("pay/refused.html", title=refusal.heading, text=refusal.text, till=till, number=number)
    return Response(page, refusal.status)
