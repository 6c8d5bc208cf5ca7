"""Reminders of what is due, by the clinic's settings: some days before, and some times after.

Never about an invoice that is paid, void, disputed, being paid or under correction; never at night where the clinic
is; never to somebody who wants none. Each has a key of its own among the mails, so several workers send it once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, String, and_, cast, exists, func, literal, or_, select
from sqlalchemy.orm import Session

from portal.clinic import Location
from portal.clock import now
from portal.invoices.books import locked_invoice
from portal.invoices.reading import local_day
from portal.invoices.tables import Invoice
from portal.letters.addressing import Addressee, addressee
from portal.letters.choices import unsubscribe_url
from portal.letters.queueing import queue_letter
from portal.letters.requests import link_if_it_works
from portal.outbox import Mishap, OutboxMessage, Trouble
from portal.parts import Parts
from portal.payments.states import LIVE
from portal.payments.tables import Case, PaymentAttempt
from portal.people import Patient
from portal.settings import Settings, read_settings

MORNING, EVENING = 9, 19
"""Reminders are queued between these hours, where the clinic is."""

LATE = timedelta(days=14)
"""How long after its day a reminder may still be sent: the worker was away, or reminders were just switched on."""

PAGE = 500


@dataclass(frozen=True)
class Plan:
    """The clinic's settings, in days. `most` reminders after the due date at most; 0 `before` or `after`: none."""

    before: int
    after: int
    every: int
    most: int

    @property
    def oldest(self) -> timedelta:
        """How long ago an invoice may have been due to be reminded of still."""
        last = self.after + self.every * max(self.most - 1, 0)
        return timedelta(days=last) + LATE


@dataclass(frozen=True)
class Reminded:
    """An invoice that is open, and which reminders of its due date it has had. Days are those of its location."""

    invoice_id: int
    issued_on: date
    due_on: date
    had_before: bool
    had_after: int
    last_on: date | None


def next_reminder(one: Reminded, plan: Plan, today: date) -> str | None:
    """Which reminder is to be sent today: "before", "after:1", "after:2"…; None: none."""
    if one.due_on >= today:
        first = one.due_on - timedelta(days=plan.before)
        # Whoever gets the invoice within those days has just read when it is due.
        wanted = plan.before > 0 and one.issued_on < first <= today
        return "before" if wanted and not one.had_before else None
    if not plan.after or one.had_after >= plan.most or (one.had_after and not plan.every):
        return None
    since = one.due_on + timedelta(days=plan.after)
    if one.last_on is not None and one.had_after:
        since = max(since, one.last_on + timedelta(days=plan.every))
    return f"after:{one.had_after + 1}" if since <= today else None


def queue_reminders(parts: Parts) -> int:
    """Queue the reminders that are due now; gives how many."""
    with parts.database.read() as connection:
        settings = read_settings(connection)
        if not settings.yes("email_reminders"):
            return 0
        zones = connection.execute(select(Location.id, Location.timezone)).all()
    plan = Plan(
        before=settings.number("reminder_days_before"),
        after=settings.number("reminder_days_after"),
        every=settings.number("reminder_every_days"),
        most=settings.number("reminder_most"),
    )
    return sum(
        _remind(parts, settings, one.invoice_id, plan, zone)
        for location_id, zone in zones
        if _is_day(zone)
        for one in _open_invoices(parts, location_id, plan, zone)
        if next_reminder(one, plan, local_day(now(), zone)) is not None
    )


def _is_day(zone: str) -> bool:
    return MORNING <= now().astimezone(ZoneInfo(zone)).hour < EVENING


# --- what is open, and what it has had ------------------------------------------------------------------------------


def _key(part: str) -> ColumnElement[str]:
    """The beginning of the keys under which an invoice's reminders of its due date are queued."""
    return literal("reminder:") + cast(Invoice.id, String) + ":" + cast(Invoice.due_on, String) + part


_MAILS = (OutboxMessage.invoice_id == Invoice.id, OutboxMessage.kind == "reminder")
_AFTER = OutboxMessage.event_key.like(_key(":after:%"))
_OPEN = select(
    Invoice.id,
    Invoice.issued_at,
    Invoice.due_on,
    exists().where(*_MAILS, OutboxMessage.event_key == _key(":before")).label("had_before"),
    select(func.count()).where(*_MAILS, _AFTER).scalar_subquery().label("had_after"),
    select(func.max(OutboxMessage.queued_at)).where(*_MAILS, _AFTER).scalar_subquery().label("last_at"),
).where(Invoice.standing.in_(("receivable", "partly paid")))


def _open_invoices(parts: Parts, location_id: int, plan: Plan, zone: str) -> Iterator[Reminded]:
    """What is open at a place, in the days about which the plan has reminders; oldest first, page by page."""
    today = local_day(now(), zone)
    window = Invoice.due_on.between(today - plan.oldest, today + timedelta(days=plan.before))
    statement = (
        _OPEN.where(Invoice.location_id == location_id, window).order_by(Invoice.due_on, Invoice.id).limit(PAGE)
    )
    after: tuple[date, int] | None = None
    while True:
        page = statement
        if after is not None:
            on, number = after
            page = page.where(or_(Invoice.due_on > on, and_(Invoice.due_on == on, Invoice.id > number)))
        with parts.database.read() as connection:
            rows = connection.execute(page).all()
        yield from (_reminded(row, zone) for row in rows)
        if len(rows) < PAGE:
            return
        after = (rows[-1].due_on, rows[-1].id)


