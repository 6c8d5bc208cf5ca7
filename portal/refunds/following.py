"""Follow: the only place that books what went back at the gateway. Our own refunds, those made in the gateway's
dashboard, webhooks and the sweep all come here.

Each time the charge is fetched with its refunds and disputes, and the books follow what it says; doing it again
changes nothing.
"""

import logging
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, zip_longest
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal import audit
from portal.clock import now
from portal.gateway import ChargeStanding, Gateway, GatewayDispute, GatewayRefund, OutcomeUnknown
from portal.gateway.configured import keys_of
from portal.invoices.books import locked_invoice, take_receipt_numbers
from portal.invoices.tables import Adjustment, Invoice
from portal.letters.receipts import queue_refund_mail
from portal.money import format_money
from portal.parts import Parts
from portal.payments.cases import GOES_BACK, awaited_cents, case_of, follow_books, left_of, open_case
from portal.payments.tables import Case, Payment, PaymentAttempt, Refund
from portal.refunds import words
from portal.refunds.standing import name_of, row_against

TRIES = 4
AFTER = {"asked": 0, "pending": 1, "succeeded": 2, "failed": 3, "canceled": 3}
"""A refund only moves on: what the gateway said later counts, and one that failed stays so."""

NO_LONGER_OWED = "Refunded, no longer owed."
"""Stands on the invoice, where the patient reads it; why the money went back stays with the refund."""

GIVEN_TWICE = "given_twice"
"""What a person is told of a refund whose money had been given back by hand before (`by_hand.py`)."""

CREDITED = "credited"
"""What a person is asked about a refund from the dashboard: whether it is right that it is no longer owed."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChargePlace:
    """Where a payment's charge is: which gateway holds it, in which mode."""

    payment_id: int
    invoice_id: int
    gateway_id: int
    mode: str | None
    charge_id: str


def place_of(parts: Parts, payment_id: int) -> ChargePlace:
    """Where the payment's charge is. LookupError where it has none."""
    with parts.database.read() as connection:
        row = connection.execute(
            select(Payment.id, Payment.invoice_id, Payment.gateway_id, PaymentAttempt.mode, Payment.charge_id)
            .outerjoin(PaymentAttempt, PaymentAttempt.id == Payment.attempt_id)
            .where(Payment.id == payment_id, Payment.nature == "payment")
        ).first()
    if row is None or row.charge_id is None or row.gateway_id is None:
        raise LookupError(f"payment {payment_id} has no charge")
    return ChargePlace(row.id, row.invoice_id, row.gateway_id, row.mode, row.charge_id)


def gateway_at(parts: Parts, place: ChargePlace) -> Gateway:
    """The gateway that took the money, in the mode in which it did (G6)."""
    with parts.database.read() as connection:
        keys = keys_of(connection, place.gateway_id, place.mode)
    return parts.connect(keys.secret(parts.vault))


def follow_charge(parts: Parts, payment_id: int) -> None:
    """Fetch the payment's charge and let the books follow. Safe at any time, from anywhere, repeatedly.

    Raises GatewayError where the gateway can't be asked. What was fetched while somebody else's look was being booked
    may be the older of the two: then it is fetched again.
    """
    place = place_of(parts, payment_id)
    gateway = gateway_at(parts, place)
    for _try in range(TRIES):
        before = _fingerprint_of(parts, place)
        standing = gateway.look_at_charge(place.charge_id)
        with parts.database.transaction() as session:
            invoice = locked_invoice(session, place.invoice_id)
            if _fingerprint(session, place) == before:
                _follow(parts, session, invoice, session.get_one(Payment, payment_id), standing, place)
                return
    raise OutcomeUnknown("others are booking this charge all the time")


def _fingerprint_of(parts: Parts, place: ChargePlace) -> list[Any]:
    with Session(parts.database.reading) as session:
        return _fingerprint(session, place)


