"""Receive Payment: money taken at the desk, by card through the gateway or into the books alone."""

from uuid import UUID

from flask import Blueprint, Response, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.audit import note_view
from portal.errors import Refusal
from portal.invoices.books import is_numbered
from portal.invoices.reading import Payer, Receipt, invoice_for, receipt_for
from portal.parts import parts
from portal.payments import staff_words, words
from portal.payments.desk import record_payment
from portal.payments.outcomes import Declined, Outcome
from portal.payments.pay import PayerRef, pay
from portal.payments.reading import AttemptStatus, Payable, any_attempt_status, receivable
from portal.payments.states import State
from portal.payments.tables import DESK
from portal.permissions import May
from portal.programs.desk.asking import place_of
from portal.programs.refusals import PlaceGone
from portal.web.access import staff_may, who
from portal.web.asking import wants_json
from portal.web.errors import refused as answer_refusal
from portal.web.office.receive_form import (
    Received,
    ReceiveForm,
    by_card,
    checked,
    chosen_payer,
    empty_form,
    into_the_books,
    page,
)
from portal.web.paying import (
    Message,
    Till,
    answer,
    answer_on_return,
    answer_to_whoever_waits,
    fields_wrong,
    still_checking,
    tell_on_next_page,
)
from portal.web.paying import refused as say_no
from portal.web.pdf import pdf_answer
from portal.web.scope import done_reading, reading, settings

bp = Blueprint("receive", __name__, url_prefix="/office/invoices")


class DeskTill(Till):
    """The front desk."""

    room = "receive"
    bank_page = "office/receive/bank.html"
    checking_page = "office/receive/checking.html"

    def paid_url(self, number: str, receipt_number: str) -> str:
        return url_for("receive.received", number=number, receipt=receipt_number)

    def say_others_paid(self) -> None:
        flash(_("This is somebody else's payment, which has just gone through. Nothing was charged here."), "ok")

    def declined(self, reason: str | None) -> tuple[str, str]:
        return staff_words.why_declined(reason)

    def refused(self, refusal: Refusal) -> tuple[str, str]:
        return staff_words.refused(refusal)


TILL = DeskTill()


# --- looking --------------------------------------------------------------------------------------------------------


def _receivable(number: str) -> Payable:
    return receivable(reading(), number) or abort(404)


@bp.get("/<number>/receive")
@staff_may(May.RECEIVE)
def form(number: str) -> ResponseReturnValue:
    """The form; or a sentence, where there is nothing to receive."""
    invoice = _receivable(number)
    nothing = _why_nothing(invoice)
    if nothing is not None:
        return _told(number, *TILL.refused(nothing))
    shown = page(invoice, empty_form(invoice))
    note_view(parts().database, who().id, invoice.patient_id, "receive payment")
    return shown


def _why_nothing(invoice: Payable) -> Refusal | None:
    """Why no payment of any kind is received on this invoice now; the verbs ask again, under lock."""
    if not is_numbered(invoice.number):
        held = place_of(reading(), invoice.id)
        if held is None or not held.is_kept:
            return PlaceGone()
    if invoice.is_void:
        return words.InvoiceIsVoid()
    if invoice.balance_cents <= 0:
        return words.NothingToPay()
    return words.PaymentDisputed() if invoice.is_disputed else None


def _told(number: str, heading: str, text: str, status: int = 200, *, again: bool = False) -> Response:
    invoice = None if is_numbered(number) else receivable(reading(), number)
    held = place_of(reading(), invoice.id) if invoice else None
    html = render_template(
        "office/receive/told.html", number=number, heading=heading, text=text, again=again, held=held
    )
    return Response(html, status)


# --- pressing -------------------------------------------------------------------------------------------------------


@bp.post("/<number>/receive")
@staff_may(May.RECEIVE)
def press(number: str) -> ResponseReturnValue:
    """Receive a payment, once; or show the form again, for another payer."""
    invoice = _receivable(number)
    typed = ReceiveForm()
    if "update" in request.form:
        return _followed(invoice, typed, request.form["update"])
    if not typed.is_whole:
        return _refused(invoice, typed, words.FormUsedUp())
    nothing = _why_nothing(invoice)
    if nothing is not None:
        return _refused(invoice, typed, nothing)
    received, wrong = checked(typed, invoice)
    if received is None:
        return _wrong(invoice, typed, wrong)
    if received.processes and typed.saved_card is None and typed.token is None:
        return page(invoice, typed, message=_needs_script(), status=422)
    done_reading()
    try:
        outcome = _take(invoice, typed, received)
    except words.SomebodyIsPaying as refusal:
        return _somebody_is_paying(invoice, typed, refusal)
    except Refusal as refusal:
        return _refused(invoice, typed, refusal)
    if isinstance(outcome, Declined) and not wants_json():
        return page(_receivable(number), typed, message=Message(*TILL.declined(outcome.reason)), status=422)
    return answer(TILL, number, outcome)


def _followed(invoice: Payable, typed: ReceiveForm, why: str) -> Response:
    """The form again, for what was chosen. Another payer begins with their own cards."""
    if why == "payer":
        typed.card.data = ""
    shown = page(invoice, typed, focus=why)
    payer, _is_known = chosen_payer(typed)
    if payer is not None and payer.id != invoice.patient_id:
        note_view(parts().database, who().id, payer.id, "receive payment, as payer")
    return shown


