"""A clinic's front desk, which books visits."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from portal.audit import AuditEntry
from portal.clinic import Service
from portal.db import Database
from portal.people import Patient
from portal.schedule import Appointment, BookedQuarter
from portal.schedule.booking import Slot, Wish, book, cancel, move
from tests.makers import Cast, make_cast, make_service

DAY = date(2026, 11, 24)
NINE = 9 * 60


@dataclass
class Desk:
    """A clinic's front desk."""

    database: Database
    cast: Cast
    service: Service

    def wish(self, minute: int = NINE, patient: Patient | None = None, **slot: Any) -> Wish:
        """An hour's massage of Maya's, unless told otherwise."""
        at = replace(Slot(self.cast.location.id, self.cast.practitioner.id, DAY, minute), **slot)
        return Wish(uuid4().hex, (patient or self.cast.maya).id, self.service.id, at)

    def book(self, minute: int = NINE, patient: Patient | None = None, **slot: Any) -> Appointment:
        return book(self.database, self.wish(minute, patient, **slot), self.cast.clerk.id)

    def move(self, visit: Appointment, minute: int, version: int | None = None, **slot: Any) -> Appointment:
        return move(
            self.database,
            visit.public_id,
            version or visit.version,
            self.wish(minute, **slot).slot,
            self.cast.clerk.id,
        )

    def cancel(self, visit: Appointment, version: int | None = None) -> Appointment:
        return cancel(self.database, visit.public_id, version or visit.version, self.cast.clerk.id)

    def change(self, work: Callable[[Session], Any]) -> Any:
        with self.database.transaction() as session:
            return work(session)

    def sql(self, statement: str) -> None:
        self.change(lambda session: session.execute(text(statement)))

    def quarters(self) -> list[tuple[int, int]]:
        """Who has which quarters."""
        rows = select(BookedQuarter.quarter, BookedQuarter.appointment_id).order_by(BookedQuarter.quarter)
        with self.database.read() as connection:
            return [(row.quarter, row.appointment_id) for row in connection.execute(rows)]

    def history(self) -> list[str]:
        """What the audit log says, oldest first."""
        rows = select(AuditEntry.action, AuditEntry.subject, AuditEntry.after).order_by(AuditEntry.id)
        with self.database.read() as connection:
            return [f"{row.action}: {row.subject}: {row.after}" for row in connection.execute(rows)]


@pytest.fixture
def desk(clinic: Database) -> Desk:
    with clinic.transaction() as session:
        return Desk(clinic, make_cast(session), make_service(session))


def open_all_night(desk: Desk) -> None:
    desk.sql("UPDATE locations SET opens_minute = 0, closes_minute = 1440")
