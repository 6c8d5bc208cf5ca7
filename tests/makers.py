"""Test data in the clinic's words, and the cast that the tests tell their stories with.

Each maker writes one thing into the caller's session and gives it back as the database holds it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from portal.clinic import Location, Practitioner, Service, ServiceTax, Tax
from portal.clock import now
from portal.gateway.configured import ConfiguredGateway, add_gateway
from portal.invoices.books import Line, TaxRate, issue_invoice, take_receipt_numbers
from portal.invoices.tables import Invoice
from portal.payments.states import DEADLINE, FIRST_LOOK, State
from portal.payments.tables import Payment, PaymentAttempt
from portal.people import PATIENT, Patient, PayerLink, SignIn, User
from portal.programs.tables import Program, ProgramSession, ProgramTax
from portal.second_factor import sealed_key
from portal.vault import Vault, new_key, parse_key

GST = TaxRate("GST", 5_000)
PST = TaxRate("PST", 7_000)

Lines = Sequence[tuple[str, int, int, Sequence[TaxRate]]]
MASSAGE: Lines = (("Massage therapy, 60 minutes", 1, 12_000, (GST,)),)
MASSAGE_AND_CUSHION: Lines = (*MASSAGE, ("Lumbar support cushion", 1, 4_800, (GST, PST)))


def make_vault() -> Vault:
    """A vault with a key of its own."""
    return Vault([parse_key(new_key())])


def make_location(
    session: Session,
    name: str = "Alder Lane",
    *,
    prefix: str = "",
    first_number: int = 10_001,
    currency: str = "CAD",
    timezone: str = "America/Vancouver",
    payment_terms_days: int = 14,
) -> Location:
    location = Location(
        name=name,
        address="118 Alder Lane, Kelowna BC V1Y 0A1",
        phone="250-555-0142",
        timezone=timezone,
        currency=currency,
        tax_numbers="GST 71234 5678 RT0001",
        invoice_prefix=prefix,
        next_invoice_number=first_number,
        payment_terms_days=payment_terms_days,
    )
    session.add(location)
    session.flush()
    return location


def make_practitioner(
    session: Session, name: str = "Liam Tremblay", credentials: str = "RMT", registration: str = "CMTBC 08842"
) -> Practitioner:
    practitioner = Practitioner(name=name, credentials=credentials, registration=registration)
    session.add(practitioner)
    session.flush()
    return practitioner


def make_service(
    session: Session,
    name: str = "Massage therapy, 60 minutes",
    price_cents: int = 12_000,
    taxes: Sequence[TaxRate] = (GST,),
    *,
    minutes: int = 60,
    is_product: bool = False,
) -> Service:
    """A service or product with its taxes; the one of this name where there is one already."""
    known = session.scalars(select(Service).where(Service.name == name)).first()
    if known is not None:
        return known
    service = Service(
        name=name, price_cents=price_cents, duration_minutes=0 if is_product else minutes, is_product=is_product
    )
    session.add(service)
    session.flush()
    for rate in taxes:
        session.add(ServiceTax(service_id=service.id, tax_id=make_tax(session, rate).id))
    session.flush()
    return service


def make_tax(session: Session, rate: TaxRate) -> Tax:
    """The clinic's tax of this name."""
    tax = session.scalars(select(Tax).where(Tax.name == rate.name)).first()
    if tax is None:
        position = count_of(session, Tax)
        tax = Tax(name=rate.name, rate_per_100k=rate.rate_per_100k, compound=rate.compound, position=position)
        session.add(tax)
        session.flush()
    return tax


def make_patient(
    session: Session,
    given_name: str = "Maya",
    family_name: str = "Lindqvist",
    *,
    email: str = "",
    birth_date: date | None = date(1988, 6, 14),
) -> Patient:
    patient = Patient(
        given_name=given_name, family_name=family_name, email=email, birth_date=birth_date, created_at=now()
    )
    session.add(patient)
    session.flush()
    return patient


def make_payer_link(session: Session, payer: Patient, patient: Patient, *, sees_lines: bool = False) -> PayerLink:
    link = PayerLink(payer_id=payer.id, patient_id=patient.id, sees_lines=sees_lines, created_at=now())
    session.add(link)
    session.flush()
    return link


