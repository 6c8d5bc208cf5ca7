"""What the places have in common where cards are charged: the patient's pay page, a pay link's, Receive Payment.

All show Stripe's fields, send the same kind of form, and answer it the same way; a `Till` says where a place's pages
are and in whose words it speaks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from flask import Response, flash, jsonify, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_wtf import FlaskForm
from wtforms import BooleanField, HiddenField, StringField
from wtforms.validators import UUID as IsUuid
from wtforms.validators import InputRequired, Length, Regexp

from portal.cards import brand_name
from portal.errors import Refusal
from portal.gateway.configured import TEST
from portal.invoices.reading import large, local_day, weekday
from portal.money import format_money
from portal.parts import parts
from portal.payments import words
from portal.payments.begin import takes_cards
from portal.payments.outcomes import Checking, Declined, NeedsAction, Outcome, Paid
from portal.payments.owing import check_chargeable
from portal.payments.pay import PayForm
from portal.payments.reading import AttemptStatus, Payable
from portal.payments.settle import settle as settle_attempt
from portal.payments.states import State
from portal.schedule.times import clock, minute_of
from portal.web.asking import wants_json
from portal.web.headers import allow_gateway_scripts
from portal.web.scope import settings

NEW_CARD = "new"


class CardForm(FlaskForm):
    """What a page with card fields sends. The card itself never comes here: a token of it does."""

    attempt = HiddenField(validators=[InputRequired(), IsUuid()])
    currency = HiddenField(validators=[InputRequired(), Regexp(r"^[A-Za-z]{3}$")])
    card = StringField(validators=[InputRequired(), Regexp(r"^[0-9a-z]{1,32}$")])
    confirmation_token = HiddenField(validators=[Length(max=255), Regexp(r"^[!-~]*$")])
    save = BooleanField()
    script = HiddenField(validators=[Length(max=1)])
    name = StringField(validators=[Length(max=200)])

    @property
    def saved_card(self) -> str | None:
        """The saved card that was chosen; None for a new one."""
        return self.card.data if self.card.data != NEW_CARD else None

    @property
    def token(self) -> str | None:
        """The token of a new card."""
        return (self.confirmation_token.data or None) if self.saved_card is None else None


class PaymentForm(CardForm):
    """What a page sends on which the whole balance is paid."""

    amount = HiddenField(validators=[InputRequired(), Regexp(r"^[0-9]{1,12}$")])

    def as_pressed(self) -> PayForm:
        """The form in the flow's words."""
        return PayForm(
            attempt_id=UUID(self.attempt.data),
            shown_cents=int(self.amount.data),
            shown_currency=self.currency.data,
            token=self.token,
            saved_card=self.saved_card,
            save_card=bool(self.save.data),
            sdk=self.script.data == "1",
        )


@dataclass(frozen=True)
class Message:
    """One thing to know above the form."""

    heading: str
    text: str
    kind: str = "bad"


class Till:
    """A place where invoices are paid: the addresses of its pages, and its words. `room` is its blueprint."""

    room: str
    bank_page: str
    checking_page: str
    here = "invoices"

    def title(self, number: str) -> str:
        """What is paid, as the page's heading says it."""
        return _("Pay invoice %(number)s", number=number)

    def over(self, number: str) -> str:
        """What is paid, in a word or two."""
        return _("Invoice %(number)s", number=number)

    def words_back(self) -> str:
        """What the way back leads to."""
        return _("Back to the invoice")

    def words_again(self) -> str:
        """What the way to try once more is called."""
        return _("Pay this invoice")

    def place(self, number: str) -> dict[str, Any]:
        """What the addresses of an invoice's pages are made of."""
        return {"number": number}

    def form_url(self, number: str) -> str:
        """The page with the form."""
        return url_for(f"{self.room}.form", **self.place(number))

    def back_url(self, number: str) -> str:
        """The page to go back to and pay nothing; none where there is only the form."""
        return ""

    def status_url(self, number: str, attempt: UUID) -> str:
        """The page that says what is known of an attempt."""
        return url_for(f"{self.room}.status", attempt=attempt, **self.place(number))

    def settle_url(self, number: str, attempt: UUID) -> str:
        """Where a page asks again."""
        return url_for(f"{self.room}.settle", attempt=attempt, **self.place(number))

    def return_url(self, number: str) -> str:
        """Where a bank's page sends the payer back to, with {attempt} in place of the attempt's id."""
        nobody = UUID(int=0)
        path = url_for(f"{self.room}.come_back", attempt=nobody, **self.place(number))
        return parts().config.base_url + path.replace(str(nobody), "{attempt}")

    def paid_url(self, number: str, receipt_number: str) -> str:
        """The page of the receipt."""
        raise NotImplementedError

    def say_paid(self) -> None:
        """Have the next page say that the payment went through, where it doesn't say so by itself."""

    def say_others_paid(self) -> None:
        """Have the next page say that somebody else's payment went through."""
        flash(_("Somebody else has just paid this invoice. You were not charged."), "ok")

    def declined(self, reason: str | None) -> tuple[str, str]:
        """Heading and sentence for a decline."""
        return words.why_declined(reason)

    def refused(self, refusal: Refusal) -> tuple[str, str]:
        """Heading and sentence for a refusal."""
        return refusal.heading, refusal.text


