"""One invoice and one receipt: what stands on them, as far as their reader may see it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple
from urllib.parse import quote

from flask_babel import gettext as _
from sqlalchemy import Connection, Integer, String, Text, bindparam, cast, literal_column, null, select, union_all

from portal.clinic import Location, Practitioner
from portal.db import Utc
from portal.gateway.configured import TEST, ConfiguredGateway, chosen_gateway
from portal.invoices.reading.columns import (
    LIVE,
    Found,
    attempts,
    gateways,
    invoices,
    locations,
    patients,
    payments,
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
    listed,
    local_day,
    long_day,
    means_words,
    open_tag,
    percent,
    phrases_here,
    plain_day,
    short_day,
    weekday,
    with_credentials,
)  # fmt: skip
from portal.invoices.tables import Adjustment, Invoice, InvoiceLine, LineTax
from portal.money import format_money, is_chargeable, smallest_charge
from portal.payments.tables import Payment, PaymentAttempt
from portal.people import Patient


class Line(NamedTuple):
    """One line of an invoice, in words."""

    description: str
    detail: str
    amount: str


class TaxLine(NamedTuple):
    """A tax over all lines that bear it."""

    name: str
    base: str
    amount: str


class Paid(NamedTuple):
    """Posted money, in words. A payment lowers what is left, so it is written with a minus."""

    label: str
    detail: str
    amount: str
    receipt: str
    receipt_href: str
    day: str


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


@dataclass(frozen=True)
class Paper:
    """What stands on an invoice, in words; without its lines and taxes where the reader isn't to see them."""

    head: Head
    lines: list[Line]
    subtotal: str
    taxes: list[TaxLine]
    adjustments: list[Line]
    total: str
    payments: list[Paid]

    @property
    def receipts(self) -> list[Paid]:
        return [payment for payment in self.payments if payment.receipt]


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

_NUMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./ -]{0,23}")


def invoice_for(connection: Connection, payer: Payer, number: str) -> Head | None:
    """One of the payer's invoices by its number; None for anybody else's, and for none at all."""
    if not _NUMBER.fullmatch(number):
        return None
    row = connection.execute(_HEAD, {"number": number, "patients": payer.patients}).first()
    return None if row is None else _head(row, payer.sees_lines(row.patient_id))


def invoice_for_staff(connection: Connection, number: str) -> Head | None:
    """Any invoice by its number, for a page that only staff with the right open."""
    if not _NUMBER.fullmatch(number):
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


_LINE, _ADJUSTMENT, _PAYMENT = 1, 2, 3
_lines, _line_taxes = InvoiceLine.__table__.c, LineTax.__table__.c
_adjustments = Adjustment.__table__.c
_payers = Patient.__table__.alias("payers")


def _nothing(type_: Any) -> Any:
    return cast(null(), type_)


_STANDING = union_all(
    select(
        literal_column(str(_LINE), Integer).label("part"),
        _lines.position.label("place"),
        _lines.id.label("id"),
        _lines.description.label("words"),
        _lines.quantity.label("quantity"),
        _lines.unit_cents.label("unit_cents"),
        _lines.net_cents.label("cents"),
        _line_taxes.position.label("tax_place"),
        _line_taxes.name.label("kind"),
        _line_taxes.rate_per_100k.label("rate"),
        _line_taxes.amount_cents.label("tax_cents"),
        _nothing(Utc).label("moment"),
        _nothing(String).label("receipt"),
        _nothing(String).label("brand"),
        _nothing(String).label("last4"),
        _nothing(String).label("nature"),
        _nothing(String).label("given_name"),
        _nothing(String).label("family_name"),
        _nothing(String).label("mode"),
    )
    .select_from(InvoiceLine.__table__)
    .outerjoin(LineTax.__table__, _line_taxes.line_id == _lines.id)
    .where(_lines.invoice_id == bindparam("invoice")),
    select(
        literal_column(str(_ADJUSTMENT), Integer),
        literal_column("0", Integer),
        _adjustments.id,
        _adjustments.reason,
        _nothing(Integer),
        _nothing(Integer),
        _adjustments.amount_cents,
        _nothing(Integer),
        _nothing(String),
        _nothing(Integer),
        _nothing(Integer),
        _adjustments.made_at,
        _nothing(String),
        _nothing(String),
        _nothing(String),
        _nothing(String),
        _nothing(String),
        _nothing(String),
        _nothing(String),
    ).where(_adjustments.invoice_id == bindparam("invoice")),
    select(
        literal_column(str(_PAYMENT), Integer),
        literal_column("0", Integer),
        payments.id,
        cast(payments.note, Text),
        _nothing(Integer),
        _nothing(Integer),
        payments.amount_cents,
        _nothing(Integer),
        payments.kind,
        _nothing(Integer),
        _nothing(Integer),
        payments.received_at,
        payments.receipt_number,
        payments.brand,
        payments.last4,
        payments.nature,
        _payers.c.given_name,
        _payers.c.family_name,
        attempts.mode,
    )
    .select_from(Payment.__table__)
    .outerjoin(_payers, _payers.c.id == payments.payer_id)
    .outerjoin(PaymentAttempt.__table__, attempts.id == payments.attempt_id)
    .where(payments.invoice_id == bindparam("invoice")),
).order_by("part", "place", "id", "tax_place")


