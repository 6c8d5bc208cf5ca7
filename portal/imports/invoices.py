"""Invoices of the past, found again by their numbers: a line of the file for each line of the invoice."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5
from zoneinfo import ZoneInfo

from flask_babel import lazy_gettext as _l
from flask_babel.speaklater import LazyString
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from portal.clinic import Location, Practitioner, Tax
from portal.clock import now
from portal.imports.bulk import Row, insert_rows, reserve_ids
from portal.imports.files import Line as FileLine
from portal.imports.patients import iso_date
from portal.imports.report import Report
from portal.invoices.books import LARGEST_TOTAL, Line, TaxRate, take_receipt_numbers, taxes_on, total_cents
from portal.invoices.tables import Invoice, InvoiceLine, LineTax
from portal.money import format_money, parse_amount
from portal.payments.tables import KINDS, Payment
from portal.people import Patient
from portal.setup.entry import Entry
from portal.setup.locations import LARGEST_NUMBER

WORDS = {
    "number": _l("Number"),
    "patient": _l("Patient"),
    "practitioner": _l("Practitioner"),
    "location": _l("Location"),
    "date": _l("Date"),
    "due": _l("Due"),
    "description": _l("Description"),
    "quantity": _l("Quantity"),
    "price": _l("Price"),
    "taxes": _l("Taxes"),
    "total": _l("Total"),
    "note": _l("Note"),
    "paid_amount": _l("Paid amount"),
    "paid_kind": _l("Paid by"),
    "paid_date": _l("Paid on"),
}
OF_THE_WHOLE = ("patient", "practitioner", "location", "date", "due", "total", "note",
                "paid_amount", "paid_kind", "paid_date")  # fmt: skip
"""What is said once of an invoice: on its first line, and blank or the same on the others."""

_NUMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,23}", re.ASCII)
NOON = time(12)


@dataclass
class _Planned:
    """One invoice of the file."""

    first: FileLine
    location: Location
    row: Row
    lines: list[Line] = field(default_factory=list)
    payment: Row | None = None
    is_whole: bool = True


class Invoices:
    """A file of invoices."""

    columns = tuple(WORDS)
    required = ("number", "patient", "date", "description", "price")

    def __init__(self, session: Session, report: Report) -> None:
        self._report = report
        self._locations = {each.name.casefold(): each for each in session.scalars(select(Location))}
        references = select(Patient.reference, Patient.id).where(Patient.reference.is_not(None))
        self._patients = {row.reference: row.id for row in session.execute(references)}
        self._practitioners = _practitioners(session)
        self._taxes = _taxes(session)
        self._session = session
        self._planned: dict[str, _Planned] = {}

    # --- looking ---

    def take(self, line: FileLine) -> None:
        """One line of an invoice."""
        entry = Entry(line.fields, WORDS)
        number = entry.line("number", 24, required=True)
        if not _NUMBER.fullmatch(number):
            entry.refuse("number", _l("Number: letters, digits, dots and hyphens, at most 24."))
        planned = self._planned.get(number)
        if planned is None:
            planned = self._planned[number] = self._begin(line, entry, number)
        else:
            _check_that_it_says_the_same(planned.first, line, entry)
        if planned.is_whole:
            planned.lines.append(self._line(entry, planned.location.currency))
        for sentence in entry.wrong.values():
            self._report.refuse(line.number, sentence)

    def _begin(self, line: FileLine, entry: Entry, number: str) -> _Planned:
        """What an invoice's first line says of the whole."""
        location = self._location(entry)
        patient_id = self._patients.get(entry.raw("patient"))
        if patient_id is None:
            sentence = _l("No patient on file has the reference %(reference)s.", reference=entry.raw("patient")[:40])
            entry.refuse("patient", sentence)
        day = _day(entry, "date")
        practitioner = entry.raw("practitioner")
        practitioner_id = self._practitioners.get(practitioner.casefold())
        if practitioner and practitioner_id is None:
            sentence = _l("No practitioner is called %(name)s or has that number.", name=practitioner[:60])
            entry.refuse("practitioner", sentence)
        note = entry.lines("note", 2000)
        if location is None or day is None:
            due = None
        else:
            due = _day(entry, "due", future=True) or day + timedelta(days=location.payment_terms_days)
        if day and due and due < day:
            entry.refuse("due", _l("Due: not before the date."))
        row = {
            "number": number,
            "patient_id": patient_id,
            "practitioner_id": practitioner_id,
            "service_on": day,
            "due_on": due,
            "note": note,
        }
        is_whole = location is not None and day is not None
        place = location or Location(currency="CAD", timezone="UTC")
        planned = _Planned(line, place, row, is_whole=is_whole)
        if is_whole:
            planned.payment = self._payment(entry, planned)
        return planned

    def _location(self, entry: Entry) -> Location | None:
        name = entry.raw("location")
        if not name and len(self._locations) == 1:
            return next(iter(self._locations.values()))
        found = self._locations.get(name.casefold())
        if found is None:
            entry.refuse("location", _l("There is no location called %(name)s.", name=name[:60] or "–"))
        return found

    def _line(self, entry: Entry, currency: str) -> Line:
        quantity = entry.whole("quantity", 1, 999) if entry.raw("quantity") else 1
        names = [name.strip() for name in entry.raw("taxes").split(";") if name.strip()]
        rates = []
        for name in names:
            known = self._taxes.get(name.casefold())
            if known is None:
                entry.refuse("taxes", _l("There is no tax called %(name)s.", name=name[:40]))
            else:
                rates.append(known)
        return Line(
            description=entry.line("description", 200, required=True),
            unit_cents=_amount(entry, "price", currency),
            quantity=quantity,
            taxes=tuple(rate for _position, rate in sorted(rates, key=lambda each: each[0])),
        )

    def _payment(self, entry: Entry, planned: _Planned) -> Row | None:
        if not any(entry.raw(name) for name in ("paid_amount", "paid_kind", "paid_date")):
            return None
        kind = entry.raw("paid_kind").lower()
        if kind not in KINDS:
            entry.refuse("paid_kind", _l("Paid by: one of %(kinds)s.", kinds=", ".join(KINDS)))
        cents = _amount(entry, "paid_amount", planned.location.currency)
        if cents <= 0:
            entry.refuse("paid_amount", _l("Paid amount: more than nothing."))
        day = _day(entry, "paid_date")
        return {
            "kind": kind,
            "amount_cents": cents,
            "received_at": _noon(day, planned.location) if day else None,
            "payer_id": None if kind == "insurance" else planned.row["patient_id"],
        }

    def end(self) -> None:
        """What shows only once an invoice is whole: its sum, and whether it is there already."""
        on_file = _on_file(self._session, list(self._planned))
        for planned in list(self._planned.values()):
            if planned.is_whole:
                self._check_sum(planned)
            number = planned.row["number"]
            there = on_file.get(number)
            if there is None:
                self._report.new += 1
                continue
            del self._planned[number]
            self._report.there += 1
            is_same = (there.patient_id, there.service_on) == (planned.row["patient_id"], planned.row["service_on"])
            if not is_same:
                sentence = _l("Invoice %(number)s is there already, for another patient or day.", number=number)
                self._report.refuse(planned.first.number, sentence)
        self._plan_numbers()

    def _check_sum(self, planned: _Planned) -> None:
        currency, total = planned.location.currency, total_cents(planned.lines)
        words = format_money(total, currency)
        said = planned.first.fields.get("total", "")
        paid = planned.payment["amount_cents"] if planned.payment else 0
        if not 0 <= total <= LARGEST_TOTAL:
            self._refuse(planned, _l("The lines come to %(total)s: less than nothing, or too much.", total=words))
        if said and _parsed(said, currency) != total:
            self._refuse(planned, _l("The total is given as %(said)s, but the lines and taxes come to %(total)s.",
                                     said=said[:20], total=words))  # fmt: skip
        if paid > max(total, 0):
            self._refuse(planned, _l("More was paid (%(paid)s) than the invoice comes to (%(total)s).",
                                     paid=format_money(paid, currency), total=words))  # fmt: skip

    def _refuse(self, planned: _Planned, sentence: LazyString) -> None:
        self._report.refuse(planned.first.number, sentence)

    def _plan_numbers(self) -> None:
        """A location's run goes on above every number of the file that it would reach one day."""
        self._moved: dict[int, int] = {}
        for location in self._locations.values():
            prefix, highest = location.invoice_prefix, 0
            for number, planned in self._planned.items():
                rest = number[len(prefix) :]
                if not (number.startswith(prefix) and rest.isdecimal() and str(int(rest)) == rest):
                    continue
                if int(rest) >= LARGEST_NUMBER:
                    sentence = _l("Number %(number)s is so high that no number would be left for new invoices of "
                                  "%(location)s. Give it letters of its own.",
                                  number=number, location=location.name)  # fmt: skip
                    self._report.refuse(planned.first.number, sentence)
                highest = max(highest, int(rest))
            if highest >= location.next_invoice_number:
                self._moved[location.id] = highest + 1
                remark = _l("New invoices of %(location)s begin at %(number)s, above those of the file.",
                            location=location.name, number=f"{prefix}{highest + 1}")  # fmt: skip
                self._report.remarks.append(str(remark))

    # --- writing ---

    def write(self, session: Session) -> None:
        """Write the invoices, their lines and taxes, and what was paid."""
        for location_id, following in sorted(self._moved.items()):
            session.execute(
                update(Location)
                .where(Location.id == location_id, Location.next_invoice_number < following)
                .values(next_invoice_number=following)
                .execution_options(synchronize_session=False)
            )
        planned = list(self._planned.values())
        rows = []
        for number, each in zip(reserve_ids(session, Invoice, len(planned)), planned, strict=True):
            each.row["id"] = number
            rows.append(_invoice_row(each))
        insert_rows(session, Invoice, rows)
        # Payments first: what was paid then stands as paid from the beginning, and walks through no index.
        insert_rows(session, Payment, _payment_rows(session, planned))
        lines, taxes = _line_rows(session, planned)
        insert_rows(session, InvoiceLine, lines)
        insert_rows(session, LineTax, taxes)


