"""Sign-up, where the clinic allows it (P1): somebody asks for an account, proves their address, and is let in.

They are attached to a patient on file when exactly one has that address and that birth date and no account; else the
clinic's staff decide. Never by a name, and never by an address that was only typed.
"""

import secrets
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any
from uuid import uuid4

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from flask_babel import lazy_gettext as _l
from sqlalchemy import Connection, and_, delete, func, or_, select, update
from sqlalchemy.orm import Session

from portal.accounts import BadAccount, add_account, mail_address
from portal.audit import record
from portal.clock import now
from portal.errors import Refusal
from portal.invitations import close_invitations
from portal.outbox import queue_mail
from portal.parts import Parts
from portal.passwords import hashed, password_problem
from portal.patients.finding import number_of
from portal.people import LONGEST_WORD, PATIENT, WORD, Patient, PatientWord, SignUp, User, folded

PROVE_WITHIN = timedelta(days=2)
FORGET_AFTER = timedelta(days=7)
"""What nobody proved is deleted so long after its link has expired."""
MOST_MATCHES = 12


class LinkState(StrEnum):
    """What became of a link, for its holder."""

    OPEN = "open"
    USED = "used"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


class Outcome(StrEnum):
    """What proving an address led to."""

    ATTACHED = "attached"
    WAITING = "waiting"


class BadSignUp(Refusal):
    """Something in the form can't be right. `wrong` has a sentence for each field."""

    status = 422

    def __init__(self, wrong: dict[str, Any]) -> None:
        super().__init__()
        self.wrong = wrong


class WrongPassword(Refusal):
    """Whoever opened the link does not know the password of the sign-up: it may be somebody else's."""

    status = 422
    message = _l("This is not the password that was chosen when the account was asked for.")


class LinkIsClosed(Refusal):
    """The link was used or has expired meanwhile."""

    status = 410
    title = _l("This link can't be used any more")
    message = _l("Open the link in the email once more: it says what to do.")


class DecidedAlready(Refusal):
    """Somebody else of the staff was first."""

    title = _l("This was decided already")
    message = _l("Somebody else decided about this sign-up meanwhile. Nothing was changed.")


@dataclass(frozen=True)
class Asker:
    """What somebody says about themselves when they ask for an account."""

    email: str
    given_name: str
    family_name: str
    birth_date: date
    phone: str = ""


# --- asking ---------------------------------------------------------------------------------------------------------


def ask(parts: Parts, asker: Asker, password: str, onward: str = "") -> None:
    """Ask for an account. Whatever the address is to the clinic, one mail goes there, and it takes the same time.

    `onward` goes to the end of the link: where its holder was. Raises BadSignUp.
    """
    email = _checked(asker, password)
    password_hash = hashed(password)  # slow on purpose: not inside the transaction
    token, moment = secrets.token_urlsafe(32), now()
    with parts.database.transaction() as session:
        forgotten = and_(SignUp.proved_at.is_(None), SignUp.expires_at < moment - FORGET_AFTER)
        session.execute(delete(SignUp).where(forgotten).execution_options(synchronize_session=False))
        known = session.scalar(select(User.name).where(User.email == email))
        if known is not None:
            key = f"sign_up_known:{uuid4().hex}"
            queue_mail(session, parts.vault, "sign_up_known", key, email, name=known)
            return
        session.add(
            SignUp(
                token_hash=_hash(token),
                email=email,
                given_name=asker.given_name,
                family_name=asker.family_name,
                birth_date=asker.birth_date,
                phone=asker.phone,
                asked_at=moment,
                expires_at=moment + PROVE_WITHIN,
                password=password_hash,
            )
        )
        link = f"{parts.config.base_url}/sign-up/link/{token}{onward}"
        key = f"sign_up:{_hash(token)[:40]}"
        queue_mail(session, parts.vault, "sign_up", key, email, name=asker.given_name, link=link)


