"""The second factor of staff: the six-digit codes of an authenticator app (RFC 6238), and recovery codes.

The key that the app shares is sealed in `users.totp_sealed`. Recovery codes are kept as hashes that this same key
keys: they live and die with it, and turning the vault's keys does not touch them.
"""

import base64
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from flask_babel import lazy_gettext as _l
from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.orm import Session

from portal.audit import record
from portal.clock import now
from portal.errors import Refusal
from portal.parts import Parts
from portal.people import PATIENT, Passkey, RecoveryCode, User
from portal.sign_ins import confirm_sign_in, end_all_sign_ins
from portal.vault import Vault

KEY_BYTES = 20  # RFC 4226, 4, R6 recommends 160 bits
DIGITS = 6
STEP_S = 30
DRIFT_STEPS = 1  # RFC 6238, 5.2 allows for one step of delay; a phone's clock may as well be ahead
FAR_STEPS = 20  # at set-up, a clock that is up to ten minutes off is told apart from a wrong code

RECOVERY_CODES = 10
_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"  # none that is taken for another
_CODE_LENGTH = 10

# The key of every demo account, known to all the world. `make demo` shows its code on the page; production does not.
DEMO_KEY = b"alder lane demo key."


class WrongCode(Refusal):
    """The code does not belong to this account at this time."""

    status = 422
    message = _l(
        "This code doesn't fit. Type the newest one that the app shows. If that is refused too, set your phone's "
        "clock to automatic."
    )


class ClockIsOff(WrongCode):
    """At set-up: the app's code is right for another time."""

    message = _l(
        "The app's clock is about {minutes} minutes off, so its codes don't fit. Set the time of your phone to "
        "automatic, and type the next code."
    )


class CodeWasUsed(WrongCode):
    """Each code opens once."""

    message = _l("This code was used already. Wait until the app shows the next one, at most 30 seconds.")


class WrongRecoveryCode(WrongCode):
    """No unused recovery code of this account."""

    message = _l("This is not one of your recovery codes, or it was used already. Each of them works once.")


class SetUpMeanwhile(Refusal):
    """Another tab, or another person with the password, was first."""

    title = _l("Your second factor is set up already")
    message = _l("It was set up in another window. Use the codes of the key that you saw there.")


# --- codes ----------------------------------------------------------------------------------------------------------


def pending_key(vault: Vault, user_id: int, sign_in_id: int, replaces: datetime | None) -> bytes:
    """The key that a set-up page offers. It is derived (RFC 4226, 7.5), so that nothing is kept until it is used:
    reloading and a second tab show the same key, another sign-in another one."""
    return bytes.fromhex(vault.look_up_hash(f"totp:{user_id}:{sign_in_id}:{replaces}"))[:KEY_BYTES]


def spelled(key: bytes) -> str:
    """A key as people type it into an app that can't scan: base32 in groups of four."""
    text = base64.b32encode(key).decode()
    return " ".join(text[start : start + 4] for start in range(0, len(text), 4))


def address_of(key: bytes, *, account: str, issuer: str) -> str:
    """What the QR code says (otpauth://)."""
    return _totp(key).get_provisioning_uri(account, issuer.replace(":", " "))


def code_at(key: bytes, step: int) -> str:
    """The code of one time step (a count of 30 seconds since 1970)."""
    return _totp(key).generate(step * STEP_S).decode()


def step_now() -> int:
    """The time step that it is."""
    return int(now().timestamp()) // STEP_S


def _totp(key: bytes) -> TOTP:
    return TOTP(key, DIGITS, SHA1(), STEP_S)  # noqa: S303  RFC 6238's own; every app knows it, some know no other


def _steps_of(key: bytes, code: str, steps: Iterable[int]) -> list[int]:
    digits = "".join(code.split())
    if len(digits) != DIGITS or not (digits.isascii() and digits.isdecimal()):
        return []
    return [step for step in steps if hmac.compare_digest(code_at(key, step), digits)]


