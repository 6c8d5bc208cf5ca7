"""Settle: the only place that lets the books follow the gateway. The return page, the webhook's worker and the sweep
all come here.

Each time the intent is fetched from the gateway and the books follow what it says; doing it again changes nothing.
"""

import logging
from collections import Counter
from datetime import timedelta
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from portal.clock import now
from portal.gateway import (
    Gateway,
    GatewayBusy,
    GatewayError,
    GatewayRefusesUs,
    Intent,
    KeyRefused,
    NoSuchThing,
    OutcomeUnknown,
)
from portal.invoices.books import locked_invoice
from portal.invoices.tables import Invoice
from portal.letters.receipts import queue_payment_failed
from portal.parts import Parts
from portal.payments.orders import order_of
from portal.payments.outcomes import Checking, Declined, NeedsAction, Outcome, Paid
from portal.payments.posting import post
from portal.payments.states import DEADLINE, ENDED, FIRST_LOOK, State
from portal.payments.steps import fail, gateway_of, is_held, keep_intent, load, step
from portal.payments.tables import Payment, PaymentAttempt
from portal.payments.words import reason_of

KEY_LIVES = timedelta(hours=23)  # Stripe may forget an idempotency key after 24 h; then it would be a new request
LOOK_AGAIN = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(hours=1)
CHECKING = (State.CONFIRMING, State.PROCESSING)  # a payer in front of it is told that we are checking, and may leave
SILENT = 3  # a gateway that fails this often in one round is left in peace until the next

log = logging.getLogger(__name__)


# --- settle ---------------------------------------------------------------------------------------------------------


def settle(parts: Parts, attempt_id: UUID) -> Outcome:
    """Ask the gateway how the attempt stands, for a page that shows it, and let the books follow. Safe at any time,
    from anywhere, repeatedly.

    A gateway that can't be asked leaves everything as it is: the answer is Checking, and the sweep asks again.
    """
    try:
        return look_up(parts, attempt_id, is_shown=True)
    except GatewayError:
        return outcome_of(parts, attempt_id)


def look_up(parts: Parts, attempt_id: UUID, *, is_shown: bool = False) -> Outcome:
    """As settle, but raises GatewayError where the gateway can't be asked. `is_shown`: somebody reads the answer on a
    page, so that a payment which has failed after all needs no mail.

    An attempt whose confirmation got lost is ended here once its first look is due: the intent is cancelled, and
    whichever of the two the gateway saw first, confirmation or cancellation, decides.
    """
    attempt = load(parts, attempt_id)
    if attempt.intent_id is None:
        return end(parts, attempt_id, is_shown=is_shown) if _overdue(attempt) else outcome_of(parts, attempt_id)
    try:
        intent = gateway_of(parts, attempt).fetch(attempt.intent_id)
    except GatewayError as error:
        _note_silence(parts, attempt, error)
        raise
    follow(parts, attempt_id, intent, is_shown=is_shown)
    attempt = load(parts, attempt_id)
    if _overdue(attempt):
        return end(parts, attempt_id, is_shown=is_shown)
    return outcome_of(parts, attempt_id, intent)


def _overdue(attempt: PaymentAttempt) -> bool:
    """Whether the attempt is live, nobody works on it, and it has had its time."""
    if attempt.state in ENDED or is_held(attempt):
        return False
    if attempt.state == State.CONFIRMING:
        return now() >= attempt.deadline_at - DEADLINE[State.CONFIRMING] + FIRST_LOOK[State.CONFIRMING]
    return now() >= attempt.deadline_at


def follow(parts: Parts, attempt_id: UUID, intent: Intent, *, answers: int = 0, is_shown: bool = False) -> None:
    """Let the attempt and the books follow the intent, in one transaction.

    `answers`: which of our confirmations this is the answer to, so that "not paid" means declined. Otherwise, while a
    confirmation is under way, "not paid yet" says nothing: it may be about to be.
    """
    with parts.database.transaction() as session:
        attempt = session.get_one(PaymentAttempt, attempt_id)
        invoice = locked_invoice(session, attempt.invoice_id)
        session.refresh(attempt, with_for_update=True)
        problem = _stranger(attempt, intent)
        answered = answers > 0 and answers == attempt.confirmations
        was_checking = attempt.state in CHECKING
        if problem:
            log.error("attempt %s: %s", attempt_id, problem)
            attempt.needs_person = problem
            attempt.next_look_at = now() + LONGEST_PAUSE
        elif intent.status == "succeeded":
            post(parts, session, invoice, attempt, intent)
        elif intent.status == "canceled":
            step(session, attempt_id, State.CANCELED, reason=attempt.reason or "canceled")
        elif answered or not is_held(attempt):
            _follow_unpaid(session, attempt, intent, answered)
        if was_checking and not (answers or is_shown) and attempt.state in (State.DECLINED, State.CANCELED):
            queue_payment_failed(session, parts.vault, invoice, attempt)


