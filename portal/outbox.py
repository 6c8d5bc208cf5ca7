"""The outbox: a mail is queued in the same transaction as what it tells, and sent by the worker.

What goes into a mail is sealed at rest (a password-reset link is as good as a password), and forgotten once sent.
`event_key` makes a second mail for the same event impossible.
"""

import json
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import ForeignKey, Index, String, Text, select, text, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from portal.clock import now
from portal.db import Base, Utc, insert_ignoring_duplicates
from portal.vault import CannotOpen, Vault

LEASE = timedelta(minutes=2)
PATIENCE = timedelta(days=3)

log = logging.getLogger(__name__)


class OutboxMessage(Base):
    """One mail to one address about one event."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index("ix_outbox_waiting", "next_try_at",
              sqlite_where=text("sent_at IS NULL AND failed_at IS NULL"),
              postgresql_where=text("sent_at IS NULL AND failed_at IS NULL")),
        Index("ix_outbox_invoice", "invoice_id",
              sqlite_where=text("invoice_id IS NOT NULL"), postgresql_where=text("invoice_id IS NOT NULL")),
        Index("ix_outbox_patient", "patient_id",
              sqlite_where=text("patient_id IS NOT NULL"), postgresql_where=text("patient_id IS NOT NULL")),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(primary_key=True)
    event_key: Mapped[str] = mapped_column(String(120), unique=True)
    kind: Mapped[str] = mapped_column(String(40))
    recipient: Mapped[str] = mapped_column(String(254))
    words_sealed: Mapped[str | None] = mapped_column(Text)
    message_id: Mapped[str] = mapped_column(String(120))
    queued_at: Mapped[datetime] = mapped_column(Utc)
    next_try_at: Mapped[datetime] = mapped_column(Utc)
    tries: Mapped[int] = mapped_column(default=0)
    sent_at: Mapped[datetime | None] = mapped_column(Utc)
    failed_at: Mapped[datetime | None] = mapped_column(Utc)
    last_error: Mapped[str | None] = mapped_column(Text)
    # What it is about, and which member of staff asked for it; for the office to read (E4).
    invoice_id: Mapped[int | None] = mapped_column(ForeignKey("invoices.id"))
    patient_id: Mapped[int | None] = mapped_column(ForeignKey("patients.id"))
    queued_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    # Tries of which we never learned how they ended: the only ones after which a mail may have gone out twice.
    unanswered: Mapped[int] = mapped_column(default=0, server_default="0")


@dataclass(frozen=True)
class About:
    """What a mail is about, by ids, and who of the staff asked for it."""

    invoice_id: int | None = None
    patient_id: int | None = None
    queued_by: int | None = None


NOTHING = About()


@dataclass(frozen=True)
class Letter:
    """A claimed mail: what the worker needs to write and send it."""

    id: int
    kind: str
    recipient: str
    words: dict[str, Any]
    message_id: str
    tries: int


def queue_mail(
    session: Session,
    vault: Vault,
    kind: str,
    event_key: str,
    recipient: str,
    *,
    about: About = NOTHING,
    **words: Any,
) -> bool:
    """Queue one mail in the caller's transaction; False when this event has its mail already."""
    moment = now()
    return insert_ignoring_duplicates(
        session,
        OutboxMessage,
        event_key=event_key,
        kind=kind,
        recipient=recipient,
        words_sealed=vault.seal(json.dumps(words), _place(event_key)),
        message_id=f"<{uuid4()}@portal>",
        queued_at=moment,
        next_try_at=moment,
        tries=0,
        invoice_id=about.invoice_id,
        patient_id=about.patient_id,
        queued_by=about.queued_by,
    )


def claim_letter(session: Session, vault: Vault) -> Letter | None:
    """Lease the mail that has waited longest; several workers never lease the same one."""
    while (row := _longest_waiting(session)) is not None:
        assert row.words_sealed is not None, "a waiting mail has its words"
        row.tries += 1
        row.next_try_at = now() + LEASE
        try:
            words = json.loads(vault.open(row.words_sealed, _place(row.event_key)))
        except CannotOpen:
            # Its key is not on the ring. Like any other that can't be sent, it lets those behind it pass.
            log.error("mail %s (%s) can't be opened with the keys there are", row.id, row.kind)
            mark_failed(session, row.id, CannotOpen.__name__)
            session.flush()
            continue
        return Letter(row.id, row.kind, row.recipient, words, row.message_id, row.tries)
    return None


def _longest_waiting(session: Session) -> OutboxMessage | None:
    return session.scalars(
        select(OutboxMessage)
        .where(OutboxMessage.sent_at.is_(None), OutboxMessage.failed_at.is_(None), OutboxMessage.next_try_at <= now())
        .order_by(OutboxMessage.next_try_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).first()


def mark_sent(session: Session, letter_id: int) -> None:
    """The mail server took it. Its words are forgotten."""
    session.execute(
        update(OutboxMessage).where(OutboxMessage.id == letter_id).values(sent_at=now(), words_sealed=None)
    )


def mark_failed(session: Session, letter_id: int, why: str) -> None:
    """The mail server did not take it: try again later, for three days; then a person sees it as failed."""
    row = session.get_one(OutboxMessage, letter_id, with_for_update=True)
    row.last_error = why
    row.next_try_at = now() + min(timedelta(seconds=30) * 2 ** min(row.tries, 12), timedelta(hours=4))
    if now() - row.queued_at > PATIENCE:
        row.failed_at = now()
        row.words_sealed = None


def _place(event_key: str) -> str:
    return f"outbox.words_sealed:{event_key}"


def seal_mail_again(session: Session, vault: Vault) -> int:
    """Seal the words of waiting mail anew under the newest key; gives how many were."""
    count = 0
    for row in session.scalars(
        select(OutboxMessage).where(OutboxMessage.words_sealed.is_not(None)).with_for_update()
    ):
        assert row.words_sealed is not None
        if vault.needs_sealing_again(row.words_sealed):
            row.words_sealed = vault.seal(vault.open(row.words_sealed, _place(row.event_key)), _place(row.event_key))
            count += 1
    return count
