"""Invitations: one person, named by the clinic, makes one account with a link that works once, for seven days.

The link's token has 256 random bits; what is kept is its SHA-256. A new invitation to somebody revokes the former.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any

from flask_babel import lazy_gettext as _l
from sqlalchemy import Connection, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal.accounts import BadAccount, add_account, check_that_account_is_new, mail_address
from portal.audit import record
from portal.clock import now
from portal.errors import Refusal
from portal.outbox import About, queue_mail
from portal.parts import Parts
from portal.passwords import hashed, password_problem
from portal.people import PATIENT, ROLES, Invitation

OPEN_FOR = timedelta(days=7)


class LinkState(StrEnum):
    """What became of a link, for its holder."""

    OPEN = "open"
    USED = "used"
    REVOKED = "revoked"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


class LinkIsClosed(Refusal):
    """The link was used, revoked, or has expired meanwhile."""

    status = 410
    title = _l("This invitation can't be used any more")
    message = _l("Nothing was changed. Open the link in the email once more: it says what to do.")


@dataclass(frozen=True)
class FoundInvitation:
    """An invitation as its holder sees it. Who it is for is told while it is open, and to nobody else."""

    state: LinkState
    email: str = ""
    name: str = ""
    role: str = ""

    @property
    def is_for_staff(self) -> bool:
        return self.role not in ("", PATIENT)


# --- inviting -------------------------------------------------------------------------------------------------------


def invite(parts: Parts, *, email: str, name: str, role: str, patient_id: int | None, by: int | None) -> None:
    """Invite a patient on file, or a member of staff, by mail. A former invitation to them is revoked.

    `by` is the id of the account that invites. Raises BadAccount (a Refusal): the address is none, or it or the
    patient has an account already.
    """
    email = mail_address(email)
    if role not in ROLES or (role == PATIENT) != (patient_id is not None):
        raise BadAccount(why=_l("An invitation is for one patient on file, or for one role of the staff."))
    name = "".join(filter(str.isprintable, " ".join(name.split())))[:160] or email
    try:
        _invite(parts, email, name, role, patient_id, by)
    except IntegrityError:  # two at once to one address: now the other one is there to be revoked
        _invite(parts, email, name, role, patient_id, by)


def _invite(parts: Parts, email: str, name: str, role: str, patient_id: int | None, by: int | None) -> None:
    token, moment = secrets.token_urlsafe(32), now()
    with parts.database.transaction() as session:
        check_that_account_is_new(session, email, patient_id)
        close_invitations(session, email=email, patient_id=patient_id)
        session.add(
            Invitation(
                token_hash=_hash(token),
                email=email,
                name=name,
                role=role,
                patient_id=patient_id,
                invited_by=by,
                invited_at=moment,
                expires_at=moment + OPEN_FOR,
            )
        )
        session.flush()
        record(session, "invitation.sent", f"{name} ({email})", by=by, after=role, patient_id=patient_id)
        link = f"{parts.config.base_url}/invitation/{token}"
        key = f"invitation:{_hash(token)[:40]}"
        queue_mail(
            session, parts.vault, "invitation", key, email, about=About(patient_id=patient_id, queued_by=by),
            name=name, link=link, staff=role != PATIENT, days=OPEN_FOR.days,
        )  # fmt: skip


def revoke(parts: Parts, invitation_id: int, *, by: int | None) -> bool:
    """Take an open invitation back; False when there was nothing left to take back."""
    with parts.database.transaction() as session:
        rows = _revoke(session, Invitation.id == invitation_id)
        for row in rows:
            record(session, "invitation.revoked", f"{row.name} ({row.email})", by=by, patient_id=row.patient_id)
        return bool(rows)


def close_invitations(session: Session, *, email: str, patient_id: int | None) -> None:
    """Take back what is open to a person who needs it no more: a newer one is sent, or the account is made."""
    same_person = Invitation.email == email
    if patient_id is not None:
        same_person = or_(same_person, Invitation.patient_id == patient_id)
    _revoke(session, same_person)


def _revoke(session: Session, which: Any) -> list[Any]:
    statement = (
        update(Invitation)
        .where(which, Invitation.used_at.is_(None), Invitation.revoked_at.is_(None))
        .values(revoked_at=now())
        .returning(Invitation.name, Invitation.email, Invitation.patient_id)
        .execution_options(synchronize_session=False)
    )
    return list(session.execute(statement).all())


@dataclass(frozen=True)
class SentInvitation:
    """An invitation that is open or has expired, as the office lists it."""

    id: int
    email: str
    name: str
    role: str
    invited_at: datetime
    expires_at: datetime

    @property
    def is_open(self) -> bool:
        return self.expires_at > now()


def invitations_sent(connection: Connection, *, patient_id: int | None = None) -> list[SentInvitation]:
    """The invitations that nobody has used or taken back: a patient's, or else those of staff. Newest first."""
    whose = Invitation.role != PATIENT if patient_id is None else Invitation.patient_id == patient_id
    rows = connection.execute(
        select(
            Invitation.id,
            Invitation.email,
            Invitation.name,
            Invitation.role,
            Invitation.invited_at,
            Invitation.expires_at,
        )
        .where(whose, Invitation.used_at.is_(None), Invitation.revoked_at.is_(None))
        .order_by(Invitation.id.desc())
        .limit(200)
    )
    return [SentInvitation(*row) for row in rows]


# --- accepting ------------------------------------------------------------------------------------------------------


def find_invitation(connection: Connection, token: str) -> FoundInvitation:
    """What a link leads to. Only an open one tells whom it is for; an unknown and a malformed one look alike."""
    row = connection.execute(select(Invitation.__table__).where(Invitation.token_hash == _hash(token))).first()
    if row is None:
        return FoundInvitation(LinkState.UNKNOWN)
    if row.used_at is not None:
        return FoundInvitation(LinkState.USED)
    if row.revoked_at is not None:
        return FoundInvitation(LinkState.REVOKED)
    if row.expires_at <= now():
        return FoundInvitation(LinkState.EXPIRED)
    return FoundInvitation(LinkState.OPEN, row.email, row.name, row.role)


def accept(parts: Parts, token: str, password: str) -> int:
    """Make the account that an invitation is for; gives its id. Of two presses at once, one makes it.

    Raises LinkIsClosed; BadAccount when the password won't do, or somebody made such an account meanwhile.
    """
    with parts.database.read() as connection:
        found = find_invitation(connection, token)
    if found.state != LinkState.OPEN:
        raise LinkIsClosed
    problem = password_problem(password, found.email)
    if problem:
        raise BadAccount(why=problem)
    password_hash = hashed(password)  # slow on purpose: not inside the transaction
    with parts.database.transaction() as session:
        row = session.execute(
            update(Invitation)
            .where(
                Invitation.token_hash == _hash(token),
                Invitation.used_at.is_(None),
                Invitation.revoked_at.is_(None),
                Invitation.expires_at > now(),
            )
            .values(used_at=now())
            .returning(Invitation.email, Invitation.name, Invitation.role, Invitation.patient_id)
            .execution_options(synchronize_session=False)
        ).first()
        if row is None:
            raise LinkIsClosed
        user = add_account(
            session, email=row.email, name=row.name, role=row.role, patient_id=row.patient_id,
            password_hash=password_hash,
        )  # fmt: skip
        record(
            session, "invitation.accepted", f"{row.name} ({row.email})", by=user.id, after=row.role,
            patient_id=row.patient_id,
        )  # fmt: skip
        return user.id


def _hash(token: str) -> str:
    return sha256(token.encode()).hexdigest()