def _step_of(key: bytes, code: str) -> int:
    """The time step of a code that counts now. Raises WrongCode."""
    moment = step_now()
    found = _steps_of(key, code, range(moment - DRIFT_STEPS, moment + DRIFT_STEPS + 1))
    if not found:
        raise WrongCode
    return found[-1]


# --- setting it up --------------------------------------------------------------------------------------------------


def set_up(
    parts: Parts, *, user_id: int, sign_in_id: int, key: bytes, code: str, replaces: datetime | None
) -> list[str]:
    """Make `key` the account's second factor, once the app has shown a code of it; gives the new recovery codes.

    `replaces` is when the factor that it takes the place of was set up, None for the first. Raises WrongCode,
    SetUpMeanwhile.
    """
    step = _step_at_set_up(key, code)
    with parts.database.transaction() as session:
        former = User.totp_set_up_at.is_(None) if replaces is None else User.totp_set_up_at == replaces
        taken = session.execute(
            update(User)
            .where(User.id == user_id, User.role != PATIENT, former)
            .values(totp_sealed=sealed_key(parts.vault, user_id, key), totp_set_up_at=now(), totp_last_step=step)
            .returning(User.name)
            .execution_options(synchronize_session=False)
        ).scalar()
        if taken is None:
            raise SetUpMeanwhile
        record(session, "second_factor.replaced" if replaces else "second_factor.set_up", taken, by=user_id)
        confirm_sign_in(session, sign_in_id, factor=True)
        return _make_codes(session, user_id, key)


def _step_at_set_up(key: bytes, code: str) -> int:
    try:
        return _step_of(key, code)
    except WrongCode:
        moment = step_now()
        near = _steps_of(key, code, range(moment - FAR_STEPS, moment + FAR_STEPS + 1))
        if near:
            raise ClockIsOff(minutes=max(1, round(abs(near[0] - moment) * STEP_S / 60))) from None
        raise


def _place(user_id: int) -> str:
    return f"users.totp_sealed:{user_id}"


def sealed_key(vault: Vault, user_id: int, key: bytes) -> str:
    """A key as `users.totp_sealed` keeps it."""
    return vault.seal(spelled(key), _place(user_id))


def _key_of(vault: Vault, user_id: int, sealed: str) -> bytes:
    return base64.b32decode(vault.open(sealed, _place(user_id)).replace(" ", ""))


# --- giving it ------------------------------------------------------------------------------------------------------


def give_code(parts: Parts, *, user_id: int, sign_in_id: int, code: str) -> None:
    """Let a sign-in in with the app's code. Each time step counts once: of two posts of one code, one gets in.

    Raises WrongCode.
    """
    with parts.database.transaction() as session:
        sealed = session.scalar(select(User.totp_sealed).where(User.id == user_id))
        if sealed is None:
            raise WrongCode
        step = _step_of(_key_of(parts.vault, user_id, sealed), code)
        taken = session.execute(
            update(User)
            .where(User.id == user_id, User.totp_sealed == sealed,
                   func.coalesce(User.totp_last_step, 0) < step)
            .values(totp_last_step=step)
            .returning(User.id)
            .execution_options(synchronize_session=False)
        ).scalar()  # fmt: skip
        if taken is None:
            raise CodeWasUsed
        confirm_sign_in(session, sign_in_id, factor=True)


# --- recovery codes -------------------------------------------------------------------------------------------------


def use_recovery_code(parts: Parts, *, user_id: int, sign_in_id: int, code: str) -> int:
    """Let a sign-in in with a recovery code, which is used up; gives how many are left. Raises WrongRecoveryCode."""
    with parts.database.transaction() as session:
        sealed = session.scalar(select(User.totp_sealed).where(User.id == user_id))
        if sealed is None:
            raise WrongRecoveryCode
        hash_of_code = _hash(_key_of(parts.vault, user_id, sealed), code)
        taken = session.execute(
            update(RecoveryCode)
            .where(RecoveryCode.user_id == user_id, RecoveryCode.code_hash == hash_of_code,
                   RecoveryCode.used_at.is_(None))
            .values(used_at=now())
            .returning(RecoveryCode.id)
            .execution_options(synchronize_session=False)
        ).scalar()  # fmt: skip
        if taken is None:
            raise WrongRecoveryCode
        confirm_sign_in(session, sign_in_id, factor=True)
        left = _codes_left(session, user_id)
        record(session, "recovery_code.used", _name(session, user_id), by=user_id, after=f"{left} left")
        return left