def _checked(asker: Asker, password: str) -> str:
    wrong: dict[str, Any] = {}
    for name, empty in (("given_name", _l("Type your given name.")), ("family_name", _l("Type your family name."))):
        if not getattr(asker, name):
            wrong[name] = empty
        elif not _is_short(getattr(asker, name), 80):
            wrong[name] = _l("Please use at most %(most)s letters here.", most=80)
    if not date(1900, 1, 1) <= asker.birth_date <= now().date():
        wrong["birth_date"] = _l("Type your birth date, for example 1988-06-14.")
    email = ""
    try:
        email = mail_address(asker.email)
    except BadAccount as bad:
        wrong["email"] = bad.text
    if not _is_short(asker.phone, 40):
        wrong["phone"] = _l("Please use at most %(most)s letters here.", most=40)
    problem = password_problem(password, email)
    if problem:
        wrong["password"] = problem
    if wrong:
        raise BadSignUp(wrong)
    return email


def _is_short(text: str, most: int) -> bool:
    return len(text) <= most and text.isprintable()


# --- proving the address --------------------------------------------------------------------------------------------


def find_link(connection: Connection, token: str) -> LinkState:
    """What a link leads to; an unknown and a malformed one look alike."""
    row = connection.execute(
        select(SignUp.proved_at, SignUp.expires_at).where(SignUp.token_hash == _hash(token))
    ).first()
    if row is None:
        return LinkState.UNKNOWN
    if row.proved_at is not None:
        return LinkState.USED
    return LinkState.OPEN if row.expires_at > now() else LinkState.EXPIRED


def prove(parts: Parts, token: str, password: str, *, takes_newcomers: bool = False) -> tuple[Outcome, int | None]:
    """The holder of the link has the mailbox, and the password shows that it was they who asked.

    Without the password, somebody could ask in another's name and wait for them to open the link. Gives what it led
    to, and the id of the account where one was made. `takes_newcomers`: whose address is on nobody's file gets a file
    of their own at once, and is attached to none (decision 015). Raises LinkIsClosed, WrongPassword, BadAccount.
    """
    with parts.database.read() as connection:
        found = connection.execute(
            select(SignUp.id, SignUp.password, SignUp.proved_at).where(SignUp.token_hash == _hash(token))
        ).first()
    if found is None or found.proved_at is not None or found.password is None:
        raise LinkIsClosed
    if not _fits(found.password, password):
        raise WrongPassword
    with parts.database.transaction() as session:
        taken = session.execute(
            update(SignUp)
            .where(SignUp.id == found.id, SignUp.proved_at.is_(None), SignUp.expires_at > now())
            .values(proved_at=now())
            .returning(SignUp.id)
            .execution_options(synchronize_session=False)
        ).scalar()
        if taken is None:
            raise LinkIsClosed
        sign_up = session.get_one(SignUp, found.id)
        tried_before = _supersede(session, sign_up)
        patient = None if tried_before else _patient_on_file(session, sign_up)
        how = "sign_up.attached"
        if patient is None and takes_newcomers and _address_is_new(session, sign_up.email):
            patient, how = _new_patient(session, sign_up), "sign_up.newcomer"
        if patient is None:
            record(session, "sign_up.proved", _subject(sign_up), by=None)
            return Outcome.WAITING, None
        user = _make_account(session, parts, sign_up, patient, by=None)
        record(session, how, _subject(sign_up), by=None, after=number_of(patient.id), patient_id=patient.id)
        return Outcome.ATTACHED, user.id


def _fits(password_hash: str, password: str) -> bool:
    try:
        return len(password) <= 512 and PasswordHasher().verify(password_hash, password)
    except (Argon2Error, InvalidHashError, ValueError):
        return False


