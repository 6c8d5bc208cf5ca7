"""The demo clinic: believable, complete, and sound by the same checks as a real one."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from portal.clinic import Location, Practitioner, Service
from portal.db import Database
from portal.demo_data import (
    ClinicHasPatients,
    DemoClinic,
    NoClinicYet,
    make_demo_clinic,
    make_many_invoices,
)
from portal.demo_data.alder_lane import ZONE
from portal.demo_data.many import BATCH
from portal.demo_data.programs import PLANS
from portal.gateway.configured import ConfiguredGateway, Credentials, keys_of
from portal.invariants import broken_invariants
from portal.invoices.books import Standing, Status, status_of
from portal.invoices.tables import Adjustment, Invoice, InvoiceLine, LineTax
from portal.outbox import OutboxMessage
from portal.payments.tables import Payment
from portal.people import Patient, PayerLink, User
from portal.programs.reading import programs_to_come
from portal.programs.states import Place
from portal.programs.tables import Registration
from portal.schedule import COMPLETED, Appointment, BookedQuarter
from portal.schedule.times import quarters
from portal.settings import read_settings
from portal.vault import Vault
from tests.makers import count_of, make_patient, make_vault
from tests.support.databases import Databases

TODAY = datetime.now(ZONE).date()
PLACES_PAID = sum(plan.confirmed for plan in PLANS if plan.price_cents)
KEYS = {"token": "pk_test_demo", "secret": "sk_test_demo", "webhook_secret": "whsec_demo"}


@dataclass(frozen=True)
class Alder:
    """The demo clinic, made once for all tests that only look at it."""

    database: Database
    vault: Vault
    made: DemoClinic

    def look(self) -> Session:
        """For reading: nothing that is done in it is committed."""
        return Session(self.database.engine)


@pytest.fixture(scope="module")
def alder(database: str, databases: Databases) -> Iterator[Alder]:
    """Look at it; whatever writes makes a clinic of its own."""
    with databases.fresh(database) as url:
        clinic, vault = Database(url), make_vault()
        yield Alder(clinic, vault, make(clinic, vault))
        clinic.close()


@pytest.fixture
def vault() -> Vault:
    return make_vault()


def make(clinic: Database, vault: Vault, keys: dict[str, str] | None = KEYS) -> DemoClinic:
    return make_demo_clinic(
        clinic, vault, password="try-it", hash_password=lambda password: f"hash of {password}", sandbox_gateway=keys
    )


def test_the_demo_clinic_has_everything_switched_on(alder: Alder) -> None:
    assert broken_invariants(alder.database) == []
    with alder.look() as session:
        settings = read_settings(session)
        assert settings.portal_takes_payments
        assert settings.yes("portal_enabled")
        assert settings.yes("email_pay_online_request")
        assert settings.clinic_name == "Alder Lane Clinic"
        counts = {table: count_of(session, table) for table in (Location, Practitioner, Patient, Invoice)}
        assert counts == {Location: 2, Practitioner: 4, Patient: 30, Invoice: 200 + PLACES_PAID}
        assert count_of(session, Service) >= 12
        assert (alder.made.patients, alder.made.invoices) == (30, 200 + PLACES_PAID)
        gateway = session.get_one(ConfiguredGateway, alder.made.gateway_id)
        assert (gateway.location_id, gateway.mode, gateway.status, gateway.is_default) == (
            None,
            "test",
            "active",
            True,
        )
        assert keys_of(session, gateway.id).secret(alder.vault) == "sk_test_demo"


def test_everybody_who_is_listed_can_sign_in(alder: Alder) -> None:
    assert {(each.email, each.role) for each in alder.made.sign_ins} == {
        ("maya@example.com", "patient"),
        ("jonas@example.com", "patient"),
        ("dana@example.com", "front_desk"),
        ("ines@example.com", "billing"),
        ("liam@example.com", "practitioner"),
        ("marc@example.com", "administrator"),
    }
    with alder.look() as session:
        users = {user.email: user for user in session.scalars(select(User))}
        assert users.keys() == {each.email for each in alder.made.sign_ins}
        assert {user.password for user in users.values()} == {"hash of try-it"}
        addresses = session.scalars(select(Patient.email)).all()
        assert all(address.isascii() and address.endswith("@example.com") for address in addresses if address)
        assert len(set(addresses) - {""}) == 29  # Theo, a child, has none


def test_maya_sees_what_the_demo_tells_of(alder: Alder) -> None:
    with alder.look() as session:
        maya, theo = session.scalars(select(Patient).order_by(Patient.id).limit(2)).all()
        assert (maya.name, theo.name) == ("Maya Lindqvist", "Theo Lindqvist")
        assert theo.birth_date is not None
        assert TODAY.year - theo.birth_date.year < 18
        assert session.get_one(PayerLink, (maya.id, theo.id)).sees_lines

        open_invoices = _invoices(session, maya, theo, Invoice.balance_cents > 0)
        assert len(open_invoices) == 4
        [part_paid] = [one for one in open_invoices if status_of(one, TODAY).status == Status.PARTLY_PAID]
        assert (part_paid.owed_cents, part_paid.balance_cents) == (179_76, 139_76)
        taxes = select(LineTax.name, func.sum(LineTax.amount_cents)).where(LineTax.invoice_id == part_paid.id)
        by_name = session.execute(taxes.group_by(LineTax.name).order_by(LineTax.name)).all()
        assert [tuple(row) for row in by_name] == [("GST", 8_40), ("PST", 3_36)]
        insurance = session.scalars(select(Payment).where(Payment.invoice_id == part_paid.id)).one()
        assert (insurance.kind, insurance.amount_cents) == ("insurance", 40_00)

        late = [one for one in open_invoices if status_of(one, TODAY).overdue_days]
        assert [(one.patient_id, status_of(one, TODAY)) for one in late] == [
            (theo.id, Standing(Status.RECEIVABLE, 4))
        ]
        settled = _invoices(session, maya, theo, Invoice.balance_cents <= 0, Invoice.voided_at.is_(None))
        assert len(settled) >= 20


def _invoices(session: Session, maya: Patient, theo: Patient, *which: ColumnElement[bool]) -> list[Invoice]:
    theirs = select(Invoice).where(Invoice.patient_id.in_([maya.id, theo.id]), *which)
    return list(session.scalars(theirs.order_by(Invoice.id)))


def test_there_are_invoices_in_every_state(alder: Alder) -> None:
    with alder.look() as session:
        invoices = session.scalars(select(Invoice)).all()
        standings = [status_of(invoice, TODAY) for invoice in invoices]
        statuses = Counter(standing.status for standing in standings)
        assert min(statuses[each] for each in Status) >= 5
        assert sum(standing.overdue_days > 0 for standing in standings) >= 10
        assert sum(invoice.owed_cents == 0 for invoice in invoices) >= 5
        kinds = set(session.scalars(select(Payment.kind).distinct()))
        assert kinds == {"card", "cash", "cheque", "e-transfer", "insurance"}
        assert count_of(session, Adjustment) >= 5
        assert session.scalar(select(func.count()).where(Payment.amount_cents < 0)) == 4
        assert all(invoice.issued_at.date() <= TODAY + timedelta(days=1) for invoice in invoices)


def test_the_schedule_is_alive(alder: Alder) -> None:
    with alder.look() as session:
        visits = session.scalars(select(Appointment)).all()
        days = {visit.starts_at.astimezone(ZONE).date() for visit in visits}
        assert len([day for day in days if day > TODAY]) >= 5 and min(days) < TODAY
        tied = set(session.scalars(select(Invoice.appointment_id).where(Invoice.appointment_id.is_not(None))))
        done = {visit.id for visit in visits if visit.status == COMPLETED}
        assert done == tied and len(done) >= 5
        assert len({visit.location_id for visit in visits}) == 2
        wanted = sum(len(quarters(visit.starts_at, visit.ends_at)) for visit in visits)
        assert count_of(session, BookedQuarter) == wanted


def test_programs_stand_as_they_do_in_a_clinic(alder: Alder) -> None:
    with alder.database.read() as connection:
        said = {program.name.partition(" ")[0]: program.tag.text for program in programs_to_come(connection).rows}
    assert said == {
        "Open": "15 places left", "Back": "3 places left", "Strong": "9 places left", "Calm": "Full, 4 are waiting",
        "New": "6 places left",
    }  # fmt: skip
    with alder.look() as session:
        offered = session.scalars(select(Registration).where(Registration.state == Place.OFFERED)).one()
        assert session.get_one(Patient, offered.patient_id).name == "Maya Lindqvist"
        assert session.scalars(select(OutboxMessage.kind)).all() == ["place_offered"]


def test_numbers_follow_the_dates_without_a_gap(alder: Alder) -> None:
    with alder.look() as session:
        for location in session.scalars(select(Location)):
            rows = session.execute(
                select(Invoice.number, Invoice.service_on)
                .where(Invoice.location_id == location.id)
                .order_by(Invoice.id)
            ).all()
            numbers = [int(number.removeprefix(location.invoice_prefix)) for number, _ in rows]
            assert numbers == list(range(numbers[0], location.next_invoice_number))
            came = [day for _, day in rows if day <= TODAY]  # what is to come is a program's
            assert came == sorted(came)


def test_past_card_payments_are_not_the_gateways(alder: Alder) -> None:
    # Otherwise the reconciliation would miss them in an account that never saw them.
    with alder.look() as session:
        cards = session.scalars(select(Payment).where(Payment.kind == "card")).all()
        assert cards
        assert all(payment.gateway_id is None and payment.charge_id is None for payment in cards)
        assert all(payment.brand and payment.last4 for payment in cards)


def test_the_same_seed_gives_the_same_clinic(alder: Alder, clinic: Database, vault: Vault) -> None:
    make(clinic, vault)
    books = []
    for each in (alder.database, clinic):
        with each.read() as connection:
            invoices = select(Invoice.number, Invoice.service_on, Invoice.owed_cents, Invoice.paid_cents)
            books.append(connection.execute(invoices.order_by(Invoice.id)).all())
    assert books[0] == books[1]


def test_without_keys_there_is_no_gateway(clinic: Database, vault: Vault) -> None:
    assert make(clinic, vault, keys=None).gateway_id is None
    with clinic.transaction() as session:
        assert count_of(session, ConfiguredGateway) + count_of(session, Credentials) == 0


def test_demo_data_never_goes_among_real_patients(clinic: Database, vault: Vault) -> None:
    with clinic.transaction() as session:
        make_patient(session)
    with pytest.raises(ClinicHasPatients) as refused:
        make(clinic, vault)
    assert "already" in refused.value.text
    with clinic.transaction() as session:
        assert count_of(session, Location) == 0


def test_it_is_made_once_or_not_at_all(clinic: Database, vault: Vault) -> None:
    with pytest.raises(KeyError):
        make(clinic, vault, keys={"token": "pk_test_demo"})
    with clinic.transaction() as session:
        assert count_of(session, Patient) == 0
        assert session.execute(select(Location.id)).first() is None
    make(clinic, vault)
    with pytest.raises(ClinicHasPatients):
        make(clinic, vault)


# --- many invoices --------------------------------------------------------------------------------------------------


def test_many_invoices_are_sound_and_of_every_kind(clinic: Database, vault: Vault) -> None:
    make(clinic, vault)
    told: list[int] = []
    make_many_invoices(clinic, BATCH + 1_000, progress=told.append)
    assert told == [BATCH, BATCH + 1_000]
    assert broken_invariants(clinic) == []
    with clinic.transaction() as session:
        assert count_of(session, Invoice) == 200 + PLACES_PAID + BATCH + 1_000
        assert count_of(session, Patient) == 30 + 200
        made = session.scalars(select(Invoice).where(Invoice.id > 200 + PLACES_PAID)).all()
        assert len(made) == BATCH + 1_000
        statuses = Counter(status_of(invoice, TODAY).status for invoice in made)
        assert min(statuses[each] for each in Status) >= 10
        assert (TODAY - min(invoice.service_on for invoice in made)).days in range(1_090, 1_100)
        assert (TODAY - max(invoice.service_on for invoice in made)).days <= 1
        assert (session.scalar(select(func.count()).where(Payment.reverses_id.is_not(None))) or 0) > 4
        assert count_of(session, InvoiceLine) > len(made)


def test_numbers_go_on_where_the_blocks_ended(clinic: Database, vault: Vault) -> None:
    make(clinic, vault)
    make_many_invoices(clinic, 50, patients=3)
    make_many_invoices(clinic, 50, patients=3)
    with clinic.transaction() as session:
        for location in session.scalars(select(Location)):
            there = session.scalars(select(Invoice.number).where(Invoice.location_id == location.id)).all()
            numbers = sorted(int(number.removeprefix(location.invoice_prefix)) for number in there)
            assert numbers == list(range(numbers[0], location.next_invoice_number))
        receipts = session.scalars(select(Payment.receipt_number).where(Payment.amount_cents > 0)).all()
        assert sorted(receipts, key=str) == [f"R-{number}" for number in range(20_001, 20_001 + len(receipts))]
        # The ORM goes on without stepping on an id that was reserved.
        assert make_patient(session).id == 37
    assert broken_invariants(clinic) == []


def test_many_invoices_need_a_clinic(clinic: Database) -> None:
    with pytest.raises(NoClinicYet) as refused:
        make_many_invoices(clinic, 1)
    assert "demo clinic first" in refused.value.text
