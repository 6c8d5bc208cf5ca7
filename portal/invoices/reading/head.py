"""The head of an invoice: which one it is, whose, and where it stands. Loading it is authorising."""

import re
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, bindparam, select

from portal.clinic import Location, Practitioner
from portal.gateway.configured import ConfiguredGateway, chosen_gateway
from portal.invoices.reading.columns import (
    LIVE,
    Found,
    attempts,
    gateways,
    invoices,
    locations,
    patients,
    practitioners,
)  # fmt: skip
from portal.invoices.reading.lists import Modes
from portal.invoices.reading.payers import Payer
from portal.invoices.reading.words import (
    CHECKED,
    Sum,
    Tag,
    Today,
    closed_tag,
    href,
    large,
    long_day,
    open_tag,
    phrases_here,
    plain_day,
    weekday,
    with_credentials,
)  # fmt: skip
from portal.invoices.tables import UNNUMBERED, Invoice
from portal.money import format_money, is_chargeable, smallest_charge
from portal.payments.tables import PaymentAttempt
from portal.people import Patient


@dataclass(frozen=True)
class Head:
    """An invoice without what stands on it: enough to decide and to say what it is."""

    id: int
    number: str
    href: str
    patient_id: int
    patient_name: str
    patient_given_name: str
    sees_lines: bool
    practitioner: str
    registration: str
    place: str
    place_address: str
    place_phone: str
    tax_numbers: str
    zone: str
    currency: str
    service_on: date
    due_on: date
    voided: bool
    version: int
    owed_cents: int
    paid_cents: int
    balance_cents: int
    last_paid_at: datetime | None
    attempt_state: str | None
    gateway_mode: str | None

    @property
    def is_checked(self) -> bool:
        """Whether a payment is under way of which nobody knows yet how it ends."""
        return self.attempt_state in CHECKED

    @property
    def left(self) -> Sum:
        return large(max(self.balance_cents, 0), self.currency)

    @property
    def left_words(self) -> str:
        return format_money(max(self.balance_cents, 0), self.currency)

    @property
    def too_much_words(self) -> str:
        return format_money(max(-self.balance_cents, 0), self.currency)

    @property
    def due_words(self) -> str:
        return long_day(self.due_on)

    @property
    def service_words(self) -> str:
        return weekday(self.service_on)

    @property
    def service_day(self) -> str:
        return plain_day(self.service_on)

    @property
    def tag(self) -> Tag:
        """Where the invoice stands."""
        phrases = phrases_here()
        if self.balance_cents > 0:
            return open_tag(self.attempt_state, self.paid_cents, self.due_on, self.zone, phrases, Today())
        return closed_tag(self.voided, self.last_paid_at, self.owed_cents, self.paid_cents, self.zone, phrases)

    def can_be_paid_online(self, modes: Modes) -> bool:
        """Whether the pay button may stand on it."""
        return self.gateway_mode in modes and not self.is_checked and is_chargeable(self.balance_cents, self.currency)

    @property
    def is_below_card_minimum(self) -> bool:
        return 0 < self.balance_cents < smallest_charge(self.currency)

    @property
    def is_beyond_cards(self) -> bool:
        """Whether a balance is left that no card can be charged in one payment."""
        return self.balance_cents > 0 and not is_chargeable(self.balance_cents, self.currency)

    @property
    def smallest_charge(self) -> str:
        return format_money(smallest_charge(self.currency), self.currency, full=True)


_HEADS = (
    select(
        invoices.id,
        invoices.number,
        invoices.patient_id,
        patients.given_name,
        patients.family_name,
        practitioners.name.label("practitioner_name"),
        practitioners.credentials,
        practitioners.registration,
        locations.name.label("place"),
        locations.address,
        locations.phone,
        locations.tax_numbers,
        locations.timezone,
        invoices.currency,
        invoices.service_on,
        invoices.due_on,
        invoices.voided_at,
        invoices.version,
        invoices.owed_cents,
        invoices.paid_cents,
        invoices.balance_cents,
        invoices.last_paid_at,
        attempts.state,
        gateways.mode,
    )
    .select_from(Invoice.__table__)
    .join(Patient.__table__, patients.id == invoices.patient_id)
    .join(Location.__table__, locations.id == invoices.location_id)
    .outerjoin(Practitioner.__table__, practitioners.id == invoices.practitioner_id)
    .outerjoin(PaymentAttempt.__table__, (attempts.invoice_id == invoices.id) & LIVE)
    .outerjoin(ConfiguredGateway.__table__, gateways.id == chosen_gateway(invoices.location_id))
    .where(invoices.number == bindparam("number"))
)
_HEAD = _HEADS.where(invoices.patient_id.in_(bindparam("patients", expanding=True)))

_NUMBER = re.compile(r"~?[A-Za-z0-9][A-Za-z0-9_./ -]{0,23}")


def invoice_for(connection: Connection, payer: Payer, number: str) -> Head | None:
    """One of the payer's invoices by its number; None for anybody else's, and for none at all."""
    if not _NUMBER.fullmatch(number):
        return None
    row = connection.execute(_HEAD, {"number": number, "patients": payer.patients}).first()
    return None if row is None else _head(row, payer.sees_lines(row.patient_id))


def invoice_for_staff(connection: Connection, number: str) -> Head | None:
    """Any invoice by its number, for a page that only staff with the right open. One for a held place has none."""
    if number.startswith(UNNUMBERED) or not _NUMBER.fullmatch(number):
        return None
    row = connection.execute(_HEADS, {"number": number}).first()
    return None if row is None else _head(row, sees_lines=True)


def _head(row: Found, sees_lines: bool) -> Head:
    return Head(
        id=row.id,
        number=row.number,
        href=href(row.number),
        patient_id=row.patient_id,
        patient_name=f"{row.given_name} {row.family_name}".strip(),
        patient_given_name=row.given_name,
        sees_lines=sees_lines,
        practitioner=with_credentials(row.practitioner_name, row.credentials) if row.practitioner_name else "",
        registration=row.registration or "",
        place=row.place,
        place_address=row.address,
        place_phone=row.phone,
        tax_numbers=row.tax_numbers,
        zone=row.timezone,
        currency=row.currency,
        service_on=row.service_on,
        due_on=row.due_on,
        voided=row.voided_at is not None,
        version=row.version,
        owed_cents=row.owed_cents,
        paid_cents=row.paid_cents,
        balance_cents=row.balance_cents,
        last_paid_at=row.last_paid_at,
        attempt_state=row.state,
        gateway_mode=row.mode,
    )
