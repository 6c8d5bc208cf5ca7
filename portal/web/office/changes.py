"""The last changes of settings and gateways, as the pages that make them show them."""

from collections.abc import Iterable
from typing import NamedTuple
from zoneinfo import ZoneInfo

from babel.dates import format_datetime
from flask_babel import gettext as _
from sqlalchemy import ColumnElement, Connection, select

from portal.audit import AuditEntry
from portal.clinic import Location
from portal.gateway.configured import GATEWAY_ADDED, GATEWAY_CHANGED
from portal.people import User
from portal.settings import CHANGED, subject_of

MOST = 10
LANGUAGE = "en"


class ChangeRow(NamedTuple):
    """One change in words."""

    when: str
    who: str
    what: str
    before: str
    after: str


OF_GATEWAYS = AuditEntry.action.in_((GATEWAY_ADDED, GATEWAY_CHANGED))


def of_settings(keys: Iterable[str]) -> ColumnElement[bool]:
    """Narrows the audit log to the changes of these settings."""
    return (AuditEntry.action == CHANGED) & AuditEntry.subject.in_([subject_of(key) for key in keys])


def last_changes(connection: Connection, which: ColumnElement[bool]) -> list[ChangeRow]:
    """The newest changes of a page's own things, newest first."""
    rows = connection.execute(
        select(AuditEntry.at, AuditEntry.subject, AuditEntry.before, AuditEntry.after, User.name)
        .outerjoin(User, User.id == AuditEntry.user_id)
        .where(which)
        .order_by(AuditEntry.id.desc())
        .limit(MOST)
    ).all()
    zone = clinic_zone(connection) if rows else ZoneInfo("UTC")
    return [
        ChangeRow(
            format_datetime(row.at.astimezone(zone), "d MMM, HH:mm", locale=LANGUAGE),
            row.name or _("Command line"),
            row.subject,
            value_words(row.before),
            value_words(row.after),
        )
        for row in rows
    ]


def clinic_zone(connection: Connection) -> ZoneInfo:
    """The zone of the clinic's first location that is in use: where no other place is meant, its clock counts."""
    found = connection.scalar(select(Location.timezone).order_by(Location.active.desc(), Location.id).limit(1))
    return ZoneInfo(found or "UTC")


def value_words(value: str) -> str:
    """A setting's value as people read it."""
    return {"yes": _("Yes"), "no": _("No"), "": _("empty")}.get(value, value)
