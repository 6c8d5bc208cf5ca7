"""The demo clinic's schedule: the visits of its latest invoices, and what is booked until the end of next week."""

import random
import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.clinic import Location, Practitioner, Service
from portal.invoices.tables import Invoice, InvoiceLine
from portal.people import Patient
from portal.schedule import COMPLETED, Appointment
from portal.schedule.booking import Slot, Wish, book_in
from portal.schedule.refusals import OutsideHours, TimeTaken
from portal.schedule.times import days_from, week_of

NOTES = ("Runs late from work.", "Prefers the quiet room.", "Brings a referral.", "Asks for a reminder call.")
LENGTHS = {"first visit": 60, "follow-up": 45, "adjustment": 30}


def minutes_of(service: str) -> int:
    """How long a service of the demo takes, by its name."""
    said = re.search(r"(\d+) minutes", service)
    return int(said[1]) if said else next((length for words, length in LENGTHS.items() if words in service), 15)


def make_visits(
    session: Session, today: date, treats: Mapping[str, Sequence[str]], by: int, seed: int = 1
) -> list[Appointment]:
    """Visits for the invoices of last week and this one, and bookings from today to the end of next week.

    `treats` names each practitioner's services.
    """
    book = _Book(session, random.Random(seed), by)  # noqa: S311  made-up data, the same again for the same seed
    monday = week_of(today)
    invoiced = book.tie(monday - timedelta(days=7), today)
    return invoiced + book.fill([day for day in days_from(today, 14) if day < monday + timedelta(days=14)], treats)


class _Book:
    """Books into one session."""

    def __init__(self, session: Session, chance: random.Random, by: int) -> None:
        self.session = session
        self.chance = chance
        self.by = by

    def tie(self, first: date, today: date) -> list[Appointment]:
        """A completed visit for each invoice of those days, as far as its practitioner's time goes."""
        rows = self.session.execute(
            select(Invoice, Practitioner.id, Service.id)
            .join(Practitioner, Practitioner.id == Invoice.practitioner_id)
            .join(InvoiceLine, InvoiceLine.invoice_id == Invoice.id)
            .join(Service, Service.id == InvoiceLine.service_id)
            .where(Invoice.service_on >= first, Invoice.service_on < today, Invoice.voided_at.is_(None))
            .where(InvoiceLine.position == 1)
            .order_by(Invoice.id)
        ).all()
        made = []
        for invoice, practitioner_id, service_id in rows:
            visit = self._anywhere(
                invoice.location_id, practitioner_id, invoice.service_on, invoice.patient_id, service_id
            )
            if visit is not None:
                visit.status, visit.completed_at, visit.booked_at = COMPLETED, visit.ends_at, visit.starts_at
                invoice.appointment_id = visit.id
                made.append(visit)
        self.session.flush()
        return made

    def fill(self, days: list[date], treats: Mapping[str, Sequence[str]]) -> list[Appointment]:
        """A few visits a day for everybody; each has a day off, and one works at the second location once."""
        places = list(self.session.scalars(select(Location.id).order_by(Location.id)))
        services = {service.name: service.id for service in self.session.scalars(select(Service))}
        patients = list(self.session.scalars(select(Patient.id).order_by(Patient.id)))
        healers = self.session.scalars(select(Practitioner).order_by(Practitioner.id)).all()
        made = []
        for day in days:
            if day.weekday() > 4:
                continue
            for turn, healer in enumerate(healers):
                if day.weekday() == (turn + 2) % 5:
                    continue
                place = places[day.weekday() == 3 and turn == 3]
                for _visit in range(self.chance.randrange(3, 7)):
                    service = services[self.chance.choice(list(treats[healer.name]))]
                    made.append(self._anywhere(place, healer.id, day, self.chance.choice(patients), service))
        return [visit for visit in made if visit is not None]

    def _anywhere(
        self, place: int, healer: int, day: date, patient: int, service: int, tries: int = 6
    ) -> Appointment | None:
        """A visit at the first of a few times that is free."""
        note = self.chance.choice(NOTES) if self.chance.random() < 0.15 else ""
        for _try in range(tries):
            slot = Slot(place, healer, day, self.chance.randrange(8 * 2, 17 * 2 + 1) * 30)
            key = UUID(int=self.chance.getrandbits(128), version=4).hex
            try:
                return book_in(self.session, Wish(key, patient, service, slot, note), self.by)
            except (TimeTaken, OutsideHours):
                continue
        return None