def paper_for(connection: Connection, head: Head) -> Paper:
    """What stands on an invoice that was loaded for its reader, in one statement."""
    return _paper(connection.execute(_STANDING, {"invoice": head.id}).all(), head)


def _paper(rows: Sequence[Found], head: Head) -> Paper:
    lines = [row for row in rows if row.part == _LINE]
    currency = head.currency
    return Paper(
        head=head,
        lines=_line_words(lines, currency) if head.sees_lines else [],
        subtotal=format_money(sum(row.cents for row in _firsts(lines)), currency),
        taxes=_tax_words(lines, currency) if head.sees_lines else [],
        adjustments=[
            Line(
                _("Credit") if row.cents < 0 else _("Added"),
                row.words if head.sees_lines else "",
                format_money(row.cents, currency),
            )
            for row in rows
            if row.part == _ADJUSTMENT
        ],
        total=format_money(head.owed_cents, currency),
        payments=[_payment_words(row, head) for row in rows if row.part == _PAYMENT],
    )


def _firsts(rows: Sequence[Found]) -> Iterator[Found]:
    """One row per line; a line with two taxes comes twice."""
    seen = set()
    for row in rows:
        if row.id not in seen:
            seen.add(row.id)
            yield row


def _line_words(rows: Sequence[Found], currency: str) -> list[Line]:
    taxes: dict[int, list[str]] = {}
    for row in rows:
        if row.kind:
            taxes.setdefault(row.id, []).append(row.kind)
    return [
        Line(
            row.words,
            ", ".join(
                filter(
                    None, [f"{row.quantity} × {format_money(row.unit_cents, currency)}", listed(taxes.get(row.id))]
                )
            ),
            format_money(row.cents, currency),
        )
        for row in _firsts(rows)
    ]


def _tax_words(rows: Sequence[Found], currency: str) -> list[TaxLine]:
    sums: dict[tuple[str, int], list[int]] = {}
    for row in rows:
        if row.kind:
            total = sums.setdefault((row.kind, row.rate), [0, 0])
            total[0] += row.cents
            total[1] += row.tax_cents
    return [
        TaxLine(
            f"{name} {percent(rate)}",
            _("on %(amount)s", amount=format_money(base, currency)),
            format_money(cents, currency),
        )
        for (name, rate), (base, cents) in sums.items()
    ]


def _payment_words(row: Found, head: Head) -> Paid:
    label = means_words(row.kind, row.brand, row.last4)
    if row.nature != "payment":
        label = _went_back(row.nature, label, row.kind)
    day = local_day(row.moment, head.zone)
    details = [weekday(day)]
    if row.kind == "insurance" and row.words and row.nature == "payment":  # a correction's words are the staff's own
        details.append(row.words)
    receipt = row.receipt if row.receipt and row.nature == "payment" else ""
    return Paid(
        label,
        ", ".join(details),
        format_money(-row.cents, head.currency),
        receipt,
        f"{head.href}/receipts/{quote(receipt, safe='')}" if receipt else "",
        short_day(day),
    )


def _went_back(nature: str, means: str, kind: str) -> str:
    """What happened to money that had been paid, in the patient's words."""
    words = {
        "refund": _("Refund to %(means)s", means=means)
        if kind == "card"
        else _("Given back: %(means)s", means=means),
        "refund failed": _("Refund that did not arrive"),
        "reversal": _("Correction"),
        "dispute": _("Taken back by the bank"),
        "reinstatement": _("Returned by the bank"),
    }
    return str(words[nature])


# --- one receipt ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Receipt:
    """What one payment paid, with the invoice as it stands. `is_test`: a rehearsal, in which no money moved."""

    number: str
    paid: Sum
    paid_words: str
    paid_on: str
    means: str
    paid_by: str
    paper: Paper
    others: list[Paid]
    in_full: bool
    is_test: bool


def receipt_for(connection: Connection, head: Head, receipt_number: str) -> Receipt | None:
    """One receipt of an invoice that was loaded for its reader; None where the invoice has no such receipt."""
    rows = connection.execute(_STANDING, {"invoice": head.id}).all()
    posted = [row for row in rows if row.part == _PAYMENT]
    found = next((row for row in posted if row.receipt == receipt_number and row.nature == "payment"), None)
    if found is None:
        return None
    name = f"{found.given_name} {found.family_name}" if found.given_name else ""
    return Receipt(
        number=receipt_number,
        paid=large(found.cents, head.currency),
        paid_words=format_money(found.cents, head.currency),
        paid_on=long_day(local_day(found.moment, head.zone)),
        means=means_words(found.kind, found.brand, found.last4),
        paid_by=name,
        paper=_paper(rows, head),
        others=[_payment_words(row, head) for row in posted if row is not found],
        in_full=head.balance_cents <= 0 and not head.voided,
        is_test=found.mode == TEST,
    )
