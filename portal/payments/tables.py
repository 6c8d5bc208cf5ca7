"""Payment attempts, posted payments, and the cases that a person must look at."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, Text, Uuid, false, text
from sqlalchemy.orm import Mapped, mapped_column

from portal.db import Base, Utc
from portal.gateway.configured import ConfiguredGateway
from portal.invoices.tables import Invoice
from portal.payments.states import LIVE, State
from portal.people import Patient, User

IS_LIVE = "state IN ({})".format(", ".join(f"'{state}'" for state in sorted(LIVE)))
KINDS = ("card", "cash", "cheque", "debit", "e-transfer", "insurance", "other")
"""What somebody paid with. `debit` is a card on the clinic's own terminal, which this product does not know."""

NATURES = ("payment", "refund", "refund failed", "reversal", "dispute", "reinstatement")
"""What a row of posted money is. A refund sends money back; a reversal corrects the books and moves none; a refund
that failed at the bank is booked back; a dispute takes a charge back, a reinstatement returns it."""

CHANNELS = PORTAL, DESK, LINK = ("portal", "desk", "link")
"""Where money came in: the patient portal, the front desk, a pay link."""

CASES = ("overpaid", "refund_due", "refund_pending", "refund_expected", "dispute")
STAGES = ("", "inquiry", "open", "won", "lost")
"""How far a dispute has come; any other case has none. An inquiry takes no money."""


class PaymentAttempt(Base):
    """One try to pay one invoice through one gateway: exactly one PaymentIntent, so it can succeed only once."""

    __tablename__ = "payment_attempts"
    __table_args__ = (
        CheckConstraint("amount_cents > 0", name="amount_is_positive"),
        CheckConstraint("state IN ({})".format(", ".join(f"'{s}'" for s in State)), name="state_is_known"),
        Index("uq_payment_attempts_live", "invoice_id", unique=True,
              sqlite_where=text(IS_LIVE), postgresql_where=text(IS_LIVE)),
        Index("uq_payment_attempts_intent", "gateway_id", "intent_id", unique=True),
        Index("ix_payment_attempts_next_look", "next_look_at",
              sqlite_where=text(IS_LIVE), postgresql_where=text(IS_LIVE)),
        Index("ix_payment_attempts_invoice", "invoice_id"),
    )  # fmt: skip

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    invoice_id: Mapped[int] = mapped_column(ForeignKey(Invoice.id))
    payer_id: Mapped[int | None] = mapped_column(ForeignKey(Patient.id))
    user_id: Mapped[int | None] = mapped_column(ForeignKey(User.id))
    gateway_id: Mapped[int] = mapped_column(ForeignKey(ConfiguredGateway.id))
    mode: Mapped[str] = mapped_column(String(10))
    account: Mapped[str | None] = mapped_column(String(64))
    amount_cents: Mapped[int]
    currency: Mapped[str] = mapped_column(String(3))
    invoice_version: Mapped[int]

    state: Mapped[str] = mapped_column(String(20))
    intent_id: Mapped[str | None] = mapped_column(String(255))
    # What the intent was made with, kept so that a lost answer can be asked for again with the same key.
    order: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    # What the newest confirmation was made with, and which one it is.
    means: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    channel: Mapped[str] = mapped_column(String(10), default="portal", server_default="portal")
    confirmations: Mapped[int] = mapped_column(default=0)
    save_card: Mapped[bool] = mapped_column(default=False)
    card_brand: Mapped[str | None] = mapped_column(String(40))
    card_last4: Mapped[str | None] = mapped_column(String(4))
    reason: Mapped[str | None] = mapped_column(String(80))

    started_at: Mapped[datetime] = mapped_column(Utc)
    # Only one request works on an attempt at a time; a crashed one's hold lapses.
    held_until: Mapped[datetime | None] = mapped_column(Utc)
    next_look_at: Mapped[datetime] = mapped_column(Utc)
    deadline_at: Mapped[datetime] = mapped_column(Utc)
    ended_at: Mapped[datetime | None] = mapped_column(Utc)
    needs_person: Mapped[str | None] = mapped_column(Text)
    # Paid through a pay link: through which one, and where its holder wants the receipt.
    pay_link_id: Mapped[int | None] = mapped_column(ForeignKey("pay_links.id"))
    receipt_email: Mapped[str | None] = mapped_column(String(254))


def _nature(context: Any) -> str:
    """What a row is that doesn't say so: received money, or money that went back."""
    return "payment" if context.get_current_parameters()["amount_cents"] > 0 else "refund"


