"""Accounts: whose address and role they are, how they are made, and how Flask-Security reaches them."""

import re
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import uuid4

from flask import Flask
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_security.core import RoleMixin
from flask_security.datastore import SQLAlchemyDatastore, UserDatastore
from flask_security.mail_util import EmailValidateException, MailUtil
from sqlalchemy import Engine, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import UpdateBase

from portal.audit import record
from portal.clock import now
from portal.db import Database
from portal.errors import Refusal
from portal.outbox import queue_mail
from portal.parts import Parts
from portal.passwords import hashed, password_problem
from portal.people import PATIENT, ROLES, Patient, User
from portal.sign_ins import end_other_sign_ins
from portal.vault import Vault

RESET_WITHIN = timedelta(hours=2)

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
