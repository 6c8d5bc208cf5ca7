"""What the mails about registrations say: written when they are sent, from what is true then (decision 014).

One whose news is not so any more is not sent: nobody is offered a place that somebody else has by now.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from flask_babel import lazy_gettext as _l
from sqlalchemy import Connection, func, select
from sqlalchemy.orm import Session

from portal.audit import record
from portal.clinic import Location, Practitioner
from portal.clock import now
from portal.errors import Refusal
from portal.invoices.reading import full_day, local_day, weekday
from portal.invoices.reading.words import with_credentials
from portal.invoices.tables import Invoice
from portal.letters.requests import NoAddress, Requested
from portal.money import format_money
from portal.outbox import About, OutboxMessage, queue_unwritten
from portal.parts import Parts
from portal.payments.tables import Payment
from portal.people import Patient
from portal.programs.addressing import Reader, reader_of
from portal.programs.cancelling import rule_for
from portal.programs.pricing import priced, taxes_of
from portal.programs.seats import CANCELLED, CHANGED, CONFIRMED, LAPSED, NO_PLACE, OFFERED, WAITLISTED
from portal.programs.states import Place, Why
from portal.programs.tables import Program, ProgramSession, Registration
from portal.programs.waiting import place_in_line
from portal.programs.words import clock_words, moment_in_full, span_words
from portal.settings import Settings

MOST_NAMED = 20
"""So many sessions are written out; the page has them all, and so has the calendar file."""

Words = dict[str, Any]


class NotSoAnyMore(Refusal):
    """What a mail about a place told is over: nothing is offered twice."""

    title = _l("This email is not to be sent now. Nothing was sent.")
    message = _l("What it says is not so any more.")


def words_of(connection: Connection, settings: Settings, kind: str, registration_id: int) -> Words | None:
    """The words of such a mail, as things stand now; None where there is nothing to tell any more."""
    row = connection.execute(_FACTS.where(Registration.id == registration_id)).one()
    if not is_so(kind, row):
        return None
    return {**_shared(connection, row), **_OWN[kind](connection, settings, row)}


_FACTS = (
    select(
        Registration.id, Registration.public_id, Registration.program_id, Registration.patient_id,
        Registration.user_id, Registration.channel, Registration.state, Registration.why, Registration.held_until,
        Registration.waiting_since, Registration.created_at,
        Registration.price_cents, Registration.discount_cents, Registration.kept_cents,
        Registration.give_back_cents, Registration.invoice_id,
        Program.public_id.label("program_public_id"), Program.name, Program.visible, Program.refund_days,
        Program.late_share_percent, Program.waitlist_size,
        Location.name.label("location"), Location.address, Location.timezone, Location.currency,
        Practitioner.name.label("practitioner"), Practitioner.credentials,
        Patient.given_name, Patient.family_name,
        Invoice.paid_cents, Invoice.balance_cents,
    )
    .join(Program, Program.id == Registration.program_id)
    .join(Location, Location.id == Program.location_id)
    .outerjoin(Practitioner, Practitioner.id == Program.practitioner_id)
    .outerjoin(Patient, Patient.id == Registration.patient_id)
    .outerjoin(Invoice, Invoice.id == Registration.invoice_id)
)  # fmt: skip


def is_so(kind: str, row: Any) -> bool:
    """Whether what such a mail tells is still so. `row` has a registration's `state`, `why` and `held_until`."""
    return kind in _IS_SO and _IS_SO[kind](row)


def reader_now(source: Session | Connection, registration_id: int) -> Reader | None:
    """Who gets a mail about this registration, as they are on file now."""
    columns = select(Registration.user_id, Registration.channel, Registration.patient_id)
    return reader_of(source, source.execute(columns.where(Registration.id == registration_id)).one())


def queue_again(session: Session, former: OutboxMessage, request_id: UUID, *, by: int | None) -> Requested:
    """Queue a mail about a place once more, to the address on file now; the same press queues one.

    Raises NoAddress or NotSoAnyMore.
    """
    assert former.registration_id is not None, "a mail about a place"
    event_key = f"{former.event_key.partition(':again:')[0]}:again:{request_id}"
    sent = session.scalar(select(OutboxMessage.recipient).where(OutboxMessage.event_key == event_key))
    if sent is not None:
        return Requested(sent, is_new=False)
    if not is_so(former.kind, session.get_one(Registration, former.registration_id)):
        raise NotSoAnyMore
    reader = reader_now(session, former.registration_id)
    if reader is None:
        raise NoAddress
    about = About(former.invoice_id, former.patient_id, by)
    is_new = queue_unwritten(
        session, former.kind, event_key, reader.email, about=about, registration_id=former.registration_id
    )
    return Requested(reader.email, is_new)


