"""What the office sees of a program: who registered and how that stands, its sessions, who came. Columns only."""

from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, NamedTuple

from flask_babel import gettext as _
from sqlalchemy import Connection, and_, case, func, select

from portal.clinic import Location, Practitioner
from portal.clock import now
from portal.invoices.books import is_numbered
from portal.invoices.reading import local_day, plain_day
from portal.invoices.reading.words import Tag, money, weekday, with_credentials
from portal.invoices.tables import Invoice
from portal.payments.tables import Case, Payment
from portal.people import Patient, User
from portal.programs.states import LIVE, ON_A_CLOCK, Place
from portal.programs.tables import (
    Attendance,
    Program,
    ProgramQuestion,
    ProgramSession,
    Registration,
    RegistrationAnswer,
)
from portal.programs.words import span_words, until_words

# --- the program ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """A program, as far as the desk needs it."""

    id: int
    public_id: str
    name: str
    location_id: int
    location: str
    zone: str
    currency: str
    practitioner: str
    capacity: int
    taken: int
    waiting: int
    waitlist_size: int
    refund_days: int
    late_share_percent: int

    @property
    def left(self) -> int:
        """How many places are free for somebody new: those who wait come first."""
        return 0 if self.waiting else max(self.capacity - self.taken, 0)

    @property
    def has_list(self) -> bool:
        """Whether one more can wait."""
        return self.waiting < self.waitlist_size


_GROUPS = (
    select(
        Program.id,
        Program.public_id,
        Program.name,
        Program.location_id,
        Location.name.label("location"),
        Location.timezone.label("zone"),
        Location.currency,
        Practitioner.name.label("practitioner"),
        Practitioner.credentials,
        Program.capacity,
        Program.taken,
        Program.waiting,
        Program.waitlist_size,
        Program.refund_days,
        Program.late_share_percent,
    )
    .join(Location, Location.id == Program.location_id)
    .outerjoin(Practitioner, Practitioner.id == Program.practitioner_id)
)


def group(connection: Connection, public_id: str) -> Group | None:
    """The program with this id; None where there is none."""
    row = connection.execute(_GROUPS.where(Program.public_id == public_id)).first()
    return None if row is None else _group(row)


def others_to_come(connection: Connection, than: Group) -> list[tuple[Group, datetime]]:
    """The other programs in the same currency that are not over yet, by their first session, with that."""
    ends = func.max(ProgramSession.ends_at)
    times = (
        select(ProgramSession.program_id, func.min(ProgramSession.starts_at).label("first"))
        .group_by(ProgramSession.program_id)
        .having(ends > now())
        .subquery()
    )
    rows = connection.execute(
        _GROUPS.add_columns(times.c.first)
        .join(times, times.c.program_id == Program.id)
        .where(Program.id != than.id, Location.currency == than.currency)
        .order_by(times.c.first, Program.name)
        .limit(200)
    )
    return [(_group(row), row.first) for row in rows]


def _group(row: Any) -> Group:
    values = {name: getattr(row, name) for name in Group.__dataclass_fields__ if name != "practitioner"}
    return Group(
        practitioner=with_credentials(row.practitioner, row.credentials) if row.practitioner else "", **values
    )


# --- its sessions ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Meeting:
    """One session, by the clock of where it is; how many came, of how many about whom somebody noted it."""

    id: int
    starts_at: datetime
    ends_at: datetime
    room: str
    zone: str
    came: int = 0
    noted: int = 0

    @property
    def day(self) -> date:
        return local_day(self.starts_at, self.zone)

    @property
    def day_words(self) -> str:
        """ "Tue 12 Jan 2027" """
        return weekday(self.day)

    @property
    def span(self) -> str:
        """ "5:30 to 6:30 pm" """
        return span_words(self.starts_at, self.ends_at, self.zone)

    @property
    def has_begun(self) -> bool:
        return self.starts_at <= now()


def meetings(connection: Connection, of: Group) -> list[Meeting]:
    """All sessions of a program, in order."""
    rows = connection.execute(
        select(
            ProgramSession.id,
            ProgramSession.starts_at,
            ProgramSession.ends_at,
            ProgramSession.room,
            func.count(case((Attendance.present, 1))).label("came"),
            func.count(Attendance.session_id).label("noted"),
        )
        .outerjoin(Attendance, Attendance.session_id == ProgramSession.id)
        .where(ProgramSession.program_id == of.id)
        .group_by(ProgramSession.id)
        .order_by(ProgramSession.starts_at, ProgramSession.id)
    )
    return [Meeting(row.id, row.starts_at, row.ends_at, row.room, of.zone, row.came, row.noted) for row in rows]


