"""People: patients, who pays for whom, the accounts they sign in with, and the loaders that authorise."""

from datetime import date, datetime
from typing import Any

from flask_security.core import UserMixin
from sqlalchemy import CheckConstraint, ColumnElement, ForeignKey, String, or_, select
from sqlalchemy.orm import Mapped, mapped_column

from portal.db import Base, Utc

PATIENT = "patient"
STAFF_ROLES = ("front_desk", "billing", "practitioner", "administrator")
ROLES = (PATIENT, *STAFF_ROLES)


class Patient(Base):
    """A person on the clinic's file: someone treated, or someone who pays for them."""

    __tablename__ = "patients"
    id: Mapped[int] = mapped_column(primary_key=True)
    given_name: Mapped[str] = mapped_column(String(80))
    family_name: Mapped[str] = mapped_column(String(80))
    email: Mapped[str] = mapped_column(String(254), default="", index=True)
    phone: Mapped[str] = mapped_column(String(40), default="")
    birth_date: Mapped[date | None]
    created_at: Mapped[datetime] = mapped_column(Utc)

    @property
    def name(self) -> str:
        return f"{self.given_name} {self.family_name}"


class PayerLink(Base):
    """One person pays for another. The payer sees amounts; lines only where `sees_lines` says so (P9)."""

    __tablename__ = "payer_links"
    __table_args__ = (CheckConstraint("payer_id <> patient_id", name="not_oneself"),)

    payer_id: Mapped[int] = mapped_column(ForeignKey(Patient.id), primary_key=True)
    patient_id: Mapped[int] = mapped_column(ForeignKey(Patient.id), primary_key=True, index=True)
    sees_lines: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(Utc)


def pays_for(payer_id: ColumnElement[int] | int, patient_id: Any) -> ColumnElement[bool]:
    """Whether a payer may see and pay this patient's invoices: their own, and those of the people they pay for."""
    link = select(PayerLink.patient_id).where(PayerLink.payer_id == payer_id, PayerLink.patient_id == patient_id)
    return or_(patient_id == payer_id, link.exists())


class User(Base, UserMixin):
    """An account that signs in. A patient's account belongs to one patient; a staff account to none."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("email = lower(email)", name="email_is_lower_case"),
        CheckConstraint("(role = 'patient') = (patient_id IS NOT NULL)", name="patients_alone_have_a_patient"),
        CheckConstraint(f"role IN {ROLES}", name="role_is_known"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    password: Mapped[str | None] = mapped_column(String(255))
    name: Mapped[str] = mapped_column(String(160))
    role: Mapped[str] = mapped_column(String(20))
    active: Mapped[bool] = mapped_column(default=True)
    fs_uniquifier: Mapped[str] = mapped_column(String(64), unique=True)
    patient_id: Mapped[int | None] = mapped_column(ForeignKey(Patient.id), unique=True)
    created_at: Mapped[datetime] = mapped_column(Utc)

    @property
    def roles(self) -> list[Any]:  # type: ignore[override]  # a list there, a view of `role` here
        """For Flask-Security; the product's own rules look at `role`."""
        return [self.role]

    @property
    def is_staff(self) -> bool:
        return self.role != PATIENT


class SignIn(Base):
    """One sign-in of one browser. Signing out ends it on the server too, so that a copied cookie opens nothing."""

    __tablename__ = "sign_ins"

    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id), index=True)
    started_at: Mapped[datetime] = mapped_column(Utc)
    expires_at: Mapped[datetime] = mapped_column(Utc)
    ended_at: Mapped[datetime | None] = mapped_column(Utc)
