"""Sign-ins: who is signed in, in which browser, and for how long.

Every sign-in of a browser is a row of its own (`sign_ins`). The cookie carries a random token, the row its SHA-256:
ending the row ends the sign-in, whoever holds a copy of the cookie, and nobody who reads the table can sign in.
"""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from hashlib import sha256
from typing import Any

from flask_security.core import UserMixin
from sqlalchemy import Connection, and_, bindparam, select, update
from sqlalchemy.orm import Session

from portal.clock import now
from portal.invoices.reading import Payee, Payer
from portal.people import PATIENT, Patient, PayerLink, SignIn, User, lines_shown
from portal.permissions import May, may

LONGEST_SIGN_IN = timedelta(hours=12)
FRESH = timedelta(minutes=5)
EARLIEST_ZONE = timedelta(hours=14)


@dataclass(frozen=True, eq=False)
class Person(UserMixin):
    """The signed-in person, as one statement found them. It is no database row: it can't be changed or saved."""

    id: int
    email: str
    name: str
    role: str
    patient_id: int | None
    fs_uniquifier: str = field(repr=False)
    sign_in_id: int
    given_name: str
    payees: tuple[Payee, ...]
    has_factor: bool = False
    factor_at: datetime | None = None
    confirmed_at: datetime | None = None
    active: bool = True

    @property
    def is_staff(self) -> bool:
        return self.role != PATIENT

    def may(self, permission: May) -> bool:
        """Whether their role allows it."""
        return may(self.role, permission)

    @property
    def is_fresh(self) -> bool:
        """Whether they typed their password a moment ago; what is delicate asks again after that."""
        return self.confirmed_at is not None and now() - self.confirmed_at < FRESH

    @cached_property
    def payer(self) -> Payer:
        """The patient that they are, with the people they pay for. Staff are no payer."""
        assert self.patient_id is not None, "staff have no invoices of their own"
        return Payer(self.patient_id, self.name, self.payees)


_sign_ins, _users, _patients = SignIn.__table__.c, User.__table__.c, Patient.__table__.c
_payer_links, _payees = PayerLink.__table__.c, Patient.__table__.alias("payees")

_SIGNED_IN = (
    select(
        _users.id,
        _users.email,
        _users.name,
        _users.role,
        _users.patient_id,
        _users.fs_uniquifier,
        _sign_ins.id,
        _patients.given_name,
        _payees.c.id,
        _payees.c.given_name,
        _payees.c.family_name,
        _payer_links.sees_lines,
        _users.totp_set_up_at,
        _sign_ins.factor_at,
        _sign_ins.confirmed_at,
        _payer_links.allowed_by_staff,
        _payees.c.birth_date,
    )
    .select_from(SignIn.__table__)
    .join(User.__table__, _users.id == _sign_ins.user_id)
    .outerjoin(Patient.__table__, _patients.id == _users.patient_id)
    .outerjoin(PayerLink.__table__, _payer_links.payer_id == _users.patient_id)
    .outerjoin(_payees, _payees.c.id == _payer_links.patient_id)
    .where(
        _sign_ins.token_hash == bindparam("token_hash"),
        _sign_ins.ended_at.is_(None),
        _sign_ins.expires_at > bindparam("moment"),
        _users.fs_uniquifier == bindparam("uniquifier"),
        _users.active.is_(True),
    )
    .order_by(_payees.c.given_name, _payees.c.id)
)


def find_signed_in(connection: Connection, token: str, uniquifier: str) -> Person | None:
    """The person whom a cookie's token signs in, with the people they pay for, in one statement.

    None once the sign-in has ended, its 12 hours are over, the account is off, or its password was reset.
    """
    rows = connection.execute(
        _SIGNED_IN, {"token_hash": _hash_of(token), "moment": now(), "uniquifier": uniquifier}
    ).all()
    if not rows:
        return None
    first = rows[0]
    # What ends with a birthday ends once it is that day anywhere: never a day too late.
    today = (now() + EARLIEST_ZONE).date()
    payees = tuple(
        Payee(row[8], f"{row[9]} {row[10]}", lines_shown(row[11], row[15], row[16], today))
        for row in rows
        if row[8] is not None
    )
    return Person(
        *first[:7],
        given_name=first[7] or first[2],
        payees=payees,
        has_factor=first[12] is not None,
        factor_at=first[13],
        confirmed_at=first[14],
    )


def begin_sign_in(session: Session, user_id: int) -> str:
    """Open a sign-in of one browser; gives the token for its cookie, which is kept nowhere else."""
    token = secrets.token_urlsafe(32)
    moment = now()
    session.add(
        SignIn(
            token_hash=_hash_of(token),
            user_id=user_id,
            started_at=moment,
            expires_at=moment + LONGEST_SIGN_IN,
            confirmed_at=moment,
        )
    )
    session.flush()
    return token


def confirm_sign_in(session: Session, sign_in_id: int, *, factor: bool = False) -> None:
    """Write down that the person has just typed their password; or, with `factor`, given their second factor."""
    moment = now()
    values = {"factor_at": moment} if factor else {"confirmed_at": moment}
    session.execute(
        update(SignIn).where(SignIn.id == sign_in_id).values(**values).execution_options(synchronize_session=False)
    )


def end_sign_in(session: Session, token: str) -> None:
    """End the sign-in of one browser: its cookie, and every copy of it, opens nothing any more."""
    _end(session, SignIn.token_hash == _hash_of(token))


def end_all_sign_ins(session: Session, user_id: int) -> None:
    """End every sign-in of an account, on every device."""
    _end(session, SignIn.user_id == user_id)


def end_other_sign_ins(session: Session, user_id: int, but: int) -> int:
    """End every sign-in of an account but one; gives how many were open."""
    return _end(session, and_(SignIn.user_id == user_id, SignIn.id != but, SignIn.expires_at > now()))


def _end(session: Session, which: Any) -> int:
    ended = session.execute(
        update(SignIn)
        .where(which, SignIn.ended_at.is_(None))
        .values(ended_at=now())
        .returning(SignIn.id)
        .execution_options(synchronize_session=False)
    )
    return len(ended.all())


def open_sign_ins(connection: Connection, user_id: int) -> list[tuple[int, datetime]]:
    """The browsers in which an account is signed in, by id and since when; the newest first."""
    rows = connection.execute(
        select(SignIn.id, SignIn.started_at)
        .where(SignIn.user_id == user_id, SignIn.ended_at.is_(None), SignIn.expires_at > now())
        .order_by(SignIn.id.desc())
        .limit(50)
    )
    return [(row.id, row.started_at) for row in rows]


def _hash_of(token: str) -> str:
    return sha256(token.encode()).hexdigest()
