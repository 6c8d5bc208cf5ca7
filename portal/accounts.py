"""Accounts: who signs in, with what, and for how long. Flask-Security's rules, kept in the clinic's own tables.

Every sign-in of a browser is a row of its own (`sign_ins`). The cookie carries a random token, the row its SHA-256:
ending the row ends the sign-in, whoever holds a copy of the cookie, and nobody who reads the table can sign in.
"""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import Any
from uuid import uuid4

from argon2 import PasswordHasher
from flask import Flask
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_security.core import RoleMixin, UserMixin
from flask_security.datastore import SQLAlchemyDatastore, UserDatastore
from flask_security.mail_util import EmailValidateException, MailUtil
from flask_security.password_util import PasswordUtil
from sqlalchemy import Connection, Engine, and_, bindparam, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import UpdateBase

from portal.audit import record
from portal.clock import now
from portal.db import Database
from portal.errors import Refusal
from portal.invoices.reading import Payee, Payer
from portal.outbox import queue_mail
from portal.parts import Parts
from portal.people import PATIENT, ROLES, Patient, PayerLink, SignIn, User, lines_shown
from portal.permissions import May, may
from portal.vault import Vault

LONGEST_SIGN_IN = timedelta(hours=12)
RESET_WITHIN = timedelta(hours=2)
FRESH = timedelta(minutes=5)
EARLIEST_ZONE = timedelta(hours=14)
SHORTEST_PASSWORD = 10
LONGEST_PASSWORD = 128

# OWASP's second choice of parameters for argon2id: 19 MiB, so that several sign-ins at a time fit in memory.
PASSES, MEMORY_KIB, LANES = 2, 19_456, 1


def hashed(password: str) -> str:
    """A password as the table keeps it, for those who make accounts outside of a request."""
    return PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES).hash(password)


# --- who is signed in -----------------------------------------------------------------------------------------------


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


# --- what Flask-Security works with ---------------------------------------------------------------------------------


class RequestSession(Session):
    """A session that looks in autocommit and opens a transaction only to write.

    So a password is hashed, which takes long on purpose, before SQLite's one write lock is taken and not under it.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(expire_on_commit=False)
        self._database = database

    def get_bind(self, mapper: Any = None, *, clause: Any = None, **_options: Any) -> Engine:
        writes = self._flushing or isinstance(clause, UpdateBase)
        return self._database.engine if writes else self._database.reading


class Accounts(SQLAlchemyDatastore, UserDatastore):
    """Flask-Security's door to the users table. There are no role rows: a role is a word on the user."""

    def __init__(self, session: Callable[[], RequestSession]) -> None:
        UserDatastore.__init__(self, User, RoleMixin)
        self._session = session

    @property
    def db(self) -> "Accounts":
        return self

    @property
    def session(self) -> RequestSession:
        return self._session()

    def find_user(self, case_insensitive: bool = False, **by: Any) -> User | None:
        """One user by the one column given. Emails are kept in lower case."""
        ((column, value),) = by.items()
        if column == "email":
            value = value.lower()
        return self.session.scalars(select(User).where(getattr(User, column) == value)).one_or_none()

    def find_role(self, role: str) -> None:
        return None


def tidy_email(text: str) -> str:
    """An email address as it is kept. Raises ValueError for what can't be one."""
    tidied = text.strip().lower()
    name, at, domain = tidied.rpartition("@")
    if not (name and at and domain) or len(tidied) > 254 or not tidied.isprintable() or " " in tidied:
        raise ValueError("not an email address")
    return tidied