def _take(invoice: Payable, typed: ReceiveForm, received: Received) -> Outcome:
    if not received.processes:
        return record_payment(parts(), invoice.id, into_the_books(typed, received), who().id)
    payer = PayerRef(received.payer.id if received.payer else None, who().id, DESK)
    return pay(parts(), invoice.id, by_card(typed, received), payer, TILL.return_url(invoice.number))


def _needs_script() -> Message:
    return Message(
        _("The card has not been entered. Nothing was charged."),
        _("Card fields need JavaScript. Turn it on and load this page again, or choose another way to pay."),
    )


def _wrong(invoice: Payable, typed: ReceiveForm, wrong: dict[str, str]) -> ResponseReturnValue:
    if wants_json():
        return fields_wrong(_("Some things to correct. Nothing was charged."), wrong)
    return page(invoice, typed, wrong=wrong, status=422)


def _somebody_is_paying(invoice: Payable, typed: ReceiveForm, refusal: Refusal) -> ResponseReturnValue:
    """The form again, which now says who; what was typed stays."""
    if wants_json() and not typed.knows.data:
        tell_on_next_page(*TILL.refused(refusal))
        return {"outcome": "refused", "reload": True}, refusal.status
    return _wrong(_receivable(invoice.number), typed, {"take-over": refusal.text})


def _refused(invoice: Payable, typed: ReceiveForm, refusal: Refusal) -> ResponseReturnValue:
    def form_again(message: Message, status: int) -> ResponseReturnValue:
        return page(_receivable(invoice.number), typed, message=message, status=status)

    return say_no(TILL, invoice.number, refusal, form_again)


# --- what became of it ----------------------------------------------------------------------------------------------


def _seen(number: str, attempt: UUID) -> AttemptStatus:
    return any_attempt_status(reading(), number, attempt) or abort(404)


def _is_own(found: AttemptStatus) -> bool:
    return (found.user_id, found.channel) == (who().id, DESK)


@bp.post("/<number>/receive/<uuid:attempt>/settle")
@staff_may(May.RECEIVE)
def settle(number: str, attempt: UUID) -> ResponseReturnValue:
    """Ask the gateway again, for the page that waits."""
    is_own = _is_own(_seen(number, attempt))
    done_reading()
    return answer_to_whoever_waits(TILL, number, attempt, is_own)


@bp.get("/<number>/receive/<uuid:attempt>/return")
@staff_may(May.RECEIVE)
def come_back(number: str, attempt: UUID) -> ResponseReturnValue:
    """Back from a bank's page. Records what the gateway already did (the one GET that may); then a clean URL."""
    if not _is_own(_seen(number, attempt)):
        abort(404)
    done_reading()
    return answer_on_return(TILL, number, attempt)


@bp.get("/<number>/receive/<uuid:attempt>")
@staff_may(May.RECEIVE)
def status(number: str, attempt: UUID) -> ResponseReturnValue:
    """What is known of an attempt: that we are checking, or how it ended."""
    found = _seen(number, attempt)
    if found.receipt_number is not None:
        return redirect(TILL.paid_url(number, found.receipt_number), 303)
    if found.state in (State.DECLINED, State.CANCELED, State.FAILED):
        return _told(number, *TILL.declined(found.reason), again=True)
    if found.state == State.REQUIRES_ACTION:
        return redirect(TILL.form_url(number), 303)
    return still_checking(TILL, found)


@bp.get("/<number>/received/<receipt>")
@staff_may(May.RECEIVE)
def received(number: str, receipt: str) -> ResponseReturnValue:
    """A payment that was received: its receipt, fit to print, and what is left."""
    invoice = _receivable(number)
    found = _receipt(invoice, receipt)
    html = render_template(
        "office/receive/received.html",
        invoice=invoice,
        receipt=found,
        head=found.paper.head,
        group=place_of(reading(), invoice.id),
    )
    note_view(parts().database, who().id, invoice.patient_id, "receipt")
    return html


@bp.get("/<number>/received/<receipt>.pdf")
@staff_may(May.RECEIVE)
def received_pdf(number: str, receipt: str) -> ResponseReturnValue:
    """The receipt as a PDF, for an insurer."""
    invoice = _receivable(number)
    found = _receipt(invoice, receipt)
    note_view(parts().database, who().id, invoice.patient_id, "receipt")
    clinic = settings()
    done_reading()
    return pdf_answer(found, clinic)


def _receipt(invoice: Payable, receipt: str) -> Receipt:
    head = invoice_for(reading(), Payer(invoice.patient_id, invoice.patient), invoice.number) or abort(404)
    return receipt_for(reading(), head, receipt) or abort(404)


@bp.errorhandler(Refusal)
def refused(refusal: Refusal) -> ResponseReturnValue:
    """A refusal at the desk leads back to its invoice."""
    number = (request.view_args or {}).get("number")
    if wants_json() or number is None or refusal.status not in (409, 503):
        return answer_refusal(refusal)
    return _told(number, *TILL.refused(refusal), status=refusal.status)
