"""What the holder of a pay link sees: one invoice's money, with no name, no practitioner and no line of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, String, bindparam, cast, literal, select

from portal.invoices.tables import Invoice
from portal.outbox import OutboxMessage
from portal.paylinks import LinkState, PayLink, state_of
from portal.payments.reading import ATTEMPTS, PAYABLES, AttemptStatus, LiveAttempt, Payable, payable_of
from portal.payments.tables import Payment, PaymentAttempt


@dataclass(frozen=True)
class HeldLink:
    """A link whose holder has proved that they hold it, with the invoice that it opens."""

    id: int
    public_id: str
    state: LinkState
    expires_at: datetime
    invoice: Payable

    def is_own(self, attempt: LiveAttempt | AttemptStatus) -> bool:
        """Whether an attempt came through this link."""
        return attempt.pay_link_id == self.id


_HELD = PAYABLES.add_columns(
    PayLink.id.label("link_id"),
    PayLink.expires_at,
    PayLink.revoked_at,
    PayLink.replaced_at,
).join(PayLink, PayLink.invoice_id == Invoice.id).where(PayLink.public_id == bindparam("public_id"))  # fmt: skip


def held_link(connection: Connection, public_id: str) -> HeldLink | None:
    """The link of this name with its invoice, for somebody who has proved that they hold it."""
    row: Any = connection.execute(_HELD, {"public_id": public_id}).first()
    if row is None:
        return None
    state = state_of(row.expires_at, row.revoked_at, row.replaced_at)
    return HeldLink(row.link_id, public_id, state, row.expires_at, payable_of(row))


_ATTEMPT = ATTEMPTS.where(PaymentAttempt.invoice_id == bindparam("invoice_id"))


def attempt_on(connection: Connection, link: HeldLink, attempt_id: UUID) -> AttemptStatus | None:
    """An attempt on the link's invoice, whoever's."""
    row = connection.execute(_ATTEMPT, {"invoice_id": link.invoice.id, "attempt_id": attempt_id}).first()
    return AttemptStatus(**row._mapping) if row else None


@dataclass(frozen=True)
class LinkReceipt:
    """A payment that came through a link. `is_mailed`: whether its receipt goes out by mail."""

    number: str
    amount_cents: int
    currency: str
    received_at: datetime
    typed_email: str | None
    is_mailed: bool


_RECEIPTS = (
    select(
        Payment.receipt_number.label("number"),
        Payment.amount_cents,
        Payment.currency,
        Payment.received_at,
        PaymentAttempt.receipt_email.label("typed_email"),
        select(OutboxMessage.id)
        .where(OutboxMessage.event_key == literal("receipt:") + cast(Payment.id, String))
        .exists()
        .label("is_mailed"),
    )
    .join(PaymentAttempt, PaymentAttempt.id == Payment.attempt_id)
    .where(PaymentAttempt.pay_link_id == bindparam("link_id"), Payment.receipt_number.is_not(None))
    .order_by(Payment.id.desc())
    .limit(1)
)
_RECEIPT = _RECEIPTS.where(Payment.receipt_number == bindparam("number"))


def receipt_of(connection: Connection, link: HeldLink, number: str | None = None) -> LinkReceipt | None:
    """The payment through this link with this receipt number; without one, the newest. Nobody else's payment."""
    which = {"link_id": link.id} if number is None else {"link_id": link.id, "number": number}
    row = connection.execute(_RECEIPTS if number is None else _RECEIPT, which).first()
    return LinkReceipt(**row._mapping) if row else None