def _stranger(attempt: PaymentAttempt, intent: Intent) -> str | None:
    """Why this intent can't be the attempt's (mode, currency, amount, our own metadata); None when it is."""
    if intent.live != (attempt.mode == "production"):
        return "the intent is of the other mode"
    if intent.currency != attempt.currency or intent.amount_cents != attempt.amount_cents:
        return f"the intent is over {intent.amount_cents} {intent.currency}"
    if intent.metadata.get("attempt") != str(attempt.id):
        return "the intent names another attempt"
    return None


def _follow_unpaid(session: Session, attempt: PaymentAttempt, intent: Intent, answered: bool) -> None:
    match intent.status:
        case "requires_action" if attempt.state != State.REQUIRES_ACTION:
            step(session, attempt.id, State.REQUIRES_ACTION)
        case "processing" if attempt.state != State.PROCESSING:
            step(session, attempt.id, State.PROCESSING)
        case "requires_payment_method" | "requires_confirmation" if answered or _said_no(attempt, intent):
            step(session, attempt.id, State.DECLINED, reason=reason_of(intent.decline))
        case "requires_capture":
            attempt.needs_person = "the intent waits to be captured"


def _said_no(attempt: PaymentAttempt, intent: Intent) -> bool:
    """Whether an intent that waits for a card says so because the bank turned the newest confirmation down.

    After a lost answer that is sure for the first confirmation only: later ones leave an older decline to be seen.
    """
    if attempt.state == State.CONFIRMING:
        return attempt.confirmations == 1 and intent.decline is not None
    return attempt.state in (State.REQUIRES_ACTION, State.PROCESSING)


# --- ending ---------------------------------------------------------------------------------------------------------


def end(parts: Parts, attempt_id: UUID, *, is_shown: bool = False) -> Outcome:
    """End an attempt: cancel its intent at the gateway and follow the answer. It may turn out to be paid.

    Where the gateway can't be asked the attempt stays live, and the sweep tries again.
    """
    attempt = load(parts, attempt_id)
    if attempt.state in ENDED:
        return outcome_of(parts, attempt_id)
    intent_id = attempt.intent_id or _find_intent(parts, attempt)
    if intent_id is None:
        fail(parts, attempt_id, "canceled")
        return outcome_of(parts, attempt_id)
    try:
        intent = _cancelled(gateway_of(parts, attempt), intent_id)
    except GatewayError as error:
        _note_silence(parts, attempt, error)
        return outcome_of(parts, attempt_id)
    follow(parts, attempt_id, intent, is_shown=is_shown)
    if load(parts, attempt_id).state not in ENDED:
        _ask_a_person(parts, attempt_id, f"it can't be ended: the intent is {intent.status}")
    return outcome_of(parts, attempt_id, intent)


def _cancelled(gateway: Gateway, intent_id: str) -> Intent:
    try:
        return gateway.cancel(intent_id)
    except (NoSuchThing, KeyRefused):
        raise
    except GatewayRefusesUs:
        # It has just succeeded, or was cancelled before: either way the intent itself says so.
        return gateway.fetch(intent_id)


def _find_intent(parts: Parts, attempt: PaymentAttempt) -> str | None:
    """The intent of an attempt whose *create* lost its answer: the same key gives the same intent, within a day.

    This is tidiness. An intent whose id never reached us was never confirmed, so it can't take money; where it can't
    be found, the attempt ends without it, and nobody waits for a gateway that repeats its own failure under that key.
    """
    if attempt.order is None or now() - attempt.started_at > KEY_LIVES:
        return None
    try:
        intent = gateway_of(parts, attempt).create_intent(order_of(parts, attempt), f"{attempt.id}:create")
    except GatewayError as error:
        log.warning("attempt %s ends without its intent: %s", attempt.id, type(error).__name__)
        return None
    keep_intent(parts, attempt.id, intent.id)
    return intent.id


