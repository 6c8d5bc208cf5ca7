"""The sweep: what went back at the gateway is found without any webhook (F7, F8)."""

import logging
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from portal.clock import now
from portal.gateway import GatewayBusy, GatewayError, OutcomeUnknown
from portal.parts import Parts
from portal.payments.tables import Case, ChargeLook, Payment, Refund
from portal.refunds.asking import find_again, look_again_later
from portal.refunds.following import follow_charge

SOONEST, LATEST = timedelta(minutes=10), timedelta(days=7)
WITH_A_CASE = timedelta(minutes=10)
TOO_OLD = timedelta(days=400)
"""No refund and no dispute comes after that (networks allow refunds for months, disputes for at most 18 weeks)."""
SILENT = 3  # a gateway that fails this often in one round is left in peace until the next

log = logging.getLogger(__name__)


def sweep_refunds(parts: Parts, most: int = 50) -> int:
    """Look up the refunds that are under way and the charges whose look is due; gives how many it looked at."""
    silent: Counter[int] = Counter()
    looked = 0
    for gateway_id, look in [*_refunds_due(parts, most), *_charges_due(parts, most)]:
        if silent[gateway_id] < SILENT:
            silent[gateway_id] += not _did(look)
            looked += 1
    return looked


def _did(look: Callable[[], None]) -> bool:
    """Take one look; False when the gateway does not answer."""
    try:
        look()
    except (OutcomeUnknown, GatewayBusy):
        return False
    except GatewayError as error:
        log.warning("a charge can't be looked up: %s %s", type(error).__name__, error)
    except Exception:  # one that can't be booked must not stop those behind it; the log tells
        log.exception("a charge can't be followed")
    return True


def _refunds_due(parts: Parts, most: int) -> list[tuple[int, Callable[[], None]]]:
    with parts.database.transaction() as session:
        due = session.scalars(
            select(Refund)
            .where(Refund.state.in_(("asked", "pending")), Refund.next_look_at <= now())
            .order_by(Refund.next_look_at)
            .limit(most)
            .with_for_update(skip_locked=True)
        ).all()
        for refund in due:
            look_again_later(refund)
        return [(one.gateway_id, partial(find_again, parts, one.id)) for one in due]


def _charges_due(parts: Parts, most: int) -> list[tuple[int, Callable[[], None]]]:
    """Their next look is written down before they are looked up: one that fails waits its turn again."""
    open_case = exists().where(Case.payment_id == Payment.id, Case.closed_at.is_(None))
    with parts.database.transaction() as session:
        due = session.execute(
            select(ChargeLook, Payment.gateway_id, Payment.received_at, open_case)
            .join(Payment, Payment.id == ChargeLook.payment_id)
            .where(ChargeLook.next_look_at <= now())
            .order_by(ChargeLook.next_look_at)
            .limit(most)
            .with_for_update(of=ChargeLook, skip_locked=True)
        ).all()
        looks: list[tuple[int, Callable[[], None]]] = []
        for look, gateway_id, received_at, has_case in due:
            age = now() - received_at
            if age > TOO_OLD and not has_case:
                session.delete(look)
                continue
            look.next_look_at = now() + (WITH_A_CASE if has_case else min(max(SOONEST, age / 4), LATEST))
            looks.append((gateway_id or 0, partial(follow_charge, parts, look.payment_id)))
        return looks


def look_now(parts: Parts, invoice_id: int) -> None:
    """Look up every charge of an invoice at once, because somebody asks. Raises GatewayError."""
    with Session(parts.database.reading) as session:
        charges = session.scalars(
            select(Payment.id)
            .where(Payment.invoice_id == invoice_id, Payment.nature == "payment", Payment.charge_id.is_not(None))
            .order_by(Payment.id)
        ).all()
        asked = session.scalars(
            select(Refund.id).where(Refund.invoice_id == invoice_id, Refund.state == "asked")
        ).all()
    for refund_id in asked:
        find_again(parts, refund_id)
    for payment_id in charges:
        follow_charge(parts, payment_id)
