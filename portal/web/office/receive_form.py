"""The form of Receive Payment: what it sends, what is wrong with it, and the page that shows it."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from flask import Response, render_template, request
from flask_babel import gettext as _
from wtforms import BooleanField, HiddenField, StringField
from wtforms.validators import InputRequired, Length, Regexp

from portal.errors import Refusal
from portal.gateway.configured import TEST
from portal.invoices.books import is_numbered
from portal.invoices.reading import large, local_day, long_day, plain_day
from portal.money import exponent, format_money, parse_amount
from portal.parts import parts
from portal.patients.finding import people_found
from portal.payments import staff_words
from portal.payments.begin import takes_cards
from portal.payments.desk import PAID_BY, DeskPayment, PaidBy
from portal.payments.owing import check_chargeable
from portal.payments.pay import PayForm
from portal.payments.reading import (
    CardChoice,
    LiveAttempt,
    Payable,
    PayerChoice,
    card_choices,
    people_who_pay_for,
    person_on_file,
)
from portal.payments.states import State
from portal.payments.tables import DESK, LINK, PORTAL
from portal.programs.desk.asking import place_of
from portal.web.access import who
from portal.web.cards import card_words, plastic
from portal.web.headers import allow_gateway_scripts
from portal.web.look import typed
from portal.web.office.mails import pay_code
from portal.web.paying import NEW_CARD, CardForm, Message, clock_time, next_attempt_id
from portal.web.scope import reading, settings

NOBODY, SOMEONE_ELSE = "nobody", "other"
PROCESS, DO_NOT_PROCESS = "process", "none"


class ReceiveForm(CardForm):
    """What the page sends. `shown` and `version` are what it showed: preconditions, never amounts to charge."""

    shown = HiddenField(validators=[InputRequired(), Regexp(r"^[0-9]{1,12}$")])
    version = HiddenField(validators=[InputRequired(), Regexp(r"^[0-9]{1,9}$")])
    knows = HiddenField(validators=[Length(max=1)])
    payer = StringField(validators=[Length(max=20)])
    person = StringField(validators=[Length(max=20)])
    find = StringField()
    amount = StringField()
    paid_by = StringField()
    gateway = StringField()
    absent = BooleanField()
    take_over = BooleanField()
    note = StringField()

    @property
    def is_whole(self) -> bool:
        """Whether what nobody types came back as it was sent."""
        return bool(self.validate())


@dataclass(frozen=True)
class Received:
    """What the desk says that it receives, found to make sense."""

    payer: PayerChoice | None
    amount_cents: int
    paid_by: PaidBy
    processes: bool


def checked(form: ReceiveForm, invoice: Payable) -> tuple[Received | None, dict[str, str]]:
    """What the fields say, or what to correct: a sentence by the id of its field."""
    wrong: dict[str, str] = {}
    payer, is_known = chosen_payer(form)
    if not is_known:
        wrong["find"] = _("Find the person who pays, then choose them.")
    paid_by = PAID_BY.get(form.paid_by.data or "")
    if paid_by is None:
        wrong["paid-by"] = _("Choose what was paid with.")
    processes = paid_by is not None and paid_by.is_card and form.gateway.data != DO_NOT_PROCESS
    if processes and why_no_cards(invoice):
        wrong["gateway"] = _("No card can be processed here now. Choose another way, or Do not process.")
        processes = False
    amount, problem = _amount(form.amount.data or "", invoice, processes)
    if problem:
        wrong["amount"] = problem
    if len(form.note.data or "") > 200:
        wrong["note"] = _("Keep the reference under 200 characters.")
    if wrong or paid_by is None:
        return None, wrong
    return Received(payer, amount, paid_by, processes), {}


def _amount(text: str, invoice: Payable, processes: bool) -> tuple[int, str]:
    """The amount in minor units, and what is wrong with it."""
    balance, currency = invoice.balance_cents, invoice.currency
    try:
        cents = parse_amount(text, currency)
    except ValueError:
        return 0, _("Enter an amount such as %(amount)s.", amount=plain_amount(balance, currency))
    if cents == 0:
        nothing = format_money(0, currency)
        return 0, _("Enter more than %(nothing)s: a payment of nothing is not taken.", nothing=nothing)
    if cents < 0:
        return 0, _("Enter what you receive. A payment entered in error is undone under View Payments.")
    if cents > balance:
        left = format_money(balance, currency, full=True)
        return 0, _("That is more than is left to pay. Enter %(left)s, or less.", left=left)
    if processes:
        try:
            check_chargeable(cents, currency, is_void=False)
        except Refusal as refusal:
            return 0, " ".join(staff_words.refused(refusal))
    return cents, ""


def plain_amount(cents: int, currency: str) -> str:
    """An amount as it stands in a field: digits alone."""
    return "".join(mark for mark in format_money(cents, currency) if mark.isdigit() or mark == ".")


def chosen_payer(form: ReceiveForm) -> tuple[PayerChoice | None, bool]:
    """Who pays, and whether that could be told. (None, True) is a payer who is not named."""
    choice = form.payer.data or ""
    if choice == NOBODY:
        return None, True
    if choice == SOMEONE_ELSE:
        choice = form.person.data or ""
    if not (choice.isascii() and choice.isdigit() and len(choice) < 10):
        return None, False
    found = person_on_file(reading(), int(choice))
    return found, found is not None


def why_no_cards(invoice: Payable) -> str:
    """The sentence that says why no card can be processed on this invoice; empty where one can."""
    if not takes_cards(settings(), DESK):
        return _("Payment Gateways are switched off under Settings, Modules. No card can be processed.")
    if invoice.gateway_id is None:
        return _("%(location)s has no active gateway. No card can be processed.", location=invoice.location)
    if parts().config.production and invoice.mode == TEST:
        return _("The gateway is in Test mode, which takes no payment on real invoices. No card can be processed.")
    return ""


# --- in the flow's words --------------------------------------------------------------------------------------------


def by_card(form: ReceiveForm, received: Received) -> PayForm:
    """A card payment as the flow takes it. Only a saved card can be charged while its payer is away."""
    return PayForm(
        attempt_id=UUID(form.attempt.data),
        shown_cents=int(form.shown.data),
        shown_currency=form.currency.data,
        token=form.token,
        saved_card=form.saved_card,
        save_card=bool(form.save.data),
        sdk=form.script.data == "1",
        asked_cents=received.amount_cents,
        shown_version=int(form.version.data),
        payer_absent=bool(form.absent.data) and form.saved_card is not None,
        take_over=bool(form.take_over.data),
    )


def into_the_books(form: ReceiveForm, received: Received) -> DeskPayment:
    """A payment that no gateway moves."""
    return DeskPayment(
        request_id=UUID(form.attempt.data),
        paid_by=received.paid_by,
        amount_cents=received.amount_cents,
        shown_cents=int(form.shown.data),
        shown_currency=form.currency.data,
        shown_version=int(form.version.data),
        payer_id=received.payer.id if received.payer else None,
        note=typed(form.note.data).strip(),
        take_over=bool(form.take_over.data),
    )


# --- the page -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Meanwhile:
    """A card payment that is under way on the invoice. `waits` is the clerk's own, which waits for the bank."""

    attempt: LiveAttempt
    amount: str
    since: str
    in_portal: bool
    by_link: bool
    waits: bool
    stops_us: bool