def send_again(parts: Parts, patient_id: int, mail_id: int, request_id: UUID, *, by: int | None) -> Requested | None:
    """Send a mail about somebody's place once more; None where there is no such mail.

    Raises NoAddress or NotSoAnyMore.
    """
    with parts.database.transaction() as session:
        former = session.scalars(
            select(OutboxMessage).where(OutboxMessage.id == mail_id, OutboxMessage.patient_id == patient_id)
        ).first()
        if former is None or former.registration_id is None:
            return None
        sent = queue_again(session, former, request_id, by=by)
        if sent.is_new:
            about = f"registration {session.get_one(Registration, former.registration_id).public_id}"
            said = f"{former.kind} to {sent.email}"
            record(session, "mail.asked_for", about, by=by, after=said, patient_id=patient_id)
        return sent


def _is_offered(row: Any) -> bool:
    return bool(row.state == Place.OFFERED and row.held_until > now())


_IS_SO: Mapping[str, Callable[[Any], bool]] = {
    CONFIRMED: lambda row: row.state == Place.CONFIRMED,
    OFFERED: _is_offered,
    LAPSED: lambda row: row.state == Place.LAPSED and row.why == Why.TIME,
    CANCELLED: lambda row: row.state == Place.CANCELLED,
    NO_PLACE: lambda row: row.state in (Place.LAPSED, Place.RELEASED) and row.why == Why.FULL,
    WAITLISTED: lambda row: row.state == Place.WAITING,
    CHANGED: lambda row: row.state == Place.CONFIRMED,
}


def _shared(connection: Connection, row: Any) -> Words:
    """`who` is empty where the reader is the person; else whom it is about."""
    reader = reader_of(connection, row)
    is_reader = reader is not None and reader.patient_id == row.patient_id
    return {
        "name": reader.name if reader else "",
        "who": "" if is_reader else row.given_name or row.family_name or "",
        "program": row.name,
        "registration_path": f"/registrations/{row.public_id}",
        "program_path": f"/programs/{row.program_public_id}" if row.visible else "/my-programs",
    }


# --- a place --------------------------------------------------------------------------------------------------------


def _confirmed(connection: Connection, _settings: Settings, row: Any) -> Words:
    paid, owed = row.paid_cents or 0, row.balance_cents or 0
    return {
        **_meetings(connection, row),
        **_rule(connection, row),
        "paid": _money(paid, row) if paid > 0 else "",
        "owed": _money(owed, row) if owed > 0 else "",
        "instead_of": _instead_of(connection, row),
    }


def _changed(connection: Connection, _settings: Settings, row: Any) -> Words:
    costs = (row.paid_cents or 0) > 0 or (row.balance_cents or 0) > 0
    return {**_meetings(connection, row), **_rule(connection, row), "costs": costs}


def _instead_of(connection: Connection, row: Any) -> str:
    """The program from which staff moved the person to this one; nothing where they did not. Both places change in
    one transaction, so in the same moment.
    """
    moment = timedelta(seconds=5)
    moved = (
        select(Program.name)
        .join(Registration, Registration.program_id == Program.id)
        .where(
            Registration.patient_id == row.patient_id,
            Registration.why == Why.MOVED,
            Registration.ended_at.between(row.created_at - moment, row.created_at + moment),
        )
        .order_by(Registration.id.desc())
    )
    return connection.scalars(moved.limit(1)).first() or ""


def _offered(connection: Connection, _settings: Settings, row: Any) -> Words:
    price = priced(row.price_cents, row.discount_cents, taxes_of(connection, row.program_id))
    return {
        **_meetings(connection, row),
        "until": moment_in_full(row.held_until, row.timezone),
        "until_short": _shortly(row.held_until, row.timezone),
        "price": "" if price.is_free else _money(price.total_cents, row),
    }


def _lapsed(_connection: Connection, _settings: Settings, row: Any) -> Words:
    return {"has_list": row.waitlist_size > 0}


def _waitlisted(connection: Connection, settings: Settings, row: Any) -> Words:
    return {
        **_meetings(connection, row),
        "place_in_line": place_in_line(connection, row.id),
        "hours": settings.number("program_offer_hours"),
    }