def attendance(connection: Connection, of: Group) -> dict[tuple[int, int], bool]:
    """Who came: (session, registration) → whether; nothing for those about whom nobody noted it."""
    rows = connection.execute(
        select(Attendance.session_id, Attendance.registration_id, Attendance.present)
        .join(ProgramSession, ProgramSession.id == Attendance.session_id)
        .where(ProgramSession.program_id == of.id)
    )
    return {(row.session_id, row.registration_id): row.present for row in rows}


# --- who registered -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """One registration: who, how it stands, and its money."""

    id: int
    public_id: str
    state: str
    why: str
    patient_id: int | None
    name: str
    birth_date: date | None
    phone: str
    email: str
    channel: str
    zone: str
    currency: str
    held_until: datetime | None
    waiting_since: datetime | None
    created_at: datetime
    confirmed_at: datetime | None
    invoice: str
    owed_cents: int
    paid_cents: int
    balance_cents: int
    is_void: bool
    give_back_cents: int
    went_back: bool
    answers: tuple[tuple[str, str], ...] = ()
    turn: int = 0

    @property
    def is_live(self) -> bool:
        return self.state in LIVE

    @property
    def is_held(self) -> bool:
        return self.state in ON_A_CLOCK

    @property
    def is_confirmed(self) -> bool:
        return self.state == Place.CONFIRMED

    @property
    def has_number(self) -> bool:
        return bool(self.invoice) and is_numbered(self.invoice)

    @property
    def day(self) -> str:
        """Since when they are on the list."""
        return plain_day(local_day(self.confirmed_at or self.created_at, self.zone))

    @property
    def until(self) -> str:
        """ "9:52 am", or with its day where that is not today."""
        return until_words(self.held_until, self.zone, now()) if self.held_until else ""

    @property
    def tag(self) -> Tag:
        """How it stands, in a word and a look."""
        match self.state:
            case Place.CONFIRMED:
                return Tag("paid", _("Confirmed"))
            case Place.HELD:
                return Tag("part", _("Held until %(until)s", until=self.until))
            case Place.OFFERED:
                return Tag("part", _("Offered until %(until)s", until=self.until))
            case Place.WAITING:
                return Tag("new", _("Waiting, number %(turn)s", turn=self.turn))
            case Place.LAPSED:
                return Tag("void", _("Time ran out"))
            case Place.RELEASED:
                return Tag("void", _("Let go"))
        return Tag("void", _("Cancelled"))

    @property
    def money_words(self) -> str:
        """What was paid or is owed; nothing where there is no invoice."""
        if not self.invoice or (not self.has_number and not self.is_held):
            return str(_("Free")) if self.is_confirmed else ""
        if self.give_back_cents > 0:
            return str(_("%(amount)s to give back", amount=money(self.give_back_cents, self.currency)))
        if self.is_void:
            return str(_("Void"))
        if self.balance_cents > 0:
            return str(_("%(amount)s to pay", amount=money(self.balance_cents, self.currency)))
        if self.paid_cents == 0:
            return str(_("Given back") if self.went_back else _("Nothing to pay"))
        return str(_("%(amount)s paid", amount=money(self.paid_cents, self.currency)))


_TO_GIVE_BACK = (
    select(func.coalesce(func.sum(Case.amount_cents - Case.matched_cents), 0))
    .where(
        Case.invoice_id == Registration.invoice_id,
        Case.closed_at.is_(None),
        Case.kind.in_(("overpaid", "refund_due", "refund_pending")),
    )
    .correlate(Registration)
    .scalar_subquery()
)
"""What the books say must still go back of a registration's invoice."""

_WENT_BACK = (
    select(Payment.id)
    .where(Payment.invoice_id == Registration.invoice_id, Payment.nature == "refund")
    .correlate(Registration)
    .exists()
)

