"""What the desk asks about a registration: a person's programs, an invoice's place, prices, what would go back."""

from typing import NamedTuple

from flask_babel import gettext as _
from sqlalchemy import Connection, func, select
from sqlalchemy.orm import Session

from portal.clinic import Location
from portal.clock import now
from portal.invoices.reading import local_day
from portal.invoices.reading.words import full_day, weekday
from portal.payments.tables import Payment
from portal.programs.cancelling import Rule, kept_and_back, rule_for
from portal.programs.desk.rosters import ENTRIES, Entry, Group, entry_of
from portal.programs.pricing import Price, price_now, price_of, priced, taxes_of
from portal.programs.seats import ends_registration, starts_at
from portal.programs.states import ON_A_CLOCK, Place
from portal.programs.tables import Program, ProgramSession, PromoCode, Registration
from portal.programs.words import until_words

# --- one person's, and one place's ----------------------------------------------------------------------------------


class Part(NamedTuple):
    """One program that a person is, or was, registered for."""

    program: str
    program_public_id: str
    first_day: str
    entry: Entry


def parts_of(connection: Connection, patient_id: int, most: int = 50) -> list[Part]:
    """A person's programs, the newest registration first."""
    first = (
        select(func.min(ProgramSession.starts_at))
        .where(ProgramSession.program_id == Program.id)
        .correlate(Program)
        .scalar_subquery()
        .label("first")
    )
    rows = connection.execute(
        ENTRIES.add_columns(Program.name.label("program"), Program.public_id.label("program_public_id"), first)
        .where(Registration.patient_id == patient_id)
        .order_by(Registration.id.desc())
        .limit(most)
    )
    return [
        Part(
            row.program,
            row.program_public_id,
            weekday(local_day(row.first, row.zone)) if row.first else "",
            entry_of(row, ()),
        )
        for row in rows
    ]


class PlaceOf(NamedTuple):
    """The place that an invoice is for; whether it is still only held, and until when; or confirmed."""

    program: str
    program_public_id: str
    until: str
    is_kept: bool
    is_confirmed: bool


def place_of(connection: Connection, invoice_id: int) -> PlaceOf | None:
    """Which place an invoice is for; None where it is for none, or another has replaced it."""
    row = connection.execute(
        select(Program.name, Program.public_id, Registration.state, Registration.held_until, Location.timezone)
        .join(Program, Program.id == Registration.program_id)
        .join(Location, Location.id == Program.location_id)
        .where(Registration.invoice_id == invoice_id)
    ).first()
    if row is None:
        return None
    kept = row.state in ON_A_CLOCK and row.held_until is not None and row.held_until > now()
    until = until_words(row.held_until, row.timezone, now()) if kept else ""
    return PlaceOf(row.name, row.public_id, until, kept, row.state == Place.CONFIRMED)


# --- what it costs, and what goes back ------------------------------------------------------------------------------


def price_today(connection: Connection, of: Group) -> Price:
    """What a place costs somebody who registers now, without a code."""
    with Session(connection) as session:
        return priced(price_now(session, session.get_one(Program, of.id)), 0, taxes_of(connection, of.id))


def price_agreed(connection: Connection, entry: Entry) -> Price:
    """What this registration's place was taken for."""
    with Session(connection) as session:
        return price_of(connection, session.get_one(Registration, entry.id))


class HeldFor(NamedTuple):
    """A place that somebody holds, or is offered: its price as it was taken, before any code, and its promo code."""

    price: Price
    code: str


def held_for(connection: Connection, of: Group, patient_id: int) -> HeldFor | None:
    """The place that is held for this patient, or offered to them, and waits to be taken up."""
    row = connection.execute(
        select(Registration.price_cents, PromoCode.code)
        .outerjoin(PromoCode, PromoCode.id == Registration.promo_code_id)
        .where(
            Registration.program_id == of.id,
            Registration.patient_id == patient_id,
            Registration.state.in_(sorted(ON_A_CLOCK)),
        )
    ).first()
    return None if row is None else HeldFor(priced(row.price_cents, 0, taxes_of(connection, of.id)), row.code or "")


def is_over(connection: Connection, of: Group) -> bool:
    """Whether registration has ended for everybody but the desk."""
    with Session(connection) as session:
        end = ends_registration(session, session.get_one(Program, of.id))
        return end is None or end <= now()


def rule_now(connection: Connection, of: Group) -> Rule:
    """What the program's rule gives back at this moment."""
    with Session(connection) as session:
        return rule_for(session.get_one(Program, of.id), starts_at(session, of.id), of.zone, now())


def rule_words(rule: Rule, of: Group) -> str:
    """The rule in a sentence: "Until 5 January 2027 all of it goes back, then 50 %." """
    late = (
        _("%(percent)s %% of it", percent=of.late_share_percent) if of.late_share_percent else str(_("nothing of it"))
    )
    if rule.full_until is None:
        return str(_("All of it goes back: there are no sessions."))
    return str(
        _("Until the end of %(day)s all of it goes back, later %(late)s.", day=full_day(rule.full_until), late=late)
    )


def kept_and_back_of(entry: Entry, percent: int) -> tuple[int, int]:
    """What the clinic keeps of what is owed where this share goes back, and what goes back of what was paid."""
    return kept_and_back(entry.owed_cents, entry.paid_cents, percent)


def paid_at_the_counter(connection: Connection, registration_id: int) -> int:
    """How much of what was paid for a place came over the counter, in minor units; given back there as well."""
    counted = (
        select(func.coalesce(func.sum(Payment.amount_cents), 0))
        .join(Registration, Registration.invoice_id == Payment.invoice_id)
        .where(Registration.id == registration_id, Payment.charge_id.is_(None))
    )
    return int(connection.scalar(counted) or 0)
