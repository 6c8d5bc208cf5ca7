"""What else a file tells: the person's visits, and their account in the portal."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from babel.dates import format_time
from flask_babel import gettext as _
from sqlalchemy import Connection, func, select

from portal.clinic import Location, Practitioner, Service
from portal.clock import now
from portal.invoices.reading import local_day, plain_day
from portal.invoices.reading.words import LANGUAGE, Tag, weekday
from portal.patients.file import Details
from portal.patients.finding import number_of
from portal.people import Invitation, Patient, SignIn, User
from portal.schedule import BOOKED, CANCELLED, Appointment

PAGE = 20
LARGEST_ID = 2**31 - 1

_visits, _locations = Appointment.__table__.c, Location.__table__.c


def today_at_the_clinic(connection: Connection) -> date:
    """The day it is now where the clinic is: at its first location."""
    zone = connection.scalar(select(_locations.timezone).order_by(_locations.id).limit(1))
    return local_day(now(), zone or "UTC")


# --- the person -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Person:
    """Whose file it is, and in which zone its days are told."""

    id: int
    details: Details
    zone: str

    @property
    def name(self) -> str:
        return f"{self.details.given_name} {self.details.family_name}".strip()

    @property
    def number(self) -> str:
        return number_of(self.id)

    @property
    def birth_date(self) -> date | None:
        return self.details.birth_date


def person_on_file(connection: Connection, patient_id: int) -> Person | None:
    """The person with this number; None where there is nobody."""
    if patient_id > LARGEST_ID:
        return None
    row = connection.execute(
        select(
            *(getattr(Patient, name) for name in Details.__dataclass_fields__),
            select(_locations.timezone).order_by(_locations.id).limit(1).scalar_subquery(),
        ).where(Patient.id == patient_id)
    ).first()
    return None if row is None else Person(patient_id, Details(*row[:-1]), row[-1] or "UTC")


# --- visits ---------------------------------------------------------------------------------------------------------


class Visit(NamedTuple):
    """One appointment in words."""

    path: str
    day: str
    time: str
    service: str
    practitioner: str
    location: str
    tag: Tag


def visits_of(connection: Connection, patient_id: int, *, upcoming: bool, before: int | None = None) -> tuple[
    Sequence[Visit], str
]:  # fmt: skip
    """A page of visits and where it goes on: what is to come, the next one first; or what was, the newest first.

    `before`: the moment, in seconds since 1970, from which an earlier page goes on.
    """
    moment = now() if before is None else datetime.fromtimestamp(before, tz=ZoneInfo("UTC"))
    start = _visits.starts_at
    statement = (
        select(
            Appointment.public_id, start, Appointment.ends_at, Appointment.status, Service.name,
            Practitioner.name, Practitioner.credentials, Location.name, Location.timezone,
        )
        .join(Service, Service.id == Appointment.service_id)
        .join(Practitioner, Practitioner.id == Appointment.practitioner_id)
        .join(Location, Location.id == Appointment.location_id)
        .where(Appointment.patient_id == patient_id, start >= moment if upcoming else start < moment)
        .order_by(start if upcoming else start.desc(), _visits.id)
        .limit(PAGE + 1)
    )  # fmt: skip
    rows = connection.execute(statement).all()
    following = str(int(rows[PAGE].starts_at.timestamp()) + 1) if len(rows) > PAGE and not upcoming else ""
    return [_visit(*row) for row in rows[:PAGE]], following


def _visit(
    public_id: str, starts: datetime, ends: datetime, status: str, service: str, practitioner: str, credentials: str,
    location: str, zone: str,
) -> Visit:  # fmt: skip
    tag = {
        BOOKED: Tag("new", _("Booked")) if ends > now() else Tag("due", _("To be completed")),
        CANCELLED: Tag("void", _("Cancelled")),
    }.get(status, Tag("paid", _("Completed")))
    place = ZoneInfo(zone)
    times = [format_time(moment.astimezone(place), "HH:mm", locale=LANGUAGE) for moment in (starts, ends)]
    return Visit(
        f"/office/appointments/{public_id}",
        weekday(local_day(starts, zone)),
        "–".join(times),
        service,
        ", ".join(filter(None, (practitioner, credentials))),
        location,
        tag,
    )


# --- the portal -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Portal:
    """How a person stands with the portal. `state`: "none", "invited", "active" or "off"."""

    state: str
    words: str
    email: str = ""


def portal_of(connection: Connection, patient_id: int, zone: str) -> Portal:
    """Whether they have an account and were seen lately, or an invitation that is still open."""
    account = connection.execute(
        select(User.active, User.email, select(func.max(SignIn.started_at)).where(SignIn.user_id == User.id)
               .scalar_subquery())
        .where(User.patient_id == patient_id)
    ).first()  # fmt: skip
    if account is not None:
        active, email, seen = account
        if not active:
            return Portal("off", _("Account switched off"), email)
        if seen is None:
            return Portal("active", _("Has an account, never signed in"), email)
        return Portal("active", _("Has an account, last seen %(day)s", day=plain_day(local_day(seen, zone))), email)
    until = connection.scalar(
        select(func.max(Invitation.expires_at)).where(
            Invitation.patient_id == patient_id,
            Invitation.used_at.is_(None),
            Invitation.revoked_at.is_(None),
            Invitation.expires_at > now(),
        )
    )
    if until is not None:
        return Portal("invited", _("Invited, until %(day)s", day=plain_day(local_day(until, zone))))
    return Portal("none", _("No account"))
