"""What the invoice of a held place is called until it has its number, and how that name still finds it afterwards.

Pages are opened under that name before the money arrives, and come back to it after: from a bank's page, or from a
form that was pressed twice. So the name has its registration's id in it.
"""

import secrets

from sqlalchemy import Connection, select

from portal.invoices.tables import UNNUMBERED, Invoice
from portal.programs.tables import Registration

ID_LENGTH = 16
"""How long a registration's public id is (`secrets.token_urlsafe(12)`)."""

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"


def name_for(registration: Registration) -> str:
    """A new name for an invoice of this registration. Some letters tell one from another that was made before it."""
    return UNNUMBERED + "".join(secrets.choice(_LETTERS) for _each in range(7)) + registration.public_id


def registration_in(name: str) -> str:
    """The public id of the registration that such a name belongs to."""
    return name[-ID_LENGTH:]


def number_now(connection: Connection, name: str) -> str:
    """The number that the invoice of this name has taken since; the name itself as long as there is none.

    Says nothing about who may see it: the page behind the address loads it by that.
    """
    if connection.scalar(select(Invoice.id).where(Invoice.number == name)) is not None:
        return name
    found = connection.scalar(
        select(Invoice.number)
        .join(Registration, Registration.invoice_id == Invoice.id)
        .where(Registration.public_id == registration_in(name))
    )
    return found or name
