"""A person's account as the office sees it: what they owe, their invoices and payments, the cards they keep.

Lists are walked by key, never by offset: a page costs the same however long the file is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple
from urllib.parse import quote

from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import BigInteger, Connection, Select, cast, func, select, tuple_, union_all

from portal.cards import SavedCard
from portal.clinic import Location, Practitioner
from portal.gateway.configured import ConfiguredGateway
from portal.invoices.reading import Key, Sum, large, local_day, plain_day
from portal.invoices.reading.columns import IS_CLOSED, IS_OPEN, LIVE, attempts, invoices, locations, practitioners
from portal.invoices.reading.lists import written_key
from portal.invoices.reading.words import CHECKED, Tag, Today, closed_tag, means_words, money, open_tag, phrases_here
from portal.invoices.tables import Invoice
from portal.money import format_money
from portal.payments.tables import Payment, PaymentAttempt
from portal.people import PATIENT, Patient, User

PAGE = 20

Names = Mapping[int, str]
"""Whose invoices are listed: the person, and the people they pay for, by their ids."""

_payments, _cards, _users = Payment.__table__.c, SavedCard.__table__.c, User.__table__.c


# --- the balance ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Balance:
    """What a person's own open invoices come to in one currency, and how many they are."""

    sum: Sum
    words: str
    count: int


def balances(connection: Connection, patient_id: int) -> Sequence[Balance]:
    """The account balance, one for each currency in which something is open."""
    rows = connection.execute(
        select(invoices.currency, cast(func.sum(invoices.balance_cents), BigInteger), func.count())
        .where(invoices.patient_id == patient_id, IS_OPEN)
        .group_by(invoices.currency)
        .order_by(invoices.currency)
    )
    return [Balance(large(cents, currency), format_money(cents, currency), count) for currency, cents, count in rows]


# --- invoices -------------------------------------------------------------------------------------------------------


class InvoiceRow(NamedTuple):
    """One invoice of the list. `act`: "receive", "wait" while a payment is being checked, or nothing."""

    number: str
    path: str
    day: str
    patient_id: int
    patient: str
    practitioner: str
    tag: Tag
    total: str
    balance: str
    act: str


class Page(NamedTuple):
    """One page of a list; `following` asks for the next one, and is empty on the last."""

    rows: Sequence[Any]
    following: str


def office_path(number: str) -> str:
    """Where an invoice is in the office."""
    return "/office/invoices/" + quote(number, safe="")


_SHOWN = (
    invoices.id, invoices.number, invoices.patient_id, invoices.location_id, invoices.practitioner_id,
    invoices.service_on, invoices.due_on, invoices.currency, invoices.owed_cents, invoices.paid_cents,
    invoices.balance_cents, invoices.voided_at, invoices.last_paid_at,
)  # fmt: skip


def _part(patient_id: int, condition: Any, after: Key | None) -> Any:
    """One patient's open or closed invoices, the newest first; both conditions have an index of their own."""
    part = select(*_SHOWN).where(invoices.patient_id == patient_id, condition)
    if after is not None:
        part = part.where(tuple_(invoices.service_on, invoices.id) < (after.day, after.id))
    return select(part.order_by(invoices.service_on.desc(), invoices.id.desc()).limit(PAGE + 1).subquery())


def invoices_of(connection: Connection, names: Names, after: Key | None = None) -> Page:
    """A page of these people's invoices, the newest first."""
    together = union_all(
        *(_part(patient, condition, after) for patient in names for condition in (IS_OPEN, IS_CLOSED))
    ).subquery()
    newest = (together.c.service_on.desc(), together.c.id.desc())
    page = select(together).order_by(*newest).limit(PAGE + 1).subquery("page")
    rows = connection.execute(_with_names(page)).all()
    phrases, today = phrases_here(), Today()
    following = written_key(rows[PAGE - 1].service_on, rows[PAGE - 1].id) if len(rows) > PAGE else ""
    return Page([_invoice_row(row, names, phrases, today) for row in rows[:PAGE]], following)


def _with_names(page: Any) -> Select[Any]:
    shown = page.c
    return (
        select(shown, practitioners.name, practitioners.credentials, locations.timezone, attempts.state)
        .select_from(
            page.join(Location.__table__, locations.id == shown.location_id)
            .outerjoin(Practitioner.__table__, practitioners.id == shown.practitioner_id)
            .outerjoin(PaymentAttempt.__table__, (attempts.invoice_id == shown.id) & LIVE)
        )
        .order_by(shown.service_on.desc(), shown.id.desc())
    )


def _invoice_row(row: Any, names: Names, phrases: Any, today: Today) -> InvoiceRow:
    voided = row.voided_at is not None
    if row.balance_cents > 0:
        tag = open_tag(row.state, row.paid_cents, row.due_on, row.timezone, phrases, today)
        act = "wait" if row.state in CHECKED else "receive"
    else:
        tag = closed_tag(voided, row.last_paid_at, row.owed_cents, row.paid_cents, row.timezone, phrases)
        act = ""
    return InvoiceRow(
        number=row.number,
        path=office_path(row.number),
        day=plain_day(row.service_on),
        patient_id=row.patient_id,
        patient=names[row.patient_id],
        practitioner=", ".join(filter(None, (row.name, row.credentials))),
        tag=tag,
        total=money(row.owed_cents, row.currency),
        balance=money(row.balance_cents, row.currency),
        act=act,
    )


# --- payments -------------------------------------------------------------------------------------------------------


class PaymentRow(NamedTuple):
    """One row of posted money. `receipt_path`: its receipt's page; money that went back has none."""

    day: str
    number: str
    path: str
    means: str
    payer: str
    receipt: str
    receipt_path: str
    amount: str
    goes_back: bool


