"""What somebody reads of their own places in programs. Loading is authorising: there is no way to somebody else's.

A place is read by whoever it is for; by who pays for them and may see what invoices are for, or made the registration
(P9); and, before anybody has signed in, by the browser whose cookie has the secret of the hold.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, false, or_, select

from portal.clinic import Location, Practitioner
from portal.clock import now
from portal.gateway.configured import ConfiguredGateway, chosen_gateway
from portal.invoices.reading import Payer
from portal.invoices.reading.words import means_words
from portal.invoices.tables import Invoice
from portal.payments.states import LIVE as LIVE_ATTEMPTS
from portal.payments.states import State
from portal.payments.tables import Payment, PaymentAttempt
from portal.people import Patient
from portal.programs.pricing import Price, priced, taxes_of
from portal.programs.registering import hash_of
from portal.programs.states import LIVE, ON_A_CLOCK, Place, Why
from portal.programs.tables import (
    Program,
    ProgramSession,
    PromoCode,
    Registration,
)

MOST_LISTED = 100


@dataclass(frozen=True)
class Viewer:
    """Who looks: a signed-in patient with the people they pay for, or a browser with the secret of a hold."""

    payer: Payer | None = None
    user_id: int | None = None
    secret: str = ""


@dataclass(frozen=True)
class Meeting:
    """One session of a program."""

    starts_at: datetime
    ends_at: datetime
    room: str


@dataclass(frozen=True)
class MyPlace:
    """A registration as its person sees it, with its program and what its invoice says."""

    id: int
    public_id: str
    state: str
    why: str
    held_until: datetime | None
    first_until: datetime | None
    waiting_since: datetime | None
    user_id: int | None
    patient_id: int | None
    price_cents: int
    discount_cents: int
    kept_cents: int
    give_back_cents: int
    program_id: int
    program_public_id: str
    name: str
    description: str
    waitlist_size: int
    refund_days: int
    late_share_percent: int
    location_id: int
    location: str
    currency: str
    zone: str
    practitioner: str | None
    credentials: str | None
    given_name: str | None
    family_name: str | None
    code: str | None
    invoice_id: int | None
    number: str | None
    owed_cents: int | None
    paid_cents: int | None
    balance_cents: int | None
    attempt: Any
    attempt_state: str | None
    gateway_mode: str | None
    meetings: tuple[Meeting, ...] = field(default=())

    @property
    def is_over(self) -> bool:
        """Whether its clock has run out, also where nobody has taken it back yet."""
        return self.held_until is not None and self.held_until <= now()

    @property
    def is_kept(self) -> bool:
        """Whether it is held or offered, and its clock runs."""
        return self.state in ON_A_CLOCK and not self.is_over

    @property
    def is_offered(self) -> bool:
        return self.state == Place.OFFERED

    @property
    def was_waited_for(self) -> bool:
        """Whether it came by way of the waitlist: then it is for whoever waited, and for nobody else."""
        return self.waiting_since is not None and self.patient_id is not None

    @property
    def is_confirmed(self) -> bool:
        return self.state == Place.CONFIRMED

    @property
    def is_waiting(self) -> bool:
        return self.state == Place.WAITING

    @property
    def is_cancelled(self) -> bool:
        return self.state == Place.CANCELLED

    @property
    def came_too_late(self) -> bool:
        """Whether money came for it when no place was left."""
        return self.why == Why.FULL

    @property
    def is_checked(self) -> bool:
        """Whether a payment is under way of which nobody knows yet how it ends."""
        return self.attempt_state in (State.CONFIRMING, State.PROCESSING)

    @property
    def patient(self) -> str:
        return f"{self.given_name or ''} {self.family_name or ''}".strip()

    @property
    def led_by(self) -> str:
        return ", ".join(part for part in (self.practitioner, self.credentials) if part)

    @property
    def starts_at(self) -> datetime | None:
        return self.meetings[0].starts_at if self.meetings else None

    @property
    def is_past(self) -> bool:
        """Whether its last session is over."""
        return bool(self.meetings) and self.meetings[-1].ends_at <= now()


_PLACES = (
    select(
        Registration.id,
        Registration.public_id,
        Registration.state,
        Registration.why,
        Registration.held_until,
        Registration.first_until,
        Registration.waiting_since,
        Registration.user_id,
        Registration.patient_id,
        Registration.price_cents,
        Registration.discount_cents,
        Registration.kept_cents,
        Registration.give_back_cents,
        Program.id.label("program_id"),
        Program.public_id.label("program_public_id"),
        Program.name,
        Program.description,
        Program.waitlist_size,
        Program.refund_days,
        Program.late_share_percent,
        Location.id.label("location_id"),
        Location.name.label("location"),
        Location.currency,
        Location.timezone.label("zone"),
        Practitioner.name.label("practitioner"),
        Practitioner.credentials,
        Patient.given_name,
        Patient.family_name,
        PromoCode.code,
        Invoice.id.label("invoice_id"),
        Invoice.number,
        Invoice.owed_cents,
        Invoice.paid_cents,
        Invoice.balance_cents,
        PaymentAttempt.id.label("attempt"),
        PaymentAttempt.state.label("attempt_state"),
        ConfiguredGateway.mode.label("gateway_mode"),
    )
    .join(Program, Program.id == Registration.program_id)
    .join(Location, Location.id == Program.location_id)
    .outerjoin(Practitioner, Practitioner.id == Program.practitioner_id)
    .outerjoin(Patient, Patient.id == Registration.patient_id)
    .outerjoin(PromoCode, PromoCode.id == Registration.promo_code_id)
    .outerjoin(Invoice, Invoice.id == Registration.invoice_id)
    .outerjoin(
        PaymentAttempt,
        (PaymentAttempt.invoice_id == Registration.invoice_id) & PaymentAttempt.state.in_(sorted(LIVE_ATTEMPTS)),
    )
    .outerjoin(ConfiguredGateway, ConfiguredGateway.id == chosen_gateway(Location.id))
)


def is_theirs(viewer: Viewer) -> ColumnElement[bool]:
    """Which registrations somebody may read."""
    browsers = (
        and_(Registration.user_id.is_(None), Registration.holder_hash == hash_of(viewer.secret))
        if viewer.secret
        else false()
    )
    if viewer.payer is None:
        return browsers
    patients = viewer.payer.patients
    seen = [each for each in patients if viewer.payer.sees_lines(each)]
    own = Registration.user_id == viewer.user_id
    return or_(
        Registration.patient_id.in_(seen),
        and_(own, or_(Registration.patient_id.is_(None), Registration.patient_id.in_(patients))),
        browsers,
    )


def place_for(connection: Connection, viewer: Viewer, public_id: str) -> MyPlace | None:
    """One place, with its program's sessions; None for anybody else's, and for none at all."""
    row = connection.execute(_PLACES.where(Registration.public_id == public_id, is_theirs(viewer))).first()
    if row is None:
        return None
    meetings = _meetings(connection, [row.program_id])
    return MyPlace(**row._mapping, meetings=meetings.get(row.program_id, ()))


def place_held_by(connection: Connection, secret: str) -> MyPlace | None:
    """The place that a browser took last before anybody signed in, while it is held."""
    held = _PLACES.where(
        is_theirs(Viewer(secret=secret)), Registration.state == Place.HELD, Registration.held_until > now()
    )
    row = connection.execute(held.order_by(Registration.id.desc()).limit(1)).first()
    return None if row is None else MyPlace(**row._mapping)


def places_of(connection: Connection, viewer: Viewer) -> list[MyPlace]:
    """The places that concern somebody: what lapsed or was let go is left out, unless money came for it."""
    concerns = or_(
        Registration.state.in_((Place.HELD, Place.OFFERED, Place.WAITING, Place.CONFIRMED, Place.CANCELLED)),
        Registration.why == Why.FULL,
    )
    rows = connection.execute(
        _PLACES.where(is_theirs(viewer), concerns).order_by(Registration.id.desc()).limit(MOST_LISTED)
    ).all()
    meetings = _meetings(connection, {row.program_id for row in rows})
    return [MyPlace(**row._mapping, meetings=meetings.get(row.program_id, ())) for row in rows]


def _meetings(connection: Connection, programs: Iterable[int]) -> dict[int, tuple[Meeting, ...]]:
    wanted = list(programs)
    if not wanted:
        return {}
    rows = connection.execute(
        select(ProgramSession.program_id, ProgramSession.starts_at, ProgramSession.ends_at, ProgramSession.room)
        .where(ProgramSession.program_id.in_(wanted))
        .order_by(ProgramSession.starts_at, ProgramSession.id)
    )
    found: dict[int, list[Meeting]] = {}
    for row in rows:
        found.setdefault(row.program_id, []).append(Meeting(row.starts_at, row.ends_at, row.room))
    return {program_id: tuple(meetings) for program_id, meetings in found.items()}


# --- what its form needs --------------------------------------------------------------------------------------------


def without_place(connection: Connection, place: MyPlace, patients: Sequence[int]) -> int | None:
    """The first of these people who has no other place in the same program, and does not wait for one."""
    have = connection.scalars(
        select(Registration.patient_id).where(
            Registration.program_id == place.program_id,
            Registration.patient_id.in_(patients),
            Registration.state.in_(LIVE),
        )
    )
    theirs = set(have)
    return next((each for each in patients if each not in theirs), None)


def price_of_place(connection: Connection, place: MyPlace, discount_cents: int | None = None) -> Price:
    """What the place costs, at the price at which it was taken; with another discount where one is given."""
    discount = place.discount_cents if discount_cents is None else discount_cents
    return priced(place.price_cents, discount, taxes_of(connection, place.program_id))


# --- what was paid for it -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PlaceReceipt:
    """A payment of a place's invoice: its receipt's number, and how it was paid."""

    number: str
    means: str
    is_card: bool
    amount_cents: int


def receipts_of(connection: Connection, places: Sequence[MyPlace]) -> dict[int, list[PlaceReceipt]]:
    """The receipts of these places' invoices, by invoice, the oldest first."""
    invoices = [place.invoice_id for place in places if place.invoice_id is not None]
    if not invoices:
        return {}
    rows = connection.execute(
        select(Payment.invoice_id, Payment.receipt_number, Payment.kind, Payment.brand, Payment.last4,
               Payment.amount_cents)
        .where(Payment.invoice_id.in_(invoices), Payment.nature == "payment", Payment.receipt_number.is_not(None))
        .order_by(Payment.id)
    )  # fmt: skip
    found: dict[int, list[PlaceReceipt]] = {}
    for row in rows:
        means = means_words(row.kind, row.brand, row.last4)
        found.setdefault(row.invoice_id, []).append(
            PlaceReceipt(row.receipt_number, means, row.kind == "card", row.amount_cents)
        )
    return found
