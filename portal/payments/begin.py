"""Begin: from the payer's form to an attempt of one's own, or to the reason why there is none."""

import logging
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal.clinic import Location
from portal.clock import now
from portal.gateway.configured import ACTIVE, TEST, ConfiguredGateway, chosen_gateway, keys_of
from portal.invoices.books import locked_invoice
from portal.invoices.tables import Invoice
from portal.money import format_money
from portal.parts import Parts
from portal.paylinks import check_link
from portal.payments import words
from portal.payments.cases import is_disputed
from portal.payments.outcomes import Checking, Outcome, Paid
from portal.payments.owing import check_chargeable
from portal.payments.settle import end, outcome_of, settle
from portal.payments.states import DEADLINE, ENDED, FIRST_LOOK, LIVE, State
from portal.payments.steps import HOLD, is_held, live_attempt, load
from portal.payments.tables import DESK, LINK, PORTAL, PaymentAttempt
from portal.programs.places import check_place, keep_place
from portal.settings import Settings, read_settings

TRIES = 4

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PayForm:
    """What the payer's form says. What it showed is a precondition: the balance, at the desk the version too.

    `asked_cents` counts at the desk alone, where a part may be paid now; everywhere else it is the whole balance.
    `take_over` is the desk's too: another's attempt that waits may be ended for this one. `receipt_email` is a pay
    link's: where its holder wants the receipt.
    """

    attempt_id: UUID
    shown_cents: int
    shown_currency: str
    token: str | None = field(default=None, repr=False)
    saved_card: str | None = None
    save_card: bool = False
    sdk: bool = True
    asked_cents: int | None = None
    shown_version: int | None = None
    payer_absent: bool = False
    take_over: bool = False
    receipt_email: str | None = None


@dataclass(frozen=True)
class PayerRef:
    """Who pays, and whose account presses Pay. At the desk that is a clerk's, and the payer may be unnamed. Of who
    holds a pay link, nothing is known but the link.
    """

    payer_id: int | None
    user_id: int | None
    channel: str = PORTAL
    pay_link_id: int | None = None


def begin(parts: Parts, invoice_id: int, form: PayForm, payer: PayerRef) -> PaymentAttempt | Outcome:
    """Take up the form's attempt, or insert a new one; it is held for this request then.

    An attempt that only waits for its payer is ended first. Raises Refusal.
    """
    if payer.channel == LINK and (form.saved_card is not None or form.save_card):
        raise words.NoCardIsKept
    attempt_id = form.attempt_id
    for _ in range(TRIES):
        try:
            found = _look_around(parts, invoice_id, attempt_id, form, payer)
        except IntegrityError:
            # Somebody else's row was there first: the database decides. Look again, and find it.
            log.info("attempt %s collided with another one", attempt_id)
            continue
        if not isinstance(found, _InTheWay):
            return found
        if found.answered is not None:
            return _answer_again(parts, found.answered)
        if found.live is not None:
            paid = _ended(parts, found.live)
            if paid is not None and found.live is found.own:
                return paid
        # The form's attempt is over, and this is a fresh press with other card details: it gets one of its own.
        attempt_id = uuid4() if found.own is not None else attempt_id
    raise words.FormUsedUp


@dataclass(frozen=True)
class _InTheWay:
    """Why there is no attempt yet: the press was `answered` before, or a `live` attempt has to end first."""

    own: PaymentAttempt | None
    live: PaymentAttempt | None
    answered: PaymentAttempt | None = None


