"""Appointments, and the quarter hours that they take."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from portal.clinic import Location, Practitioner, Service
from portal.db import Base, Utc
from portal.people import Patient, User

BOOKED, COMPLETED, CANCELLED = "booked", "completed", "cancelled"


class Appointment(Base):
    """A patient's visit with a practitioner: where, for what, from when until when."""

    __tablename__ = "appointments"
    __table_args__ = (
        CheckConstraint("status IN ('booked', 'completed', 'cancelled')", name="status_is_known"),
        CheckConstraint("ends_at > starts_at", name="it_takes_time"),
        Index("uq_appointments_public", "public_id", unique=True),
        Index("ix_appointments_start", "starts_at"),
        Index("ix_appointments_patient_start", "patient_id", "starts_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(32))
    location_id: Mapped[int] = mapped_column(ForeignKey(Location.id))
    practitioner_id: Mapped[int] = mapped_column(ForeignKey(Practitioner.id))
    patient_id: Mapped[int] = mapped_column(ForeignKey(Patient.id))
    service_id: Mapped[int] = mapped_column(ForeignKey(Service.id))
    starts_at: Mapped[datetime] = mapped_column(Utc)
    ends_at: Mapped[datetime] = mapped_column(Utc)
    status: Mapped[str] = mapped_column(String(10), default=BOOKED)
    note: Mapped[str] = mapped_column(String(200), default="", server_default="")
    version: Mapped[int] = mapped_column(default=1, server_default="1")
    booked_by: Mapped[int | None] = mapped_column(ForeignKey(User.id))
    booked_at: Mapped[datetime] = mapped_column(Utc)
    completed_at: Mapped[datetime | None] = mapped_column(Utc)
    cancelled_at: Mapped[datetime | None] = mapped_column(Utc)


class BookedQuarter(Base):
    """A quarter hour of a practitioner that an appointment takes. Its key makes double booking impossible (O6).

    `quarter` counts quarter hours since 1970 in UTC: every zone's hours begin on one.
    """

    __tablename__ = "booked_quarters"

    practitioner_id: Mapped[int] = mapped_column(ForeignKey(Practitioner.id), primary_key=True)
    quarter: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    appointment_id: Mapped[int] = mapped_column(ForeignKey(Appointment.id), index=True)