def next_attempt_id(invoice: Payable, is_own: bool, asked_cents: int) -> UUID:
    """A declined attempt of the same person over the same amount is taken up again; anything else begins anew."""
    live = invoice.live
    if live is None or not is_own or live.state != State.DECLINED:
        return uuid4()
    unchanged = (live.amount_cents, live.invoice_version) == (asked_cents, invoice.version)
    return live.id if unchanged else uuid4()


def refuse_what_cannot_be_paid(invoice: Payable, channel: str) -> None:
    """The sentences that a person reads instead of a form. The flow checks again, under lock."""
    rehearsal = parts().config.production and invoice.mode == TEST
    if not takes_cards(settings(), channel) or invoice.gateway_id is None or rehearsal:
        raise words.OnlinePaymentOff(phone=settings().text("clinic_phone"))
    check_chargeable(invoice.balance_cents, invoice.currency, is_void=invoice.is_void)
    if invoice.is_disputed:
        raise words.PaymentDisputed


def form_words(till: Till, invoice: Payable, typed: CardForm, is_own: bool) -> dict[str, Any]:
    """What a form over the whole balance shows. `is_own`: whether the attempt under way is this person's."""
    live = invoice.live
    waits = live is not None and is_own and live.state == State.REQUIRES_ACTION
    return {
        "till": till,
        "invoice": invoice,
        "form": typed,
        "attempt_id": next_attempt_id(invoice, is_own, invoice.balance_cents),
        "waiting": live.id if live is not None and waits else None,
        "amount": format_money(invoice.balance_cents, invoice.currency, full=True),
        "sum": large(invoice.balance_cents, invoice.currency),
        "stripe_js": parts().config.stripe_js_url,
    }


def needs_script() -> Message:
    """What to say to a form whose card fields never ran."""
    return Message(
        _("The card has not been entered. You have not been charged."),
        _("Card fields need JavaScript. Turn it on and load this page again, or call the front desk to pay."),
    )


# --- saying no ------------------------------------------------------------------------------------------------------


def refused(
    till: Till, number: str, refusal: Refusal, form_again: Callable[[Message, int], ResponseReturnValue]
) -> ResponseReturnValue:
    """Say no in place where the form can be used again, or on a fresh form where it can't."""
    if isinstance(refusal, words.AttemptNotFound):
        raise refusal
    heading, text = till.refused(refusal)
    again = isinstance(refusal, words.GatewayDown) or refusal.status == 422
    used_up = isinstance(refusal, (words.AmountChanged, words.FormUsedUp))
    if wants_json():
        if used_up:  # the other refusals are that page's own words
            tell_on_next_page(heading, text)
        answer = jsonify(outcome="refused", title=heading, text=text, reload=not again)
        answer.status_code = refusal.status
        return answer
    if again:
        return form_again(Message(heading, text, "warn" if refusal.status == 422 else "bad"), refusal.status)
    if used_up:
        tell_on_next_page(heading, text)
        return redirect(till.form_url(number), 303)
    raise refusal


def fields_wrong(heading: str, wrong: Mapping[str, str]) -> ResponseReturnValue:
    """For the page's script: which fields to correct, by id, and why."""
    answer = jsonify(outcome="refused", title=heading, text="", wrong=dict(wrong))
    answer.status_code = 422
    return answer


def tell_on_next_page(heading: str, text: str) -> None:
    """Leave a message for the page that comes next."""
    flash(f"{heading}\n{text}", "warn")


# --- what the page does next ----------------------------------------------------------------------------------------