def _supersede(session: Session, sign_up: SignUp) -> bool:
    """Whether this address was proved before and led to no patient: who guesses birth dates has one guess.

    Of one address, one sign-up at a time waits for the staff, the newest.
    """
    others = and_(
        SignUp.email == sign_up.email,
        SignUp.id != sign_up.id,
        SignUp.proved_at.is_not(None),
        SignUp.patient_id.is_(None),
    )
    before = session.scalar(select(func.count()).select_from(SignUp).where(others)) or 0
    session.execute(
        update(SignUp)
        .where(others, SignUp.decided_at.is_(None))
        .values(decided_at=now(), password=None)
        .execution_options(synchronize_session=False)
    )
    return before > 0


def _patient_on_file(session: Session, sign_up: SignUp) -> Patient | None:
    """The one patient on file with this address and this birth date, unless they have an account already."""
    by_email = select(PatientWord.patient_id).where(PatientWord.word == folded(sign_up.email)[:LONGEST_WORD])
    candidates = session.scalars(
        select(Patient).where(Patient.id.in_(by_email), Patient.birth_date == sign_up.birth_date)
    )
    fitting = [one for one in candidates if one.email.strip().lower() == sign_up.email]
    if len(fitting) != 1:
        return None
    has_account = session.scalar(select(User.id).where(User.patient_id == fitting[0].id)) is not None
    return None if has_account else fitting[0]


def _address_is_new(session: Session, email: str) -> bool:
    """Whether nobody on file has this address. Names and birth dates are not asked: who is answered by those would
    learn who else is a patient here."""
    by_email = select(PatientWord.patient_id).where(PatientWord.word == folded(email)[:LONGEST_WORD])
    return session.scalar(by_email.limit(1)) is None


def _make_account(session: Session, parts: Parts, sign_up: SignUp, patient: Patient, *, by: int | None) -> User:
    assert sign_up.password is not None, "an undecided sign-up has its password"
    user = add_account(
        session,
        email=sign_up.email,
        name=patient.name,
        role=PATIENT,
        patient_id=patient.id,
        password_hash=sign_up.password,
    )
    sign_up.patient_id, sign_up.decided_at, sign_up.decided_by, sign_up.password = patient.id, now(), by, None
    close_invitations(session, email=sign_up.email, patient_id=patient.id)
    queue_mail(
        session, parts.vault, "sign_up_done", f"sign_up_done:{sign_up.id}", sign_up.email, name=sign_up.given_name
    )
    return user


def _subject(sign_up: SignUp) -> str:
    return f"{sign_up.given_name} {sign_up.family_name} ({sign_up.email})"


def _hash(token: str) -> str:
    return sha256(token.encode()).hexdigest()


# --- what waits for the staff ---------------------------------------------------------------------------------------

_WAITS = and_(SignUp.proved_at.is_not(None), SignUp.decided_at.is_(None))


def waiting_sign_ups(connection: Connection) -> int:
    """How many people wait for the clinic's word."""
    return connection.scalar(select(func.count()).select_from(SignUp).where(_WAITS)) or 0


@dataclass(frozen=True)
class Match:
    """A patient on file who may be the person who signed up, and what speaks for it."""

    patient_id: int
    name: str
    birth_date: date | None
    email: str
    phone: str
    same_email: bool
    same_birth_date: bool
    same_name: bool
    has_account: bool

    @property
    def number(self) -> str:
        return number_of(self.patient_id)

    @property
    def agreeing(self) -> int:
        return 2 * self.same_birth_date + 2 * self.same_name + self.same_email


@dataclass(frozen=True)
class WaitingSignUp:
    """Somebody who has proved their address and waits."""

    id: int
    email: str
    given_name: str
    family_name: str
    birth_date: date | None
    phone: str
    proved_at: datetime | None
    matches: list[Match] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.given_name} {self.family_name}"


_COLUMNS = (SignUp.id, SignUp.email, SignUp.given_name, SignUp.family_name, SignUp.birth_date, SignUp.phone,
            SignUp.proved_at)  # fmt: skip


def everybody_waiting(connection: Connection) -> list[WaitingSignUp]:
    """Who waits, the longest first."""
    rows = connection.execute(select(*_COLUMNS).where(_WAITS).order_by(SignUp.proved_at, SignUp.id).limit(200))
    return [WaitingSignUp(*row) for row in rows]


