"""The inbox of webhooks: filed once, answered at once; the worker then fetches what the hint is about.

Nothing of the body is kept but ids: the object itself is fetched from the gateway, so an old, repeated or reordered
event can do no harm (Stripe promises neither order nor uniqueness).
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ForeignKey, Index, String, Text, func, select, text, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from portal.clock import now
from portal.db import Base, Database, Utc, insert_ignoring_duplicates
from portal.gateway import GatewayEvent
from portal.gateway.configured import ConfiguredGateway

MAX_BODY_BYTES = 256 * 1024
CLAIM = timedelta(minutes=5)
PATIENCE = timedelta(days=3)
FIRST_PAUSE = timedelta(seconds=15)
LONGEST_PAUSE = timedelta(hours=6)

log = logging.getLogger(__name__)


class WebhookEvent(Base):
    """One event of one gateway, by the ids that it names. Filed once, however often it is sent."""

    __tablename__ = "webhook_events"
    __table_args__ = (
        Index("uq_webhook_events_event", "gateway_id", "event_id", unique=True),
        Index("ix_webhook_events_received", "gateway_id", "mode", "received_at"),
        Index("ix_webhook_events_waiting", "next_try_at",
              sqlite_where=text("handled_at IS NULL"), postgresql_where=text("handled_at IS NULL")),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(primary_key=True)
    gateway_id: Mapped[int] = mapped_column(ForeignKey(ConfiguredGateway.id))
    mode: Mapped[str] = mapped_column(String(10))
    event_id: Mapped[str] = mapped_column(String(255))
    type: Mapped[str] = mapped_column(String(80))
    object_id: Mapped[str] = mapped_column(String(255))
    intent_id: Mapped[str | None] = mapped_column(String(255))
    happened_at: Mapped[datetime] = mapped_column(Utc)
    received_at: Mapped[datetime] = mapped_column(Utc)
    next_try_at: Mapped[datetime] = mapped_column(Utc)
    tries: Mapped[int] = mapped_column(default=0)
    handled_at: Mapped[datetime | None] = mapped_column(Utc)
    outcome: Mapped[str | None] = mapped_column(Text)


@dataclass(frozen=True)
class Hint:
    """A claimed event: whom to ask about what."""

    id: int
    gateway_id: int
    mode: str
    type: str
    object_id: str
    intent_id: str | None


def file_event(session: Session, gateway_id: int, mode: str, event: GatewayEvent) -> bool:
    """File an event; False when it was filed before.

    One that is about no payment leads nowhere. Its object may be a saved card or a customer, whose ids are sealed
    wherever they are kept: here they are not.
    """
    moment = now()
    return insert_ignoring_duplicates(
        session,
        WebhookEvent,
        gateway_id=gateway_id,
        mode=mode,
        event_id=event.id,
        type=event.type,
        object_id=event.object_id if event.intent_id else "",
        intent_id=event.intent_id,
        happened_at=event.created_at,
        received_at=moment,
        next_try_at=moment,
        tries=0,
    )


def claim_hint(session: Session) -> Hint | None:
    """Take the oldest event that waits, for a few minutes; several workers never take the same one."""
    row = session.scalars(
        select(WebhookEvent)
        .where(WebhookEvent.handled_at.is_(None), WebhookEvent.next_try_at <= now())
        .order_by(WebhookEvent.next_try_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).first()
    if row is None:
        return None
    row.tries += 1
    row.next_try_at = now() + CLAIM
    return Hint(row.id, row.gateway_id, row.mode, row.type, row.object_id, row.intent_id)


def handle_waiting_events(database: Database, handle: Callable[[Hint], str], most: int = 100) -> int:
    """Work off the inbox; gives how many were handled. One that fails waits longer each time, for three days."""
    done = 0
    for _ in range(most):
        with database.transaction() as session:
            hint = claim_hint(session)
        if hint is None:
            break
        try:
            outcome = handle(hint)
        except Exception as error:  # noqa: BLE001  one bad event must not stop those behind it; it is kept and shown
            log.warning("webhook event %s failed: %s", hint.id, type(error).__name__)
            _postpone(database, hint.id, type(error).__name__)
            continue
        with database.transaction() as session:
            session.execute(
                update(WebhookEvent).where(WebhookEvent.id == hint.id).values(handled_at=now(), outcome=outcome)
            )
        done += 1
    return done


def _postpone(database: Database, event_id: int, why: str) -> None:
    with database.transaction() as session:
        row = session.get_one(WebhookEvent, event_id, with_for_update=True)
        row.outcome = why
        row.next_try_at = now() + min(FIRST_PAUSE * 2 ** min(row.tries - 1, 12), LONGEST_PAUSE)
        if now() - row.received_at > PATIENCE:
            row.handled_at = now()
            row.outcome = f"given up: {why}"


def waiting_events(session: Session) -> int:
    """How many events wait to be handled."""
    return (
        session.scalar(select(func.count()).select_from(WebhookEvent).where(WebhookEvent.handled_at.is_(None))) or 0
    )
