"""What the pay pages show: one statement each, columns only. Loading is authorising: a stranger gets None."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, select

from portal.cards import SavedCard
from portal.clinic import Location, Practitioner
from portal.clock import now
from portal.gateway.configured import ConfiguredGateway, Credentials, chosen_gateway
from portal.invoices.tables import Invoice
from portal.payments.cases import dispute_under_way, refund_is_expected
from portal.payments.states import LIVE, State
from portal.payments.tables import Payment, PaymentAttempt
from portal.people import Patient, PayerLink, User, pays_for


@dataclass(frozen=True)
class LiveAttempt:
    """The attempt that is under way on an invoice."""

    id: UUID
    state: str
    payer_id: int | None
    user_id: int | None
    channel: str
    pay_link_id: int | None
    amount_cents: int
    invoice_version: int
    started_at: datetime
    held: bool

    @property
    def is_at_work(self) -> bool:
        """Whether nothing may be started until its outcome is known."""
        return self.held or self.state in (State.CONFIRMING, State.PROCESSING)


@dataclass(frozen=True)
class Payable:
    """An invoice as its pay page shows it, and through which gateway it would be paid."""

    id: int
    number: str
    owed_cents: int
    paid_cents: int
    balance_cents: int
    currency: str
    version: int
    is_void: bool
    is_disputed: bool
    expects_refund: bool
    service_on: date
    due_on: date
    patient_id: int
    patient: str
    practitioner: str
    location: str
    timezone: str
    gateway_id: int | None
    gateway_name: str | None
    mode: str | None
    token: str | None
    live: LiveAttempt | None


PAYABLES = (
    select(
        Invoice.id,
        Invoice.number,
        Invoice.owed_cents,
        Invoice.paid_cents,
        Invoice.balance_cents,
        Invoice.currency,
        Invoice.version,
        Invoice.voided_at,
        dispute_under_way(Invoice.id).label("is_disputed"),
        refund_is_expected(Invoice.id).label("expects_refund"),
        Invoice.service_on,
        Invoice.due_on,
        Invoice.patient_id,
        Location.name.label("location"),
        Location.timezone,
        ConfiguredGateway.id.label("gateway_id"),
        ConfiguredGateway.name.label("gateway_name"),
        ConfiguredGateway.mode.label("gateway_mode"),
        Credentials.token,
        PaymentAttempt.id.label("attempt_id"),
        PaymentAttempt.state,
        PaymentAttempt.payer_id,
        PaymentAttempt.user_id,
        PaymentAttempt.channel,
        PaymentAttempt.pay_link_id,
        PaymentAttempt.amount_cents,
        PaymentAttempt.invoice_version,
        PaymentAttempt.started_at,
        PaymentAttempt.held_until,
    )
    .join(Location, Location.id == Invoice.location_id)
    .outerjoin(ConfiguredGateway, ConfiguredGateway.id == chosen_gateway(Invoice.location_id))
    .outerjoin(
        Credentials,
        (Credentials.gateway_id == ConfiguredGateway.id) & (Credentials.mode == ConfiguredGateway.mode),
    )
    .outerjoin(PaymentAttempt, (PaymentAttempt.invoice_id == Invoice.id) & PaymentAttempt.state.in_(sorted(LIVE)))
)
"""Invoices with the gateway and attempt of each: money alone, so that it fits whoever may not know whose they are."""

_INVOICES = (
    PAYABLES.add_columns(
        Patient.given_name, Patient.family_name, Practitioner.name.label("practitioner"), Practitioner.credentials
    )
    .join(Patient, Patient.id == Invoice.patient_id)
    .outerjoin(Practitioner, Practitioner.id == Invoice.practitioner_id)
)
_INVOICE = _INVOICES.where(Invoice.number == bindparam("number"))
_PAYABLE = _INVOICE.where(pays_for(bindparam("payer_id"), Invoice.patient_id))
_PAYABLE_PLACE = _INVOICES.where(
    Invoice.id == bindparam("invoice_id"), pays_for(bindparam("payer_id"), Invoice.patient_id)
)


def payable(connection: Connection, payer_id: int, number: str) -> Payable | None:
    """The invoice with this number, if this payer may pay it."""
    row = connection.execute(_PAYABLE, {"number": number, "payer_id": payer_id}).first()
    return None if row is None else _payable(row)


def payable_place(connection: Connection, payer_id: int, invoice_id: int) -> Payable | None:
    """The invoice of a place in a program, if this payer may pay it. (Its number comes with its payment.)"""
    row = connection.execute(_PAYABLE_PLACE, {"invoice_id": invoice_id, "payer_id": payer_id}).first()
    return None if row is None else _payable(row)


def receivable(connection: Connection, number: str) -> Payable | None:
    """The invoice with this number, for staff who receive payments; never for a patient's page."""
    row = connection.execute(_INVOICE, {"number": number}).first()
    return None if row is None else _payable(row)


