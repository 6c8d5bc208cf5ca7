"""What a new clinic does first, and what of it is done."""

from typing import NamedTuple

from flask_babel import lazy_gettext as _l
from flask_babel.speaklater import LazyString
from sqlalchemy import Connection, exists, func, select
from sqlalchemy.orm import Session

from portal.clinic import Location, Practitioner, Service, Tax
from portal.gateway.configured import ConfiguredGateway
from portal.people import PATIENT, User
from portal.settings import Setting


class Step(NamedTuple):
    """One step: its place in the office, its words, why it comes, whether it is done or can be left out."""

    endpoint: str
    name: LazyString
    why: LazyString
    done: bool
    optional: bool


def steps(connection: Connection | Session) -> list[Step]:
    """The first steps of a clinic, in order, in one statement."""
    staff = select(func.count()).select_from(User).where(User.role != PATIENT).scalar_subquery()
    row = connection.execute(
        select(
            exists(select(Setting.key).where(Setting.key == "clinic_name", Setting.value != "")).label("name"),
            exists(select(Location.id)).label("location"),
            exists(select(Tax.id)).label("tax"),
            exists(select(Practitioner.id)).label("practitioner"),
            exists(select(Service.id)).label("service"),
            (staff > 1).label("staff"),
            exists(select(ConfiguredGateway.id)).label("gateway"),
        )
    ).one()
    return [
        Step("setup.new_location", _l("Add a location"),
             _l("Its zone, currency and invoice numbers stand behind everything else."), row.location, False),
        Step("settings.general", _l("Name your clinic"),
             _l("The name, address, phone and email that stand on receipts and emails."), row.name, True),
        Step("setup.new_tax", _l("Add the taxes"),
             _l("Only if you charge any, such as GST on products."), row.tax, True),
        Step("setup.new_practitioner", _l("Add a practitioner"),
             _l("With the registration number that insurers want on a receipt."), row.practitioner, False),
        Step("setup.new_service", _l("Add a service"),
             _l("What you treat, for how long, at which price."), row.service, False),
        Step("staff.everybody", _l("Invite your staff"),
             _l("Each with a role of their own, rather than one sign-in for all."), row.staff, True),
        Step("gateways.every", _l("Connect Stripe"),
             _l("To take cards at the desk and in the portal."), row.gateway, True),
    ]  # fmt: skip


def is_bare(connection: Connection | Session) -> bool:
    """Whether the clinic has no location yet: nothing else can begin before that."""
    return not connection.scalar(select(exists(select(Location.id))))


def is_ready(connection: Connection | Session) -> bool:
    """Whether nothing is missing that a clinic can't do without."""
    return all(step.done or step.optional for step in steps(connection))
