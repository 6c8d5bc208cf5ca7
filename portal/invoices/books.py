"""The books: issue, adjust and void invoices, and tell how one stands.

Owed = lines + their taxes + adjustments; balance = owed − payments. Both are kept by the database itself from what is
appended (see `tables.py`). A verb that decides by a balance takes `locked_invoice` first, so that nobody else changes
the invoice meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

from flask_babel import lazy_gettext as _l
from sqlalchemy import exists, select, text, update
from sqlalchemy.orm import Session

from portal import audit
from portal.clinic import Location, take_number
from portal.clock import now
from portal.errors import Refusal
from portal.invoices.tables import UNNUMBERED, Adjustment, Invoice, InvoiceLine, LineTax
from portal.money import Cents, format_money, share
from portal.payments.states import LIVE
from portal.payments.tables import PaymentAttempt

LARGEST_TOTAL = 999_999_999
RECEIPTS = "receipts"


class Somebody(Protocol):
    """Whoever does something: an account, or the person who is signed in with it."""

    @property
    def id(self) -> int:
        """The account's number."""
        ...


class NothingToInvoice(Refusal):
    """An invoice without a line."""

    status = 422
    message = _l("An invoice takes at least one service or product.")


class LocationChanged(Refusal):
    """The currency was changed in Settings meanwhile: the invoice's amounts would mean something else."""

    message = _l("The settings of {name} changed just now. Nothing was invoiced. Please look it over and try again.")


class TotalOutOfRange(Refusal):
    """The lines add up to less than nothing, or to more than any invoice here."""

    status = 422
    message = _l("An invoice comes to at least {least} and at most {most}; this one would come to {total}.")


class ReasonMissing(Refusal):
    """Whoever corrects the books says why."""

    status = 422
    message = _l("Please give a reason; it stays in the books.")


class AlreadyVoid(Refusal):
    """A void invoice stays as it is."""

    message = _l("Invoice {number} is void already.")


class InvoiceHasPayments(Refusal):
    """Voiding would leave money on an invoice that asks for none."""

    message = _l("Invoice {number} has {paid} of payments on it. Reverse or refund them first, then void it.")


class InvoiceBeingPaid(Refusal):
    """A payment attempt is under way, and may succeed at any moment."""

    message = _l("Somebody is paying invoice {number} just now. Try again once that payment has ended.")


class CreditTooLarge(Refusal):
    """A credit can't be more than what is still to pay; money already received goes back as a refund."""

    status = 422
    message = _l("A credit on invoice {number} can be at most {balance}, which is what is left to pay.")


class InvoiceOverpaid(Refusal):
    """More owed would swallow money that an open case says goes back."""

    message = _l("Invoice {number} is overpaid by {over}. Give that back first, then change what is owed.")


class SentBefore(Refusal):
    """The form made another entry already: it was sent before with other details, or its number is made up."""

    title = _l("Nothing was recorded just now, and no money moved")
    message = _l(
        "This form was sent before with other details, and that counts. Look at what was recorded; if this is to be "
        "done as well, press once more."
    )


# --- lines and their taxes (pure) -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class TaxRate:
    """A tax as it is taken: its rate in hundred-thousandths, and whether it is also taken on the taxes before it."""

    name: str
    rate_per_100k: int
    compound: bool = False


class TaxAmount(NamedTuple):
    """One tax of one line, worked out."""

    name: str
    rate_per_100k: int
    amount_cents: Cents


@dataclass(frozen=True)
class Line:
    """What is to be invoiced: what, how many, at which price, with which taxes."""

    description: str
    unit_cents: int
    quantity: int = 1
    taxes: tuple[TaxRate, ...] = ()
    service_id: int | None = None

    @property
    def net_cents(self) -> Cents:
        """The line without its taxes."""
        return Cents(self.unit_cents * self.quantity)


