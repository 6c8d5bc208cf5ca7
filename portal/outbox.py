"""The outbox: a mail is queued in the same transaction as what it tells, and sent by the worker.

What goes into a mail is sealed at rest (a password-reset link is as good as a password), and forgotten once it is
sent or given up; the row stays, as the record of what was sent to whom. `event_key` makes a second mail for the same
event impossible.

A worker leases a mail in a short transaction, sends it, and writes down how that ended. `tries` is the number of the
lease: whoever no longer holds it writes nothing, except that the mail server took the mail, which stays true. While a
try is open, `last_error` is empty; a lease that ran out with the try still open is counted in `unanswered`.
"""

import json
import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import uuid4

from flask_babel import lazy_gettext as _l
from flask_babel.speaklater import LazyString
from sqlalchemy import Connection, ForeignKey, Index, String, Text, case, func, select, text, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from portal.clock import now
from portal.db import Base, Utc, insert_ignoring_duplicates
from portal.vault import CannotOpen, Vault

SENDING_S = 60
"""Longer than this nobody tries to send one mail; the line is cut then, whatever the mail server does."""

LEASE = timedelta(minutes=3)
"""So long a mail is one worker's: `SENDING_S`, and two minutes by which the clocks of workers may differ."""

UNWRITTEN = ""
"""Stands for the words of a mail that is written when it is sent."""

PATIENCE = timedelta(days=3)
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=4)
PUT_OFF_AT_ONCE = 1_000

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
    registration_id: Mapped[int | None] = mapped_column(ForeignKey("registrations.id"))
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
    """A claimed mail: what the worker needs to write and send it. `registration_id`: one that has no words yet."""

    id: int
    kind: str
    recipient: str
    words: dict[str, Any]
    message_id: str
    tries: int
    registration_id: int | None = None


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
    sealed = vault.seal(json.dumps(words), _place(event_key))
    return _queue(session, kind, event_key, recipient, sealed, about)


def queue_unwritten(
    session: Session, kind: str, event_key: str, recipient: str, *, about: About, registration_id: int
) -> bool:
    """Queue a mail about a registration that is written when it is sent, from what is true then: so it holds no
    words, and nothing to seal. False when this event has its mail already.
    """
    return _queue(session, kind, event_key, recipient, UNWRITTEN, about, registration_id=registration_id)


def _queue(
    session: Session, kind: str, event_key: str, recipient: str, sealed: str, about: About, **also: object
) -> bool:
    moment = now()
    return insert_ignoring_duplicates(
        session,
        OutboxMessage,
        event_key=event_key,
        kind=kind,
        recipient=recipient,
        words_sealed=sealed,
        message_id=str(uuid4()),
        queued_at=moment,
        next_try_at=moment,
        tries=0,
        invoice_id=about.invoice_id,
        patient_id=about.patient_id,
        queued_by=about.queued_by,
        **also,
    )


# --- how a try ends -------------------------------------------------------------------------------------------------


class Trouble(StrEnum):
    """Why a mail was not sent. `last_error` begins with it, and holds the server's numbers: no address, no text."""

    UNREACHABLE = "unreachable"
    NOT_LET_IN = "not let in"
    BROKEN_OFF = "broken off"
    LATER = "later"
    NOT_AN_ADDRESS = "not an address"
    NO_SUCH_ADDRESS = "no such address"
    MAILBOX_FULL = "mailbox full"
    SENDER_REFUSED = "sender refused"
    MAIL_REFUSED = "mail refused"
    NOT_WRITTEN = "not written"
    NOT_OPENED = "not opened"
    NIGHT = "night"
    NOT_NEEDED = "not needed"


WHY: dict[str, LazyString] = {
    Trouble.UNREACHABLE: _l("The mail server could not be reached."),
    Trouble.NOT_LET_IN: _l("The mail server did not accept the portal's name and password."),
    Trouble.BROKEN_OFF: _l("The connection to the mail server broke off while this email was being sent."),
    Trouble.LATER: _l("The mail server asked us to try again later."),
    Trouble.NOT_AN_ADDRESS: _l("What is on file is not an email address that we can write to."),
    Trouble.NO_SUCH_ADDRESS: _l("The mail server said that this address does not exist."),
    Trouble.MAILBOX_FULL: _l("The mail server said that this mailbox is full."),
    Trouble.SENDER_REFUSED: _l("The mail server did not accept the clinic's own address as the sender."),
    Trouble.MAIL_REFUSED: _l("The mail server refused this email."),
    Trouble.NOT_WRITTEN: _l("This email could not be written. That is a fault of the portal."),
    Trouble.NOT_OPENED: _l("This email was sealed with a key that the portal no longer has."),
    Trouble.NIGHT: _l("It waited until it was night at the clinic. It goes out in the morning."),
    Trouble.NOT_NEEDED: _l("When its turn came, this email was not needed or not wanted any more."),
}