# --- what goes back -------------------------------------------------------------------------------------------------


def _cancelled(connection: Connection, _settings: Settings, row: Any) -> Words:
    came, by_card = _came(connection, row)
    back = row.give_back_cents
    if row.why in (Why.VOID, Why.REFUNDED):
        back = came
    return {
        "is_by_bank": row.why == Why.DISPUTE,
        # Whoever voids an invoice hands back at once what came over the counter.
        "is_back": row.why == Why.REFUNDED or (row.why == Why.VOID and by_card <= 0),
        "back": _money(back, row) if back > 0 else "",
        "how": _how(back, by_card),
        "kept": _money(min(row.kept_cents, came), row) if row.kept_cents > 0 and came > 0 else "",
        "owed": _money(row.balance_cents, row) if (row.balance_cents or 0) > 0 else "",
    }


def _no_place(connection: Connection, _settings: Settings, row: Any) -> Words:
    came, by_card = _came(connection, row)
    return {"back": _money(came, row), "how": _how(came, by_card), "has_list": row.waitlist_size > 0}


def _came(connection: Connection, row: Any) -> tuple[int, int]:
    """What was paid for the place, all together and by card, whatever went back since; in minor units."""
    if row.invoice_id is None:
        return 0, 0
    charged = func.sum(Payment.amount_cents).filter(Payment.charge_id.is_not(None))
    found = connection.execute(
        select(func.coalesce(func.sum(Payment.amount_cents), 0), func.coalesce(charged, 0)).where(
            Payment.invoice_id == row.invoice_id, Payment.nature.in_(("payment", "reversal"))
        )
    ).one()
    return int(found[0]), int(found[1])


def _how(back: int, by_card: int) -> str:
    """How money goes back: "card", "desk", or "both"."""
    if by_card <= 0:
        return "desk"
    return "card" if by_card >= back else "both"


# --- in words -------------------------------------------------------------------------------------------------------


def _money(cents: int, row: Any) -> str:
    return format_money(cents, row.currency, full=True)


def _meetings(connection: Connection, row: Any) -> Words:
    """When, where and with whom, each as lines."""
    sessions = connection.execute(
        select(ProgramSession.starts_at, ProgramSession.ends_at, ProgramSession.room)
        .where(ProgramSession.program_id == row.program_id)
        .order_by(ProgramSession.starts_at, ProgramSession.id)
    ).all()
    days = [weekday(local_day(one.starts_at, row.timezone)) for one in sessions]
    hours = [span_words(one.starts_at, one.ends_at, row.timezone) for one in sessions]
    rooms = [one.room for one in sessions]
    # What is the same every time is said once.
    each = [days, *(words for words in (hours, rooms) if len(set(words)) > 1)]
    if len(sessions) == 1:
        each = [days, hours]
    when = [", ".join(filter(None, line)) for line in zip(*each, strict=True)]
    if sessions and hours not in each:
        when.insert(0, hours[0])
    room = rooms[0] if sessions and rooms not in each else ""
    return {
        "when": when[: MOST_NAMED + 1],
        "more": len(when[MOST_NAMED + 1 :]),
        "where": [line for line in (row.location, room, row.address) if line],
        "led_by": with_credentials(row.practitioner, row.credentials) if row.practitioner else "",
    }


def _rule(connection: Connection, row: Any) -> Words:
    """What a cancellation gives back: all of it until a day (empty: that day is over), later a share in percent."""
    first = connection.scalar(
        select(func.min(ProgramSession.starts_at)).where(ProgramSession.program_id == row.program_id)
    )
    rule = rule_for(row, first, row.timezone, now())
    in_time = rule.percent == 100 and rule.full_until is not None
    return {"full_until": full_day(rule.full_until) if in_time and rule.full_until else "",
            "late_percent": row.late_share_percent}  # fmt: skip


def _shortly(moment: datetime, zone: str) -> str:
    """ "Tue 24 Nov, 2:00 pm" """
    return f"{weekday(local_day(moment, zone)).rpartition(' ')[0]}, {clock_words(moment, zone)}"


_OWN: Mapping[str, Callable[[Connection, Settings, Any], Words]] = {
    CONFIRMED: _confirmed,
    OFFERED: _offered,
    LAPSED: _lapsed,
    CANCELLED: _cancelled,
    NO_PLACE: _no_place,
    WAITLISTED: _waitlisted,
    CHANGED: _changed,
}
