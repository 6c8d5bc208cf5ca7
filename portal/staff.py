"""The clinic's staff: who there is, their roles, switching accounts off and on, and second factors that were lost.

Nobody changes their own role or switches themselves off, and the clinic keeps one administrator who can sign in.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from flask_babel import lazy_gettext as _l
from sqlalchemy import Connection, func, select, true
from sqlalchemy.orm import Session

from portal import second_factor
from portal.audit import record
from portal.errors import Refusal
from portal.people import PATIENT, STAFF_ROLES, Passkey, SignIn, User
from portal.permissions import ADMINISTRATOR
from portal.sign_ins import end_all_sign_ins


class NoSuchStaff(Refusal):
    """No member of staff has this number."""

    status = 404
    title = _l("Not found")
    message = _l("Nobody of the staff has this number.")


class UnknownRole(Refusal):
    """The role is none that staff have."""

    status = 422
    title = _l("Nothing was changed")
    message = _l("Please choose a role from the list.")


class NotOneself(Refusal):
    """Who may change roles doesn't change their own: a slip would lock them out, and nobody raises themselves."""

    status = 422
    title = _l("Nothing was changed")
    message = _l("Your own role and account are changed by another administrator.")


class LastAdministrator(Refusal):
    """Without an administrator, nobody could ever make one again."""

    status = 422
    title = _l("Nothing was changed")
    message = _l("{name} is the only administrator who can sign in. Make somebody else an administrator first.")


class StaffMember(NamedTuple):
    """A member of staff as the list shows them. `second_factor_at` is None until it is set up."""

    id: int
    name: str
    email: str
    role: str
    active: bool
    second_factor_at: datetime | None
    passkeys: int
    last_sign_in: datetime | None


def everybody(connection: Connection | Session) -> Sequence[StaffMember]:
    """All staff, those who can sign in first, by name."""
    keys = select(Passkey.user_id, func.count().label("keys")).group_by(Passkey.user_id).subquery()
    last = select(func.max(SignIn.started_at)).where(SignIn.user_id == User.id).scalar_subquery()
    rows = connection.execute(
        select(
            User.id,
            User.name,
            User.email,
            User.role,
            User.active,
            User.totp_set_up_at,
            func.coalesce(keys.c["keys"], 0),
            last,
        )
        .outerjoin(keys, keys.c.user_id == User.id)
        .where(User.role != PATIENT)
        .order_by(User.active.desc(), User.name, User.id)
    )
    return [StaffMember(*row) for row in rows]


def one(connection: Connection | Session, user_id: int) -> StaffMember:
    """One member of staff. Raises NoSuchStaff."""
    member = next((each for each in everybody(connection) if each.id == user_id), None)
    if member is None:
        raise NoSuchStaff
    return member


def change_role(session: Session, user_id: int, role: str, *, by: int) -> None:
    """Give somebody another role; it counts from their next click.

    Raises NoSuchStaff, UnknownRole, NotOneself or LastAdministrator.
    """
    if role not in STAFF_ROLES:
        raise UnknownRole
    user = _held(session, user_id)
    if role == user.role:
        return
    _check_not_oneself(user, by)
    _check_that_one_stays(session, user)
    record(session, "staff.role_changed", f"{user.name} ({user.email})", by=by, before=user.role, after=role)
    user.role = role
    session.flush()


def switch_off(session: Session, user_id: int, *, by: int) -> None:
    """Let somebody sign in no more, and end their sign-ins at once. Raises NoSuchStaff, NotOneself or
    LastAdministrator."""
    user = _held(session, user_id)
    if not user.active:
        return
    _check_not_oneself(user, by)
    _check_that_one_stays(session, user)
    user.active = False
    session.flush()
    end_all_sign_ins(session, user_id)
    record(session, "staff.switched_off", f"{user.name} ({user.email})", by=by, before="active", after="inactive")


def switch_on(session: Session, user_id: int, *, by: int) -> None:
    """Let somebody sign in again, with the password and second factor that they had. Raises NoSuchStaff."""
    user = _held(session, user_id)
    if user.active:
        return
    user.active = True
    session.flush()
    record(session, "staff.switched_on", f"{user.name} ({user.email})", by=by, before="inactive", after="active")


def reset_second_factor(session: Session, user_id: int, *, by: int) -> None:
    """Take somebody's second factor off and end their sign-ins; they set it up anew at the next one.

    Raises NoSuchStaff or NotOneself: one's own is changed under "Your account", where the present one is asked for.
    """
    user = _held(session, user_id)
    _check_not_oneself(user, by)
    second_factor.reset(session, user_id, by=by)


def _held(session: Session, user_id: int) -> User:
    """The account, kept from others until the transaction ends.

    The administrators are locked first and in order, so that of two who switch each other off at the same moment
    the second one sees what the first has done.
    """
    session.execute(
        select(User.id).where(User.role == ADMINISTRATOR, User.active).order_by(User.id).with_for_update()
    )
    user = session.get(User, user_id, with_for_update=True, populate_existing=True)
    if user is None or user.role == PATIENT:
        raise NoSuchStaff
    return user


def _check_not_oneself(user: User, by: int) -> None:
    if user.id == by:
        raise NotOneself


def _check_that_one_stays(session: Session, user: User) -> None:
    if user.role != ADMINISTRATOR or not user.active:
        return
    others = select(func.count()).where(User.role == ADMINISTRATOR, User.active.is_(true()), User.id != user.id)
    if not session.scalar(others.select_from(User)):
        raise LastAdministrator(name=user.name)
