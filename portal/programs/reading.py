"""What anybody reads of the clinic's programs: the list, and the page of one.

Of other people they say how many, never who. Whoever is signed in sees their own places too.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from typing import Any, NamedTuple

from flask_babel import gettext as _
from flask_babel import ngettext
from sqlalchemy import ColumnElement, Connection, and_, func, or_, select
from sqlalchemy.orm import aliased

from portal.clinic import Location, Practitioner, Tax
from portal.clock import now
from portal.gateway.configured import ConfiguredGateway, chosen_gateway
from portal.invoices.books import TaxRate
from portal.invoices.reading.words import Tag, full_day, local_day, money, short_day, weekday, with_credentials
from portal.money import is_chargeable
from portal.people import Patient
from portal.programs.cancelling import rule_for
from portal.programs.my_places import Viewer, is_theirs
from portal.programs.pricing import Price, price_on, priced
from portal.programs.states import LIVE, ON_A_CLOCK, Place
from portal.programs.tables import Program, ProgramSession, ProgramTax, Registration
from portal.programs.words import dates_words, moment_in_full, moment_words, span_words, until_words

PAGE = 25
"""So many programs on one page: with them, the first view weighs what every page's may."""

FEW = 3
"""So few places left, or fewer, are shown in another colour."""


# --- how a program stands -------------------------------------------------------------------------------------------


class Stands(StrEnum):
    """Whether a newcomer can register now."""

    OPEN = "open"
    FULL = "full"
    SOON = "soon"
    OVER = "over"


def stands(row: Any, moment: datetime) -> Stands:
    """As `registering.check_open` and `check_free` decide: those who wait come before newcomers."""
    if row.opens_at is not None and moment < row.opens_at:
        return Stands.SOON
    ends = row.closes_at or row.first_at
    if ends is None or moment >= ends:
        return Stands.OVER
    return Stands.FULL if row.taken >= row.capacity or row.waiting > 0 else Stands.OPEN


def _tag(row: Any, moment: datetime) -> Tag:
    stand = stands(row, moment)
    if stand == Stands.SOON:
        return Tag("new", _("Opens %(day)s", day=short_day(local_day(row.opens_at, row.zone))))
    if stand == Stands.OVER:
        return Tag("void", _("Registration is closed"))
    if stand == Stands.FULL:
        waiting = ngettext("Full, %(num)s is waiting", "Full, %(num)s are waiting", row.waiting)
        return Tag("void", waiting if row.waiting else _("Full"))
    left = row.capacity - row.taken
    return Tag("part" if left <= FEW else "paid", ngettext("%(num)s place left", "%(num)s places left", left))


def own_tag(state: str, name: str = "") -> Tag:
    """Where a place stands: one's own, or that of somebody whom one registered, by this name."""
    if state == Place.HELD:
        return Tag("new", _("A place is held for you"))
    if state == Place.OFFERED:
        return Tag("new", _("A place is offered to %(name)s", name=name) if name else _("A place is offered to you"))
    if state == Place.WAITING:
        return Tag("new", _("%(name)s is on the waitlist", name=name) if name else _("You are on the waitlist"))
    return Tag("paid", _("%(name)s has a place", name=name) if name else _("You have a place"))


# --- what it costs --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PriceWords:
    """A price with its taxes: "$210.00", made of "$200.00 + $10.00 GST"; until when, and what it costs then."""

    cents: int
    currency: str
    total: str
    made_of: str
    until: str
    later: str

    @property
    def is_free(self) -> bool:
        return self.cents == 0

    @property
    def whole(self) -> str:
        """With the currency's unmistakable sign: "CA$210.00"."""
        return money(self.cents, self.currency, full=True)


def _price_words(row: Any, taxes: tuple[TaxRate, ...], moment: datetime) -> PriceWords:
    today = local_day(moment, row.zone)
    price, regular = priced(price_on(row, today), 0, taxes), priced(row.price_cents, 0, taxes)
    is_early = row.early_until is not None and today <= row.early_until and price.total_cents != regular.total_cents
    return PriceWords(
        price.total_cents,
        row.currency,
        _cost(price, row.currency),
        _made_of(price, row.currency),
        weekday(row.early_until) if is_early else "",
        _cost(regular, row.currency) if is_early else "",
    )


