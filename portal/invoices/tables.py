"""Invoices and what stands on them.

`owed_cents`, `paid_cents`, `version` and `standing` are kept by triggers of the database itself (see the migrations)
from the appended lines, adjustments and payments, in the transaction that appends them; `balance_cents` is generated
from them. So balance and status are functions of the books, whoever writes them, and a million invoices can be
searched by them.
"""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Computed, ForeignKey, Index, String, Text, Uuid, false, text
from sqlalchemy.orm import Mapped, mapped_column

from portal.clinic import Location, Practitioner, Service
from portal.db import Base, Utc
from portal.people import Patient, User

UNCONFIRMED = "unconfirmed"
"""How an invoice stands whose place in a program nobody has paid yet: under a name of its own (`~k3x…`) instead of a
number, and on no list. It takes its number when the place is confirmed, or money arrives."""

UNNUMBERED = "~"
"""What such a name begins with; no location's run of numbers does."""

BALANCE = "(CASE WHEN voided_at IS NULL THEN owed_cents ELSE 0 END) - paid_cents"


class Invoice(Base):
    """What a patient owes for a visit or a purchase. Its number comes from its location's run, without gaps."""

    __tablename__ = "invoices"
    __table_args__ = (
        CheckConstraint("length(currency) = 3", name="currency_is_iso"),
        # The portal's two lists walk these, newest last, by key: (patient, date, id).
        Index("ix_invoices_open", "patient_id", "due_on", "id", postgresql_where=text("balance_cents > 0"),
              sqlite_where=text("balance_cents > 0")),
        Index("ix_invoices_closed", "patient_id", "service_on", "id", postgresql_where=text("balance_cents <= 0"),
              sqlite_where=text("balance_cents <= 0")),
        # At most one invoice that is not void for an appointment; a checkout pressed twice makes one invoice.
        Index("uq_invoices_appointment", "appointment_id", unique=True,
              sqlite_where=text("voided_at IS NULL"), postgresql_where=text("voided_at IS NULL")),
        Index("uq_invoices_request", "request_id", unique=True),
        # Reminders look for what is due.
        Index("ix_invoices_due", "due_on", "id",
              sqlite_where=text("standing IN ('receivable', 'partly paid')"),
              postgresql_where=text("standing IN ('receivable', 'partly paid')")),
        # Invoice Search walks these, newest first, by key: (date, id), within whatever it is narrowed to.
        Index("ix_invoices_standing", "standing", "service_on", "id"),
        Index("ix_invoices_standing_place", "standing", "location_id", "service_on", "id"),
        Index("ix_invoices_standing_practitioner", "standing", "practitioner_id", "service_on", "id"),
        Index("ix_invoices_standing_both", "standing", "location_id", "practitioner_id", "service_on", "id"),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[str] = mapped_column(String(24), unique=True)
    location_id: Mapped[int] = mapped_column(ForeignKey(Location.id))
    patient_id: Mapped[int] = mapped_column(ForeignKey(Patient.id))
    practitioner_id: Mapped[int | None] = mapped_column(ForeignKey(Practitioner.id))
    service_on: Mapped[date]
    issued_at: Mapped[datetime] = mapped_column(Utc)
    due_on: Mapped[date]
    currency: Mapped[str] = mapped_column(String(3))
    note: Mapped[str] = mapped_column(Text, default="")
    version: Mapped[int] = mapped_column(default=1, server_default="1")
    owed_cents: Mapped[int] = mapped_column(default=0, server_default="0")
    paid_cents: Mapped[int] = mapped_column(default=0, server_default="0")
    last_paid_at: Mapped[datetime | None] = mapped_column(Utc)
    voided_at: Mapped[datetime | None] = mapped_column(Utc)
    void_reason: Mapped[str] = mapped_column(Text, default="", server_default="")
    voided_by: Mapped[int | None] = mapped_column(ForeignKey(User.id))
    appointment_id: Mapped[int | None] = mapped_column(ForeignKey("appointments.id"))
    request_id: Mapped[UUID | None] = mapped_column(Uuid)
    created_by: Mapped[int | None] = mapped_column(ForeignKey(User.id))
    # "Email invoice to patient" was ticked at checkout.
    email_wanted: Mapped[bool] = mapped_column(default=False, server_default=false())
    # The program that it is for: whoever locks the invoice locks that too (`books.locked_invoice`).
    program_id: Mapped[int | None] = mapped_column(ForeignKey("programs.id"))
    balance_cents: Mapped[int] = mapped_column(Computed(BALANCE, persisted=True))
    # How it stands by its books, in the words of `books.Status`. Kept by a trigger; never write it.
    standing: Mapped[str] = mapped_column(String(11), default="paid", server_default="paid")


class InvoiceLine(Base):
    """One line: what, how many, at which price. Never changed once written."""

    __tablename__ = "invoice_lines"
    __table_args__ = (CheckConstraint("quantity > 0", name="quantity_is_positive"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    invoice_id: Mapped[int] = mapped_column(ForeignKey(Invoice.id), index=True)
    position: Mapped[int]
    service_id: Mapped[int | None] = mapped_column(ForeignKey(Service.id))
    description: Mapped[str] = mapped_column(String(200))
    quantity: Mapped[int]
    unit_cents: Mapped[int]
    net_cents: Mapped[int]


class LineTax(Base):
    """A tax on a line, worked out when the line was written and never again."""

    __tablename__ = "line_taxes"

    line_id: Mapped[int] = mapped_column(ForeignKey(InvoiceLine.id), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40))
    rate_per_100k: Mapped[int]
    amount_cents: Mapped[int]
    invoice_id: Mapped[int] = mapped_column(ForeignKey(Invoice.id), index=True)


class Adjustment(Base):
    """A credit (negative) or an extra amount owed (positive), with its reason. Appended, never changed."""

    __tablename__ = "adjustments"
    __table_args__ = (
        CheckConstraint("amount_cents <> 0", name="amount_is_not_zero"),
        Index("uq_adjustments_request", "request_id", unique=True),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    invoice_id: Mapped[int] = mapped_column(ForeignKey(Invoice.id), index=True)
    amount_cents: Mapped[int]
    reason: Mapped[str] = mapped_column(Text)
    made_at: Mapped[datetime] = mapped_column(Utc)
    made_by: Mapped[int | None] = mapped_column(ForeignKey(User.id))
    request_id: Mapped[UUID | None] = mapped_column(Uuid)