def meanwhile(invoice: Payable) -> Meanwhile | None:
    """What somebody else, or this clerk a moment ago, has begun; None where nothing needs to be said."""
    live = invoice.live
    if live is None:
        return None
    own = is_own(live)
    if own and not live.is_at_work and live.state != State.REQUIRES_ACTION:
        return None
    return Meanwhile(
        live,
        format_money(live.amount_cents, invoice.currency, full=True),
        clock_time(live.started_at, invoice.timezone),
        in_portal=live.channel == PORTAL,
        by_link=live.channel == LINK,
        waits=own and not live.is_at_work,
        stops_us=not own or live.is_at_work,
    )


def is_own(live: LiveAttempt) -> bool:
    """Whether the attempt was begun at the desk, by whoever is signed in."""
    return (live.user_id, live.channel) == (who().id, DESK)


def page(
    invoice: Payable,
    form: ReceiveForm,
    *,
    message: Message | None = None,
    wrong: Mapping[str, str] | None = None,
    focus: str = "",
    status: int = 200,
) -> Response:
    """The page, with whatever was typed."""
    payer, _is_known = chosen_payer(form)
    no_cards = why_no_cards(invoice)
    cards = card_choices(reading(), payer.id, invoice) if payer and not no_cards else []
    asked = _asked(form, invoice)
    live = invoice.live
    held = None if is_numbered(invoice.number) else place_of(reading(), invoice.id)
    html = render_template(
        "office/receive/form.html",
        invoice=invoice,
        held=held,
        form=form,
        message=message,
        wrong=wrong or {},
        focus=focus,
        meanwhile=meanwhile(invoice),
        payer=payer,
        payers=_payers(invoice),
        found=_people(form, payer),
        paid_by=PAID_BY,
        no_cards=no_cards,
        cards=[_choice(card, invoice) for card in cards],
        chosen=_chosen(form, cards),
        attempt_id=next_attempt_id(invoice, live is not None and is_own(live), asked),
        asked_cents=asked,
        day=long_day(invoice.service_on),
        sum=large(invoice.balance_cents, invoice.currency),
        total=format_money(invoice.owed_cents, invoice.currency),
        paid=format_money(invoice.paid_cents, invoice.currency),
        after=format_money(invoice.balance_cents - asked, invoice.currency),
        mark=large(0, invoice.currency).mark,
        places=exponent(invoice.currency),
        nothing=format_money(0, invoice.currency),
        code=pay_code(
            invoice.id,
            invoice.mode,
            is_open=invoice.balance_cents > 0 and not (invoice.is_void or invoice.is_disputed or held),
        ),
        code_open=request.args.get("phone") == "open",
        stripe_js=parts().config.stripe_js_url,
    )
    return allow_gateway_scripts(Response(html, status))


