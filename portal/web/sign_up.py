"""Sign-up, where the clinic allows it (P1): the form, the link that proves the address, and what comes after."""

from collections.abc import Mapping
from datetime import date
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, flash, make_response, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from portal import sign_ups
from portal.accounts import BadAccount
from portal.errors import Refusal
from portal.parts import parts
from portal.programs.online import hand_over, keep_for_sign_up
from portal.sign_ups import Asker, BadSignUp, LinkIsClosed, LinkState, Outcome, WrongPassword
from portal.web import limits
from portal.web.access import PortalClosed, public
from portal.web.auth import sign_in_as
from portal.web.look import typed
from portal.web.places import clock_of, held_here, proof_of, proved_place, secret_here
from portal.web.scope import done_reading, reading, settings

bp = Blueprint("sign_up", __name__, url_prefix="/sign-up")

TOKEN = "sign_up"  # noqa: S105  the name of the cookie's entry
PLACE = "place"
FIELDS = ("given_name", "family_name", "birth_date", "email", "phone")
LONGEST = 300


class SignUpClosed(Refusal):
    """The clinic makes accounts itself."""

    status = 403
    title = _l("You can't sign up here at the moment")
    message = _l("The clinic makes the accounts of its patients itself. Call us, or ask when you come in.")


def _check_that_it_is_open() -> None:
    if not settings().yes("portal_enabled"):
        raise PortalClosed
    if not settings().yes("portal_allow_sign_up"):
        raise SignUpClosed


# --- asking ---------------------------------------------------------------------------------------------------------


@bp.get("")
@public
def page() -> ResponseReturnValue:
    """The form."""
    _check_that_it_is_open()
    return _form({}, {})


def _form(values: Mapping[str, str], wrong: Mapping[str, Any]) -> str:
    place = held_here(reading())
    clock = clock_of(place) if place else None
    return render_template("sign_up/form.html", values=values, wrong=wrong, mine=place, clock=clock)


@bp.post("")
@public
def ask() -> ResponseReturnValue:
    """Ask for an account. The answer is the same whether the clinic knows the address or not."""
    _check_that_it_is_open()
    values = {name: " ".join(request.form.get(name, "")[:LONGEST].split()) for name in FIELDS}
    limits.count(limits.SIGN_UP_BY_NETWORK, "sign up", limits.network())
    limits.count(limits.SIGN_UP_BY_ACCOUNT, "sign up", limits.account_key(values["email"]))
    done_reading()
    asker = Asker(
        values["email"], values["given_name"], values["family_name"], _day(values["birth_date"]), values["phone"]
    )
    try:
        sign_ups.ask(parts(), asker, _password(), _onward())
    except BadSignUp as bad:
        words = {name: typed(text) for name, text in values.items()}
        return make_response(_form(words, bad.wrong), 422)
    return redirect(url_for(".sent"), 303)


def _onward() -> str:
    """What the link says of the place in a program that this browser holds; it is kept while the mail is opened."""
    secret = secret_here()
    held = keep_for_sign_up(parts(), secret) if secret else None
    return "?" + urlencode({PLACE: proof_of(held)}) if held else ""


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return date.max  # no birth date: the form says so


def _password() -> str:
    return request.form.get("password", "")


@bp.get("/sent")
@public
def sent() -> ResponseReturnValue:
    """A mail is on its way; a place in a program is kept meanwhile."""
    place = held_here(reading())
    return render_template("sign_up/sent.html", mine=place, clock=clock_of(place) if place else None)


# --- proving the address --------------------------------------------------------------------------------------------


@bp.get("/link/<token>")
@public
def open_link(token: str) -> ResponseReturnValue:
    """Takes the token out of the address bar; changes nothing, as mail scanners open links."""
    session[TOKEN] = token[:100]
    session[PLACE] = request.args.get(PLACE, "")[:200]
    return redirect(url_for(".proving"), 303)


def _token() -> str:
    token = session.get(TOKEN, "")
    return token if isinstance(token, str) else ""


@bp.get("/confirm")
@public
def proving() -> ResponseReturnValue:
    """Asks for the password that was chosen: it must be the same person."""
    _check_that_it_is_open()
    return _proving_page()


def _proving_page(error: str = "") -> ResponseReturnValue:
    state = sign_ups.find_link(reading(), _token())
    page = render_template("sign_up/confirm.html", state=state.value, error=error)
    if error:
        return make_response(page, 422)
    return make_response(page, {LinkState.OPEN: 200, LinkState.UNKNOWN: 404}.get(state, 410))


@bp.post("/confirm")
@public
def prove() -> ResponseReturnValue:
    """The address is theirs: the account is made, or waits for the clinic's word."""
    _check_that_it_is_open()
    limits.count(limits.SIGN_IN_BY_NETWORK, "prove", limits.network())
    limits.count(limits.SIGN_IN_BY_ACCOUNT, "prove", limits.account_key(_token()))
    done_reading()
    place = proved_place(session.get(PLACE, "")) if settings().yes("module_programs") else None
    try:
        outcome, user_id = sign_ups.prove(parts(), _token(), _password(), takes_newcomers=place is not None)
    except (WrongPassword, BadAccount) as wrong:
        return _proving_page(wrong.text)
    except LinkIsClosed:
        return _proving_page()
    session.pop(TOKEN, None)
    session.pop(PLACE, None)
    if outcome == Outcome.WAITING or user_id is None:
        return redirect(url_for(".waiting"), 303)
    flash(_("Your account is made\nFrom now on you sign in with your email address and your password."), "ok")
    if place is None:
        return sign_in_as(user_id)
    hand_over(parts(), place, user_id)
    return sign_in_as(user_id, url_for("registrations.one", public_id=place))


@bp.get("/waiting")
@public
def waiting() -> ResponseReturnValue:
    """The front desk has a look first."""
    place = held_here(reading())
    return render_template("sign_up/waiting.html", mine=place, clock=clock_of(place) if place else None)