def taxes_on(net_cents: int, taxes: Sequence[TaxRate]) -> list[TaxAmount]:
    """Each tax on a line's net, half up to the minor unit. Independent of each other, but a compound one is taken on
    the net and the taxes before it (as Québec's QST was on the GST until 2013)."""
    amounts: list[TaxAmount] = []
    for tax in taxes:
        earlier = sum(amount.amount_cents for amount in amounts) if tax.compound else 0
        amounts.append(TaxAmount(tax.name, tax.rate_per_100k, share(net_cents + earlier, tax.rate_per_100k)))
    return amounts


def total_cents(lines: Sequence[Line]) -> Cents:
    """What the lines and their taxes come to."""
    return Cents(
        sum(line.net_cents + sum(t.amount_cents for t in taxes_on(line.net_cents, line.taxes)) for line in lines)
    )


# --- how an invoice stands (pure) -----------------------------------------------------------------------------------


class Status(StrEnum):
    """How an invoice stands, by its books alone."""

    RECEIVABLE = "receivable"
    PARTLY_PAID = "partly paid"
    PAID = "paid"
    VOID = "void"


class Standing(NamedTuple):
    """An invoice's status, and for how many days its balance has been overdue (0 where it is not)."""

    status: Status
    overdue_days: int


def status(owed_cents: int, paid_cents: int, balance_cents: int, voided: bool, due_on: date, today: date) -> Standing:
    """How an invoice stands today. What owes nothing (a zero total, or all of it credited) counts as paid."""
    assert balance_cents == (0 if voided else owed_cents) - paid_cents, "a balance that is not the books'"
    if voided:
        return Standing(Status.VOID, 0)
    if balance_cents <= 0:
        return Standing(Status.PAID, 0)
    overdue_days = max((today - due_on).days, 0)
    return Standing(Status.PARTLY_PAID if paid_cents > 0 else Status.RECEIVABLE, overdue_days)


def status_of(invoice: Invoice, today: date) -> Standing:
    """How this invoice stands today."""
    return status(
        invoice.owed_cents,
        invoice.paid_cents,
        invoice.balance_cents,
        invoice.voided_at is not None,
        invoice.due_on,
        today,
    )


# --- the verbs ------------------------------------------------------------------------------------------------------


def locked_invoice(session: Session, invoice_id: int) -> Invoice:
    """The invoice as it stands now, held until the transaction ends. (SQLite's BEGIN IMMEDIATE holds everything.)

    Of one for a program the program is held as well: its places follow the invoice's money. Always in this order.
    """
    invoice = session.get_one(Invoice, invoice_id, with_for_update=True, populate_existing=True)
    if invoice.program_id is not None and session.get_bind().dialect.name != "sqlite":
        session.execute(_LOCK_PROGRAM, {"id": invoice.program_id})
    return invoice


_LOCK_PROGRAM = text("SELECT id FROM programs WHERE id = :id FOR UPDATE")


def issue_invoice(
    session: Session,
    *,
    location: Location,
    patient_id: int,
    practitioner_id: int | None,
    service_on: date,
    lines: Sequence[Line],
    due_on: date | None = None,
    note: str = "",
    issued_at: datetime | None = None,
    appointment_id: int | None = None,
    request_id: UUID | None = None,
    created_by: int | None = None,
    email_wanted: bool = False,
    program_id: int | None = None,
    held_as: str | None = None,
) -> Invoice:
    """Issue an invoice under its location's next number, due when the location's terms say.

    `held_as`: a name that it has instead until `give_number` comes, for its place in a program is only held.

    `request_id` is the press that asked for it: the database takes each one once, and an appointment once as long as
    its invoice is not void. Raises NothingToInvoice or TotalOutOfRange. `issued_at` is for invoices of the past, such
    as demo data.
    """
    if not lines:
        raise NothingToInvoice
    _check_total(lines, location.currency)
    issued_at = issued_at or now()
    invoice = Invoice(
        number=held_as or take_invoice_numbers(session, location)[0],
        location_id=location.id,
        patient_id=patient_id,
        practitioner_id=practitioner_id,
        service_on=service_on,
        issued_at=issued_at,
        due_on=due_on or _local_date(location, issued_at) + timedelta(days=location.payment_terms_days),
        currency=location.currency,
        note=note,
        appointment_id=appointment_id,
        request_id=request_id,
        created_by=created_by,
        email_wanted=email_wanted,
        program_id=program_id,
    )
    session.add(invoice)
    session.flush()
    _write_lines(session, invoice, lines)
    session.refresh(invoice)  # the database has added the lines up
    return invoice