def _fingerprint(session: Session, place: ChargePlace) -> list[Any]:
    """What the books say of the charge now; any booking changes it. (An invoice's lock orders the bookings.)"""
    refunds = select(Refund.id, Refund.state).where(Refund.payment_id == place.payment_id, Refund.state != "asked")
    rows = select(Payment.id).where(Payment.reverses_id == place.payment_id, Payment.refund_id.is_not(None))
    disputes = select(Case.stage, Case.matched_cents, Case.amount_cents).where(
        Case.payment_id == place.payment_id, Case.kind == "dispute"
    )
    return [
        [tuple(row) for row in session.execute(refunds.order_by(Refund.id))],
        [tuple(row) for row in session.execute(rows.order_by(Payment.id))],
        [tuple(row) for row in session.execute(disputes)],
    ]


def _follow(
    parts: Parts,
    session: Session,
    invoice: Invoice,
    payment: Payment,
    standing: ChargeStanding,
    place: ChargePlace,
) -> None:
    problem = _stranger(payment, standing, place)
    if problem:
        log.error("payment %s: %s", payment.id, problem)
        return
    for refund in standing.refunds:
        _follow_refund(parts, session, invoice, payment, refund, place)
    if standing.disputes:
        _follow_disputes(session, invoice, payment, standing.disputes)
    _make_up_for_what_went_twice(session, payment)
    follow_books(session, invoice)


def _stranger(payment: Payment, standing: ChargeStanding, place: ChargePlace) -> str | None:
    """Why this can't be the payment's charge; None when it is (F12: a refund belongs to its own charge)."""
    if standing.id != payment.charge_id or standing.currency != payment.currency:
        return f"the charge is {standing.id} in {standing.currency}"
    if place.mode is not None and standing.live != (place.mode == "production"):
        return "the charge is of the other mode"
    return None


# --- refunds --------------------------------------------------------------------------------------------------------


def _follow_refund(
    parts: Parts, session: Session, invoice: Invoice, payment: Payment, told: GatewayRefund, place: ChargePlace
) -> None:
    refund = _known(session, payment, told) or _made_elsewhere(session, payment, told, place)
    if refund.refund_id is None and refund.state == "failed":  # it was given up, and is there after all
        refund.state, refund.needs_person, refund.ended_at = "asked", None, None
    refund.refund_id = told.id
    if AFTER[told.state] <= AFTER[refund.state]:
        return
    before, refund.state = refund.state, told.state
    if told.state in GOES_BACK and before == "asked":
        _book(session, invoice, payment, refund, told)
    elif before in GOES_BACK and told.state not in GOES_BACK:
        _book_back(session, invoice, payment, refund, told)
    elif told.state not in GOES_BACK:
        refund.needs_person = told.failure or told.state
    if told.state != "pending":
        refund.ended_at = now()
    if told.state == "succeeded":
        queue_refund_mail(session, parts.vault, invoice, payment, refund.amount_cents, str(refund.id))


def _known(session: Session, payment: Payment, told: GatewayRefund) -> Refund | None:
    """The row of a refund: by the gateway's id, or, where our answer got lost, by what we wrote on it."""
    of_payment = select(Refund).where(Refund.payment_id == payment.id).with_for_update()
    known = session.scalars(of_payment.where(Refund.refund_id == told.id)).first()
    if known is not None or told.reference is None:
        return known
    asked = session.scalars(of_payment.where(Refund.refund_id.is_(None))).all()
    return next((one for one in asked if str(one.request_id) == told.reference), None)


def _made_elsewhere(session: Session, payment: Payment, told: GatewayRefund, place: ChargePlace) -> Refund:
    """The row of a refund that somebody made in the gateway's own dashboard."""
    with_mode = place.mode or keys_of(session, place.gateway_id).mode
    refund = Refund(
        payment_id=payment.id,
        invoice_id=payment.invoice_id,
        gateway_id=place.gateway_id,
        mode=with_mode,
        refund_id=told.id,
        amount_cents=told.amount_cents,
        matched_cents=0,
        still_owed=False,
        reason="",
        state="asked",
        asked_at=told.created_at,
        next_look_at=now(),
    )
    session.add(refund)
    session.flush()
    return refund