_ADDRESS = re.compile(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*@[a-z0-9-]+(\.[a-z0-9-]+)*")


def mail_address(text: str) -> str:
    """An address that mail can be sent to (RFC 5322's dot-atom, in ASCII), as it is kept. Raises BadAccount."""
    tidied = text.strip().lower()
    if len(tidied) > 254 or not _ADDRESS.fullmatch(tidied):
        raise BadAccount(why=_l("This is not an email address. It looks like name@example.com."))
    return tidied


class Mails(MailUtil):
    """Queues Flask-Security's mails in our outbox, in the session of the request that asks for them."""

    KINDS = {"reset_instructions": "password_reset", "reset_notice": "password_changed"}  # noqa: RUF012  read, never changed

    def __init__(
        self, app: Flask, session: Callable[[], RequestSession], vault: Vault, link: Callable[[str], str]
    ) -> None:
        super().__init__(app)
        self._session = session
        self._vault = vault
        self._link = link

    def send_mail(self, template: str, *_args: Any, **words: Any) -> None:
        user: User = words["user"]
        kind = self.KINDS[template.rpartition("/")[2]]
        token = words.get("reset_token")
        event = sha256(token.encode()).hexdigest()[:40] if token else uuid4().hex
        # The link is built on the configured address, never on the Host header, which the asker chooses.
        link: dict[str, Any] = {"link": self._link(token)} if token else {}
        queue_mail(self._session(), self._vault, kind, f"{kind}:{event}", user.email, name=user.name, **link)

    def normalize(self, email: str) -> str:
        try:
            return tidy_email(email)
        except ValueError:
            raise EmailValidateException(_("This is not an email address. It looks like name@example.com.")) from None

    def validate(self, email: str) -> str:
        return self.normalize(email)


@lru_cache
def _common() -> frozenset[str]:
    """Passwords that everybody tries first, long enough to pass by length."""
    return frozenset(
        [
            "1234567890",
            "12345678910",
            "123456789a",
            "password12",
            "password123",
            "password1234",
            "passw0rd123",
            "qwertyuiop",
            "qwerty12345",
            "iloveyou123",
            "welcome123",
            "welcome1234",
            "letmein123",
            "administrator",
            "changeme123",
            "1q2w3e4r5t",
            "1qaz2wsx3edc",
            "abcdefghij",
            "abcdefghijkl",
            "0987654321",
            "9876543210",
            "q1w2e3r4t5",
            "football123",
            "baseball123",
            "princess123",
            "sunshine123",
        ]
    )


class Passwords(PasswordUtil):
    """What a new password must be: long, and not one that anybody would try first.

    NIST SP 800-63B-4, 3.1.1.2: no rules about kinds of characters, no change by the calendar, a list of common ones.
    """

    def validate(self, password: str, is_register: bool, **kwargs: Any) -> tuple[list[str] | None, str]:
        tidied = self.normalize(password)
        user: User | None = kwargs.get("user")
        problem = password_problem(tidied, user.email if user is not None else "")
        return ([problem] if problem else None), tidied


def password_problem(password: str, email: str) -> str | None:
    """Why this can't be the password of that address, in a sentence; None when it can."""
    lowered = password.lower()
    if len(password) < SHORTEST_PASSWORD:
        return _("Use at least %(least)s characters. Three or four words in a row are easy to keep in mind.",
                 least=SHORTEST_PASSWORD)  # fmt: skip
    if len(password) > LONGEST_PASSWORD or "\0" in password:
        return _("Use at most %(most)s characters.", most=LONGEST_PASSWORD)
    if lowered in _common() or len(set(lowered)) < 5:
        return _("This is one of the first passwords that anybody would try. Please choose another.")
    if email and email in (lowered, lowered.strip("0123456789!")):
        return _("Your email address is easy to guess. Please choose something else.")
    return None


def change_password(parts: Parts, *, user_id: int, sign_in_id: int, email: str, password: str) -> None:
    """Give an account a new password and end its other sign-ins; a mail tells the owner. Raises BadAccount."""
    problem = password_problem(password, email)
    if problem:
        raise BadAccount(why=problem)
    password_hash = hashed(password)  # slow on purpose: not inside the transaction
    with parts.database.transaction() as session:
        name = session.execute(
            update(User)
            .where(User.id == user_id)
            .values(password=password_hash)
            .returning(User.name)
            .execution_options(synchronize_session=False)
        ).scalar_one()
        end_other_sign_ins(session, user_id, but=sign_in_id)
        record(session, "password.changed", name, by=user_id)
        queue_mail(session, parts.vault, "password_changed", f"password_changed:{uuid4().hex}", email, name=name)


# --- making an account ----------------------------------------------------------------------------------------------


class BadAccount(Refusal):
    """What was given can't become an account; the sentence says which part and why."""

    status = 422
    message = _l("{why}")


def create_account(
    database: Database, *, email: str, role: str, name: str, patient_id: int | None, password: str
) -> str:
    """Make an account that can sign in; gives its address as it is kept. Raises BadAccount."""
    try:
        email = tidy_email(email)
    except ValueError:
        raise BadAccount(why=_l("This is not an email address. It looks like name@example.com.")) from None
    if role not in ROLES:
        raise BadAccount(why=_l("The role is one of: %(roles)s.", roles=", ".join(ROLES)))
    if (role == PATIENT) != (patient_id is not None):
        raise BadAccount(why=_l("An account for a patient names one patient on file; a staff account names none."))
    problem = password_problem(password, email)
    if problem:
        raise BadAccount(why=problem)
    hash_of_password = hashed(password)
    with database.transaction() as session:
        add_account(session, email=email, name=name, role=role, patient_id=patient_id, password_hash=hash_of_password)
    return email


def add_account(
    session: Session, *, email: str, name: str, role: str, patient_id: int | None, password_hash: str
) -> User:
    """Add an account in the caller's transaction. Raises BadAccount when its address or patient has one already."""
    check_that_account_is_new(session, email, patient_id)
    user = User(
        email=email,
        name=name.strip() or email,
        role=role,
        patient_id=patient_id,
        password=password_hash,
        active=True,
        fs_uniquifier=uuid4().hex,
        created_at=now(),
    )
    try:
        with session.begin_nested():
            session.add(user)
    except IntegrityError:  # two at once: the other one was first
        raise BadAccount(why=_l("There is an account with this address already.")) from None
    return user


def check_that_account_is_new(session: Session, email: str, patient_id: int | None) -> None:
    """Raise BadAccount when the address or the patient has an account, or nobody on file has that number."""
    if session.scalar(select(User.id).where(User.email == email)) is not None:
        raise BadAccount(why=_l("There is an account with this address already."))
    if patient_id is None:
        return
    if session.get(Patient, patient_id) is None:
        raise BadAccount(why=_l("There is no patient with this number on file."))
    if session.scalar(select(User.id).where(User.patient_id == patient_id)) is not None:
        raise BadAccount(why=_l("This patient has an account already."))