def _reminded(row: Any, zone: str) -> Reminded:
    return Reminded(
        invoice_id=row.id,
        issued_on=local_day(row.issued_at, zone),
        due_on=row.due_on,
        had_before=bool(row.had_before),
        had_after=row.had_after,
        last_on=None if row.last_at is None else local_day(row.last_at, zone),
    )


# --- one reminder ---------------------------------------------------------------------------------------------------


def _remind(parts: Parts, settings: Settings, invoice_id: int, plan: Plan, zone: str) -> bool:
    """Queue one invoice's next reminder, if it is due still; in a transaction of its own, with the invoice locked."""
    with parts.database.transaction() as session:
        invoice = locked_invoice(session, invoice_id)
        row = session.execute(_OPEN.where(Invoice.id == invoice_id)).one_or_none()
        which = next_reminder(_reminded(row, zone), plan, local_day(now(), zone)) if row is not None else None
        if which is None or not _may_be_reminded_of(session, invoice):
            return False
        to = addressee(session, invoice.patient_id)
        if to is None or _wants_none(session, to, invoice):
            return False
        event_key = f"reminder:{invoice.id}:{invoice.due_on.isoformat()}:{which}"
        return _queue(parts, session, settings, invoice, to, event_key, is_overdue=which != "before")


def remind_again(parts: Parts, session: Session, invoice: Invoice, event_key: str, *, by: int | None) -> str:
    """Queue a reminder that staff ask for, of a locked invoice; gives the address, and nothing where none is to go:
    it is not owed beyond doubt, or nobody wants or can be sent one. It counts as none of the plan's.
    """
    to = addressee(session, invoice.patient_id)
    if to is None or _wants_none(session, to, invoice) or not _may_be_reminded_of(session, invoice):
        return ""
    zone = session.get_one(Location, invoice.location_id).timezone
    is_overdue = invoice.due_on < local_day(now(), zone)
    _queue(parts, session, read_settings(session), invoice, to, event_key, is_overdue=is_overdue, by=by)
    return to.email


def _may_be_reminded_of(session: Session, invoice: Invoice) -> bool:
    """Whether it is owed beyond doubt: nobody is paying it, no bank looks into it, and nothing on it is to be put
    right. One whose dispute was lost is for a person to talk about, never for a machine to ask for.
    """
    if invoice.voided_at is not None or invoice.balance_cents <= 0:
        return False
    paying = exists().where(PaymentAttempt.invoice_id == invoice.id, PaymentAttempt.state.in_(LIVE))
    doubt = exists().where(
        Case.invoice_id == invoice.id, or_(Case.closed_at.is_(None), Case.stage.in_(("inquiry", "open", "lost")))
    )
    return not session.scalar(select(or_(paying, doubt)))


def _wants_none(session: Session, to: Addressee, invoice: Invoice) -> bool:
    people = {to.patient_id, invoice.patient_id}
    return bool(session.scalar(select(exists().where(Patient.id.in_(people), Patient.reminders_off_at.is_not(None)))))


def why_not_now(parts: Parts, mail_id: int) -> Mishap | None:
    """Why a queued reminder must not go out at this moment; None: it may.

    Asked before each try: while the mail server was away, the invoice may have been paid, night fallen, or
    reminders been switched off.
    """
    with parts.database.transaction() as session:
        invoice, asked_by = session.execute(
            select(Invoice, OutboxMessage.queued_by)
            .join(OutboxMessage, OutboxMessage.invoice_id == Invoice.id)
            .where(OutboxMessage.id == mail_id)
        ).one()
        if asked_by is None and not read_settings(session).yes("email_reminders"):
            return Mishap(Trouble.NOT_NEEDED, for_good=True)
        to = addressee(session, invoice.patient_id)
        if to is None or _wants_none(session, to, invoice) or not _may_be_reminded_of(session, invoice):
            return Mishap(Trouble.NOT_NEEDED, for_good=True)
        zone = session.get_one(Location, invoice.location_id).timezone
    return None if _is_day(zone) else Mishap(Trouble.NIGHT)


def _queue(
    parts: Parts,
    session: Session,
    settings: Settings,
    invoice: Invoice,
    to: Addressee,
    event_key: str,
    *,
    is_overdue: bool,
    by: int | None = None,
) -> bool:
    return queue_letter(
        session,
        parts.vault,
        "reminder",
        event_key,
        to,
        invoice,
        by=by,
        is_overdue=is_overdue,
        unsubscribe=unsubscribe_url(parts.config, to.patient_id),
        **link_if_it_works(parts, session, settings, invoice, by=by),
    )