def make_user(
    session: Session,
    email: str,
    role: str = PATIENT,
    patient: Patient | None = None,
    password_hash: str | None = None,
    name: str = "",
) -> User:
    user = User(
        email=email,
        password=password_hash,
        name=name or (patient.name if patient else email.partition("@")[0].title()),
        role=role,
        fs_uniquifier=uuid4().hex,
        patient_id=patient.id if patient else None,
        created_at=now(),
    )
    session.add(user)
    session.flush()
    return user


def make_invoice(
    session: Session,
    patient: Patient,
    lines: Lines = MASSAGE,
    *,
    location: Location | None = None,
    practitioner: Practitioner | None = None,
    service_on: date | None = None,
    due_on: date | None = None,
    issued_at: datetime | None = None,
    note: str = "",
) -> Invoice:
    """An invoice of lines (description, quantity, unit_cents, taxes); at the first location unless one is given."""
    location = location or session.scalars(select(Location).order_by(Location.id)).first() or make_location(session)
    return issue_invoice(
        session,
        location=location,
        patient_id=patient.id,
        practitioner_id=practitioner.id if practitioner else None,
        service_on=service_on or now().date(),
        lines=[Line(what, unit_cents, quantity, tuple(taxes)) for what, quantity, unit_cents, taxes in lines],
        due_on=due_on,
        issued_at=issued_at,
        note=note,
    )


def make_payment(
    session: Session, invoice: Invoice, amount_cents: int | None = None, kind: str = "cash", **details: Any
) -> Payment:
    """Posted money on an invoice: all that is left to pay, unless an amount is given. The invoice is read anew, also
    one that an earlier transaction made."""
    if invoice not in session:
        session.add(invoice)
        session.refresh(invoice)
    payment = Payment(
        **{
            "receipt_number": take_receipt_numbers(session)[0],
            "invoice_id": invoice.id,
            "payer_id": invoice.patient_id,
            "kind": kind,
            "amount_cents": invoice.balance_cents if amount_cents is None else amount_cents,
            "currency": invoice.currency,
            "received_at": now(),
            **details,
        }
    )
    session.add(payment)
    session.flush()
    session.refresh(invoice)
    return payment


def make_gateway(
    session: Session,
    vault: Vault,
    *,
    location: Location | None = None,
    name: str = "Alder Lane Clinic",
    mode: str = "test",
    active: bool = True,
    default: bool = True,
    token: str = "",
    secret: str = "",
    webhook_secret: str = "whsec_makers",
) -> ConfiguredGateway:
    """A Stripe gateway, clinic-wide unless a location is given."""
    keys = "live" if mode == "production" else "test"
    return add_gateway(
        session,
        vault,
        location_id=location.id if location else None,
        name=name,
        mode=mode,
        token=token or f"pk_{keys}_makers",
        secret=secret or f"sk_{keys}_makers",
        webhook_secret=webhook_secret,
        active=active,
        default=default,
    )


def make_attempt(
    session: Session, invoice: Invoice, gateway: ConfiguredGateway, state: State = State.CREATED, **details: Any
) -> PaymentAttempt:
    """One try to pay what is left of an invoice."""
    moment = now()
    attempt = PaymentAttempt(
        **{
            "id": uuid4(),
            "invoice_id": invoice.id,
            "payer_id": invoice.patient_id,
            "gateway_id": gateway.id,
            "mode": gateway.mode,
            "amount_cents": invoice.balance_cents,
            "currency": invoice.currency,
            "invoice_version": invoice.version,
            "state": state,
            "started_at": moment,
            "next_look_at": moment + FIRST_LOOK.get(state, timedelta()),
            "deadline_at": moment + DEADLINE.get(state, timedelta()),
            **details,
        }
    )
    session.add(attempt)
    session.flush()
    return attempt