# --- when the gateway can't say -------------------------------------------------------------------------------------


def _note_silence(parts: Parts, attempt: PaymentAttempt, error: GatewayError) -> None:
    """The gateway can't be asked: look again later; past its deadline a person should know of it too (I8)."""
    log.warning("attempt %s can't be looked up: %s %s", attempt.id, type(error).__name__, error)
    if attempt.state in ENDED:
        return
    _look_again(parts, attempt)
    if now() >= attempt.deadline_at or isinstance(error, GatewayRefusesUs):
        _ask_a_person(parts, attempt.id, f"the gateway can't be asked: {type(error).__name__} {error}".strip())


def _look_again(parts: Parts, attempt: PaymentAttempt) -> None:
    """Not at once, and less often the older the attempt is; but at its deadline in any case."""
    moment = now()
    pause = min(max(LOOK_AGAIN, (moment - attempt.started_at) / 10), LONGEST_PAUSE)
    again = moment + pause
    if moment < attempt.deadline_at < again:
        again = attempt.deadline_at
    with parts.database.transaction() as session:
        session.execute(update(PaymentAttempt).where(PaymentAttempt.id == attempt.id).values(next_look_at=again))


def _ask_a_person(parts: Parts, attempt_id: UUID, why: str) -> None:
    with parts.database.transaction() as session:
        session.execute(
            update(PaymentAttempt)
            .where(PaymentAttempt.id == attempt_id, PaymentAttempt.state.not_in(ENDED))
            .values(needs_person=why)
        )


# --- the sweep ------------------------------------------------------------------------------------------------------


def sweep(parts: Parts, most: int = 200) -> int:
    """Settle or end every attempt whose look is due, without any webhook; gives how many it looked at.

    One that can't be settled now waits its turn again, so that it does not hold up the others; nor does a gateway
    that does not answer hold up those of another.
    """
    with Session(parts.database.reading, expire_on_commit=False) as session:
        due = session.scalars(
            select(PaymentAttempt)
            .where(PaymentAttempt.state.not_in(ENDED), PaymentAttempt.next_look_at <= now())
            .order_by(PaymentAttempt.next_look_at)
            .limit(most)
        ).all()
        session.expunge_all()
    silent: Counter[int] = Counter()
    looked = 0
    for attempt in due:
        if silent[attempt.gateway_id] < SILENT:
            silent[attempt.gateway_id] += not _swept(parts, attempt)
            looked += 1
    return looked


def _swept(parts: Parts, attempt: PaymentAttempt) -> bool:
    """Look at one attempt; False when its gateway does not answer."""
    _look_again(parts, attempt)
    try:
        look_up(parts, attempt.id)
    except (OutcomeUnknown, GatewayBusy):
        return False
    except GatewayError:
        pass  # noted with the attempt
    except Exception:  # one attempt that can't be settled must not stop those behind it; a person is told
        log.exception("attempt %s can't be settled", attempt.id)
        _ask_a_person(parts, attempt.id, "settling it fails; the log says why")
    return True


# --- the answer for the page ----------------------------------------------------------------------------------------


def outcome_of(parts: Parts, attempt_id: UUID, intent: Intent | None = None) -> Outcome:
    """What the payer's page should do now. Reads only."""
    with parts.database.read() as connection:
        row = connection.execute(
            select(
                PaymentAttempt.state,
                PaymentAttempt.reason,
                Invoice.number,
                Payment.receipt_number,
            )
            .join(Invoice, Invoice.id == PaymentAttempt.invoice_id)
            .outerjoin(Payment, Payment.attempt_id == PaymentAttempt.id)
            .where(PaymentAttempt.id == attempt_id)
        ).one()
    match row.state:
        case State.SUCCEEDED if row.receipt_number is not None:
            return Paid(row.number, row.receipt_number)
        case State.REQUIRES_ACTION if intent and intent.client_secret and intent.status == "requires_action":
            return NeedsAction(attempt_id, intent.client_secret, intent.redirect_url)
        case State.DECLINED:
            return Declined(attempt_id, row.reason or "declined")
        case State.CANCELED | State.FAILED:
            return Declined(attempt_id, row.reason or "canceled", again=False)
        case _:
            return Checking(attempt_id)