_NATURES = {
    "refund": _l("Refund"),
    "refund failed": _l("Refund failed"),
    "reversal": _l("Correction"),
    "dispute": _l("Disputed"),
    "reinstatement": _l("Dispute won"),
}


def payments_of(connection: Connection, patient_id: int, before: int | None = None) -> Page:
    """A page of the money posted on a person's invoices, the newest first; `before`: older than that row."""
    payers = Patient.__table__.alias("payers")
    statement = (
        select(Payment.__table__, invoices.number, locations.timezone, payers.c.given_name, payers.c.family_name)
        .select_from(Payment.__table__)
        .join(Invoice.__table__, _payments.invoice_id == invoices.id)
        .join(Location.__table__, locations.id == invoices.location_id)
        .outerjoin(payers, payers.c.id == _payments.payer_id)
        .where(invoices.patient_id == patient_id)
        .order_by(_payments.id.desc())
        .limit(PAGE + 1)
    )
    if before is not None:
        statement = statement.where(_payments.id < before)
    rows = connection.execute(statement).all()
    following = str(rows[PAGE - 1].id) if len(rows) > PAGE else ""
    return Page([_payment_row(row) for row in rows[:PAGE]], following)


def _receipt_path(row: Any) -> str:
    return f"{office_path(row.number)}/received/{quote(row.receipt_number, safe='')}"


def _payment_row(row: Any) -> PaymentRow:
    means = means_words(row.kind, row.brand, row.last4)
    nature = _NATURES.get(row.nature, "")
    return PaymentRow(
        day=plain_day(local_day(row.received_at, row.timezone)),
        number=row.number,
        path=office_path(row.number) + "/payments",
        means=f"{nature}, {means}" if nature else means,
        payer=f"{row.given_name} {row.family_name}" if row.given_name else "",
        receipt=row.receipt_number or "",
        receipt_path=_receipt_path(row) if row.nature == "payment" and row.receipt_number else "",
        amount=format_money(row.amount_cents, row.currency),
        goes_back=row.amount_cents < 0,
    )


# --- saved cards ----------------------------------------------------------------------------------------------------


class Card(NamedTuple):
    """A card that a payer keeps with the clinic's gateway, with the consent to it."""

    public_id: str
    brand: str
    funding: str
    last4: str
    expires: str
    has_expired: bool
    is_usual: bool
    gateway: str
    mode: str
    saved: str
    consent: str


def cards_of(connection: Connection, payer_id: int, today: date) -> Sequence[Card]:
    """The cards that this person consented to keep, the default of each gateway first."""
    rows = connection.execute(
        select(SavedCard.__table__, ConfiguredGateway.name.label("gateway"), _users.name.label("saver"), _users.role,
               select(locations.timezone).order_by(locations.id).limit(1).scalar_subquery().label("zone"))
        .select_from(SavedCard.__table__)
        .join(ConfiguredGateway.__table__, ConfiguredGateway.id == _cards.gateway_id)
        .outerjoin(User.__table__, _users.id == _cards.consented_by)
        .where(_cards.payer_id == payer_id, _cards.removed_at.is_(None))
        .order_by(_cards.gateway_id, _cards.is_usual.desc(), _cards.id.desc())
    )  # fmt: skip
    return [_card(row, today) for row in rows]


def _card(row: Any, today: date) -> Card:
    return Card(
        public_id=row.public_id,
        brand=row.brand,
        funding=row.funding,
        last4=row.last4,
        expires=f"{row.exp_month:02}/{row.exp_year}",
        has_expired=(row.exp_year, row.exp_month) < (today.year, today.month),
        is_usual=row.is_usual,
        gateway=row.gateway,
        mode=row.mode,
        saved=_saved_words(row.saver, row.role, row.consented_at, row.zone or "UTC"),
        consent=row.consent_version,
    )


def _saved_words(saver: str | None, role: str | None, moment: datetime, zone: str) -> str:
    """ "Saved by Maya Lindqvist in the portal, 3 Mar 2026." """
    words = {"day": plain_day(local_day(moment, zone)), "name": saver}
    if saver is None:
        return str(_("Saved by way of a pay link, %(day)s.", **words))
    if role == PATIENT:
        return str(_("Saved by %(name)s in the portal, %(day)s.", **words))
    return str(_("Saved by %(name)s at the desk, %(day)s.", **words))


# --- the statement --------------------------------------------------------------------------------------------------


class StatementRow(NamedTuple):
    """One open invoice of a statement."""

    number: str
    day: str
    due: str
    practitioner: str
    owed: str
    paid: str
    balance: str
    tag: Tag


def statement_of(connection: Connection, patient_id: int, most: int = 500) -> Sequence[StatementRow]:
    """A person's own open invoices, the earliest due first."""
    page = (
        select(*_SHOWN)
        .where(invoices.patient_id == patient_id, IS_OPEN)
        .order_by(invoices.due_on, invoices.id)
        .limit(most)
        .subquery("page")
    )
    rows = connection.execute(_with_names(page).order_by(None).order_by(page.c.due_on, page.c.id)).all()
    phrases, today = phrases_here(), Today()
    return [
        StatementRow(
            row.number,
            plain_day(row.service_on),
            plain_day(row.due_on),
            ", ".join(filter(None, (row.name, row.credentials))),
            money(row.owed_cents, row.currency),
            money(row.paid_cents, row.currency),
            money(row.balance_cents, row.currency),
            open_tag(row.state, row.paid_cents, row.due_on, row.timezone, phrases, today),
        )
        for row in rows
    ]