class Payment(Base):
    """Posted money on an invoice, signed: refunds and reversals are negative. Appended, never changed."""

    __tablename__ = "payments"
    __table_args__ = (
        CheckConstraint("amount_cents <> 0", name="amount_is_not_zero"),
        CheckConstraint(f"kind IN {KINDS}", name="kind_is_known"),
        CheckConstraint(f"nature IN {NATURES}", name="nature_is_known"),
        CheckConstraint(
            "(nature IN ('payment', 'refund failed', 'reinstatement')) = (amount_cents > 0)",
            name="nature_fits_the_sign",
        ),
        Index("uq_payments_charge", "gateway_id", "charge_id", unique=True,
              sqlite_where=text("nature = 'payment'"), postgresql_where=text("nature = 'payment'")),
        Index("uq_payments_refund", "gateway_id", "refund_id", "nature", unique=True),
        Index("uq_payments_request", "request_id", unique=True),
        Index("ix_payments_received", "received_at", "id"),
        Index("ix_payments_reverses", "reverses_id"),
        Index("uq_payments_attempt", "attempt_id", unique=True),
        Index("ix_payments_invoice", "invoice_id"),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(primary_key=True)
    receipt_number: Mapped[str | None] = mapped_column(String(24), unique=True)
    invoice_id: Mapped[int] = mapped_column(ForeignKey(Invoice.id))
    payer_id: Mapped[int | None] = mapped_column(ForeignKey(Patient.id))
    attempt_id: Mapped[UUID | None] = mapped_column(ForeignKey(PaymentAttempt.id))
    gateway_id: Mapped[int | None] = mapped_column(ForeignKey(ConfiguredGateway.id))
    nature: Mapped[str] = mapped_column(String(16), default=_nature, server_default="payment")
    channel: Mapped[str] = mapped_column(String(10), default="desk", server_default="desk")
    request_id: Mapped[UUID | None] = mapped_column(Uuid)
    kind: Mapped[str] = mapped_column(String(20))
    amount_cents: Mapped[int]
    currency: Mapped[str] = mapped_column(String(3))
    charge_id: Mapped[str | None] = mapped_column(String(255))
    refund_id: Mapped[str | None] = mapped_column(String(255))
    reverses_id: Mapped[int | None] = mapped_column(ForeignKey("payments.id"))
    brand: Mapped[str | None] = mapped_column(String(40))
    funding: Mapped[str | None] = mapped_column(String(20))
    last4: Mapped[str | None] = mapped_column(String(4))
    note: Mapped[str] = mapped_column(Text, default="", server_default="")
    received_at: Mapped[datetime] = mapped_column(Utc)
    recorded_by: Mapped[int | None] = mapped_column(ForeignKey(User.id))


class Case(Base):
    """Something about money that a person must put right, with the exact amount that it covers.

    `matched_cents` of it has come to pass already: refunds that arrived at the gateway. A case closes by itself when
    all of it has, and opens again when such a refund fails (`cases.py`). `stage` says how far a dispute has come.
    """

    __tablename__ = "cases"
    __table_args__ = (
        CheckConstraint(f"kind IN {CASES}", name="kind_is_known"),
        CheckConstraint("amount_cents > 0", name="amount_is_positive"),
        CheckConstraint("matched_cents BETWEEN 0 AND amount_cents", name="matched_is_part_of_it"),
        CheckConstraint(f"stage IN {STAGES}", name="stage_is_known"),
        Index("uq_cases_payment", "kind", "payment_id", unique=True),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    invoice_id: Mapped[int] = mapped_column(ForeignKey(Invoice.id), index=True)
    payment_id: Mapped[int] = mapped_column(ForeignKey(Payment.id))
    amount_cents: Mapped[int]
    matched_cents: Mapped[int] = mapped_column(default=0, server_default="0")
    stage: Mapped[str] = mapped_column(String(10), default="", server_default="")
    reason: Mapped[str] = mapped_column(Text)
    opened_at: Mapped[datetime] = mapped_column(Utc)
    closed_at: Mapped[datetime | None] = mapped_column(Utc)


class Refund(Base):
    """Money that goes back through the gateway: asked for here, or made in the gateway's own dashboard (O16).

    `matched_cents` of it was in the books already, as a reversal that expected this refund (O14). `credited_cents` is
    the credit that went with it, so that it is no longer owed.
    """

    __tablename__ = "refunds"
    __table_args__ = (
        CheckConstraint("amount_cents > 0", name="amount_is_positive"),
        CheckConstraint("matched_cents BETWEEN 0 AND amount_cents", name="matched_is_part_of_it"),
        CheckConstraint("state IN ('asked', 'pending', 'succeeded', 'failed', 'canceled')", name="state_is_known"),
        Index("uq_refunds_refund", "gateway_id", "refund_id", unique=True),
        Index("uq_refunds_request", "request_id", unique=True),
        Index("ix_refunds_payment", "payment_id"),
        Index("ix_refunds_next_look", "next_look_at", sqlite_where=text("state IN ('asked', 'pending')"),
              postgresql_where=text("state IN ('asked', 'pending')")),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(primary_key=True)
    request_id: Mapped[UUID | None] = mapped_column(Uuid)
    payment_id: Mapped[int] = mapped_column(ForeignKey(Payment.id))
    invoice_id: Mapped[int] = mapped_column(ForeignKey(Invoice.id), index=True)
    gateway_id: Mapped[int] = mapped_column(ForeignKey(ConfiguredGateway.id))
    mode: Mapped[str] = mapped_column(String(10))
    refund_id: Mapped[str | None] = mapped_column(String(255))
    amount_cents: Mapped[int]
    matched_cents: Mapped[int] = mapped_column(default=0, server_default="0")
    credited_cents: Mapped[int] = mapped_column(default=0, server_default="0")
    still_owed: Mapped[bool] = mapped_column(default=False, server_default=false())
    reason: Mapped[str] = mapped_column(Text, default="", server_default="")
    state: Mapped[str] = mapped_column(String(12))
    asked_by: Mapped[int | None] = mapped_column(ForeignKey(User.id))
    asked_at: Mapped[datetime] = mapped_column(Utc)
    next_look_at: Mapped[datetime] = mapped_column(Utc)
    ended_at: Mapped[datetime | None] = mapped_column(Utc)
    needs_person: Mapped[str | None] = mapped_column(Text)


class ChargeLook(Base):
    """When a charge is looked up at the gateway again, without any webhook: money may have gone back there (G4)."""

    __tablename__ = "charge_looks"

    payment_id: Mapped[int] = mapped_column(ForeignKey(Payment.id), primary_key=True, autoincrement=False)
    next_look_at: Mapped[datetime] = mapped_column(Utc, index=True)