def _cost(price: Price, currency: str) -> str:
    return _("Free") if price.is_free else money(price.total_cents, currency)


def _made_of(price: Price, currency: str) -> str:
    parts = [f"{money(tax.amount_cents, currency)} {tax.name}" for tax in price.taxes if tax.amount_cents]
    return " + ".join([money(price.net_cents, currency), *parts]) if parts else ""


def rule_words(program: Any, first_at: datetime | None, zone: str) -> str:
    """The program's rule about cancelling, as it stands now, in a sentence or two."""
    rule, late = rule_for(program, first_at, zone, now()), program.late_share_percent
    if rule.full_until is None or late == 100:
        return str(_("Can't come? Cancel, and all of it goes back to you."))
    if rule.percent == 100:
        after = _("After that, %(share)s%% goes back.", share=late) if late else _("After that, talk to us.")
        until = full_day(rule.full_until)
        return str(_("Can't come? Cancel until %(day)s for a full refund. %(after)s", day=until, after=after))
    if late:
        return str(_("Can't come? Cancel, and %(share)s%% of the price goes back to you.", share=late))
    return str(_("The day until which a cancellation is refunded has passed. Can't come? Talk to us."))


# --- the rows -------------------------------------------------------------------------------------------------------

_begins = select(func.min(ProgramSession.starts_at)).where(ProgramSession.program_id == Program.id).scalar_subquery()

_PROGRAMS = (
    select(
        Program.id, Program.public_id, Program.name, Program.description, Program.visible,
        Program.price_cents, Program.early_price_cents, Program.early_until,
        Program.capacity, Program.taken, Program.waiting, Program.waitlist_size,
        Program.opens_at, Program.closes_at, Program.refund_days, Program.late_share_percent,
        _begins.label("first_at"),
        Location.name.label("place"), Location.address, Location.timezone.label("zone"), Location.currency,
        Practitioner.name.label("practitioner"), Practitioner.credentials,
        ConfiguredGateway.mode.label("gateway_mode"),
        Tax.name.label("tax"), Tax.rate_per_100k, Tax.compound,
    )
    .select_from(Program)
    .join(Location, Location.id == Program.location_id)
    .outerjoin(Practitioner, Practitioner.id == Program.practitioner_id)
    .outerjoin(ConfiguredGateway, ConfiguredGateway.id == chosen_gateway(Program.location_id))
    .outerjoin(ProgramTax, ProgramTax.program_id == Program.id)
    .outerjoin(Tax, (Tax.id == ProgramTax.tax_id) & Tax.active)
)  # fmt: skip


class _Found(NamedTuple):
    """A program's row, its taxes, and when its sessions are."""

    row: Any
    taxes: tuple[TaxRate, ...]
    sessions: Sequence[Any]


def _with_taxes(rows: Iterable[Any]) -> list[tuple[Any, tuple[TaxRate, ...]]]:
    """Programs with their taxes, from one row for each tax."""
    found = []
    for _id, group in groupby(rows, key=lambda row: row.id):
        each = list(group)
        rates = tuple(TaxRate(row.tax, row.rate_per_100k, row.compound) for row in each if row.tax is not None)
        found.append((each[0], rates))
    return found


def _sessions(connection: Connection, program_ids: Sequence[int]) -> dict[int, list[Any]]:
    rows = connection.execute(
        select(ProgramSession.program_id, ProgramSession.starts_at, ProgramSession.ends_at, ProgramSession.room)
        .where(ProgramSession.program_id.in_(program_ids))
        .order_by(ProgramSession.starts_at, ProgramSession.id)
    )
    found: dict[int, list[Any]] = {program_id: [] for program_id in program_ids}
    for row in rows:
        found[row.program_id].append(row)
    return found


# --- one's own ------------------------------------------------------------------------------------------------------


STRANGER = Viewer()
"""Somebody of whom nothing is known."""


@dataclass(frozen=True)
class Own:
    """A live registration that the reader may see.

    `name`: whose it is, where it is not their own; `until`: of a place on a clock, when that runs out.
    """

    public_id: str
    program_id: int
    state: str
    name: str
    until: str

    @property
    def tag(self) -> Tag:
        return own_tag(self.state, self.name)