def _on_file(session: Session, numbers: list[str]) -> dict[str, Any]:
    """The invoices that are there already, of these numbers."""
    found: dict[str, Any] = {}
    for start in range(0, len(numbers), 500):
        some = Invoice.number.in_(numbers[start : start + 500])
        rows = session.execute(select(Invoice.number, Invoice.patient_id, Invoice.service_on).where(some))
        found |= {row.number: row for row in rows}
    return found


def _practitioners(session: Session) -> dict[str, int]:
    """Their ids by registration number and by name."""
    rows = session.execute(select(Practitioner.id, Practitioner.name, Practitioner.registration)).all()
    by_name = {row.name.casefold(): row.id for row in rows}
    return by_name | {row.registration.casefold(): row.id for row in rows if row.registration}


def _taxes(session: Session) -> dict[str, tuple[int, TaxRate]]:
    """The taxes by name, each with its place in order."""
    taxes = session.scalars(select(Tax).order_by(Tax.position, Tax.id))
    return {
        tax.name.casefold(): (place, TaxRate(tax.name, tax.rate_per_100k, tax.compound))
        for place, tax in enumerate(taxes)
    }


def _check_that_it_says_the_same(first: FileLine, line: FileLine, entry: Entry) -> None:
    for name in OF_THE_WHOLE:
        if line.fields.get(name, "") not in ("", first.fields.get(name, "")):
            entry.refuse(name, _l("%(what)s: another than in line %(line)s, where this invoice begins.",
                                  what=WORDS[name], line=first.number))  # fmt: skip