ENTRIES = (
    select(
        Registration.id,
        Registration.public_id,
        Registration.state,
        Registration.why,
        Registration.patient_id,
        Patient.given_name,
        Patient.family_name,
        Patient.birth_date,
        Patient.phone,
        Patient.email,
        User.name.label("user"),
        Registration.channel,
        Location.timezone.label("zone"),
        Location.currency,
        Registration.held_until,
        Registration.waiting_since,
        Registration.created_at,
        Registration.confirmed_at,
        Invoice.number.label("invoice"),
        Invoice.owed_cents,
        Invoice.paid_cents,
        Invoice.balance_cents,
        Invoice.voided_at,
        _TO_GIVE_BACK.label("give_back_cents"),
        _WENT_BACK.label("went_back"),
    )
    .join(Program, Program.id == Registration.program_id)
    .join(Location, Location.id == Program.location_id)
    .outerjoin(Patient, Patient.id == Registration.patient_id)
    .outerjoin(User, and_(User.id == Registration.user_id, Registration.channel == "portal"))
    .outerjoin(Invoice, Invoice.id == Registration.invoice_id)
)
_COPIED = ("id", "public_id", "state", "why", "patient_id", "birth_date", "channel", "zone", "currency", "held_until",
           "waiting_since", "created_at", "confirmed_at")  # fmt: skip


class Everybody(NamedTuple):
    """All registrations of a program, by how they stand."""

    confirmed: list[Entry]
    on_a_clock: list[Entry]
    waiting: list[Entry]
    ended: list[Entry]


def everybody(connection: Connection, of: Group) -> Everybody:
    """Who has a place, by name; whose is held; who waits, in order; whose registration has ended, newest first."""
    answers = _answers(connection, of)
    rows = connection.execute(
        ENTRIES.where(Registration.program_id == of.id).order_by(Patient.search_key, Registration.id)
    )
    entries = [entry_of(row, tuple(answers.get(row.id, ()))) for row in rows]
    waiting = sorted(
        (entry for entry in entries if entry.state == Place.WAITING),
        key=lambda entry: (entry.waiting_since, entry.id),
    )
    return Everybody(
        [entry for entry in entries if entry.is_confirmed],
        sorted((entry for entry in entries if entry.is_held), key=lambda entry: entry.created_at),
        [replace(entry, turn=turn) for turn, entry in enumerate(waiting, start=1)],
        sorted((entry for entry in entries if not entry.is_live), key=lambda entry: entry.id, reverse=True),
    )


def confirmed(connection: Connection, of: Group) -> list[Entry]:
    """Who has a place for good, by name."""
    answers = _answers(connection, of)
    rows = connection.execute(
        ENTRIES.where(Registration.program_id == of.id, Registration.state == Place.CONFIRMED).order_by(
            Patient.search_key, Registration.id
        )
    )
    return [entry_of(row, tuple(answers.get(row.id, ()))) for row in rows]


def entry(connection: Connection, of: Group, public_id: str) -> Entry | None:
    """One registration of this program."""
    row = connection.execute(
        ENTRIES.where(Registration.program_id == of.id, Registration.public_id == public_id)
    ).first()
    return None if row is None else entry_of(row, ())


def entry_of(row: Any, answers: tuple[tuple[str, str], ...]) -> Entry:
    own = f"{row.given_name} {row.family_name}".strip() if row.patient_id else ""
    return Entry(
        name=own or row.user or _("Somebody who has not signed in yet"),
        phone=row.phone or "",
        email=row.email or "",
        invoice=row.invoice or "",
        owed_cents=row.owed_cents or 0,
        paid_cents=row.paid_cents or 0,
        balance_cents=row.balance_cents or 0,
        is_void=row.voided_at is not None,
        give_back_cents=int(row.give_back_cents),
        went_back=bool(row.went_back),
        answers=answers,
        **{name: getattr(row, name) for name in _COPIED},
    )


def _answers(connection: Connection, of: Group) -> dict[int, list[tuple[str, str]]]:
    rows = connection.execute(
        select(RegistrationAnswer.registration_id, RegistrationAnswer.question, RegistrationAnswer.answer)
        .join(Registration, Registration.id == RegistrationAnswer.registration_id)
        .join(ProgramQuestion, ProgramQuestion.id == RegistrationAnswer.question_id)
        .where(Registration.program_id == of.id)
        .order_by(ProgramQuestion.position, ProgramQuestion.id)
    )
    found: dict[int, list[tuple[str, str]]] = {}
    for registration_id, question, answer in rows:
        if answer:
            found.setdefault(registration_id, []).append((question, answer))
    return found