def _own(connection: Connection, viewer: Viewer, zones: dict[int, str]) -> dict[int, list[Own]]:
    """By program; `zones` names those that are asked for. A place whose time has run out is no place any more."""
    if not zones or (viewer.payer is None and not viewer.secret):
        return {}
    rows = connection.execute(
        select(
            Registration.public_id, Registration.program_id, Registration.state, Registration.held_until,
            Registration.patient_id, Patient.given_name, Patient.family_name,
        )
        .outerjoin(Patient, Patient.id == Registration.patient_id)
        .where(is_theirs(viewer), Registration.state.in_(sorted(LIVE)), Registration.program_id.in_(zones))
        .order_by(Registration.id)
    )  # fmt: skip
    moment = now()
    found: dict[int, list[Own]] = {}
    for row in rows:
        if row.state in ON_A_CLOCK and row.held_until <= moment:
            continue
        is_someone_elses = viewer.payer is not None and row.patient_id not in (None, viewer.payer.id)
        name = f"{row.given_name} {row.family_name}".strip() if is_someone_elses else ""
        until = until_words(row.held_until, zones[row.program_id], moment) if row.held_until else ""
        found.setdefault(row.program_id, []).append(Own(row.public_id, row.program_id, row.state, name, until))
    return found


_FIRST_OF_OWN = (Place.OFFERED, Place.HELD, Place.CONFIRMED, Place.WAITING)


def _most_pressing(own: Sequence[Own]) -> Own:
    return min(own, key=lambda each: _FIRST_OF_OWN.index(Place(each.state)))


# --- the list -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Listed:
    """A program on the list, in words."""

    public_id: str
    name: str
    dates: str
    by_whom: str
    price: PriceWords
    tag: Tag
    takes_names: bool  # full, and its waitlist is not
    is_kept: bool  # a place is held for the reader, or offered to them

    @property
    def act(self) -> str:
        """What the button says, before "of Back in motion"."""
        if self.is_kept:
            return str(_("Go on"))
        return str(_("Join waitlist") if self.takes_names else _("See dates"))


class ListPage(NamedTuple):
    """A page of the list; `following` names where the next one goes on."""

    rows: list[Listed]
    following: str


def programs_to_come(
    connection: Connection, viewer: Viewer = STRANGER, after: str = "", most: int = PAGE
) -> ListPage:
    """The programs that people see: those still to begin, or still open for registration, the next first.

    `after`: the public id of the last one of the page before.
    """
    moment = now()
    ids = (
        select(Program.id)
        .where(Program.visible, or_(_begins > moment, Program.closes_at > moment))
        .order_by(_turn, Program.id)
        .limit(most + 1)
    )
    if after:
        ids = ids.where(_comes_after(after))
    rows = connection.execute(_PROGRAMS.where(Program.id.in_(ids)).order_by(_turn, Program.id, Tax.position, Tax.id))
    found = _with_taxes(rows)
    if not found:
        return ListPage([], "")
    shown = found[:most]
    sessions = _sessions(connection, [row.id for row, _taxes in shown])
    own = _own(connection, viewer, {row.id: row.zone for row, _taxes in shown})
    listed = [_listed(_Found(row, taxes, sessions[row.id]), own.get(row.id), moment) for row, taxes in shown]
    return ListPage(listed, listed[-1].public_id if len(found) > most else "")


_turn = func.coalesce(_begins, Program.closes_at)
"""In this order programs are listed. One without dates is listed only while its registration has an end."""


def _comes_after(public_id: str) -> ColumnElement[bool]:
    """Later in the list than that program; for one that there is not, the whole list."""
    last = aliased(Program)
    begins = select(func.min(ProgramSession.starts_at)).where(ProgramSession.program_id == last.id).scalar_subquery()
    turn = select(func.coalesce(begins, last.closes_at)).where(last.public_id == public_id).scalar_subquery()
    place = select(last.id).where(last.public_id == public_id).scalar_subquery()
    return or_(turn.is_(None), _turn > turn, and_(_turn == turn, Program.id > place))


def _listed(found: _Found, own: list[Own] | None, moment: datetime) -> Listed:
    row, first = found.row, _most_pressing(own) if own else None
    return Listed(
        row.public_id,
        row.name,
        dates_words([session.starts_at for session in found.sessions], row.zone),
        _by_whom(row),
        _price_words(row, found.taxes, moment),
        first.tag if first else _tag(row, moment),
        first is None and stands(row, moment) == Stands.FULL and row.waiting < row.waitlist_size,
        first is not None and first.state in ON_A_CLOCK,
    )


