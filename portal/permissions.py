"""What each role of the clinic's staff may do: one table, read by every route of the office."""

from collections.abc import Mapping
from enum import StrEnum

FRONT_DESK, BILLING, PRACTITIONER, ADMINISTRATOR = "front_desk", "billing", "practitioner", "administrator"


class May(StrEnum):
    """One thing that a member of staff may be allowed to do. The words stand in the staff screen."""

    SCHEDULE = "see the schedule, book, move and cancel visits"
    CHECKOUT = "complete visits and issue invoices"
    RECEIVE = "receive payments"
    PATIENTS = "see and change patients' files"
    INVITE = "invite patients and approve sign-ups"
    INVOICES = "search and see invoices and their payments"
    CORRECT = "void invoices, reverse payments and credit amounts"
    REFUND = "refund payments"
    EXPORT = "export lists"
    DAY_SHEET = "see the day sheet"
    ROSTERS = "see programs, their rosters, and mark who came"
    REGISTER = "register people for programs, move and cancel them"
    PROGRAMS = "set programs and promo codes up"
    SETTINGS = "change settings, gateways and prices"
    STAFF = "invite staff, change their roles and switch them off"
    AUDIT = "read the audit log"


_DESK = frozenset(
    {
        May.SCHEDULE,
        May.CHECKOUT,
        May.RECEIVE,
        May.PATIENTS,
        May.INVITE,
        May.INVOICES,
        May.CORRECT,
        May.EXPORT,
        May.DAY_SHEET,
        May.ROSTERS,
        May.REGISTER,
    }
)

PERMISSIONS: Mapping[str, frozenset[May]] = {
    FRONT_DESK: _DESK,
    BILLING: _DESK | {May.REFUND},
    PRACTITIONER: frozenset({May.SCHEDULE, May.PATIENTS, May.ROSTERS}),
    ADMINISTRATOR: frozenset(May),
}


def may(role: str, permission: May) -> bool:
    """Whether somebody in this role may do that. A patient, or a role that nobody knows, may nothing here."""
    return permission in PERMISSIONS.get(role, frozenset())
