"""Invoices by the hundred thousand, for measurements: the demo clinic's prices and fates, three years of them.

Rows are written in batches, each in one transaction, past the ORM; the database's own triggers add them up as always.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from flask_babel import lazy_gettext as _l
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.clinic import Location, Practitioner, Service, ServiceTax, Tax
from portal.clock import now
from portal.db import Database
from portal.demo_data.invoices import CARDS, SETTLED
from portal.errors import Refusal
from portal.imports.bulk import Row, insert_rows, reserve_ids
from portal.invoices.books import TaxAmount, TaxRate, take_invoice_numbers, take_receipt_numbers, taxes_on
from portal.invoices.sums import fold_some
from portal.invoices.tables import Adjustment, Invoice, InvoiceLine, LineTax
from portal.payments.tables import Payment
from portal.people import Patient, PatientWord, folded, word_rows

BATCH = 4_000
DAYS = 3 * 365
INVOICES_OF_ONE_PATIENT = 25

GIVEN = ("Ada", "Bea", "Carl", "Dina", "Emil", "Fern", "Gus", "Hana", "Ivo", "June", "Kai", "Lena", "Milo", "Nell")
FAMILY = ("Ash", "Birch", "Cedar", "Dogwood", "Elm", "Fir", "Garry", "Hazel", "Juniper", "Larch", "Maple", "Oak")


class NoClinicYet(Refusal):
    """Many invoices need the demo clinic's locations, practitioners and services."""

    message = _l("There is no clinic in this database yet. Make the demo clinic first.")


@dataclass(frozen=True)
class _Item:
    """A service with its taxes worked out."""

    service_id: int
    name: str
    price_cents: int
    is_product: bool
    taxes: tuple[TaxAmount, ...]

    @property
    def total_cents(self) -> int:
        return self.price_cents + sum(tax.amount_cents for tax in self.taxes)


@dataclass
class _Clinic:
    """What the clinic has, read once."""

    locations: Sequence[Location]
    practitioners: Sequence[int]
    treatments: list[_Item]
    products: list[_Item]
    free: list[_Item]
    patients: list[int] = field(default_factory=list)


