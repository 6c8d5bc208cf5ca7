"""The demo clinic without its invoices: locations, practitioners, prices, thirty patients, and who signs in."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import uuid4

from sqlalchemy.orm import Session

from portal.clinic import Location, Practitioner, Service, ServiceTax, Tax
from portal.clock import now
from portal.demo_data.alder_lane import (
    GST,
    PEOPLE,
    PRACTITIONERS,
    PST,
    SERVICES,
    SIGNING_IN,
    STAFF,
    TAX_NUMBERS,
    ZONE,
    moment,
)
from portal.demo_data.visits import minutes_of
from portal.people import PATIENT, Patient, PayerLink, User
from portal.second_factor import DEMO_KEY, sealed_key
from portal.vault import Vault


@dataclass(frozen=True)
class DemoSignIn:
    """Somebody who can sign in to the demo."""

    who: str
    email: str
    role: str


class Clinic:
    """Writes the demo clinic and its people into one session."""

    def __init__(self, session: Session, chance: random.Random) -> None:
        self.session = session
        self.chance = chance
        self.today = now().astimezone(ZONE).date()
        self.locations: list[Location] = []
        self.practitioners: dict[str, Practitioner] = {}
        self.services: dict[str, Service] = {}
        self.patients: dict[str, Patient] = {}
        self.staff: dict[str, User] = {}

    def open(self, hashes: Mapping[str, str]) -> list[DemoSignIn]:
        """Locations, practitioners, prices and people; gives who can sign in."""
        self._locations()
        self._practitioners()
        self._services()
        self._patients()
        return list(self._users(hashes))

    def _locations(self) -> None:
        shared = {"timezone": str(ZONE), "currency": "CAD", "tax_numbers": TAX_NUMBERS, "payment_terms_days": 14}
        self.locations = [
            Location(
                name="Alder Lane",
                address="118 Alder Lane, Kelowna BC V1Y 0A1",
                phone="250-555-0142",
                next_invoice_number=10_301,
                **shared,
            ),
            Location(
                name="Riverside",
                address="27 Riverside Walk, Kelowna BC V1Y 0B4",
                phone="250-555-0167",
                invoice_prefix="V-",
                next_invoice_number=2_001,
                **shared,
            ),
        ]
        self.session.add_all(self.locations)

    def _practitioners(self) -> None:
        for name, credentials, registration in PRACTITIONERS:
            self.practitioners[name] = Practitioner(name=name, credentials=credentials, registration=registration)
        self.session.add_all(self.practitioners.values())

    def _services(self) -> None:
        rows = {
            tax.name: Tax(name=tax.name, rate_per_100k=tax.rate_per_100k, position=position)
            for position, tax in enumerate((GST, PST), start=1)
        }
        self.session.add_all(rows.values())
        for name, price_cents, _, whose in SERVICES:
            self.services[name] = Service(
                name=name,
                price_cents=price_cents,
                duration_minutes=minutes_of(name) if whose else 0,
                is_product=whose is None,
            )
        self.session.add_all(self.services.values())
        self.session.flush()
        self.session.add_all(
            ServiceTax(service_id=self.services[name].id, tax_id=rows[tax.name].id)
            for name, _, taxes, _ in SERVICES
            for tax in taxes
        )

    def _patients(self) -> None:
        joined = moment(self.today - timedelta(days=900), 9)
        for place, name in enumerate(PEOPLE):
            given, _, family = name.partition(" ")
            self.patients[name] = Patient(
                given_name=given,
                family_name=family,
                email="" if name == "Theo Lindqvist" else f"{_plain(given)}@example.com",
                phone=f"250-555-01{place:02}",
                birth_date=self._birth_date(name),
                created_at=joined,
            )
        self.session.add_all(self.patients.values())
        self.session.flush()
        for payer, patient, relation, is_minor in (
            ("Maya Lindqvist", "Theo Lindqvist", "Parent", True),
            ("Jonas Weber", "Ingrid Weber", "Child", False),
        ):
            self.session.add(
                PayerLink(
                    payer_id=self.patients[payer].id,
                    patient_id=self.patients[patient].id,
                    relation=relation,
                    sees_lines=is_minor,
                    allowed_by_staff=is_minor,
                    created_at=joined,
                )
            )

    def _birth_date(self, name: str) -> date:
        if name == "Maya Lindqvist":
            return date(1988, 6, 14)
        if name == "Theo Lindqvist":
            return date(self.today.year - 9, 3, 2)
        return date(self.today.year - self.chance.randrange(22, 80), 1, 1) + timedelta(self.chance.randrange(365))

    def _users(self, hashes: Mapping[str, str]) -> Iterator[DemoSignIn]:
        for name, email in SIGNING_IN.items():
            yield self._user(name, email, PATIENT, hashes[email], self.patients[name].id)
        for name, email, role in STAFF:
            yield self._user(name, email, role, hashes[email], None)

    def give_second_factors(self, vault: Vault) -> None:
        """Every member of staff has the demo's own key, whose codes the sign-in page shows."""
        for user in self.staff.values():
            if user.is_staff:
                user.totp_sealed, user.totp_set_up_at = sealed_key(vault, user.id, DEMO_KEY), now()

    def _user(self, name: str, email: str, role: str, password_hash: str, patient_id: int | None) -> DemoSignIn:
        self.staff[name] = User(
            email=email,
            password=password_hash,
            name=name,
            role=role,
            fs_uniquifier=uuid4().hex,
            patient_id=patient_id,
            created_at=now(),
        )
        self.session.add(self.staff[name])
        self.session.flush()
        return DemoSignIn(name, email, role)


def _plain(name: str) -> str:
    """A name as it stands in an email address."""
    return name.lower().translate(str.maketrans("éèêïôç", "eeeioc"))