def waiting_sign_up(connection: Connection, sign_up_id: int) -> WaitingSignUp | None:
    """One who waits, with the patients on file who may be them, the likeliest first; None when nobody does."""
    row = connection.execute(select(*_COLUMNS).where(_WAITS, SignUp.id == sign_up_id)).first()
    if row is None:
        return None
    return WaitingSignUp(*row, matches=_matches(connection, WaitingSignUp(*row)))


def _matches(connection: Connection, sign_up: WaitingSignUp) -> list[Match]:
    def has(word: str) -> Any:
        return Patient.id.in_(select(PatientWord.patient_id).where(PatientWord.word == word[:LONGEST_WORD]))

    families, givens = (WORD.findall(folded(text)) for text in (sign_up.family_name, sign_up.given_name))
    like = [has(folded(sign_up.email))]
    like += [and_(has(family), has(given)) for family in families[:2] for given in givens[:2]]
    like += [and_(has(word), Patient.birth_date == sign_up.birth_date) for word in (families + givens)[:4]]
    rows = connection.execute(
        select(Patient.id, Patient.given_name, Patient.family_name, Patient.birth_date, Patient.email, Patient.phone,
               User.id)
        .outerjoin(User, User.patient_id == Patient.id)
        .where(or_(*like))
        .limit(50)
    ).all()  # fmt: skip
    name = folded(sign_up.name)
    found = [
        Match(
            patient_id,
            f"{given} {family}".strip(),
            birth_date,
            email,
            phone,
            same_email=email.strip().lower() == sign_up.email,
            same_birth_date=birth_date is not None and birth_date == sign_up.birth_date,
            same_name=folded(f"{given} {family}") == name,
            has_account=account is not None,
        )
        for patient_id, given, family, birth_date, email, phone, account in rows
    ]
    return sorted(found, key=lambda match: (-match.agreeing, match.patient_id))[:MOST_MATCHES]


def approve(parts: Parts, sign_up_id: int, *, patient_id: int | None, by: int) -> int:
    """Make the account: for this patient on file, or (None) for a new one; gives the patient's id.

    Raises DecidedAlready; BadAccount when the patient is not there or has an account.
    """
    with parts.database.transaction() as session:
        sign_up = _taken(session, sign_up_id)
        patient = session.get(Patient, patient_id) if patient_id is not None else _new_patient(session, sign_up)
        if patient is None:
            raise BadAccount(why=_l("There is no patient with this number on file."))
        _make_account(session, parts, sign_up, patient, by=by)
        action = "sign_up.approved" if patient_id is not None else "sign_up.approved_as_new"
        record(session, action, _subject(sign_up), by=by, after=number_of(patient.id), patient_id=patient.id)
        return patient.id


def _new_patient(session: Session, sign_up: SignUp) -> Patient:
    patient = Patient(
        given_name=sign_up.given_name,
        family_name=sign_up.family_name,
        email=sign_up.email,
        phone=sign_up.phone,
        birth_date=sign_up.birth_date,
        created_at=now(),
    )
    session.add(patient)
    session.flush()
    return patient


def refuse(parts: Parts, sign_up_id: int, *, by: int) -> None:
    """Make no account; a mail says so, and how to reach the clinic. Raises DecidedAlready."""
    with parts.database.transaction() as session:
        sign_up = _taken(session, sign_up_id)
        sign_up.decided_at, sign_up.decided_by, sign_up.password = now(), by, None
        record(session, "sign_up.refused", _subject(sign_up), by=by)
        queue_mail(
            session, parts.vault, "sign_up_refused", f"sign_up_refused:{sign_up.id}", sign_up.email,
            name=sign_up.given_name,
        )  # fmt: skip


def _taken(session: Session, sign_up_id: int) -> SignUp:
    found = session.scalars(select(SignUp).where(SignUp.id == sign_up_id, _WAITS).with_for_update()).first()
    if found is None:
        raise DecidedAlready
    return found
