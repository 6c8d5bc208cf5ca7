"""The second factor of staff: given after the password, set up at the first sign-in."""

import json
from datetime import datetime

from flask import Blueprint, abort, flash, make_response, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy import select

from portal import passkeys, second_factor
from portal.parts import parts
from portal.people import User
from portal.second_factor import SetUpMeanwhile, WrongCode
from portal.vault import CannotOpen
from portal.web import limits
from portal.web.access import SECOND_FACTOR, half_signed_in, is_own_path, who
from portal.web.pictures import qr_code
from portal.web.scope import done_reading, reading, settings

bp = Blueprint("second_factor", __name__, url_prefix=SECOND_FACTOR)

CODES = "recovery_codes"


# --- asking ---------------------------------------------------------------------------------------------------------


@bp.get("")
@half_signed_in
def ask() -> ResponseReturnValue:
    """Asks for a code; whoever has no second factor yet sets one up."""
    if who().factor_at is not None:
        return redirect(_onward(), 303)
    return _asking_page() if who().has_factor else set_up_page()


@bp.post("")
@half_signed_in
def give() -> ResponseReturnValue:
    """A code of the app, or the first one of an app that is being set up."""
    if who().factor_at is not None:
        return redirect(_onward(), 303)
    if not who().has_factor:
        return set_up_with(request.form.get("code", ""), onward=_onward(), replaces=None)
    _count()
    done_reading()
    try:
        second_factor.give_code(
            parts(), user_id=who().id, sign_in_id=who().sign_in_id, code=request.form.get("code", "")
        )
    except WrongCode as wrong:
        return _asking_page(error=wrong.text)
    _forget()
    return redirect(_onward(), 303)


@bp.get("/recovery")
@half_signed_in
def recovery() -> ResponseReturnValue:
    """Asks for a recovery code."""
    if who().factor_at is not None or not who().has_factor:
        return redirect(url_for(".ask", next=_next() or None), 303)
    return _recovery_page()


@bp.post("/recovery")
@half_signed_in
def recover() -> ResponseReturnValue:
    """A recovery code instead of the app's."""
    if who().factor_at is not None or not who().has_factor:
        return redirect(url_for(".ask", next=_next() or None), 303)
    _count()
    done_reading()
    try:
        left = second_factor.use_recovery_code(
            parts(), user_id=who().id, sign_in_id=who().sign_in_id, code=request.form.get("code", "")
        )
    except WrongCode as wrong:
        return _recovery_page(error=wrong.text)
    _forget()
    flash(_codes_left(left), "warn" if left < 4 else "ok")
    return redirect(url_for("own_account.page") if left < 4 else _onward(), 303)


@bp.post("/passkey/options")
@half_signed_in
def passkey_options() -> ResponseReturnValue:
    """For the script: what the browser needs to answer with a passkey."""
    if not who().has_factor:
        abort(403)
    done_reading()
    return passkeys.options_to_give(parts(), user_id=who().id, sign_in_id=who().sign_in_id)


@bp.post("/passkey")
@half_signed_in
def give_passkey() -> ResponseReturnValue:
    """A passkey instead of a code."""
    if who().factor_at is not None:
        return redirect(_onward(), 303)
    limits.count(limits.FACTOR_BY_NETWORK, "factor", limits.network())
    done_reading()
    try:
        passkeys.give_passkey(
            parts(),
            user_id=who().id,
            sign_in_id=who().sign_in_id,
            answer=request.form.get("credential", ""),
        )
    except passkeys.PasskeyRefused as refusal:
        flash(f"{refusal.heading}\n{refusal.text}", "error")
        return redirect(url_for(".ask", next=_next() or None), 303)
    return redirect(_onward(), 303)


def _codes_left(left: int) -> str:
    if left == 0:
        return _("That was your last recovery code\nMake new ones here now, or replace the app that you lost.")
    if left < 4:
        return _(
            "Recovery codes left: %(left)s\nMake new ones here now, or replace the app that you lost.", left=left
        )
    return _("Recovery codes left: %(left)s\nUnder your name you can replace the app that you lost.", left=left)