def empty_form(invoice: Payable) -> ReceiveForm:
    """As it is when the page is opened: the patient pays all of it."""
    form = ReceiveForm(formdata=None)
    form.payer.data = str(invoice.patient_id)
    form.amount.data = plain_amount(invoice.balance_cents, invoice.currency)
    form.paid_by.data = "cash" if why_no_cards(invoice) else "visa"
    form.gateway.data = PROCESS
    return form


def _asked(form: ReceiveForm, invoice: Payable) -> int:
    """What the amount in the field comes to; the balance while it comes to nothing."""
    cents, problem = _amount(form.amount.data or "", invoice, processes=False)
    return invoice.balance_cents if problem else cents


def _payers(invoice: Payable) -> list[tuple[str, str]]:
    choices = [(str(invoice.patient_id), _("%(name)s, the patient", name=invoice.patient))]
    for person in people_who_pay_for(reading(), invoice.patient_id):
        relation = person.relation or _("pays for them")
        choices.append((str(person.id), f"{person.name}, {relation}"))
    return [*choices, (SOMEONE_ELSE, _("Someone else on file")), (NOBODY, _("Not named"))]


@dataclass(frozen=True)
class PeopleFound:
    """Whom a search for the payer found, each with what tells them from others; `more`: it fits others as well."""

    people: list[tuple[PayerChoice, str]]
    more: bool


def _people(form: ReceiveForm, payer: PayerChoice | None) -> PeopleFound | None:
    """Whom the search found, with whoever is chosen already; None while nobody was looked for."""
    if form.payer.data != SOMEONE_ELSE:
        return None
    fits = people_found(reading(), typed(form.find.data))
    found = [PayerChoice(one.id, one.name, "", one.birth_date, one.email) for one in fits.rows]
    if payer is not None and all(payer.id != person.id for person in found):
        found.insert(0, payer)
    if not found and not form.find.data:
        return None
    return PeopleFound([(person, _about(person)) for person in found], fits.more)


def _about(person: PayerChoice) -> str:
    born = _("born %(day)s", day=plain_day(person.birth_date)) if person.birth_date else ""
    return ", ".join(filter(None, (born, person.email)))


def _choice(card: CardChoice, invoice: Payable) -> dict[str, object]:
    words = {
        "date": card.expires,
        "day": plain_day(local_day(card.saved_at, invoice.timezone)),
        "name": card.saved_by or _("the clinic"),
    }
    return {
        "id": card.public_id,
        "label": card_words(card.brand, card.funding, card.last4),
        "hint": _("Expires %(date)s, saved by %(name)s, %(day)s", **words),
        "plastic": plastic(card.brand),
    }


def _chosen(form: ReceiveForm, cards: list[CardChoice]) -> str:
    """The card that is ticked: the one that was, else the payer's usual one, else a new one."""
    ours = [card.public_id for card in cards]
    if form.card.data in (*ours, NEW_CARD):
        return str(form.card.data)
    return ours[0] if ours else NEW_CARD