def _day(entry: Entry, name: str, *, future: bool = False) -> date | None:
    text = entry.raw(name)
    if not text and future:
        return None
    found = iso_date(text)
    latest = now().date() + timedelta(days=3650 if future else 1)
    if found is None or not date(1990, 1, 1) <= found <= latest:
        entry.refuse(name, _l("%(what)s: “%(date)s” is no day like 2026-11-24 that has been.",
                              what=WORDS[name], date=text[:20]))  # fmt: skip
        return None
    return found


def _amount(entry: Entry, name: str, currency: str) -> int:
    cents = _parsed(entry.raw(name), currency)
    if cents is None or abs(cents) > LARGEST_TOTAL:
        entry.refuse(name, _l("%(what)s: “%(text)s” is no amount like 1,234.50.",
                              what=WORDS[name], text=entry.raw(name)[:20]))  # fmt: skip
        return 0
    return cents


def _parsed(text: str, currency: str) -> int | None:
    try:
        return parse_amount(text, currency)
    except ValueError:
        return None


def _noon(day: date, location: Location) -> datetime:
    """The middle of a day where the location is."""
    return datetime.combine(day, NOON, ZoneInfo(location.timezone)).astimezone(UTC)


def _invoice_row(planned: _Planned) -> Row:
    return {
        **planned.row,
        "location_id": planned.location.id,
        "currency": planned.location.currency,
        "issued_at": _noon(planned.row["service_on"], planned.location),
    }


def _payment_rows(session: Session, planned: list[_Planned]) -> list[Row]:
    paid: list[tuple[_Planned, Mapping[str, Any]]] = [(each, each.payment) for each in planned if each.payment]
    if not paid:
        return []
    receipts = take_receipt_numbers(session, len(paid))
    return [
        {
            **payment,
            "invoice_id": each.row["id"],
            "currency": each.location.currency,
            "receipt_number": receipt,
            "nature": "payment",
            "request_id": uuid5(NAMESPACE_URL, f"import:{each.row['number']}"),
        }
        for (each, payment), receipt in zip(paid, receipts, strict=True)
    ]


def _line_rows(session: Session, planned: list[_Planned]) -> tuple[list[Row], list[Row]]:
    ids = iter(reserve_ids(session, InvoiceLine, sum(len(each.lines) for each in planned)))
    lines: list[Row] = []
    taxes: list[Row] = []
    for each in planned:
        for position, line in enumerate(each.lines, start=1):
            row = {
                "id": next(ids),
                "invoice_id": each.row["id"],
                "position": position,
                "description": line.description,
                "quantity": line.quantity,
                "unit_cents": line.unit_cents,
                "net_cents": line.net_cents,
            }
            lines.append(row)
            taxes += [
                {"line_id": row["id"], "position": place, "invoice_id": row["invoice_id"], **tax._asdict()}
                for place, tax in enumerate(taxes_on(line.net_cents, line.taxes), start=1)
            ]
    return lines, taxes
