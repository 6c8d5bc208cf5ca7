"""Payment attempts, posted payments, and the cases that a person must look at."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, Text, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from portal.db import Base, Utc
from portal.gateway.configured import ConfiguredGateway
from portal.invoices.tables import Invoice
from portal.payments.states import LIVE, State
from portal.people import Patient, User

IS_LIVE = "state IN ({})".format(", ".join(f"'{state}'" for state in sorted(LIVE)))
KINDS = ("card", "cash", "cheque", "e-transfer", "insurance", "other")


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


class Payment(Base):
    """Posted money on an invoice, signed: refunds and reversals are negative. Appended, never changed."""

    __tablename__ = "payments"
    __table_args__ = (
        CheckConstraint("amount_cents <> 0", name="amount_is_not_zero"),
        CheckConstraint(f"kind IN {KINDS}", name="kind_is_known"),
        Index("uq_payments_charge", "gateway_id", "charge_id", unique=True,
              sqlite_where=text("amount_cents > 0"), postgresql_where=text("amount_cents > 0")),
        Index("uq_payments_refund", "gateway_id", "refund_id", unique=True),
        Index("uq_payments_attempt", "attempt_id", unique=True),
        Index("ix_payments_invoice", "invoice_id"),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(primary_key=True)
    receipt_number: Mapped[str | None] = mapped_column(String(24), unique=True)
    invoice_id: Mapped[int] = mapped_column(ForeignKey(Invoice.id))
    payer_id: Mapped[int | None] = mapped_column(ForeignKey(Patient.id))
    attempt_id: Mapped[UUID | None] = mapped_column(ForeignKey(PaymentAttempt.id))
    gateway_id: Mapped[int | None] = mapped_column(ForeignKey(ConfiguredGateway.id))
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
    """Something about money that a person must put right, with the exact amount that it covers."""

    __tablename__ = "cases"
    __table_args__ = (
        CheckConstraint("kind IN ('overpaid', 'refund_due')", name="kind_is_known"),
        CheckConstraint("amount_cents > 0", name="amount_is_positive"),
        Index("uq_cases_payment", "kind", "payment_id", unique=True),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    invoice_id: Mapped[int] = mapped_column(ForeignKey(Invoice.id), index=True)
    payment_id: Mapped[int] = mapped_column(ForeignKey(Payment.id))
    amount_cents: Mapped[int]
    reason: Mapped[str] = mapped_column(Text)
    opened_at: Mapped[datetime] = mapped_column(Utc)
    closed_at: Mapped[datetime | None] = mapped_column(Utc)