def _book(session: Session, invoice: Invoice, payment: Payment, refund: Refund, told: GatewayRefund) -> None:
    """Money goes back. What a reversal expected, or was given by hand before, stands in the books already; the rest
    is booked now."""
    expected = min(refund.amount_cents, max(awaited_cents(session, payment), 0))
    posted = _bookable(session, payment, refund.amount_cents - expected)
    refund.matched_cents = refund.amount_cents - posted
    session.flush()
    if posted:
        row = _row(payment, "refund", -posted, told.id, told.created_at)
        row.receipt_number = take_receipt_numbers(session)[0]
        row.recorded_by, row.note = refund.asked_by, refund.reason
        session.add(row)
        _credit(session, invoice, refund, posted)
    if refund.matched_cents > expected:
        refund.needs_person = GIVEN_TWICE
        log.error("payment %s was given back by hand, and refund %s sends it back as well", payment.id, told.id)
    audit.record(
        session,
        "payment.refunded",
        f"payment {name_of(payment)} of invoice {invoice.number}",
        by=refund.asked_by,
        after=f"{format_money(refund.amount_cents, payment.currency)} {told.id}"
        + ("" if refund.request_id else ", made in Stripe"),
        patient_id=invoice.patient_id,
    )


def _bookable(session: Session, payment: Payment, cents: int) -> int:
    """How much of what went back at the gateway the books still have: none of what was given back by hand."""
    return min(cents, max(left_of(session, payment.invoice_id)[payment.id], 0))


def _make_up_for_what_went_twice(session: Session, payment: Payment) -> None:
    """Where a payment went back twice, by hand and at the gateway, and money then returns to the charge (another
    refund fails, a dispute is won), that makes up for it: now it went back once, and is booked as such."""
    session.flush()
    twice = _bookable(session, payment, -awaited_cents(session, payment))
    if twice <= 0:
        return
    refunds = select(Refund).where(Refund.payment_id == payment.id, Refund.state.in_(GOES_BACK))
    met: list[tuple[Refund | Case, str]] = [(one, "refund") for one in session.scalars(refunds.order_by(Refund.id))]
    dispute = case_of(session, payment.id, "dispute")
    for one, nature in [*met, *([(dispute, "dispute")] if dispute else [])]:
        cents = min(twice, one.matched_cents)
        if cents:
            rows = session.scalar(select(func.count()).where(Payment.reverses_id == payment.id))
            one.matched_cents, twice = one.matched_cents - cents, twice - cents
            session.add(_row(payment, nature, -cents, f"{payment.charge_id}/{rows}", now()))
            session.flush()


def _credit(session: Session, invoice: Invoice, refund: Refund, posted_cents: int) -> None:
    """No longer owed: credit what the refund would make owed again. One from the dashboard waits to be confirmed."""
    session.flush()
    session.refresh(invoice)
    again = min(posted_cents, max(invoice.balance_cents, 0))
    if refund.still_owed or invoice.voided_at is not None or again == 0:
        return
    session.add(
        Adjustment(
            invoice_id=invoice.id,
            amount_cents=-again,
            reason=NO_LONGER_OWED,
            made_at=now(),
            made_by=refund.asked_by,
        )
    )
    refund.credited_cents = again
    if refund.request_id is None:
        refund.needs_person = CREDITED
    session.flush()


def _book_back(session: Session, invoice: Invoice, payment: Payment, refund: Refund, told: GatewayRefund) -> None:
    """A refund that had counted as given back has failed: the gateway has the money again, and somebody is told."""
    posted = refund.amount_cents - refund.matched_cents
    if posted:
        session.add(_row(payment, "refund failed", posted, told.id, now()))
    refund.needs_person = told.failure or told.state
    log.error("refund %s of payment %s has %s: %s", told.id, payment.id, told.state, told.failure)
    audit.record(
        session,
        "refund.failed",
        f"payment {name_of(payment)} of invoice {invoice.number}",
        by=None,
        after=f"{format_money(refund.amount_cents, payment.currency)} {told.id}: {told.failure or told.state}",
        patient_id=invoice.patient_id,
    )
    session.flush()


def _row(payment: Payment, nature: str, amount_cents: int, gateways_id: str, at: datetime) -> Payment:
    """A row against the payment's charge. `gateways_id`: the refund's, or that of the dispute's balance entry."""
    return row_against(
        payment,
        nature,
        amount_cents,
        gateway_id=payment.gateway_id,
        channel=payment.channel,
        charge_id=payment.charge_id,
        refund_id=gateways_id,
        received_at=at,
    )