def new_recovery_codes(parts: Parts, *, user_id: int) -> list[str]:
    """Ten new recovery codes; the former ones count no more. Raises WrongRecoveryCode without a second factor."""
    with parts.database.transaction() as session:
        sealed = session.scalar(select(User.totp_sealed).where(User.id == user_id).with_for_update())
        if sealed is None:
            raise WrongRecoveryCode
        record(session, "recovery_codes.made", _name(session, user_id), by=user_id)
        return _make_codes(session, user_id, _key_of(parts.vault, user_id, sealed))


def _make_codes(session: Session, user_id: int, key: bytes) -> list[str]:
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    codes: set[str] = set()
    while len(codes) < RECOVERY_CODES:
        codes.add("".join(secrets.choice(_LETTERS) for _ in range(_CODE_LENGTH)))
    moment = now()
    session.add_all(RecoveryCode(user_id=user_id, code_hash=_hash(key, code), made_at=moment) for code in codes)
    session.flush()
    return sorted(f"{code[:5]}-{code[5:]}" for code in codes)


def _hash(key: bytes, code: str) -> str:
    plain = "".join(mark for mark in code.lower() if mark.isalnum())[:64]
    return hmac.new(key, b"recovery code " + plain.encode(), sha256).hexdigest()


def _codes_left(session: Session | Connection, user_id: int) -> int:
    unused = (RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None))
    return session.scalar(select(func.count()).select_from(RecoveryCode).where(*unused)) or 0


def _name(session: Session, user_id: int) -> str:
    return session.scalar(select(User.name).where(User.id == user_id)) or ""


# --- looking, resetting ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SecondFactor:
    """How the second factor of an account stands."""

    set_up_at: datetime | None
    codes_left: int


def second_factor_of(connection: Connection, user_id: int) -> SecondFactor:
    """How the second factor of an account stands."""
    set_up_at = connection.scalar(select(User.totp_set_up_at).where(User.id == user_id))
    return SecondFactor(set_up_at, _codes_left(connection, user_id))


def demo_code(parts: Parts, connection: Connection, user_id: int) -> str | None:
    """The code that a demo account takes next; None in production, and for an account whose key is its own."""
    if parts.config.production:
        return None
    row = connection.execute(select(User.totp_sealed, User.totp_last_step).where(User.id == user_id)).one()
    if row.totp_sealed is None or _key_of(parts.vault, user_id, row.totp_sealed) != DEMO_KEY:
        return None
    step = max(step_now(), (row.totp_last_step or 0) + 1)
    return code_at(DEMO_KEY, step) if step <= step_now() + DRIFT_STEPS else None


def reset(session: Session, user_id: int, *, by: int | None) -> None:
    """Take the second factor, recovery codes and passkeys off a staff account and end its sign-ins.

    At the next sign-in its owner sets a new one up. `by` is who did it, None for the command line.
    """
    name = _name(session, user_id)
    session.execute(
        update(User)
        .where(User.id == user_id)
        .values(totp_sealed=None, totp_set_up_at=None, totp_last_step=None)
        .execution_options(synchronize_session=False)
    )
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    session.execute(delete(Passkey).where(Passkey.user_id == user_id))
    end_all_sign_ins(session, user_id)
    record(session, "second_factor.reset", name, by=by)


def seal_keys_again(session: Session, vault: Vault) -> int:
    """Seal the keys of authenticator apps anew under the vault's newest key; gives how many were."""
    count = 0
    for user in session.scalars(select(User).where(User.totp_sealed.is_not(None)).with_for_update()):
        assert user.totp_sealed is not None
        if vault.needs_sealing_again(user.totp_sealed):
            user.totp_sealed = vault.seal(vault.open(user.totp_sealed, _place(user.id)), _place(user.id))
            count += 1
    return count
