"""Who changed what, and who looked at whose record.

Changes are appended in the transaction that makes them, never changed, and chained by the worker: each link's hash
covers the entry and the link before it, so that nobody can take one out or alter it unseen. Views are appended to a
plain log of their own.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, ForeignKey, Index, String, Text, exists, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from portal.clock import now
from portal.db import Base, Database, Utc

FIRST_HASH = "0" * 64
AT_ONCE = 500
LATE = 10_000


class AuditEntry(Base):
    """One change: who, when, what, before and after. Never a secret."""

    __tablename__ = "audit_entries"
    __table_args__ = (
        Index("ix_audit_entries_at", "at", "id"),
        Index("ix_audit_entries_action", "action", "id"),
        Index("ix_audit_entries_user", "user_id", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(Utc)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    action: Mapped[str] = mapped_column(String(60))
    subject: Mapped[str] = mapped_column(String(200))
    before: Mapped[str] = mapped_column(Text, default="")
    after: Mapped[str] = mapped_column(Text, default="")
    patient_id: Mapped[int | None] = mapped_column(ForeignKey("patients.id"))


class AuditLink(Base):
    """One link of the chain over the entries, in the order in which the worker met them."""

    __tablename__ = "audit_chain"

    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    entry_id: Mapped[int] = mapped_column(ForeignKey(AuditEntry.id), unique=True)
    hash: Mapped[str] = mapped_column(String(64))


class RecordView(Base):
    """Somebody of the staff looked at a patient's record."""

    __tablename__ = "access_log"
    __table_args__ = (
        Index("ix_access_log_patient", "patient_id", "id"),
        Index("ix_access_log_user", "user_id", "id"),
        Index("ix_access_log_at", "at", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(Utc)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    patient_id: Mapped[int] = mapped_column(ForeignKey("patients.id"))
    page: Mapped[str] = mapped_column(String(60))


def record(
    session: Session,
    action: str,
    subject: str,
    *,
    by: int | None,
    before: object = "",
    after: object = "",
    patient_id: int | None = None,
) -> None:
    """Append a change to the audit log, in the caller's transaction.

    `action` is a short key such as "setting.changed"; `subject` names the thing as people know it ("invoice 10482").
    `by` is the id of the account, None for the command line and the worker. Never pass a secret.
    """
    session.add(
        AuditEntry(
            at=now(),
            user_id=by,
            action=action,
            subject=subject[:200],
            before=str(before),
            after=str(after),
            patient_id=patient_id,
        )
    )


def note_view(database: Database, user_id: int, patient_id: int, page: str) -> None:
    """Append to the access log that somebody looked at a patient's record."""
    with database.transaction() as session:
        session.add(RecordView(at=now(), user_id=user_id, patient_id=patient_id, page=page))


# --- the chain ------------------------------------------------------------------------------------------------------


def chain_entries(database: Database, most: int = AT_ONCE) -> int:
    """Link the entries that wait into the chain, oldest first; gives how many. The worker calls this.

    Two workers at once: the second one's position is taken already, and the database refuses it.
    """
    try:
        with database.transaction() as session:
            return _chain(session, most)
    except IntegrityError:
        return 0


def _chain(session: Session, most: int) -> int:
    last = session.scalars(select(AuditLink).order_by(AuditLink.position.desc()).limit(1)).first()
    position, link = (last.position, last.hash) if last else (0, FIRST_HASH)
    # Numbers can become visible out of order, a little: what is far behind the newest link has been seen.
    newest = session.scalar(select(func.max(AuditLink.entry_id))) or 0
    waiting = session.scalars(
        select(AuditEntry).where(AuditEntry.id > newest - LATE, _is_unlinked()).order_by(AuditEntry.id).limit(most)
    ).all()
    for entry in waiting:
        position, link = position + 1, link_hash(link, entry)
        session.add(AuditLink(position=position, entry_id=entry.id, hash=link))
    return len(waiting)


def _is_unlinked() -> ColumnElement[bool]:
    return ~exists().where(AuditLink.entry_id == AuditEntry.id)


def link_hash(before: str, entry: AuditEntry) -> str:
    """SHA-256 over the link before and the entry, spelled in one way."""
    spelled = json.dumps(
        [before, entry.id, entry.at.isoformat(), entry.user_id, entry.action, entry.subject, entry.before,
         entry.after, entry.patient_id],
        ensure_ascii=True, separators=(",", ":"),
    )  # fmt: skip
    return hashlib.sha256(spelled.encode()).hexdigest()


@dataclass(frozen=True)
class ChainState:
    """How the chain stands: the first position whose hash does not fit (None: it holds), and how many rows wait."""

    broken_at: int | None
    length: int
    waiting: int


def check_chain(session: Session) -> ChainState:
    """Work the whole chain out again, link by link. It is read in pieces: no transaction stays open for long."""
    link, broken_at, length = FIRST_HASH, None, 0
    for length, (kept, entry) in enumerate(_links(session), start=1):
        link = link_hash(link, entry) if entry is not None else ""
        if kept.position != length or kept.hash != link:
            broken_at = length
            break
    waiting = session.scalar(select(func.count()).select_from(AuditEntry).where(_is_unlinked())) or 0
    return ChainState(broken_at, length, waiting)


def _links(session: Session) -> Iterator[tuple[AuditLink, AuditEntry | None]]:
    """Every link in order, with its entry."""
    linked = (
        select(AuditLink, AuditEntry)
        .outerjoin(AuditEntry, AuditEntry.id == AuditLink.entry_id)
        .order_by(AuditLink.position)
        .limit(AT_ONCE)
    )
    last: int | None = None
    while rows := session.execute(linked if last is None else linked.where(AuditLink.position > last)).all():
        yield from ((kept, entry) for kept, entry in rows)
        last = rows[-1][0].position


@dataclass(frozen=True)
class ChainEnd:
    """Where the chain ends just now: its length, the newest entry in it (0: none yet), and how many rows wait."""

    length: int
    newest_entry: int
    waiting: int


def chain_end(connection: Connection | Session) -> ChainEnd:
    """How far the chain reaches, at a glance: nothing is worked out again. (`check_chain` does that.)"""
    last = connection.execute(
        select(AuditLink.position, AuditLink.entry_id).order_by(AuditLink.position.desc()).limit(1)
    ).first()
    position, entry_id = (last.position, last.entry_id) if last else (0, 0)
    waits = select(func.count()).where(AuditEntry.id > entry_id - LATE, _is_unlinked())
    return ChainEnd(position, entry_id, connection.scalar(waits.select_from(AuditEntry)) or 0)