def answer(till: Till, number: str, outcome: Outcome) -> ResponseReturnValue:
    """What the page should do next: as JSON for its script, else as a redirect."""
    match outcome:
        case Paid(invoice_number, receipt_number):
            location = till.paid_url(invoice_number, receipt_number)
            till.say_paid()
            return jsonify(outcome="paid", location=location) if wants_json() else redirect(location, 303)
        case NeedsAction(attempt_id, client_secret, redirect_url):
            if wants_json():
                # `redirect` is for a page that could not load the gateway's script: it goes to the bank by itself.
                return jsonify(
                    outcome="action",
                    attempt=attempt_id,
                    client_secret=client_secret,
                    settle=till.settle_url(number, attempt_id),
                    redirect=redirect_url,
                )
            if redirect_url is None:
                return redirect(till.form_url(number), 303)
            # A link, not a redirect: a form's redirects would have to name every bank in the page's policy.
            html = render_template(till.bank_page, till=till, number=number, address=redirect_url)
            return Response(html)
        case Declined(attempt_id, reason, again):
            heading, text = till.declined(reason)
            if wants_json():
                return jsonify(outcome="declined", attempt=attempt_id if again else uuid4(), title=heading, text=text)
            tell_on_next_page(heading, text)
            return redirect(till.form_url(number), 303)
        case Checking(attempt_id):
            location = till.status_url(number, attempt_id)
            return jsonify(outcome="checking", location=location) if wants_json() else redirect(location, 303)


def answer_to_whoever_waits(till: Till, number: str, attempt: UUID, is_own: bool) -> ResponseReturnValue:
    """How an attempt stands. Another payer learns that it is paid, or that they may pay: no more about a card or bank
    of somebody else's. The caller has seen to it that they may know of the attempt.
    """
    outcome = settle_attempt(parts(), attempt)
    if is_own or isinstance(outcome, Checking):
        return answer(till, number, outcome)
    if not isinstance(outcome, Paid):
        return jsonify(outcome="refused", reload=True) if wants_json() else redirect(till.form_url(number), 303)
    till.say_others_paid()
    location = till.paid_url(number, outcome.receipt_number)
    return jsonify(outcome="paid", location=location) if wants_json() else redirect(location, 303)


def answer_on_return(till: Till, number: str, attempt: UUID) -> ResponseReturnValue:
    """Back from a bank's page. Records what the gateway already did (the one GET that may); then a clean URL."""
    outcome = settle_attempt(parts(), attempt)
    if isinstance(outcome, NeedsAction):
        return redirect(till.form_url(number), 303)
    return answer(till, number, outcome)


def status_page(till: Till, number: str, found: AttemptStatus, is_own: bool) -> ResponseReturnValue:
    """What is known of an attempt: that we are checking, or how it ended."""
    if found.receipt_number is not None:
        return redirect(till.paid_url(number, found.receipt_number), 303)
    if found.state in (State.DECLINED, State.CANCELED, State.FAILED) and is_own:
        heading, text = till.declined(found.reason)
        return Response(render_template("pay/ended.html", till=till, attempt=found, heading=heading, text=text))
    if found.state not in (State.CREATED, State.CONFIRMING, State.PROCESSING, State.SUCCEEDED):
        return redirect(till.form_url(number), 303)
    return still_checking(till, found, shows_card=is_own)


def still_checking(till: Till, attempt: AttemptStatus, shows_card: bool = True) -> Response:
    """The page that waits for an attempt's outcome, and asks again by itself."""
    page = render_template(
        till.checking_page,
        till=till,
        attempt=attempt,
        sum=large(attempt.amount_cents, attempt.currency),
        card=attempt_card(attempt) if shows_card else "",
        sent=attempt_moment(attempt),
        reference=attempt_reference(attempt),
    )
    return allow_gateway_scripts(Response(page))


# --- an attempt in words --------------------------------------------------------------------------------------------


def attempt_card(attempt: AttemptStatus) -> str:
    """The card that an attempt was made with: "Visa ending 4242"."""
    if not attempt.card_last4:
        return ""
    return _("%(brand)s ending %(last4)s", brand=brand_name(attempt.card_brand), last4=attempt.card_last4)


def attempt_moment(attempt: AttemptStatus) -> str:
    """When an attempt began, where the clinic is."""
    day = weekday(local_day(attempt.started_at, attempt.timezone))
    return f"{day}, {clock_time(attempt.started_at, attempt.timezone)}"


def clock_time(moment: datetime, zone: str) -> str:
    """The time of a moment where the clinic is: "10:42 am" """
    return clock(minute_of(moment, zone))


def attempt_reference(attempt: AttemptStatus) -> str:
    """What to say on the telephone about an attempt: "P-1A2B3C4D"."""
    return f"P-{str(attempt.id)[:8].upper()}"