def _look_around(
    parts: Parts, invoice_id: int, attempt_id: UUID, form: PayForm, payer: PayerRef
) -> PaymentAttempt | Checking | _InTheWay:
    """One transaction, with the invoice locked: so of several presses at once, one begins and the others see it."""
    with parts.database.transaction() as session:
        invoice = locked_invoice(session, invoice_id)
        own = session.get(PaymentAttempt, attempt_id, with_for_update=True)
        if own is not None:
            _check_owner(own, invoice, payer)
            if own.state == State.SUCCEEDED:
                return _InTheWay(own, None, answered=own)
        live = own if own is not None and own.state in LIVE else live_attempt(session, invoice_id)
        if live is not None and _is_at_work(live):
            return Checking(live.id)
        asked = asked_cents(invoice, form, payer)
        is_same = own is not None and (own.payer_id, own.amount_cents) == (payer.payer_id, asked)
        if own is not None and (is_same or payer.channel != DESK) and _was_sent_before(own, form):
            return _InTheWay(own, live, answered=own)
        gateway_id = check_payable(parts, session, invoice, form, payer)
        if own is None and live is None:
            return _inserted(session, invoice, attempt_id, gateway_id, payer, asked, form.receipt_email)
        if own is not None and own is live and is_same and _can_go_on(session, own, invoice):
            own.receipt_email = form.receipt_email
            return _held(session, own)
        if live is not None and not _may_take_over(live, form, payer):
            raise words.SomebodyIsPaying
        return _InTheWay(own, live)


def _check_owner(own: PaymentAttempt, invoice: Invoice, payer: PayerRef) -> None:
    """An attempt is its own payer's. At the desk it is its clerk's, who may choose another payer for the next try."""
    key = (invoice.id, payer.user_id, payer.channel, payer.pay_link_id)
    is_own = (own.invoice_id, own.user_id, own.channel, own.pay_link_id) == key
    if not is_own or (own.payer_id != payer.payer_id and payer.channel != DESK):
        raise words.AttemptNotFound


def _may_take_over(live: PaymentAttempt, form: PayForm, payer: PayerRef) -> bool:
    """Payers end each other's waiting attempts without a word; the desk says so, unless the attempt is its own."""
    return payer.channel != DESK or form.take_over or (live.user_id, live.channel) == (payer.user_id, DESK)


def _is_at_work(attempt: PaymentAttempt) -> bool:
    """Whether an attempt must be left alone: its outcome is open, or a request works on it right now."""
    return attempt.state in (State.CONFIRMING, State.PROCESSING) or is_held(attempt)


def _was_sent_before(own: PaymentAttempt, form: PayForm) -> bool:
    """A double click, a reload, a repeated post: what this attempt was last confirmed with.

    A saved card can be meant once more after a decline; a token is used up by its first confirmation.
    """
    means = own.means or {}
    if form.token is not None:
        return bool(means.get("token") == form.token)
    return form.saved_card is not None and means.get("saved_card") == form.saved_card and own.state != State.DECLINED


def _answer_again(parts: Parts, own: PaymentAttempt) -> Outcome:
    if own.state == State.SUCCEEDED:
        return outcome_of(parts, own.id)
    if own.state in ENDED:
        raise words.FormUsedUp
    return settle(parts, own.id)


def _can_go_on(session: Session, own: PaymentAttempt, invoice: Invoice) -> bool:
    """Whether the next try can use the attempt that is there: nothing that it was begun for has changed since.

    One whose intent was asked for without an answer is given up: to ask again under its key could repeat a failure of
    the gateway's own for a day.
    """
    usable = own.state == State.DECLINED or (
        own.state == State.CREATED and (own.intent_id is not None or own.order is None)
    )
    return own.invoice_version == invoice.version and usable and gateway_is_active(session, own)


def _held(session: Session, own: PaymentAttempt) -> PaymentAttempt:
    own.held_until = now() + HOLD
    session.flush()
    session.expunge(own)
    return own


def _ended(parts: Parts, live: PaymentAttempt) -> Paid | None:
    """End an attempt that waits for its payer; gives the receipt if it turns out to be paid. Raises GatewayDown."""
    outcome = end(parts, live.id)
    if load(parts, live.id).state in LIVE:
        raise words.GatewayDown
    return outcome if isinstance(outcome, Paid) else None


