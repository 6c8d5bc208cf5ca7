"""The demo clinic itself: one believable practice with thirty patients and two hundred invoices."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from uuid import uuid4
from zoneinfo import ZoneInfo

from flask_babel import lazy_gettext as _l
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.clinic import Location, Practitioner, Service, ServiceTax, Tax
from portal.clock import now
from portal.db import Database
from portal.demo_data.visits import make_visits, minutes_of
from portal.errors import Refusal
from portal.gateway.configured import add_gateway
from portal.invoices.books import Line, TaxRate, issue_invoice, take_receipt_numbers, void_invoice
from portal.invoices.tables import Adjustment, Invoice
from portal.payments.tables import Payment
from portal.people import PATIENT, Patient, PayerLink, User
from portal.second_factor import DEMO_KEY, sealed_key
from portal.settings import change_setting
from portal.vault import Vault

INVOICES = 200
ZONE = ZoneInfo("America/Vancouver")


class ClinicHasPatients(Refusal):
    """Made-up people never go among real ones, and the demo clinic is not made twice."""

    message = _l("This database has patients already. Demo data goes into a new, empty database only.")


@dataclass(frozen=True)
class DemoSignIn:
    """Somebody who can sign in to the demo."""

    who: str
    email: str
    role: str


@dataclass(frozen=True)
class DemoClinic:
    """What was made, for whoever started it to print. All accounts share the password that the caller gave."""

    sign_ins: tuple[DemoSignIn, ...]
    patients: int
    invoices: int
    gateway_id: int | None


# --- the clinic -----------------------------------------------------------------------------------------------------

SETTINGS = {
    "portal_enabled": "yes",
    "portal_allow_sign_up": "no",
    "module_payment_gateways": "yes",
    "accept_payments_in_portal": "yes",
    "email_pay_online_request": "yes",
    "accept_prepaid_cards": "yes",
    "clinic_name": "Alder Lane Clinic",
    "clinic_address": "118 Alder Lane, Kelowna BC V1Y 0A1",
    "clinic_phone": "250-555-0142",
    "clinic_email": "frontdesk@example.com",
}
TAX_NUMBERS = "GST 71234 5678 RT0001, PST-1234-5678"
GST = TaxRate("GST", 5_000)
PST = TaxRate("PST", 7_000)

# Name, credentials, registration.
PRACTITIONERS = (
    ("Liam Tremblay", "RMT", "CMTBC 08842"),
    ("Priya Raman", "PT", "CPTBC 11307"),
    ("Dr. Naomi Okafor", "DC", "CCBC 04415"),
    ("Grace Whitfield", "R.Ac", "CTCMA 06218"),
)
MASSAGE = "Massage therapy, 60 minutes"
CUSHION = "Lumbar support cushion"
PHYSIO = "Physiotherapy, follow-up"
PHONE_CALL = "Follow-up by phone, no charge"
# Name, price, taxes, and whose treatment it is; nobody's is a product or a fee. Physiotherapy, chiropractic and
# acupuncture bear no GST, massage does; goods bear both taxes.
SERVICES: tuple[tuple[str, int, tuple[TaxRate, ...], str | None], ...] = (
    ("Massage therapy, 45 minutes", 98_00, (GST,), "Liam Tremblay"),
    (MASSAGE, 120_00, (GST,), "Liam Tremblay"),
    ("Massage therapy, 90 minutes", 160_00, (GST,), "Liam Tremblay"),
    ("Physiotherapy, first visit", 125_00, (), "Priya Raman"),
    (PHYSIO, 95_00, (), "Priya Raman"),
    ("Chiropractic, first visit", 112_50, (), "Dr. Naomi Okafor"),
    ("Chiropractic, adjustment", 68_00, (), "Dr. Naomi Okafor"),
    ("Acupuncture, 60 minutes", 105_00, (), "Grace Whitfield"),
    (PHONE_CALL, 0, (), "Priya Raman"),
    (CUSHION, 48_00, (GST, PST), None),
    ("Foam roller", 34_00, (GST, PST), None),
    ("Hot and cold pack", 22_00, (GST, PST), None),
    ("Resistance band", 16_50, (GST, PST), None),
    ("Late change fee", 35_00, (GST,), None),
)
# Maya pays for Theo, a minor; Jonas for his mother Ingrid, whose lines he doesn't see.
PEOPLE = (
    "Maya Lindqvist", "Theo Lindqvist", "Jonas Weber", "Ingrid Weber", "Aisha Rahman", "Oliver Marsh",
    "Étienne Gagnon", "Rosa Delgado", "Petra Novak", "Inès Bouchard", "Harpreet Gill", "Samuel Beckett-Osei",
    "Wei-Ling Chow", "Tomasz Kowalski", "Fatima Haddad", "Lucas Moreau", "Noor van Dijk", "Callum Fraser",
    "Yuki Tanabe", "Amara Nwosu", "Hugo Lévesque", "Sofia Marchetti", "Dmitri Volkov", "Leilani Kahale",
    "Ruth Friesen", "Arjun Mehta", "Claire Desjardins", "Mateo Fuentes", "Siobhan Kelly", "Anders Holm",
)  # fmt: skip
STAFF = (
    ("Dana Whitlock", "dana@example.com", "front_desk"),
    ("Ines Caron", "ines@example.com", "billing"),
    ("Liam Tremblay", "liam@example.com", "practitioner"),
    ("Marc Oduya", "marc@example.com", "administrator"),
)
SIGNING_IN = {"Maya Lindqvist": "maya@example.com", "Jonas Weber": "jonas@example.com"}
CARDS = (("visa", "4242"), ("visa", "1881"), ("mastercard", "4444"), ("amex", "0005"), ("discover", "1117"))


def make_demo_clinic(
    database: Database,
    vault: Vault,
    *,
    password: str,
    hash_password: Callable[[str], str],
    sandbox_gateway: Mapping[str, str] | None,
    seed: int = 1,
) -> DemoClinic:
    """Make one clinic with thirty patients and two hundred invoices, all in one transaction.

    `sandbox_gateway` holds `token`, `secret` and `webhook_secret`; without it there is no online payment. Raises
    ClinicHasPatients.
    """
    accounts = [*SIGNING_IN.values(), *(email for _, email, _ in STAFF)]
    hashes = {email: hash_password(password) for email in accounts}  # slow on purpose: not inside the transaction
    with database.transaction() as session:
        if session.scalar(select(Patient.id).limit(1)) is not None:
            raise ClinicHasPatients
        for key, value in SETTINGS.items():
            change_setting(session, key, value)
        gateway_id = _gateway(session, vault, sandbox_gateway)
        clinic = _Clinic(session, random.Random(seed))  # noqa: S311  made-up data, the same again for the same seed
        sign_ins = clinic.open(hashes)
        clinic.give_second_factors(vault)
        for visit in clinic.visits():
            clinic.write(visit)
        treats = {healer: [name for name, _, _, whose in SERVICES if whose == healer] for healer, *_ in PRACTITIONERS}
        make_visits(session, clinic.today, treats, clinic.staff["Dana Whitlock"].id, seed)
    return DemoClinic(tuple(sign_ins), len(PEOPLE), INVOICES, gateway_id)


def _gateway(session: Session, vault: Vault, keys: Mapping[str, str] | None) -> int | None:
    if not keys:
        return None
    return add_gateway(
        session,
        vault,
        location_id=None,
        name=SETTINGS["clinic_name"],
        mode="test",
        token=keys["token"],
        secret=keys["secret"],
        webhook_secret=keys["webhook_secret"],
        active=True,
        default=True,
    ).id


class Visit(NamedTuple):
    """An invoice to be: who came when for what, and how its payment went."""

    on: date
    patient: str
    items: tuple[str, ...]
    fate: str
    riverside: bool = False


# What becomes of an invoice, and how often among the made-up visits. The first group is settled long ago or today;
# the second is still open, so its visits are recent (or, for the overdue ones, not recent enough).
SETTLED = {
    "card": 40, "cash": 14, "cheque": 6, "e-transfer": 8, "insurance": 10, "insurance, then card": 14,
    "void": 6, "credited": 6, "refunded": 4, "nothing to pay": 6,
}  # fmt: skip
OPEN = {"open": 20, "partly paid": 16, "overdue": 16, "overdue, partly paid": 8}

NOTES = ("Exchange of goods within 14 days.", "Claim form handed over at the visit.")


class _Clinic:
    """Writes the demo clinic into one session."""

    def __init__(self, session: Session, chance: random.Random) -> None:
        self.session = session
        self.chance = chance
        self.today = now().astimezone(ZONE).date()
        self.taxes = {name: taxes for name, _, taxes, _ in SERVICES}
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
        joined = _moment(self.today - timedelta(days=900), 9)
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

    # --- visits -----------------------------------------------------------------------------------------------------

    def visits(self) -> list[Visit]:
        """All two hundred, oldest first, so that the numbers follow the dates."""
        fixed = self._mayas()
        others = [name for name in PEOPLE if "Lindqvist" not in name]
        fates = [fate for fate, times in (SETTLED | OPEN).items() for _ in range(times)]
        made_up = [self._visit(fate, others) for fate in fates[: INVOICES - len(fixed)]]
        assert len(fixed) + len(made_up) == INVOICES, "the fates add up"
        return sorted([*fixed, *made_up], key=lambda visit: visit.on)

    def _mayas(self) -> list[Visit]:
        """What Maya sees: one partly paid, one of Theo's overdue, two new ones, and twenty-two in the past."""
        maya, theo = "Maya Lindqvist", "Theo Lindqvist"
        return [
            Visit(self._ago(7), maya, (MASSAGE, CUSHION), "partly paid"),
            Visit(self._ago(18), theo, (PHYSIO,), "overdue"),
            Visit(self._ago(1), maya, ("Chiropractic, first visit",), "open"),
            Visit(self._ago(3), maya, ("Acupuncture, 60 minutes", "Hot and cold pack"), "open", riverside=True),
            *(Visit(self._ago(28 + 17 * turn), maya, (MASSAGE,), "card") for turn in range(14)),
            *(Visit(self._ago(36 + 40 * turn), theo, (PHYSIO,), "card") for turn in range(4)),
            Visit(self._ago(62), maya, ("Massage therapy, 90 minutes", "Foam roller"), "insurance, then card"),
            Visit(self._ago(96), maya, (MASSAGE,), "insurance"),
            Visit(self._ago(48), maya, ("Chiropractic, adjustment",), "void"),
            Visit(self._ago(131), maya, (PHONE_CALL,), "nothing to pay"),
        ]

    def _visit(self, fate: str, people: list[str]) -> Visit:
        days = self.chance.randrange(1, 13) if fate in OPEN else self.chance.randrange(2, 400)
        if fate.startswith("overdue"):
            days = self.chance.randrange(16, 90)
        return Visit(self._ago(days), self.chance.choice(people), self._items(fate), fate, self.chance.random() < 0.3)

    def _items(self, fate: str) -> tuple[str, ...]:
        if fate == "nothing to pay":
            return (PHONE_CALL,)
        treatment = self.chance.choice([name for name, price, _, whose in SERVICES if whose and price])
        product = self.chance.choice([name for name, _, _, whose in SERVICES if not whose])
        return (treatment, product) if self.chance.random() < 0.25 else (treatment,)

    def _ago(self, days: int) -> date:
        return self.today - timedelta(days=days)

    # --- an invoice, and what becomes of it -------------------------------------------------------------------------

    def write(self, visit: Visit) -> None:
        """Issue the invoice of a visit and let its fate happen."""
        invoice = issue_invoice(
            self.session,
            location=self.locations[visit.riverside],
            patient_id=self.patients[visit.patient].id,
            practitioner_id=self._who_treats(visit.items).id,
            service_on=visit.on,
            lines=[self._line(item) for item in visit.items],
            note=self.chance.choice(NOTES) if CUSHION in visit.items else "",
            issued_at=_moment(visit.on, self.chance.randrange(9, 17), self.chance.randrange(60)),
        )
        match visit.fate:
            case "void":
                void_invoice(self.session, invoice.id, "Entered for the wrong visit.")
                # The moment of the act would be now; an old invoice was voided long ago.
                invoice.voided_at = invoice.issued_at + timedelta(days=1)
            case "credited":
                self._credit(invoice, invoice.balance_cents // 4, "Courtesy credit: the visit began late.")
                self._pay(invoice, "card")
            case "refunded":
                self._refund(invoice, self._pay(invoice, "cash"))
            case "insurance, then card":
                self._pay(invoice, "insurance", share_of_all=2, days=6)
                self._pay(invoice, "card", days=9)
            case "partly paid" | "overdue, partly paid":
                self._pay(invoice, "insurance", cents=40_00, days=2)
            case "card" | "cash" | "cheque" | "e-transfer" | "insurance":
                self._pay(invoice, visit.fate, days=5 if visit.fate in ("insurance", "cheque") else 0)
            case "open" | "overdue" | "nothing to pay":
                pass
            case _:
                raise AssertionError(f"no such fate: {visit.fate}")

    def _who_treats(self, items: tuple[str, ...]) -> Practitioner:
        return next(self.practitioners[whose] for name, _, _, whose in SERVICES if whose and name in items)

    def _line(self, item: str) -> Line:
        service = self.services[item]
        return Line(item, service.price_cents, 1, self.taxes[item], service.id)

    def _pay(self, invoice: Invoice, kind: str, *, cents: int = 0, share_of_all: int = 1, days: int = 0) -> Payment:
        """Post money. A card's was taken on the clinic's old terminal, before the portal: it names neither gateway
        nor charge, so that the reconciliation doesn't look for it in a Stripe account that never saw it."""
        due = invoice.balance_cents
        payment = Payment(
            receipt_number=take_receipt_numbers(self.session)[0],
            invoice_id=invoice.id,
            payer_id=None if kind == "insurance" else self._payer_of(invoice),
            kind=kind,
            amount_cents=min(cents, due) if cents else due // share_of_all,
            currency=invoice.currency,
            received_at=min(invoice.issued_at + timedelta(days=days, minutes=4), now()),
            recorded_by=self.staff["Dana Whitlock"].id,
            note=f"Extended health plan, claim {self.chance.randrange(60, 90)}-{self.chance.randrange(1000, 9999)}"
            if kind == "insurance"
            else "",
        )
        if kind == "card":
            payment.brand, payment.last4 = self.chance.choice(CARDS)
            payment.funding = "credit"
        self.session.add(payment)
        self.session.flush()
        self.session.refresh(invoice)
        return payment

    def _payer_of(self, invoice: Invoice) -> int:
        theo, maya = self.patients["Theo Lindqvist"], self.patients["Maya Lindqvist"]
        return maya.id if invoice.patient_id == theo.id else invoice.patient_id

    def _refund(self, invoice: Invoice, payment: Payment) -> None:
        """Money back, and no longer owed: a negative payment and an equal credit."""
        self.session.add(
            Payment(
                invoice_id=invoice.id,
                payer_id=payment.payer_id,
                kind=payment.kind,
                amount_cents=-payment.amount_cents,
                currency=invoice.currency,
                reverses_id=payment.id,
                note="Refunded at the desk: the visit did not help.",
                received_at=min(payment.received_at + timedelta(days=3), now()),
                recorded_by=self.staff["Marc Oduya"].id,
            )
        )
        self.session.flush()
        self._credit(invoice, payment.amount_cents, "Refunded, no longer owed.")

    def _credit(self, invoice: Invoice, cents: int, reason: str) -> None:
        self.session.add(
            Adjustment(
                invoice_id=invoice.id,
                amount_cents=-cents,
                reason=reason,
                made_at=min(invoice.issued_at + timedelta(days=4), now()),
                made_by=self.staff["Marc Oduya"].id,
            )
        )
        self.session.flush()
        self.session.refresh(invoice)


def _moment(day: date, hour: int, minute: int = 0) -> datetime:
    return datetime.combine(day, time(hour, minute), ZONE).astimezone(UTC)


def _plain(name: str) -> str:
    """A name as it stands in an email address."""
    return name.lower().translate(str.maketrans("éèêïôç", "eeeioc"))