def _payable(row: Any) -> Payable:
    practitioner = ", ".join(part for part in (row.practitioner, row.credentials) if part)
    return payable_of(row, f"{row.given_name} {row.family_name}", practitioner)


def payable_of(row: Any, patient: str = "", practitioner: str = "") -> Payable:
    """A row of PAYABLES, with the names that its reader may know."""
    return Payable(
        id=row.id,
        number=row.number,
        owed_cents=row.owed_cents,
        paid_cents=row.paid_cents,
        balance_cents=row.balance_cents,
        currency=row.currency,
        version=row.version,
        is_void=row.voided_at is not None,
        is_disputed=bool(row.is_disputed),
        expects_refund=bool(row.expects_refund),
        service_on=row.service_on,
        due_on=row.due_on,
        patient_id=row.patient_id,
        patient=patient,
        practitioner=practitioner,
        location=row.location,
        timezone=row.timezone,
        gateway_id=row.gateway_id,
        gateway_name=row.gateway_name,
        mode=row.gateway_mode,
        token=row.token,
        live=_live(row),
    )


def _live(row: Any) -> LiveAttempt | None:
    if row.attempt_id is None:
        return None
    return LiveAttempt(
        id=row.attempt_id,
        state=row.state,
        payer_id=row.payer_id,
        user_id=row.user_id,
        channel=row.channel,
        pay_link_id=row.pay_link_id,
        amount_cents=row.amount_cents,
        invoice_version=row.invoice_version,
        started_at=row.started_at,
        held=row.held_until is not None and row.held_until > now(),
    )


@dataclass(frozen=True)
class CardChoice:
    """A saved card as the pay pages offer it. `saved_by`: whose account the payer's consent was given with."""

    public_id: str
    brand: str
    funding: str
    last4: str
    expires: str
    is_usual: bool
    saved_at: datetime
    saved_by: str | None


_CHOICES = (
    select(
        SavedCard.public_id,
        SavedCard.brand,
        SavedCard.funding,
        SavedCard.last4,
        SavedCard.exp_month,
        SavedCard.exp_year,
        SavedCard.is_usual,
        SavedCard.consented_at,
        User.name.label("saved_by"),
    )
    .outerjoin(User, User.id == SavedCard.consented_by)
    .where(
        SavedCard.payer_id == bindparam("payer_id"),
        SavedCard.gateway_id == bindparam("gateway_id"),
        SavedCard.mode == bindparam("mode"),
        SavedCard.removed_at.is_(None),
    )
    .order_by(SavedCard.is_usual.desc(), SavedCard.id.desc())
    .limit(20)
)


def card_choices(connection: Connection, payer_id: int, invoice: Payable) -> list[CardChoice]:
    """The payer's saved cards that this invoice's gateway can charge; those that have expired are left out."""
    moment = now()
    rows = connection.execute(
        _CHOICES, {"payer_id": payer_id, "gateway_id": invoice.gateway_id, "mode": invoice.mode}
    )
    return [
        CardChoice(
            row.public_id,
            row.brand,
            row.funding,
            row.last4,
            f"{row.exp_month:02}/{row.exp_year}",
            row.is_usual,
            row.consented_at,
            row.saved_by,
        )
        for row in rows
        if (row.exp_year, row.exp_month) >= (moment.year, moment.month)
    ]