@dataclass(frozen=True)
class Mishap:
    """How a try ended that did not send the mail.

    `detail`: for whoever runs the portal; numbers and kinds of failure only. `for_good`: trying again is of no use.
    `unanswered`: the whole mail went out, and the server's answer to it never came.
    """

    trouble: Trouble
    detail: str = ""
    for_good: bool = False
    unanswered: bool = False

    def __str__(self) -> str:
        return f"{self.trouble}: {self.detail}" if self.detail else str(self.trouble)


# --- for the office to read -----------------------------------------------------------------------------------------


class MailState(StrEnum):
    """How a mail stands."""

    QUEUED = "queued"
    TRYING_AGAIN = "trying again"
    SENT = "sent"
    FAILED = "failed"
    DROPPED = "dropped"


STATE_WORDS: dict[MailState, LazyString] = {
    MailState.QUEUED: _l("Queued"),
    MailState.TRYING_AGAIN: _l("Trying again"),
    MailState.SENT: _l("Sent"),
    MailState.FAILED: _l("Failed"),
    MailState.DROPPED: _l("Not sent"),
}


def state_of(row: Any) -> MailState:
    """How a mail stands. `row` has `sent_at`, `failed_at`, `tries` and `last_error` of the outbox."""
    if row.sent_at is not None:
        return MailState.SENT
    if row.failed_at is not None:
        return MailState.DROPPED if row.last_error == Trouble.NOT_NEEDED else MailState.FAILED
    has_failed_before = row.tries > 1 or row.last_error is not None
    return MailState.TRYING_AGAIN if has_failed_before else MailState.QUEUED


def why_in_words(row: Any) -> LazyString | str:
    """Why a mail is not sent, as a sentence for staff; empty where nothing went wrong, or it was sent in the end."""
    if row.sent_at is not None or row.last_error is None:
        return ""
    return WHY.get(row.last_error.partition(":")[0], _l("The mail server did not take this email."))


def may_have_gone_twice(row: Any) -> bool:
    """Whether a try before the one that was answered may have sent it as well. `row` has `sent_at`, `unanswered`."""
    return row.sent_at is not None and row.unanswered > 0


@dataclass(frozen=True)
class Waiting:
    """How the outbox stands: how many wait, since when, and how many were given up lately."""

    count: int
    oldest: datetime | None
    failed_lately: int


def waiting_mail(connection: Connection, lately: timedelta = timedelta(days=7)) -> Waiting:
    """For whoever runs the portal to watch."""
    count, oldest = connection.execute(select(func.count(), func.min(OutboxMessage.queued_at)).where(*_WAITS)).one()
    failed = select(func.count()).where(
        OutboxMessage.failed_at > now() - lately, OutboxMessage.last_error != Trouble.NOT_NEEDED
    )
    return Waiting(count, oldest, connection.scalar(failed) or 0)


# --- for the worker -------------------------------------------------------------------------------------------------

_WAITS = (OutboxMessage.sent_at.is_(None), OutboxMessage.failed_at.is_(None))


def is_mail_due(connection: Connection) -> bool:
    """Whether any mail is to be sent now."""
    due = select(OutboxMessage.id).where(*_WAITS, OutboxMessage.next_try_at <= now()).limit(1)
    return connection.scalar(due) is not None


def claim_letter(session: Session, vault: Vault, host: str = "localhost") -> Letter | None:
    """Lease the mail that has waited longest; several workers never lease the same one.

    `host`: the portal's own, for the Message-ID, which a mail gets at its first try and keeps.
    """
    while (row := _longest_waiting(session)) is not None:
        assert row.words_sealed is not None, "a waiting mail has its words"
        _count_open_try(row)
        row.tries += 1
        row.next_try_at = now() + LEASE
        if not row.message_id.startswith("<"):
            row.message_id = f"<{row.message_id}@{host}>"
        try:
            words = _words_of(vault, row)
        except CannotOpen:
            # Its key is not on the ring. Like any other that can't be sent, it lets those behind it pass.
            log.error("mail %s (%s) can't be opened with the keys there are", row.id, row.kind)
            _note(row, Mishap(Trouble.NOT_OPENED))
            continue
        return Letter(row.id, row.kind, row.recipient, words, row.message_id, row.tries, row.registration_id)
    return None


