"""Appointment checkout: from a visit, or a purchase at the desk, to its invoice.

Prices and taxes are the clinic's own at the moment of the press. What the form showed travels with it as a
precondition: a total that has changed since is shown first, and nothing is issued until it was.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple
from uuid import UUID

from flask_babel import lazy_gettext as _l
from sqlalchemy import Connection, and_, select
from sqlalchemy.orm import Session

from portal.audit import record
from portal.clinic import Location, Service, ServiceTax, Tax
from portal.clock import now
from portal.errors import Refusal
from portal.invoices.books import Line, TaxRate, issue_invoice, taxes_on, total_cents
from portal.invoices.tables import Invoice
from portal.letters.invoices import queue_invoice
from portal.letters.on_paper import make_code_at_checkout
from portal.letters.queueing import beside
from portal.letters.requests import Requested, queue_request
from portal.money import format_money
from portal.parts import Parts
from portal.people import Patient
from portal.schedule import CANCELLED, Appointment
from portal.schedule.booking import complete_in, invoice_number, locked_visit
from portal.schedule.refusals import PatientNotFound, VisitIsOver
from portal.schedule.times import day_of

MOST_LINES = 50
MOST_OF_ONE = 999


class TotalChanged(Refusal):
    """A price or a tax was changed after the form was shown."""

    title = _l("The total has changed")
    message = _l("It is {now} now; this page showed {shown}. Nothing was issued yet. Please look it over.")


class NotSold(Refusal):
    """A service or product that the clinic does not sell any more."""

    status = 422
    message = _l("{name} is not for sale any more. Please remove the line.")


class NoSuchLocation(Refusal):
    """The place where the sale is made."""

    status = 422
    message = _l("Please choose the location of this sale.")


@dataclass(frozen=True)
class Item:
    """One line as the desk wants it. `price_cents` is None where the price list's own price holds."""

    service_id: int
    quantity: int = 1
    price_cents: int | None = None


class TaxSum(NamedTuple):
    """One tax over all lines."""

    name: str
    rate_per_100k: int
    amount_cents: int


@dataclass(frozen=True)
class Priced:
    """An item with the clinic's price for it."""

    item: Item
    line: Line
    listed_cents: int

    @property
    def has_other_price(self) -> bool:
        return self.line.unit_cents != self.listed_cents


@dataclass(frozen=True)
class Bill:
    """What the items come to, at this moment."""

    priced: tuple[Priced, ...]

    @property
    def lines(self) -> list[Line]:
        return [one.line for one in self.priced]

    @property
    def net_cents(self) -> int:
        return sum(line.net_cents for line in self.lines)

    @property
    def total_cents(self) -> int:
        return total_cents(self.lines)

    @property
    def taxes(self) -> list[TaxSum]:
        """Each tax with what it comes to over all lines, as the lines bear them."""
        sums: dict[tuple[str, int], int] = defaultdict(int)
        for line in self.lines:
            for tax in taxes_on(line.net_cents, line.taxes):
                sums[tax.name, tax.rate_per_100k] += tax.amount_cents
        return [TaxSum(name, rate, amount) for (name, rate), amount in sums.items()]


@dataclass(frozen=True)
class Order:
    """A press on Checkout. Of a visit the key is given, and its patient and place are the visit's own.

    `request_wanted`: a request to pay online goes out with the invoice, unless the invoice itself is emailed.
    """

    request_id: UUID
    items: tuple[Item, ...]
    shown_cents: int
    visit_key: str | None = None
    patient_id: int | None = None
    location_id: int | None = None
    note: str = ""
    email_wanted: bool = False
    request_wanted: bool = False
    completes: bool = False


class CheckedOut(NamedTuple):
    """The invoice that a press led to; not a new one where it had been made before, by this press or by somebody.

    `requested`: the request to pay that went with it, or why it could not be sent.
    """

    number: str
    is_new: bool
    requested: Requested | Refusal | None = None


# --- prices ---------------------------------------------------------------------------------------------------------

_services, _taxes, _bears = Service.__table__.c, Tax.__table__.c, ServiceTax.__table__.c
_PRICES = (
    select(
        _services.id, _services.name, _services.price_cents, _services.active,
        _taxes.name.label("tax"), _taxes.rate_per_100k, _taxes.compound,
    )
    .select_from(Service.__table__)
    .outerjoin(ServiceTax.__table__, _bears.service_id == _services.id)
    .outerjoin(Tax.__table__, and_(_taxes.id == _bears.tax_id, _taxes.active.is_(True)))
    .order_by(_services.id, _taxes.position, _taxes.id)
)  # fmt: skip


def priced(
    source: Connection | Session, items: Sequence[Item], *, visit_service_id: int | None = None, strict: bool = True
) -> Bill:
    """The items at the clinic's prices and with its active taxes, in their order. Raises NotSold.

    A visit's own service is invoiced also when it is no longer offered; with `strict` off, so is anything (for a page
    that shows what was typed).
    """
    rows = source.execute(_PRICES.where(_services.id.in_({item.service_id for item in items}))).all()
    offers: dict[int, Line] = {}
    for row in rows:
        if strict and not (row.active or row.id == visit_service_id):
            raise NotSold(name=row.name)
        line = offers.setdefault(row.id, Line(row.name, row.price_cents, service_id=row.id))
        if row.tax is not None:
            tax = TaxRate(row.tax, row.rate_per_100k, row.compound)
            offers[row.id] = replace(line, taxes=(*line.taxes, tax))
    if any(item.service_id not in offers for item in items):
        raise NotSold(name="One of the lines")
    return Bill(tuple(_priced(item, offers[item.service_id]) for item in items))