def make_program(
    session: Session,
    name: str = "Back in motion",
    *,
    location: Location | None = None,
    practitioner: Practitioner | None = None,
    price_cents: int = 20_000,
    taxes: Sequence[TaxRate] = (GST,),
    capacity: int = 10,
    first: datetime | None = None,
    sessions: int = 6,
    **details: Any,
) -> Program:
    """A program that people see and can register for: weekly sessions of an hour, the first in four weeks."""
    location = location or session.scalars(select(Location).order_by(Location.id)).first() or make_location(session)
    program = Program(
        **{
            "public_id": uuid4().hex[:16],
            "name": name,
            "location_id": location.id,
            "practitioner_id": practitioner.id if practitioner else None,
            "price_cents": price_cents,
            "capacity": capacity,
            "visible": True,
            "created_at": now(),
            **details,
        }
    )
    session.add(program)
    session.flush()
    for rate in taxes:
        session.add(ProgramTax(program_id=program.id, tax_id=make_tax(session, rate).id))
    first = first or now().replace(minute=30, second=0, microsecond=0) + timedelta(weeks=4)
    for week in range(sessions):
        starts_at = first + timedelta(weeks=week)
        session.add(
            ProgramSession(
                program_id=program.id, starts_at=starts_at, ends_at=starts_at + timedelta(hours=1), room="Studio 2"
            )
        )
    session.flush()
    return program


@dataclass(frozen=True)
class Cast:
    """The people of the stories. Maya is the patient; Theo is her child, whom she and Sven pay for."""

    location: Location
    practitioner: Practitioner
    maya: Patient
    maya_user: User
    theo: Patient
    second_payer: Patient
    second_payer_user: User
    stranger: Patient
    stranger_user: User
    clerk: User
    bookkeeper: User
    therapist: User
    administrator: User


def make_cast(session: Session, password_hash: str | None = None) -> Cast:
    """A location, a practitioner, and everyone whom a story needs; all accounts share one password."""
    maya = make_patient(session, email="maya@example.com")
    theo = make_patient(session, "Theo", birth_date=date(now().year - 8, 3, 2))
    sven = make_patient(session, "Sven", email="sven@example.com", birth_date=date(1986, 1, 30))
    stranger = make_patient(session, "Jonas", "Weber", email="jonas@example.com", birth_date=date(1975, 9, 9))
    make_payer_link(session, maya, theo, sees_lines=True)
    make_payer_link(session, sven, theo)
    return Cast(
        location=make_location(session),
        practitioner=make_practitioner(session),
        maya=maya,
        maya_user=make_user(session, "maya@example.com", PATIENT, maya, password_hash),
        theo=theo,
        second_payer=sven,
        second_payer_user=make_user(session, "sven@example.com", PATIENT, sven, password_hash),
        stranger=stranger,
        stranger_user=make_user(session, "jonas@example.com", PATIENT, stranger, password_hash),
        clerk=make_user(session, "dana@example.com", "front_desk", None, password_hash, "Dana Whitlock"),
        bookkeeper=make_user(session, "ines@example.com", "billing", None, password_hash, "Inès Bouchard"),
        therapist=make_user(session, "liam@example.com", "practitioner", None, password_hash, "Liam Tremblay"),
        administrator=make_user(session, "marc@example.com", "administrator", None, password_hash, "Marc Oduya"),
    )


def give_second_factor(session: Session, email: str) -> None:
    """As if whoever is signed in with this address had given their second factor, in every browser of theirs."""
    whose = select(User.id).where(User.email == email, User.role != PATIENT)
    session.execute(
        update(SignIn)
        .where(SignIn.user_id.in_(whose), SignIn.ended_at.is_(None))
        .values(factor_at=now())
        .execution_options(synchronize_session=False)
    )


def give_authenticator(session: Session, vault: Vault, email: str, key: bytes) -> None:
    """As if they had set up an authenticator app with this key a while ago."""
    user = session.scalars(select(User).where(User.email == email)).one()
    if user.totp_sealed is None:
        user.totp_sealed, user.totp_set_up_at = sealed_key(vault, user.id, key), now()


def count_of(session: Session, table: type[Any]) -> int:
    """How many rows a table has."""
    return session.scalar(select(func.count()).select_from(table)) or 0
