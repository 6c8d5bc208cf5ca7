"""Pay links: whoever holds one may pay one invoice, without signing in, and see no more than that needs.

A token of 256 random bits stands in a mail or a QR code. What is kept is its SHA-256, and of one on paper the token
itself, sealed, because a page that is printed again shows the same code again. One link of each medium stands per
invoice; a newer one replaces it. Opening a link, however often, changes nothing: mail scanners open links too.
"""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256

from flask_babel import lazy_gettext as _l
from sqlalchemy import CheckConstraint, Connection, ForeignKey, Index, String, Text, select, text, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from portal.audit import record
from portal.clock import now
from portal.db import Base, Utc
from portal.errors import Refusal
from portal.invoices.tables import Invoice
from portal.people import User
from portal.settings import Settings
from portal.vault import Vault

MEDIA = MAIL, PAPER = ("mail", "paper")
"""Where a link stands: in a mail to the patient, or in a QR code on the printed invoice and the desk's screen."""

_STANDS = "revoked_at IS NULL AND replaced_at IS NULL"


class PayLink(Base):
    """One link to one invoice. It stands until it is revoked or replaced, and works until it expires."""

    __tablename__ = "pay_links"
    __table_args__ = (
        CheckConstraint(f"medium IN {MEDIA}", name="medium_is_known"),
        CheckConstraint("token_sealed IS NULL OR medium = 'paper'", name="mail_keeps_a_hash_alone"),
        Index("uq_pay_links_public", "public_id", unique=True),
        Index("uq_pay_links_token", "token_hash", unique=True),
        Index("uq_pay_links_standing", "invoice_id", "medium", unique=True,
              sqlite_where=text(_STANDS), postgresql_where=text(_STANDS)),
        Index("ix_pay_links_invoice", "invoice_id"),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(primary_key=True)
    # Names the link in addresses and cookies; opens nothing by itself.
    public_id: Mapped[str] = mapped_column(String(32))
    token_hash: Mapped[str] = mapped_column(String(64))
    token_sealed: Mapped[str | None] = mapped_column(Text)
    invoice_id: Mapped[int] = mapped_column(ForeignKey(Invoice.id))
    medium: Mapped[str] = mapped_column(String(10))
    made_by: Mapped[int | None] = mapped_column(ForeignKey(User.id))
    made_at: Mapped[datetime] = mapped_column(Utc)
    expires_at: Mapped[datetime] = mapped_column(Utc)
    revoked_at: Mapped[datetime | None] = mapped_column(Utc)
    replaced_at: Mapped[datetime | None] = mapped_column(Utc)


@dataclass(frozen=True)
class NewLink:
    """A link that was just made: the one moment when its token is known."""

    id: int
    public_id: str
    token: str = field(repr=False)
    expires_at: datetime


def hash_of(token: str) -> str:
    """What is kept of a token, and looked up. Whatever else somebody puts in its place has a hash too."""
    return sha256(token.encode(errors="replace")).hexdigest()


def make_link(
    session: Session, vault: Vault, settings: Settings, invoice: Invoice, medium: str, *, by: int | None
) -> NewLink:
    """Make a link to a locked invoice; the one of this medium that stood before is replaced."""
    token, public_id, moment = secrets.token_urlsafe(32), secrets.token_hex(12), now()
    session.execute(
        update(PayLink)
        .where(
            PayLink.invoice_id == invoice.id,
            PayLink.medium == medium,
            PayLink.revoked_at.is_(None),
            PayLink.replaced_at.is_(None),
        )
        .values(replaced_at=moment, token_sealed=None)
        .execution_options(synchronize_session=False)
    )
    link = PayLink(
        public_id=public_id,
        token_hash=hash_of(token),
        token_sealed=vault.seal(token, _place(public_id)) if medium == PAPER else None,
        invoice_id=invoice.id,
        medium=medium,
        made_by=by,
        made_at=moment,
        expires_at=moment + timedelta(days=settings.number("pay_link_days")),
    )
    session.add(link)
    session.flush()
    return NewLink(link.id, public_id, token, link.expires_at)


def revoke_link(session: Session, invoice: Invoice, link_id: int, *, by: int | None) -> bool:
    """Take back a link of this invoice; False when it does not stand any more."""
    statement = (
        update(PayLink)
        .where(
            PayLink.id == link_id,
            PayLink.invoice_id == invoice.id,
            PayLink.revoked_at.is_(None),
            PayLink.replaced_at.is_(None),
        )
        .values(revoked_at=now(), token_sealed=None)
        .returning(PayLink.medium)
        .execution_options(synchronize_session=False)
    )
    medium = session.scalar(statement)
    if medium is None:
        return False
    record(
        session, "pay_link.revoked", f"invoice {invoice.number}", by=by, after=medium, patient_id=invoice.patient_id
    )
    return True


def paper_token(connection: Connection | Session, vault: Vault, invoice_id: int) -> str | None:
    """The token to show again as a QR code; None where no paper link of this invoice works now."""
    row = connection.execute(
        select(PayLink.public_id, PayLink.token_sealed).where(
            PayLink.invoice_id == invoice_id,
            PayLink.medium == PAPER,
            PayLink.revoked_at.is_(None),
            PayLink.replaced_at.is_(None),
            PayLink.expires_at > now(),
        )
    ).first()
    return vault.open(row.token_sealed, _place(row.public_id)) if row is not None and row.token_sealed else None


def seal_links_again(session: Session, vault: Vault) -> int:
    """Seal the tokens of paper links anew under the newest key; gives how many were."""
    count = 0
    for link in session.scalars(select(PayLink).where(PayLink.token_sealed.is_not(None)).with_for_update()):
        assert link.token_sealed is not None
        if vault.needs_sealing_again(link.token_sealed):
            place = _place(link.public_id)
            link.token_sealed = vault.seal(vault.open(link.token_sealed, place), place)
            count += 1
    session.flush()
    return count


# --- holding one ----------------------------------------------------------------------------------------------------


class LinkState(StrEnum):
    """How a link stands. What became of its invoice is another matter."""

    WORKS = "works"
    EXPIRED = "expired"
    REPLACED = "replaced"
    REVOKED = "revoked"


class LinkWorksNoMore(Refusal):
    """The link was revoked or replaced, or has expired. Nothing was charged."""

    status = 410
    title = _l("This payment link works no more. Nothing was charged.")
    message = _l("Open the link once more: it says what to do.")


def public_id_of(connection: Connection, token: str) -> str | None:
    """The link that a token opens, whatever has become of it; None for a token that we never gave out."""
    return connection.scalar(select(PayLink.public_id).where(PayLink.token_hash == hash_of(token)))


def state_of(expires_at: datetime, revoked_at: datetime | None, replaced_at: datetime | None) -> LinkState:
    """How a link with these dates stands now."""
    if revoked_at is not None:
        return LinkState.REVOKED
    if replaced_at is not None:
        return LinkState.REPLACED
    return LinkState.EXPIRED if expires_at <= now() else LinkState.WORKS


def check_link(session: Session, link_id: int, invoice: Invoice) -> None:
    """Whether a link still opens a locked invoice. Raises LinkWorksNoMore."""
    link = session.get(PayLink, link_id, populate_existing=True)
    if link is None or link.invoice_id != invoice.id:
        raise LinkWorksNoMore
    if state_of(link.expires_at, link.revoked_at, link.replaced_at) != LinkState.WORKS:
        raise LinkWorksNoMore


def _place(public_id: str) -> str:
    return f"pay_links.token_sealed:{public_id}"