def _priced(item: Item, offer: Line) -> Priced:
    unit_cents = offer.unit_cents if item.price_cents is None else item.price_cents
    return Priced(item, replace(offer, unit_cents=unit_cents, quantity=item.quantity), offer.unit_cents)


class Offer(NamedTuple):
    """Something to add to an invoice."""

    id: int
    name: str
    price_cents: int
    is_product: bool


def offers(connection: Connection) -> list[Offer]:
    """What can be added: products first, each kind by name."""
    statement = (
        select(_services.id, _services.name, _services.price_cents, _services.is_product)
        .where(_services.active.is_(True))
        .order_by(_services.is_product.desc(), _services.name)
    )
    return [Offer(*row) for row in connection.execute(statement)]


# --- the press ------------------------------------------------------------------------------------------------------


def check_out(parts: Parts, order: Order, by: int) -> CheckedOut:
    """Issue the invoice, complete the visit with it and queue its mail where that was asked, all in one transaction.

    Pressed twice, or by two clerks at once, there is one invoice, and everybody is led to it. Raises TotalChanged,
    NotSold, NothingToInvoice, TotalOutOfRange, PatientNotFound, NoSuchLocation, VisitNotFound or VisitIsOver.
    """
    return parts.database.looking_again(lambda session: _check_out(parts, session, order, by))


def _check_out(parts: Parts, session: Session, order: Order, by: int) -> CheckedOut:
    made = session.scalar(select(Invoice.number).where(Invoice.request_id == order.request_id))
    if made is not None:
        return CheckedOut(made, is_new=False)
    visit = locked_visit(session, order.visit_key) if order.visit_key else None
    if visit is not None:
        if visit.status == CANCELLED:
            raise VisitIsOver(status=visit.status)
        if made := invoice_number(session, visit.id):
            return CheckedOut(made, is_new=False)
    bill = _bill_as_shown(session, order, visit)
    if visit is not None and order.completes:
        complete_in(session, visit, by)
    invoice = _issue(session, order, visit, bill, by)
    make_code_at_checkout(parts, session, invoice, by=by)
    if invoice.email_wanted:
        with beside(session, "invoice"):
            queue_invoice(parts, session, invoice, by=by)
    return CheckedOut(invoice.number, is_new=True, requested=_requested(parts, session, order, invoice, by))


def _requested(parts: Parts, session: Session, order: Order, invoice: Invoice, by: int) -> Requested | Refusal | None:
    """The request to pay that was ticked; the mail with the invoice is one already. One that can't be sent does not
    keep the invoice from being issued.
    """
    if not order.request_wanted or order.email_wanted:
        return None
    try:
        return queue_request(parts, session, invoice, order.request_id, by=by)
    except Refusal as refusal:
        return refusal


def _bill_as_shown(session: Session, order: Order, visit: Appointment | None) -> Bill:
    bill = priced(session, order.items, visit_service_id=visit.service_id if visit else None)
    if bill.total_cents != order.shown_cents:
        currency = _location(session, order, visit).currency
        raise TotalChanged(
            now=format_money(bill.total_cents, currency), shown=format_money(order.shown_cents, currency)
        )
    return bill


def _location(session: Session, order: Order, visit: Appointment | None) -> Location:
    if visit is not None:
        return session.get_one(Location, visit.location_id)
    found = session.get(Location, order.location_id) if order.location_id else None
    if found is None or not found.active:
        raise NoSuchLocation
    return found


def _issue(session: Session, order: Order, visit: Appointment | None, bill: Bill, by: int) -> Invoice:
    location = _location(session, order, visit)
    patient = session.get(Patient, visit.patient_id if visit else order.patient_id or 0)
    if patient is None:
        raise PatientNotFound
    invoice = issue_invoice(
        session,
        location=location,
        patient_id=patient.id,
        practitioner_id=visit.practitioner_id if visit else None,
        service_on=day_of(visit.starts_at if visit else now(), location.timezone),
        lines=bill.lines,
        note=order.note,
        appointment_id=visit.id if visit else None,
        request_id=order.request_id,
        created_by=by,
        email_wanted=order.email_wanted,
    )
    record(
        session,
        "invoice.issued",
        f"invoice {invoice.number}",
        by=by,
        after=_in_words(bill.priced, invoice),
        patient_id=patient.id,
    )
    return invoice


def _in_words(bill: Iterable[Priced], invoice: Invoice) -> str:
    """What the audit log keeps: the total, and each price that is not the list's."""
    other = [
        f"{one.line.description} at {format_money(one.line.unit_cents, invoice.currency)} instead of "
        f"{format_money(one.listed_cents, invoice.currency)}"
        for one in bill
        if one.has_other_price
    ]
    return "; ".join([f"{format_money(invoice.owed_cents, invoice.currency)} in all", *other])