def make_many_invoices(
    database: Database,
    count: int,
    *,
    patients: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Add `count` invoices with lines, taxes and payments for new made-up patients (one for each 25 invoices).

    After each batch `progress` is told how many are done. Raises NoClinicYet.
    """
    chance = random.Random(count)  # noqa: S311  made-up data, the same again for the same count
    with database.transaction() as session:
        clinic = _read_clinic(session)
        clinic.patients = _add_patients(session, patients or -(-count // INVOICES_OF_ONE_PATIENT))
    for done in range(0, count, BATCH):
        size = min(BATCH, count - done)
        days = [DAYS - DAYS * (done + turn) // count for turn in range(size)]  # oldest first, as their numbers
        with database.transaction() as session:
            _Batch(session, clinic, chance).write(days)
            fold_some(session)
        if progress:
            progress(done + size)


def _read_clinic(session: Session) -> _Clinic:
    rates: dict[int, list[TaxRate]] = {}
    taxed = select(ServiceTax.service_id, Tax).join(Tax, Tax.id == ServiceTax.tax_id).order_by(Tax.position)
    for service_id, tax in session.execute(taxed):
        rates.setdefault(service_id, []).append(TaxRate(tax.name, tax.rate_per_100k, tax.compound))
    items = [
        _Item(
            each.id,
            each.name,
            each.price_cents,
            each.is_product,
            tuple(taxes_on(each.price_cents, rates.get(each.id, ()))),
        )
        for each in session.scalars(select(Service).order_by(Service.id))
    ]
    clinic = _Clinic(
        locations=session.scalars(select(Location).order_by(Location.id)).all(),
        practitioners=session.scalars(select(Practitioner.id).order_by(Practitioner.id)).all(),
        treatments=[item for item in items if not item.is_product and item.price_cents],
        products=[item for item in items if item.is_product],
        free=[item for item in items if not item.price_cents],
    )
    if not (clinic.locations and clinic.practitioners and clinic.treatments and clinic.products and clinic.free):
        raise NoClinicYet
    return clinic


def _add_patients(session: Session, count: int) -> list[int]:
    ids = reserve_ids(session, Patient, count)
    moment = now() - timedelta(days=DAYS)
    rows: list[Row] = [
        {
            "id": patient_id,
            "given_name": GIVEN[turn % len(GIVEN)],
            "family_name": f"{FAMILY[turn % len(FAMILY)]} {patient_id}",
            "search_key": folded(f"{FAMILY[turn % len(FAMILY)]} {patient_id} {GIVEN[turn % len(GIVEN)]}"),
            "email": f"patient{patient_id}@example.com",
            "birth_date": date(1940 + turn % 80, 1 + turn % 12, 1 + turn % 28),
            "created_at": moment,
        }
        for turn, patient_id in enumerate(ids)
    ]
    insert_rows(session, Patient, rows)
    words = (word_rows(row["id"], row["given_name"], row["family_name"], row["email"]) for row in rows)
    insert_rows(session, PatientWord, [word for each in words for word in each])
    return ids


class _Batch:
    """The rows of a few thousand invoices, gathered and then written table by table."""

    def __init__(self, session: Session, clinic: _Clinic, chance: random.Random) -> None:
        self.session = session
        self.clinic = clinic
        self.chance = chance
        self.today = now().date()
        self.invoices: list[Row] = []
        self.lines: list[Row] = []
        self.taxes: list[Row] = []
        self.adjustments: list[Row] = []
        self.payments: list[Row] = []

    def write(self, days: list[int]) -> None:
        """One invoice for each number of days ago."""
        places = self.chance.choices(range(len(self.clinic.locations)), k=len(days))
        numbers = {
            place: iter(take_invoice_numbers(self.session, self.clinic.locations[place], places.count(place)))
            for place in sorted(set(places))  # always in this order: two runs can't wait for each other
        }
        ids = reserve_ids(self.session, Invoice, len(days))
        for invoice_id, place, ago in zip(ids, places, days, strict=True):
            self._invoice(invoice_id, self.clinic.locations[place], next(numbers[place]), ago)
        self._number_lines()
        self._number_payments()
        # Payments first: what was paid then stands as paid from the beginning, and walks through no index.
        for table, rows in (
            (Invoice, self.invoices),
            (Payment, self.payments),
            (Adjustment, self.adjustments),
            (InvoiceLine, self.lines),
            (LineTax, self.taxes),
        ):
            insert_rows(self.session, table, rows)

    def _invoice(self, invoice_id: int, location: Location, number: str, ago: int) -> None:
        fate = self._fate(ago)
        issued_at = datetime.combine(self.today - timedelta(days=ago), time(17, self.chance.randrange(60)), UTC)
        row = {
            "id": invoice_id,
            "number": number,
            "location_id": location.id,
            "patient_id": self.chance.choice(self.clinic.patients),
            "practitioner_id": self.chance.choice(self.clinic.practitioners),
            "service_on": issued_at.date(),
            "issued_at": issued_at,
            "due_on": issued_at.date() + timedelta(days=location.payment_terms_days),
            "currency": location.currency,
            "note": "",
            "voided_at": issued_at if fate == "void" else None,
            "void_reason": "Entered for the wrong visit." if fate == "void" else "",
        }
        self.invoices.append(row)
        items = self._items(fate)
        for position, item in enumerate(items, start=1):
            self._line(invoice_id, position, item)
        self._money(row, fate, sum(item.total_cents for item in items))

    def _fate(self, ago: int) -> str:
        """As in the demo clinic; what is recent is mostly still open, and few old ones are overdue."""
        draw = self.chance.random()
        if ago < 14 and draw < 0.6:
            return "open" if draw < 0.4 else "partly paid"
        if ago >= 16 and draw < 0.04:
            return "overdue" if draw < 0.03 else "overdue, partly paid"
        return self.chance.choices(_SETTLED_NAMES, cum_weights=_SETTLED_WEIGHTS)[0]

    def _items(self, fate: str) -> list[_Item]:
        if fate == "nothing to pay":
            return [self.chance.choice(self.clinic.free)]
        treatment = self.chance.choice(self.clinic.treatments)
        return [treatment, self.chance.choice(self.clinic.products)] if self.chance.random() < 0.3 else [treatment]

    def _line(self, invoice_id: int, position: int, item: _Item) -> None:
        line: Row = {
            "invoice_id": invoice_id,
            "position": position,
            "service_id": item.service_id,
            "description": item.name,
            "quantity": 1,
            "unit_cents": item.price_cents,
            "net_cents": item.price_cents,
        }
        self.lines.append(line)
        for place, tax in enumerate(item.taxes, start=1):
            self.taxes.append({"line": line, "position": place, "invoice_id": invoice_id, **tax._asdict()})

    def _money(self, invoice: Row, fate: str, total: int) -> None:
        """What becomes of an invoice; see the demo clinic's fates."""
        match fate:
            case "void" | "nothing to pay" | "open" | "overdue":
                return
            case "partly paid" | "overdue, partly paid":
                self._pay(invoice, "insurance", 40_00)
            case "insurance, then card":
                self._pay(invoice, "insurance", total // 2)
                self._pay(invoice, "card", total - total // 2)
            case "credited":
                self._credit(invoice, total // 4, "Courtesy credit: the visit began late.")
                self._pay(invoice, "card", total - total // 4)
            case "refunded":
                self._pay(invoice, "cash", total)
                self._pay(invoice, "cash", -total)
                self.payments[-1]["reverses"] = self.payments[-2]
                self._credit(invoice, total, "Refunded, no longer owed.")
            case kind:
                self._pay(invoice, kind, total)

    def _pay(self, invoice: Row, kind: str, cents: int) -> None:
        brand, last4 = self.chance.choice(CARDS) if kind == "card" else (None, None)
        self.payments.append(
            {
                "invoice_id": invoice["id"],
                "payer_id": None if kind == "insurance" else invoice["patient_id"],
                "kind": kind,
                "amount_cents": cents,
                "currency": invoice["currency"],
                "brand": brand,
                "funding": "credit" if brand else None,
                "last4": last4,
                "note": "",
                "received_at": invoice["issued_at"],
            }
        )

    def _credit(self, invoice: Row, cents: int, reason: str) -> None:
        self.adjustments.append(
            {"invoice_id": invoice["id"], "amount_cents": -cents, "reason": reason, "made_at": invoice["issued_at"]}
        )

    def _number_lines(self) -> None:
        for line, line_id in zip(self.lines, reserve_ids(self.session, InvoiceLine, len(self.lines)), strict=True):
            line["id"] = line_id
        for tax in self.taxes:
            tax["line_id"] = tax.pop("line")["id"]

    def _number_payments(self) -> None:
        ids = reserve_ids(self.session, Payment, len(self.payments))
        received = [payment for payment in self.payments if payment["amount_cents"] > 0]
        receipts = iter(take_receipt_numbers(self.session, len(received)) if received else ())
        for payment, payment_id in zip(self.payments, ids, strict=True):
            payment["id"] = payment_id
            payment["receipt_number"] = next(receipts) if payment["amount_cents"] > 0 else None
            reversed_payment = payment.pop("reverses", None)
            payment["reverses_id"] = reversed_payment and reversed_payment["id"]


_SETTLED_NAMES = list(SETTLED)
_SETTLED_WEIGHTS = [sum(list(SETTLED.values())[: place + 1]) for place in range(len(SETTLED))]
