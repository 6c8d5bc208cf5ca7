"""The columns that the readings ask for, by short names, and the conditions that they share."""

from typing import Any

from sqlalchemy import ColumnElement, Row, and_, literal_column

from portal.clinic import Location, Practitioner
from portal.gateway.configured import ConfiguredGateway
from portal.invoices.tables import UNCONFIRMED, Invoice
from portal.payments.tables import IS_LIVE, Payment, PaymentAttempt
from portal.people import Patient

Found = Row[*tuple[Any, ...]]

invoices, locations = Invoice.__table__.c, Location.__table__.c
practitioners, attempts, payments = Practitioner.__table__.c, PaymentAttempt.__table__.c, Payment.__table__.c
patients, gateways = Patient.__table__.c, ConfiguredGateway.__table__.c

# Written out, not bound: a partial index is used only where the statement shows its own condition. An invoice whose
# place in a program is not confirmed yet is on no list.
_IS_CONFIRMED: ColumnElement[bool] = literal_column(f"invoices.standing <> '{UNCONFIRMED}'")
IS_OPEN: ColumnElement[bool] = and_(literal_column("invoices.balance_cents > 0"), _IS_CONFIRMED)
IS_CLOSED: ColumnElement[bool] = and_(literal_column("invoices.balance_cents <= 0"), _IS_CONFIRMED)
LIVE: ColumnElement[bool] = literal_column(f"payment_attempts.{IS_LIVE}")