def _words_of(vault: Vault, row: OutboxMessage) -> dict[str, Any]:
    if row.words_sealed == UNWRITTEN:
        return {}
    assert row.words_sealed is not None
    found: dict[str, Any] = json.loads(vault.open(row.words_sealed, _place(row.event_key)))
    return found


def _longest_waiting(session: Session) -> OutboxMessage | None:
    return session.scalars(
        select(OutboxMessage)
        .where(*_WAITS, OutboxMessage.next_try_at <= now())
        .order_by(OutboxMessage.next_try_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).first()


def _count_open_try(row: OutboxMessage) -> None:
    """Its lease ran out before anybody wrote down how the try ended: killed, maybe after the server's yes."""
    if row.tries and row.last_error is None:
        row.unanswered += 1
    row.last_error = None


def mark_sent(session: Session, letter: Letter) -> None:
    """The mail server took it. Its words are forgotten. True whoever holds the lease by now, and it stays so."""
    session.execute(
        update(OutboxMessage)
        .where(OutboxMessage.id == letter.id, OutboxMessage.sent_at.is_(None))
        .values(sent_at=now(), failed_at=None, last_error=None, words_sealed=None)
        .execution_options(synchronize_session=False)
    )


def mark_failed(session: Session, letter: Letter, mishap: Mishap) -> None:
    """The mail server did not take it: try again later, for three days; then a person sees it as failed.

    Writes nothing once the lease has gone to another worker, or the mail was sent after all.
    """
    row = session.scalar(
        select(OutboxMessage)
        .where(OutboxMessage.id == letter.id, OutboxMessage.tries == letter.tries, *_WAITS)
        .with_for_update()
    )
    if row is not None:
        _note(row, mishap)


def _note(row: OutboxMessage, mishap: Mishap) -> None:
    row.last_error = str(mishap)
    row.unanswered += mishap.unanswered
    row.next_try_at = now() + wait_after(row.tries)
    if mishap.for_good or now() - row.queued_at > PATIENCE:
        row.failed_at = now()
        row.words_sealed = None


def wait_after(tries: int) -> timedelta:
    """How long a mail rests after so many tries: a minute, then twice as long each time, at most four hours."""
    return min(FIRST_WAIT * (1 << min(tries - 1, 12)), LONGEST_WAIT)


def put_off_due_mail(session: Session, mishap: Mishap) -> int:
    """No mail can be sent just now: let all that is due rest, as after a try of each; gives how many that were."""
    due = session.execute(
        select(OutboxMessage.id, OutboxMessage.tries)
        .where(*_WAITS, OutboxMessage.next_try_at <= now())
        .order_by(OutboxMessage.next_try_at)
        .limit(PUT_OFF_AT_ONCE)
        .with_for_update(skip_locked=True)
    ).all()
    for tries in {row.tries for row in due}:
        _put_off(session, [row.id for row in due if row.tries == tries], tries, mishap)
    return len(due)


def _put_off(session: Session, ids: list[int], tries: int, mishap: Mishap) -> None:
    was_open = case(((OutboxMessage.tries > 0) & OutboxMessage.last_error.is_(None), 1), else_=0)
    these = update(OutboxMessage).where(OutboxMessage.id.in_(ids)).execution_options(synchronize_session=False)
    session.execute(
        these.values(
            unanswered=OutboxMessage.unanswered + was_open,
            last_error=str(mishap),
            tries=tries + 1,
            next_try_at=now() + wait_after(tries + 1),
        )
    )
    session.execute(
        these.where(OutboxMessage.queued_at < now() - PATIENCE).values(failed_at=now(), words_sealed=None)
    )


def _place(event_key: str) -> str:
    return f"outbox.words_sealed:{event_key}"


def seal_mail_again(session: Session, vault: Vault) -> int:
    """Seal the words of waiting mail anew under the newest key; gives how many were.

    A mail whose key is gone already stays as it is: it must not keep the other secrets from being sealed.
    """
    count = 0
    for row in session.scalars(
        select(OutboxMessage)
        .where(OutboxMessage.words_sealed.is_not(None), OutboxMessage.words_sealed != UNWRITTEN)
        .with_for_update()
    ):
        assert row.words_sealed is not None
        if vault.needs_sealing_again(row.words_sealed):
            with suppress(CannotOpen):
                words = vault.open(row.words_sealed, _place(row.event_key))
                row.words_sealed = vault.seal(words, _place(row.event_key))
                count += 1
    return count