def _by_whom(row: Any) -> str:
    if row.practitioner is None:
        return str(row.place)
    return str(_("%(name)s, at %(place)s", name=with_credentials(row.practitioner, row.credentials), place=row.place))


# --- the page -------------------------------------------------------------------------------------------------------


class Meeting(NamedTuple):
    """One session: its day, its hours, its room where rooms differ, and whether it is over."""

    day: str
    hours: str
    room: str
    is_over: bool


@dataclass(frozen=True)
class ProgramPage:
    """A program's page, in words. `opens` and `closes`: when registration does, where that lies ahead."""

    id: int
    public_id: str
    name: str
    visible: bool
    paragraphs: tuple[str, ...]
    tag: Tag
    stands: Stands
    led_by: str
    place: str
    room: str
    address: str
    group: str
    price: PriceWords
    rule: str
    opens: str
    closes: str
    waiting: int
    has_waitlist: bool  # with room for one more
    gateway_mode: str | None
    meetings: tuple[Meeting, ...]
    own: tuple[Own, ...]

    @property
    def is_open(self) -> bool:
        return self.stands == Stands.OPEN

    @property
    def takes_names(self) -> bool:
        """Whether one more can get in line."""
        return self.stands == Stands.FULL and self.has_waitlist

    @property
    def dates_known(self) -> bool:
        return bool(self.meetings)

    @property
    def held(self) -> Own | None:
        """A place of the reader's that waits for them to go on."""
        return next((each for each in self.own if each.state in ON_A_CLOCK), None)

    def can_be_paid_online(self, modes: Sequence[str]) -> bool:
        """Whether the clinic's switches and gateways let a place be had here (O4); a free one needs none."""
        if self.price.is_free:
            return True
        return self.gateway_mode in modes and is_chargeable(self.price.cents, self.price.currency)


def program_page(connection: Connection, public_id: str, viewer: Viewer = STRANGER) -> ProgramPage | None:
    """The page of one program, also of one that is not shown in the portal: that is for the caller to decide."""
    found = _with_taxes(
        connection.execute(_PROGRAMS.where(Program.public_id == public_id).order_by(Tax.position, Tax.id))
    )
    if not found:
        return None
    row, taxes = found[0]
    sessions = _sessions(connection, [row.id])[row.id]
    own = _own(connection, viewer, {row.id: row.zone}).get(row.id, [])
    return _page(_Found(row, taxes, sessions), tuple(own), now())


def _page(found: _Found, own: tuple[Own, ...], moment: datetime) -> ProgramPage:
    row, rooms = found.row, {session.room for session in found.sessions}
    price = _price_words(row, found.taxes, moment)
    ends = row.closes_at or row.first_at
    stand = stands(row, moment)
    return ProgramPage(
        id=row.id,
        public_id=row.public_id,
        name=row.name,
        visible=row.visible,
        paragraphs=tuple(line.strip() for line in row.description.splitlines() if line.strip()),
        tag=_tag(row, moment),
        stands=stand,
        led_by=with_credentials(row.practitioner, row.credentials) if row.practitioner else "",
        place=row.place,
        room=rooms.pop() if len(rooms) == 1 else "",
        address=row.address,
        group=ngettext("at most %(num)s person", "at most %(num)s people", row.capacity),
        price=price,
        rule="" if price.is_free else rule_words(row, row.first_at, row.zone),
        opens=moment_in_full(row.opens_at, row.zone) if stand == Stands.SOON else "",
        closes=moment_words(ends, row.zone) if stand in (Stands.OPEN, Stands.FULL) else "",
        waiting=row.waiting,
        has_waitlist=row.waiting < row.waitlist_size,
        gateway_mode=row.gateway_mode,
        meetings=tuple(_meeting(session, row.zone, len(rooms) > 1, moment) for session in found.sessions),
        own=own,
    )


def _meeting(session: Any, zone: str, with_room: bool, moment: datetime) -> Meeting:
    return Meeting(
        weekday(local_day(session.starts_at, zone)),
        span_words(session.starts_at, session.ends_at, zone),
        session.room if with_room else "",
        session.ends_at <= moment,
    )
