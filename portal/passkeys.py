"""Passkeys (WebAuthn) as the second factor of staff, instead of a code.

A challenge is kept with the sign-in that it was made for, for five minutes, and is gone with the first answer to it.
"""

import ipaddress
import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from flask_babel import lazy_gettext as _l
from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from portal.audit import record
from portal.clock import now
from portal.config import Config
from portal.errors import Refusal
from portal.parts import Parts
from portal.people import Passkey, SignIn, User
from portal.sign_ins import confirm_sign_in

CHALLENGE_BYTES = 32
ANSWER_WITHIN = timedelta(minutes=5)
MOST_PASSKEYS = 10
LONGEST_NAME = 80
LONGEST_ANSWER = 20_000


class PasskeyRefused(Refusal):
    """What the browser answered proves nothing: another passkey, an old challenge, or no answer at all."""

    status = 422
    title = _l("The passkey was not taken")
    message = _l("It belongs to another account, or this page was open for too long. Try again, or use a code.")


class TooManyPasskeys(PasskeyRefused):
    """Ten are enough for anybody."""

    message = _l("There are ten passkeys on this account. Remove one that you don't use any more first.")


@dataclass(frozen=True)
class KeptPasskey:
    """A passkey as its owner sees it."""

    id: int
    name: str
    made_at: datetime
    last_used_at: datetime | None


def site_of(config: Config) -> str | None:
    """The name that passkeys are made for; None where the portal has an address only, which WebAuthn doesn't take."""
    host = urlsplit(config.base_url).hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host or None
    return None


def passkeys_of(connection: Connection, user_id: int) -> list[KeptPasskey]:
    """The passkeys of an account, oldest first."""
    rows = connection.execute(
        select(Passkey.id, Passkey.name, Passkey.made_at, Passkey.last_used_at)
        .where(Passkey.user_id == user_id)
        .order_by(Passkey.id)
    )
    return [KeptPasskey(*row) for row in rows]


# --- making one -----------------------------------------------------------------------------------------------------


def options_to_register(parts: Parts, *, user_id: int, sign_in_id: int, email: str, clinic: str) -> dict[str, Any]:
    """What the browser needs to make a passkey for this account."""
    with parts.database.transaction() as session:
        challenge = _new_challenge(session, sign_in_id)
        known = _descriptors(session, user_id)
    options = generate_registration_options(
        rp_id=_site(parts),
        rp_name=clinic,
        # WebAuthn 14.6.1: the handle names no person, as the authenticator may show it to whoever holds it.
        user_id=bytes.fromhex(parts.vault.look_up_hash(f"passkey:{user_id}")),
        user_name=email,
        challenge=challenge,
        exclude_credentials=known,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.DISCOURAGED, user_verification=UserVerificationRequirement.PREFERRED
        ),
    )
    return _plain(options)


def register(parts: Parts, *, user_id: int, sign_in_id: int, answer: str, name: str) -> None:
    """Keep the public half of a passkey that was just made. Raises PasskeyRefused."""
    challenge = _take_challenge(parts, sign_in_id)
    try:
        made = verify_registration_response(
            credential=_read(answer),
            expected_challenge=challenge,
            expected_rp_id=_site(parts),
            expected_origin=parts.config.base_url,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError) as error:  # whatever a browser may send
        raise PasskeyRefused from error
    name = "".join(filter(str.isprintable, " ".join(name.split())))[:LONGEST_NAME] or "Passkey"
    try:
        with parts.database.transaction() as session:
            owner = session.execute(select(User).where(User.id == user_id).with_for_update()).scalar_one()
            count = session.scalar(select(func.count()).select_from(Passkey).where(Passkey.user_id == user_id)) or 0
            if count >= MOST_PASSKEYS:
                raise TooManyPasskeys
            session.add(
                Passkey(
                    user_id=user_id,
                    name=name,
                    credential_id=made.credential_id,
                    public_key=made.credential_public_key,
                    sign_count=made.sign_count,
                    made_at=now(),
                )
            )
            record(session, "passkey.added", owner.name, by=user_id, after=name)
    except IntegrityError as error:  # the authenticator gave out an id that somebody has already
        raise PasskeyRefused from error


