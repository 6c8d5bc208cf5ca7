"""To whom a mail about an invoice goes: the patient, or for a child whoever pays for them."""

from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Connection, Date, Select, bindparam, cast, func, null, select, union_all
from sqlalchemy.orm import Session

from portal.clock import now
from portal.db import Utc
from portal.people import Patient, PayerLink, User, is_minor


@dataclass(frozen=True)
class Addressee:
    """Somebody on file with an address."""

    patient_id: int
    given_name: str
    email: str


def addressee(source: Session | Connection, patient_id: int, payer_id: int | None = None) -> Addressee | None:
    """Who gets a mail about this patient's invoice; None where nobody on file has an address.

    Somebody else who paid gets what is about their payment. Else an adult gets their own mail, and for a child, or
    somebody without an address, it goes to whoever has paid for them longest.
    """
    if payer_id not in (None, patient_id) and (found := _reachable(source, payer_id)):
        return found
    rows = source.execute(_FAMILY, {"id": patient_id}).all()
    oneself = next(row for row in rows if row.since is None)
    payers = sorted((row for row in rows if row.since is not None), key=lambda row: (row.since, row.id))
    in_turn = [*payers, oneself] if is_minor(oneself.birth_date, now().date()) else [oneself, *payers]
    return next((one for row in in_turn if (one := _addressed(row))), None)


def _with_address(*more: Any) -> Select[Any]:
    """People with the address on file and the one they sign in with."""
    return (
        select(Patient.id, Patient.given_name, Patient.family_name, Patient.email, User.email.label("account"), *more)
        .select_from(Patient)
        .outerjoin(User, (User.patient_id == Patient.id) & User.active)
    )


_FAMILY = union_all(
    _with_address(Patient.birth_date, cast(null(), Utc).label("since")).where(Patient.id == bindparam("id")),
    _with_address(cast(null(), Date), PayerLink.created_at)
    .join(PayerLink, PayerLink.payer_id == Patient.id)
    .where(PayerLink.patient_id == bindparam("id")),
)


def _reachable(source: Session | Connection, patient_id: int) -> Addressee | None:
    return _addressed(source.execute(_with_address().where(Patient.id == patient_id)).one())


def _addressed(row: Any) -> Addressee | None:
    """The address on file; where there is none, the one they sign in with."""
    email = row.email or row.account
    return Addressee(row.id, row.given_name or row.family_name, email) if email else None


# --- many at once ---------------------------------------------------------------------------------------------------

_people, _accounts, _links = (
    Patient.__table__.alias("reached"),
    User.__table__.alias("accounts"),
    PayerLink.__table__.c,
)
_EMAIL = func.coalesce(func.nullif(_people.c.email, ""), _accounts.c.email)
_REACHED = _people.outerjoin(_accounts, (_accounts.c.patient_id == _people.c.id) & _accounts.c.active)


def email_columns(patient_id: ColumnElement[int]) -> tuple[ColumnElement[str], ColumnElement[str]]:
    """Of the patient in a list's row: their own address, and that of whoever has paid for them longest."""
    own = select(_EMAIL).select_from(_REACHED).where(_people.c.id == patient_id).limit(1)
    payers = (
        select(_EMAIL)
        .select_from(_REACHED.join(PayerLink.__table__, _links.payer_id == _people.c.id))
        .where(_links.patient_id == patient_id, _EMAIL.is_not(None))
        .order_by(_links.created_at, _links.payer_id)
        .limit(1)
    )
    return own.scalar_subquery().label("own_email"), payers.scalar_subquery().label("payers_email")


def email_in_row(row: Any, today: date) -> str:
    """By those columns and the patient's birth date, the address of their `addressee`; empty for none."""
    in_turn = (row.own_email, row.payers_email)
    if is_minor(row.birth_date, today):
        in_turn = in_turn[::-1]
    return in_turn[0] or in_turn[1] or ""