def _inserted(
    session: Session,
    invoice: Invoice,
    attempt_id: UUID,
    gateway_id: int,
    payer: PayerRef,
    asked_cents: int,
    receipt_email: str | None,
) -> PaymentAttempt:
    keys = keys_of(session, gateway_id)
    moment = now()
    attempt = PaymentAttempt(
        id=attempt_id,
        invoice_id=invoice.id,
        payer_id=payer.payer_id,
        user_id=payer.user_id,
        gateway_id=gateway_id,
        mode=keys.mode,
        account=keys.account,
        amount_cents=asked_cents,
        currency=invoice.currency,
        invoice_version=invoice.version,
        channel=payer.channel,
        pay_link_id=payer.pay_link_id,
        receipt_email=receipt_email,
        state=State.CREATED,
        confirmations=0,
        save_card=False,
        started_at=moment,
        held_until=moment + HOLD,
        next_look_at=moment + FIRST_LOOK[State.CREATED],
        deadline_at=moment + DEADLINE[State.CREATED],
    )
    session.add(attempt)
    session.flush()
    session.expunge(attempt)
    return attempt


# --- what may be paid by card, and over which gateway ---------------------------------------------------------------


def asked_cents(invoice: Invoice, form: PayForm, payer: PayerRef) -> int:
    """What is to be charged: at the desk the amount that was typed; elsewhere the balance, whatever was sent."""
    if payer.channel == DESK and form.asked_cents is not None:
        return form.asked_cents
    return invoice.balance_cents


def check_payable(parts: Parts, session: Session, invoice: Invoice, form: PayForm, payer: PayerRef) -> int:
    """Whether the invoice can be paid by card now, as it was shown; gives the gateway's id. Raises Refusal."""
    balance, currency = invoice.balance_cents, invoice.currency
    asked = asked_cents(invoice, form, payer)
    if payer.pay_link_id is not None:
        check_link(session, payer.pay_link_id, invoice)
    gateway_id = check_open_to_cards(parts, session, invoice, payer.channel, min(asked, balance))
    keep_place(session, invoice)
    check_shown(invoice, form.shown_cents, form.shown_currency, form.shown_version)
    if asked > balance:
        raise words.MoreThanIsLeft(balance=format_money(balance, currency, full=True))
    return gateway_id


def check_open_to_cards(parts: Parts, session: Session, invoice: Invoice, channel: str, cents: int) -> int:
    """Whether that much can be paid by card there, whoever asks; gives the gateway's id. Raises Refusal."""
    gateway_id = gateway_at(parts, session, invoice.location_id, channel)
    check_place(session, invoice)
    check_chargeable(cents, invoice.currency, is_void=invoice.voided_at is not None)
    if is_disputed(session, invoice.id):
        raise words.PaymentDisputed
    return gateway_id


def check_shown(invoice: Invoice, shown_cents: int, shown_currency: str, shown_version: int | None) -> None:
    """Whether the invoice still stands as the form showed it. Raises AmountChanged."""
    same_amount = (shown_cents, shown_currency.upper()) == (invoice.balance_cents, invoice.currency)
    if not same_amount or shown_version not in (None, invoice.version):
        raise words.AmountChanged(amount=format_money(invoice.balance_cents, invoice.currency, full=True))


def takes_cards(settings: Settings, channel: str) -> bool:
    """Whether the clinic's switches let cards be charged there. At the desk the module's switch alone counts (O4)."""
    if channel == DESK:
        return settings.yes("module_payment_gateways")
    return settings.yes("portal_enabled") and settings.portal_takes_payments


def gateway_at(parts: Parts, session: Session, location_id: int, channel: str) -> int:
    """The gateway for what is paid at this location, or the refusal that says how to pay instead (O4)."""
    settings = read_settings(session)
    off = words.OnlinePaymentOff(phone=settings.text("clinic_phone"))
    if not takes_cards(settings, channel):
        raise off
    gateway_id = session.scalar(
        select(chosen_gateway(Location.id)).select_from(Location).where(Location.id == location_id)
    )
    if gateway_id is None:
        raise off
    if parts.config.production and keys_of(session, gateway_id).mode == TEST:
        raise off  # a test gateway moves no money; on a real invoice it must not look as if it did (O3)
    return gateway_id


def gateway_is_active(session: Session, attempt: PaymentAttempt) -> bool:
    """Whether the attempt's own gateway still takes payments. Another default does not matter to it (G6)."""
    status = session.scalar(select(ConfiguredGateway.status).where(ConfiguredGateway.id == attempt.gateway_id))
    return status == ACTIVE