def _asking_page(error: str = "") -> ResponseReturnValue:
    demo = second_factor.demo_code(parts(), reading(), who().id)
    has_passkeys = passkeys.site_of(parts().config) is not None and bool(passkeys.passkeys_of(reading(), who().id))
    page = render_template(
        "second_factor/ask.html",
        error=error,
        next=_next(),
        demo=f"{demo[:3]} {demo[3:]}" if demo else "",
        has_passkeys=has_passkeys,
    )
    return make_response(page, 422 if error else 200)


def _recovery_page(error: str = "") -> ResponseReturnValue:
    page = render_template("second_factor/recovery.html", error=error, next=_next())
    return make_response(page, 422 if error else 200)


def _count() -> None:
    account = limits.account_key(who().email)
    limits.count(limits.FACTOR_BY_NETWORK, "factor", limits.network())
    limits.count(limits.FACTOR_BY_ACCOUNT, "factor", account)
    limits.count(limits.FACTOR_BY_ACCOUNT_AND_DAY, "factor", account)


def _forget() -> None:
    account = limits.account_key(who().email)
    limits.forget(limits.FACTOR_BY_ACCOUNT, "factor", account)
    limits.forget(limits.FACTOR_BY_ACCOUNT_AND_DAY, "factor", account)


def _next() -> str:
    path = request.values.get("next", "")
    return path if is_own_path(path) and (path == "/office" or path.startswith("/office/")) else ""


def _onward() -> str:
    return _next() or url_for("office.start")


# --- setting it up --------------------------------------------------------------------------------------------------


def set_up_page(*, error: str = "", replaces: datetime | None = None) -> ResponseReturnValue:
    """The QR code and the key, and a field for the first code. The own account's page shows it as well."""
    key = _pending_key(replaces)
    address = second_factor.address_of(key, account=who().email, issuer=settings().clinic_name)
    page = render_template(
        "second_factor/set_up.html",
        picture=qr_code(address),
        address=address,
        key=second_factor.spelled(key),
        replaces=replaces,
        error=error,
        next=_next(),
    )
    return make_response(page, 422 if error else 200)


def set_up_with(code: str, *, onward: str, replaces: datetime | None) -> ResponseReturnValue:
    """Take the first code of the new key, and show the recovery codes."""
    key = _pending_key(replaces)
    done_reading()
    try:
        codes = second_factor.set_up(
            parts(), user_id=who().id, sign_in_id=who().sign_in_id, key=key, code=code, replaces=replaces
        )
    except WrongCode as wrong:
        return set_up_page(error=wrong.text, replaces=replaces)
    except SetUpMeanwhile as meanwhile:
        flash(f"{meanwhile.heading}\n{meanwhile.text}", "warn")
        return redirect(url_for(".ask", next=_next() or None), 303)
    keep_codes(codes)
    return redirect(url_for("second_factor.codes", next=onward), 303)


def _pending_key(replaces: datetime | None) -> bytes:
    return second_factor.pending_key(parts().vault, who().id, who().sign_in_id, replaces)


def factor_set_up_at() -> datetime | None:
    """When the person at hand set their second factor up."""
    found: datetime | None = reading().scalar(select(User.totp_set_up_at).where(User.id == who().id))
    return found


# --- recovery codes, shown once -------------------------------------------------------------------------------------


def keep_codes(codes: list[str]) -> None:
    """Hold new recovery codes, sealed, in the cookie until the person says that they have kept them."""
    session[CODES] = parts().vault.seal(json.dumps(codes), _place())


def _place() -> str:
    return f"recovery_codes:{who().sign_in_id}"


@bp.get("/codes")
@half_signed_in
def codes() -> ResponseReturnValue:
    """The new recovery codes, until they are kept. Reloading the page does no harm."""
    try:
        shown = json.loads(parts().vault.open(session.get(CODES, ""), _place()))
    except CannotOpen:
        return redirect(_onward(), 303)
    return make_response(render_template("second_factor/codes.html", codes=shown, next=_next()))


@bp.post("/codes")
@half_signed_in
def kept() -> ResponseReturnValue:
    """They have kept them: on to where they were going."""
    session.pop(CODES, None)
    return redirect(_onward(), 303)