def is_numbered(number: str) -> bool:
    """Whether this is an invoice's number, and not the name of one whose place nobody has paid yet."""
    return not number.startswith(UNNUMBERED)


_ROW = {"key_share": True}
"""A lock that lets others go on to name the row (as a new invoice names its location)."""


def give_number(session: Session, invoice: Invoice) -> None:
    """Give a locked invoice its number, if it has none; it is issued at this moment, and stands on the lists now.

    Money may be there already, so nothing stops it: a number that another invoice has is passed over, and the
    location is read anew, as it may have changed since.
    """
    if is_numbered(invoice.number):
        return
    location = session.get_one(Location, invoice.location_id, with_for_update=_ROW, populate_existing=True)
    number = take_invoice_numbers(session, location)[0]
    while session.scalar(select(exists().where(Invoice.number == number))):
        number = take_invoice_numbers(session, location)[0]
    invoice.number = number
    invoice.issued_at = now()
    session.flush()
    session.refresh(invoice)


def take_invoice_numbers(session: Session, location: Location, count: int = 1) -> list[str]:
    """The next numbers of the location's run. One statement reads and moves the counter, and keeps its row locked
    until the transaction ends; a transaction that is rolled back gives its numbers back, so there is no gap.

    The letters are those of now, whatever `location` was loaded with. Raises LocationChanged for another currency.
    """
    taken = session.execute(
        update(Location)
        .where(Location.id == location.id, Location.currency == location.currency)
        .values(next_invoice_number=Location.next_invoice_number + count)
        .returning(Location.next_invoice_number, Location.invoice_prefix)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if taken is None:
        raise LocationChanged(name=location.name)
    following, prefix = taken
    return [f"{prefix}{number}" for number in range(following - count, following)]


def take_receipt_numbers(session: Session, count: int = 1) -> list[str]:
    """The next numbers of the receipts: one run for the whole clinic, without gaps."""
    first = take_number(session, RECEIPTS, first=20_001, count=count)
    return [f"R-{number}" for number in range(first, first + count)]


def adjust(
    session: Session,
    invoice_id: int,
    amount_cents: int,
    reason: str,
    by: Somebody | None,
    request_id: UUID | None = None,
) -> Adjustment:
    """Append a credit (negative) or an extra amount owed (positive) to an invoice, with its reason.

    The same `request_id` again gives what it made the first time. Raises ReasonMissing, SentBefore, AlreadyVoid,
    CreditTooLarge, InvoiceOverpaid or TotalOutOfRange.
    """
    assert amount_cents != 0, "an adjustment of nothing"
    if not reason.strip():
        raise ReasonMissing
    invoice = locked_invoice(session, invoice_id)
    if request_id is not None:
        made = session.scalars(select(Adjustment).where(Adjustment.request_id == request_id)).first()
        if made is not None:
            if (made.invoice_id, made.amount_cents) != (invoice_id, amount_cents):
                raise SentBefore
            return made
    if invoice.voided_at is not None:
        raise AlreadyVoid(number=invoice.number)
    if invoice.balance_cents < 0 < amount_cents:
        over = format_money(-invoice.balance_cents, invoice.currency)
        raise InvoiceOverpaid(number=invoice.number, over=over)
    if amount_cents < 0 and invoice.balance_cents + amount_cents < 0:
        balance = format_money(max(invoice.balance_cents, 0), invoice.currency)
        raise CreditTooLarge(number=invoice.number, balance=balance)
    if invoice.owed_cents + amount_cents > LARGEST_TOTAL:
        raise _out_of_range(invoice.owed_cents + amount_cents, invoice.currency)
    adjustment = Adjustment(
        invoice_id=invoice_id,
        amount_cents=amount_cents,
        reason=reason.strip(),
        made_at=now(),
        made_by=by.id if by else None,
        request_id=request_id,
    )
    session.add(adjustment)
    session.flush()
    session.refresh(invoice)
    audit.record(
        session,
        "invoice.adjusted",
        f"invoice {invoice.number}",
        by=adjustment.made_by,
        after=f"{format_money(amount_cents, invoice.currency)}: {adjustment.reason}",
        patient_id=invoice.patient_id,
    )
    return adjustment


def void_invoice(session: Session, invoice_id: int, reason: str, by: Somebody | None = None) -> Invoice:
    """Cancel an invoice that nobody has paid: it asks for nothing from now on, and keeps its number.
    (One that was paid is `refunds.voiding`'s: it sees to the money.)

    Raises ReasonMissing, AlreadyVoid, InvoiceHasPayments or InvoiceBeingPaid.
    """
    if not reason.strip():
        raise ReasonMissing
    invoice = locked_invoice(session, invoice_id)
    if invoice.voided_at is not None:
        raise AlreadyVoid(number=invoice.number)
    if invoice.paid_cents != 0:
        paid = format_money(invoice.paid_cents, invoice.currency)
        raise InvoiceHasPayments(number=invoice.number, paid=paid)
    if session.scalar(
        select(exists().where(PaymentAttempt.invoice_id == invoice_id, PaymentAttempt.state.in_(LIVE)))
    ):
        raise InvoiceBeingPaid(number=invoice.number)
    mark_void(session, invoice, reason, by.id if by else None)
    return invoice


def mark_void(session: Session, invoice: Invoice, reason: str, by: int | None) -> None:
    """Write down that a locked invoice is void, whose money has been seen to."""
    invoice.voided_at = now()
    invoice.void_reason = reason.strip()
    invoice.voided_by = by
    invoice.version += 1  # whoever still looks at the form that showed it finds it changed
    session.flush()
    session.refresh(invoice)
    audit.record(
        session,
        "invoice.voided",
        f"invoice {invoice.number}",
        by=by,
        after=invoice.void_reason,
        patient_id=invoice.patient_id,
    )


def _write_lines(session: Session, invoice: Invoice, lines: Sequence[Line]) -> None:
    rows = [
        InvoiceLine(
            invoice_id=invoice.id,
            position=position,
            service_id=line.service_id,
            description=line.description,
            quantity=line.quantity,
            unit_cents=line.unit_cents,
            net_cents=line.net_cents,
        )
        for position, line in enumerate(lines, start=1)
    ]
    session.add_all(rows)
    session.flush()
    session.add_all(
        LineTax(line_id=row.id, position=position, invoice_id=invoice.id, **tax._asdict())
        for row, line in zip(rows, lines, strict=True)
        for position, tax in enumerate(taxes_on(line.net_cents, line.taxes), start=1)
    )
    session.flush()


def _check_total(lines: Sequence[Line], currency: str) -> None:
    total = total_cents(lines)
    if not 0 <= total <= LARGEST_TOTAL:
        raise _out_of_range(total, currency)


def _out_of_range(total: int, currency: str) -> TotalOutOfRange:
    return TotalOutOfRange(
        least=format_money(0, currency),
        most=format_money(LARGEST_TOTAL, currency),
        total=format_money(total, currency),
    )


def _local_date(location: Location, moment: datetime) -> date:
    return moment.astimezone(ZoneInfo(location.timezone)).date()