@dataclass(frozen=True)
class AttemptStatus:
    """An attempt as its own page shows it."""

    id: UUID
    payer_id: int | None
    user_id: int | None
    channel: str
    pay_link_id: int | None
    mode: str
    state: str
    reason: str | None
    amount_cents: int
    currency: str
    invoice_number: str
    card_brand: str | None
    card_last4: str | None
    started_at: datetime
    timezone: str
    receipt_number: str | None


ATTEMPTS = (
    select(
        PaymentAttempt.id,
        PaymentAttempt.payer_id,
        PaymentAttempt.user_id,
        PaymentAttempt.channel,
        PaymentAttempt.pay_link_id,
        PaymentAttempt.mode,
        PaymentAttempt.state,
        PaymentAttempt.reason,
        PaymentAttempt.amount_cents,
        PaymentAttempt.currency,
        Invoice.number.label("invoice_number"),
        PaymentAttempt.card_brand,
        PaymentAttempt.card_last4,
        PaymentAttempt.started_at,
        Location.timezone,
        Payment.receipt_number,
    )
    .join(Invoice, Invoice.id == PaymentAttempt.invoice_id)
    .outerjoin(Payment, Payment.attempt_id == PaymentAttempt.id)
    .join(Location, Location.id == Invoice.location_id)
    .where(PaymentAttempt.id == bindparam("attempt_id"))
)
"""One attempt, of whichever invoice."""

_ATTEMPT = ATTEMPTS.where(Invoice.number == bindparam("number"))
_STATUS = _ATTEMPT.where(pays_for(bindparam("payer_id"), Invoice.patient_id))
_STATUS_OF_PLACE = ATTEMPTS.where(
    Invoice.id == bindparam("invoice_id"), pays_for(bindparam("payer_id"), Invoice.patient_id)
)


def attempt_status(connection: Connection, payer_id: int, number: str, attempt_id: UUID) -> AttemptStatus | None:
    """An attempt on an invoice that this payer may pay."""
    row = connection.execute(_STATUS, {"payer_id": payer_id, "number": number, "attempt_id": attempt_id}).first()
    return AttemptStatus(**row._mapping) if row else None


def place_attempt_status(
    connection: Connection, payer_id: int, invoice_id: int, attempt_id: UUID
) -> AttemptStatus | None:
    """As `attempt_status`, of the invoice of a place in a program."""
    values = {"payer_id": payer_id, "invoice_id": invoice_id, "attempt_id": attempt_id}
    row = connection.execute(_STATUS_OF_PLACE, values).first()
    return AttemptStatus(**row._mapping) if row else None


def any_attempt_status(connection: Connection, number: str, attempt_id: UUID) -> AttemptStatus | None:
    """An attempt on this invoice, whoever's, for staff who receive payments."""
    row = connection.execute(_ATTEMPT, {"number": number, "attempt_id": attempt_id}).first()
    return AttemptStatus(**row._mapping) if row else None


# --- who pays, at the desk ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PayerChoice:
    """Somebody on file who may be the payer, with what tells them from others of the same name."""

    id: int
    name: str
    relation: str
    birth_date: date | None
    email: str


_PERSON = select(Patient.id, Patient.given_name, Patient.family_name, Patient.birth_date, Patient.email)
_PAYERS = (
    _PERSON.add_columns(PayerLink.relation)
    .join(PayerLink, PayerLink.payer_id == Patient.id)
    .where(PayerLink.patient_id == bindparam("patient_id"))
    .order_by(Patient.given_name, Patient.id)
)


def people_who_pay_for(connection: Connection, patient_id: int) -> list[PayerChoice]:
    """The people who pay for a patient."""
    return [_choice(row, row.relation) for row in connection.execute(_PAYERS, {"patient_id": patient_id})]


def person_on_file(connection: Connection, patient_id: int) -> PayerChoice | None:
    """Anybody on file, by id."""
    row = connection.execute(_PERSON.where(Patient.id == patient_id)).first()
    return _choice(row) if row else None


def _choice(row: Any, relation: str = "") -> PayerChoice:
    return PayerChoice(row.id, f"{row.given_name} {row.family_name}".strip(), relation, row.birth_date, row.email)