def remove(parts: Parts, *, user_id: int, passkey_id: int) -> bool:
    """Take a passkey of one's own off the account; False when there is no such one."""
    with parts.database.transaction() as session:
        gone = session.execute(
            delete(Passkey).where(Passkey.id == passkey_id, Passkey.user_id == user_id).returning(Passkey.name)
        ).scalar()
        if gone is None:
            return False
        owner = session.scalar(select(User.name).where(User.id == user_id)) or ""
        record(session, "passkey.removed", owner, by=user_id, before=gone)
        return True


# --- using one ------------------------------------------------------------------------------------------------------


def options_to_give(parts: Parts, *, user_id: int, sign_in_id: int) -> dict[str, Any]:
    """What the browser needs to answer with one of this account's passkeys."""
    with parts.database.transaction() as session:
        challenge = _new_challenge(session, sign_in_id)
        known = _descriptors(session, user_id)
    return _plain(generate_authentication_options(rp_id=_site(parts), challenge=challenge, allow_credentials=known))


def give_passkey(parts: Parts, *, user_id: int, sign_in_id: int, answer: str) -> None:
    """Let a sign-in in with a passkey of its account. Raises PasskeyRefused."""
    challenge = _take_challenge(parts, sign_in_id)
    with parts.database.transaction() as session:
        try:
            credential = _read(answer)
            which = base64url_to_bytes(str(credential.get("rawId", "")))
            passkey = session.scalars(
                select(Passkey).where(Passkey.credential_id == which, Passkey.user_id == user_id).with_for_update()
            ).first()
            if passkey is None:
                raise PasskeyRefused
            proved = verify_authentication_response(
                credential=credential,
                expected_challenge=challenge,
                expected_rp_id=_site(parts),
                expected_origin=parts.config.base_url,
                credential_public_key=passkey.public_key,
                # A count that does not grow is a copy of the authenticator (WebAuthn 6.1.1): the library refuses it.
                credential_current_sign_count=passkey.sign_count,
            )
        except (WebAuthnException, ValueError, KeyError, TypeError) as error:  # whatever a browser may send
            raise PasskeyRefused from error
        passkey.sign_count = proved.new_sign_count
        passkey.last_used_at = now()
        confirm_sign_in(session, sign_in_id, factor=True)


# --- challenges -----------------------------------------------------------------------------------------------------


def _new_challenge(session: Session, sign_in_id: int) -> bytes:
    challenge = secrets.token_bytes(CHALLENGE_BYTES)
    session.execute(
        update(SignIn)
        .where(SignIn.id == sign_in_id)
        .values(challenge=bytes_to_base64url(challenge), challenge_at=now())
        .execution_options(synchronize_session=False)
    )
    return challenge


def _take_challenge(parts: Parts, sign_in_id: int) -> bytes:
    """The challenge that waits for an answer. It is taken for good, whatever the answer turns out to be worth."""
    with parts.database.transaction() as session:
        row = session.execute(select(SignIn).where(SignIn.id == sign_in_id).with_for_update()).scalar_one_or_none()
        if row is None or row.challenge is None or row.challenge_at is None:
            raise PasskeyRefused
        challenge, made_at = row.challenge, row.challenge_at
        row.challenge = row.challenge_at = None
    if now() - made_at > ANSWER_WITHIN:
        raise PasskeyRefused
    return base64url_to_bytes(challenge)


def _descriptors(session: Session, user_id: int) -> list[PublicKeyCredentialDescriptor]:
    ids = session.scalars(select(Passkey.credential_id).where(Passkey.user_id == user_id))
    return [PublicKeyCredentialDescriptor(id=one) for one in ids]


def _site(parts: Parts) -> str:
    site = site_of(parts.config)
    if site is None:
        raise PasskeyRefused
    return site


def _read(answer: str) -> dict[str, Any]:
    try:
        credential = json.loads(answer) if len(answer) <= LONGEST_ANSWER else None
    except RecursionError as error:
        raise PasskeyRefused from error
    if not isinstance(credential, dict):
        raise PasskeyRefused
    return credential


def _plain(options: Any) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(options_to_json(options))
    return plain