# --- disputes -------------------------------------------------------------------------------------------------------


def _follow_disputes(
    session: Session, invoice: Invoice, payment: Payment, disputes: tuple[GatewayDispute, ...]
) -> None:
    """Book what disputes hold back now, and keep one case about them; several of one charge count together."""
    case = case_of(session, payment.id, "dispute")
    stage = _stage(disputes)
    at_stake = sum(one.amount_cents for one in disputes if one.stage != "won")
    amount = min(at_stake or max(one.amount_cents for one in disputes), payment.amount_cents)
    if case is None:
        case = open_case(session, "dispute", payment, amount, disputes[0].reason or "disputed")
    case.amount_cents = max(case.amount_cents, amount)
    if case.stage != stage:
        audit.record(
            session, f"dispute.{stage}", f"payment {name_of(payment)} of invoice {invoice.number}",
            by=None, before=case.stage, after=stage, patient_id=invoice.patient_id,
        )  # fmt: skip
        # Once decided against the clinic, the case stays until a person has seen it; won, it is over.
        case.stage, case.closed_at = stage, now() if stage == "won" else None
    withdrawn = sum(one.withdrawn_cents for one in disputes)
    _book_withdrawn(session, payment, case, withdrawn, _newest_entry(session, payment, disputes))


def _newest_entry(session: Session, payment: Payment, disputes: tuple[GatewayDispute, ...]) -> str:
    """What to name a change after: the balance entry that made it. No two rows have the same name."""
    named = set(session.scalars(select(Payment.refund_id).where(Payment.reverses_id == payment.id)))
    newest_first = chain.from_iterable(zip_longest(*(one.entries for one in disputes)))
    return next((entry for entry in newest_first if entry and entry not in named), disputes[0].id)


def _stage(disputes: tuple[GatewayDispute, ...]) -> str:
    """How far they have come together: the one that is furthest from being over counts."""
    stages = {one.stage for one in disputes}
    return next(stage for stage in ("open", "inquiry", "lost", "won") if stage in stages)


def _book_withdrawn(session: Session, payment: Payment, case: Case, withdrawn_cents: int, entry: str) -> None:
    """Bring the books to what the disputes hold back. Money that was reversed here already, awaiting its refund, has
    come back to the cardholder this way instead; it is matched, as a refund would be."""
    booked = -sum(
        session.scalars(
            select(Payment.amount_cents).where(
                Payment.reverses_id == payment.id, Payment.nature.in_(("dispute", "reinstatement"))
            )
        )
    )
    change = withdrawn_cents - booked - case.matched_cents
    if change > 0:
        if case.stage == "lost":
            case.closed_at = None  # another one was lost since somebody has seen it
        expected = min(change, max(awaited_cents(session, payment), 0))
        matched = change - _bookable(session, payment, change - expected)
        matched = min(matched, case.amount_cents - case.matched_cents)
        case.matched_cents += matched
        if change > matched:
            session.add(_row(payment, "dispute", matched - change, entry, now()))
    elif change < 0:
        unmatched = min(-change, case.matched_cents)
        case.matched_cents -= unmatched
        if -change > unmatched:
            session.add(_row(payment, "reinstatement", -change - unmatched, entry, now()))
    session.flush()


def close_dispute(session: Session, invoice_id: int, case_id: int, by: int | None) -> None:
    """A person has seen a lost dispute and decided what to do about it. Doing it again changes nothing."""
    invoice = locked_invoice(session, invoice_id)
    case = session.get(Case, case_id, with_for_update=True) if 0 < case_id < 2**31 else None
    if case is None or (case.invoice_id, case.kind) != (invoice_id, "dispute"):
        raise words.NotThisInvoice(number=invoice.number)
    if case.stage != "lost" or case.closed_at is not None:
        return
    case.closed_at = now()
    audit.record(session, "dispute.seen", f"invoice {invoice.number}", by=by, patient_id=invoice.patient_id)
