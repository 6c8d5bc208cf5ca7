"""Signing in and out, and resetting a password: Flask-Security's views behind our doors.

The session cookie holds the random token of the sign-in's row, and when it was last used. Looking at pages writes
nothing to the database, and the cookie is signed again at most once a minute.
"""

import re
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from flask import Flask, Response, current_app, g, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_login import user_logged_in
from flask_principal import identity_changed  # type: ignore[import-untyped]  # it has none
from flask_security import Security
from flask_security.forms import ForgotPasswordForm, LoginForm
from flask_security.signals import password_reset, reset_password_instructions_sent
from flask_security.utils import login_user
from flask_wtf.csrf import generate_csrf
from wtforms import Field

from portal.accounts import RESET_WITHIN, Accounts, Mails
from portal.audit import record
from portal.clock import now
from portal.parts import Parts, parts
from portal.passwords import LANES, LONGEST_PASSWORD, MEMORY_KIB, PASSES, SHORTEST_PASSWORD, Passwords, hashed
from portal.people import PATIENT, User
from portal.sign_ins import LONGEST_SIGN_IN, begin_sign_in, end_all_sign_ins, end_sign_in
from portal.web import limits
from portal.web.access import PortalClosed, is_own_path, public
from portal.web.places import clock_of, held_here
from portal.web.scope import accounts_session, person, reading, settings

# --- a browser's sign-in -------------------------------------------------------------------------------------------


def _begin(_app: Flask, user: User) -> None:
    """A browser has signed in: its row, its token, and a form token of its own."""
    accounts = accounts_session()
    before = session.get("sign_in")
    if isinstance(before, str):
        end_sign_in(accounts, before)
    session["sign_in"] = begin_sign_in(accounts, user.id)
    session["seen"] = int(now().timestamp())
    accounts.commit()
    session.pop("_id", None)
    session.pop("csrf_token", None)
    g.pop("csrf_token", None)
    generate_csrf()  # at once, so that pages which are opened together do not each make one of their own
    g.just_signed_in = user


def _password_was_reset(_app: Flask, user: User, **_more: Any) -> None:
    """Whoever knew the old password is out, everywhere."""
    end_all_sign_ins(accounts_session(), user.id)
    record(accounts_session(), "password.reset", user.name, by=user.id)


def _reset_was_asked(_app: Flask, **_more: Any) -> None:
    """The mail is queued. The hash takes the time that an unknown address takes, so that the answer tells nothing."""
    hashed("an unknown address costs one hash")
    accounts_session().commit()


def sign_in_as(user_id: int, onward: str = "") -> ResponseReturnValue:
    """Sign in whoever has just made their account and chosen its password, and lead them onward, or to their part."""
    user = accounts_session().get(User, user_id)
    assert user is not None, "an account that was made a moment ago"
    login_user(user, authn_via=["password"])
    return redirect(onward or url_for("office.start" if user.is_staff else "invoices.still_open"), 303)


# --- the forms ------------------------------------------------------------------------------------------------------


class SignInForm(LoginForm):
    """Email and password. Nobody is remembered beyond their session."""

    remember = None

    def validate_next(self, field: Field) -> None:
        """A way back that leads elsewhere is dropped without a word; it is no reason not to let somebody in."""
        field.data = _way_back(field.data or "")

    def validate(self, **kwargs: Any) -> bool:
        if not _can_be_hashed(self.password.data):
            self.password.data = ""
        if not super().validate(**kwargs):
            return False
        user = self.user
        if isinstance(user, User) and user.role == PATIENT and not settings().yes("portal_enabled"):
            raise PortalClosed
        return True


def _can_be_hashed(password: str | None) -> bool:
    return not password or (len(password) <= 4 * LONGEST_PASSWORD and "\0" not in password)


class AskForResetForm(ForgotPasswordForm):
    """The address to send a link to."""


# --- the doors ------------------------------------------------------------------------------------------------------


def _way_back(path: str) -> str:
    return path if is_own_path(path) else ""


def _after_sign_in(user: User) -> str:
    """Where they were, if that is for people like them; else the start of their part."""
    back = _way_back(request.form.get("next") or request.args.get("next") or "")
    is_office = back == "/office" or back.startswith("/office/")
    if back and is_office == user.is_staff:
        return back
    held = None if user.is_staff else held_here(reading())
    if held is not None:
        return url_for("registrations.one", public_id=held.public_id)
    return url_for("office.start" if user.is_staff else "invoices.still_open")


def _counted_sign_in(view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    def sign_in() -> ResponseReturnValue:
        account = ""
        if request.method == "POST":
            account = limits.account_key(request.form.get("email", ""))
            limits.count(limits.SIGN_IN_BY_NETWORK, "sign in", limits.network())
            limits.count(limits.SIGN_IN_BY_ACCOUNT, "sign in", account)
        response: ResponseReturnValue = view()
        user = g.get("just_signed_in")
        if user is None:
            return response
        limits.forget(limits.SIGN_IN_BY_ACCOUNT, "sign in", account)
        return redirect(_after_sign_in(user), 303)

    return sign_in


def _ending_sign_out(view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    def sign_out() -> ResponseReturnValue:
        token = session.get("sign_in")
        if isinstance(token, str):
            with parts().database.transaction() as writing:
                end_sign_in(writing, token)
        view()
        session.clear()
        return redirect(url_for("security.login", why="out"), 303)

    return sign_out


def _counted_reset(view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    def reset(**kwargs: Any) -> ResponseReturnValue:
        if request.method == "POST":
            limits.count(limits.RESET_BY_NETWORK, "reset", limits.network())
            if "email" in request.form:
                limits.count(limits.RESET_BY_ACCOUNT, "reset", limits.account_key(request.form["email"]))
        response: ResponseReturnValue = view(**kwargs)
        return response

    return reset


def form_again() -> str:
    """The form of a request whose page was open too long, with the address that was typed."""
    if request.endpoint == "security.login":
        form = SignInForm()
        return render_template("auth/sign_in.html", login_user_form=form, **_sign_in_words())
    return render_template("auth/forgot.html", forgot_password_form=AskForResetForm())


_INVOICE_PATH = re.compile(r"/invoices/([A-Za-z0-9-]{1,24})(/.*)?")


def _sign_in_words() -> dict[str, Any]:
    """What the sign-in page says above the form: why they are here, and where they will be afterwards."""
    back = _way_back(request.values.get("next", ""))
    note = ""
    if request.args.get("why") == "idle":
        note = _(
            "You were signed out after %(minutes)s minutes without activity, to keep your records private. "
            "Nothing was charged.",
            minutes=settings().number("idle_minutes"),
        )
    elif request.args.get("why") == "out":
        note = _("You are signed out.")
    if back and request.args.get("why") == "idle":
        on = _INVOICE_PATH.fullmatch(back)
        note += " " + (
            _("Sign in and you will be back on invoice %(number)s.", number=on[1])
            if on
            else _("Sign in and you will be back where you were.")
        )
    is_open = settings().yes("portal_enabled")
    held = held_here(reading()) if is_open else None
    sign_up = is_open and settings().yes("portal_allow_sign_up")
    return {"note": note, "back": back, "closed": not is_open, "sign_up": sign_up,
            "mine": held, "clock": clock_of(held) if held else None}  # fmt: skip


def _answer_to_strangers(*_args: Any, **_kwargs: Any) -> Response:
    from portal.web.access import ask_to_sign_in

    return current_app.make_response(ask_to_sign_in())


# --- wiring ---------------------------------------------------------------------------------------------------------

_SAYS = {
    "GENERIC_AUTHN_FAILED": _l("We don't know this email with this password. Check both, or reset the password."),
    "PASSWORD_RESET_REQUEST": _l(
        "If this address has an account, a mail with a link is on its way to it. It arrives within a few minutes."
    ),
    "PASSWORD_RESET_EXPIRED": _l("This link has expired. We can send you a new one."),
    "INVALID_RESET_PASSWORD_TOKEN": _l("This link was used already, or is incomplete. We can send you a new one."),
    "PASSWORD_RESET_NO_LOGIN": _l("Your password is changed. Sign in with it."),
    "PASSWORD_NOT_PROVIDED": _l("Type a password."),
    "RETYPE_PASSWORD_MISMATCH": _l("The two passwords differ. Type the same one twice."),
}


def _configure(app: Flask, wired: Parts) -> None:
    https = wired.config.over_https
    app.config.update(
        SESSION_COOKIE_NAME="__Host-portal" if https else "portal",
        SESSION_COOKIE_SECURE=https,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_PROTECTION=None,  # addresses change on the road; the sign-in's row is what ends a session
        PERMANENT_SESSION_LIFETIME=LONGEST_SIGN_IN,
        WTF_CSRF_TIME_LIMIT=None,  # a form lives as long as the sign-in it belongs to
        WTF_CSRF_SSL_STRICT=False,  # pages send no referrer, not even to us
        SECURITY_RECOVERABLE=True,
        SECURITY_LOGOUT_METHODS=["POST"],
        SECURITY_RETURN_GENERIC_RESPONSES=True,
        SECURITY_RESET_PASSWORD_WITHIN=RESET_WITHIN,
        SECURITY_PASSWORD_HASH="argon2",  # noqa: S106  the name of a method
        SECURITY_PASSWORD_SCHEMES=["argon2"],
        SECURITY_PASSWORD_SINGLE_HASH=True,
        SECURITY_PASSWORD_HASH_PASSLIB_OPTIONS={
            "argon2__type": "ID",
            "argon2__rounds": PASSES,
            "argon2__memory_cost": MEMORY_KIB,
            "argon2__parallelism": LANES,
        },
        SECURITY_PASSWORD_LENGTH_MIN=SHORTEST_PASSWORD,
        SECURITY_HASHING_SCHEMES=["hex_sha256"],  # of what is random and long already
        SECURITY_DEPRECATED_HASHING_SCHEMES=[],
        SECURITY_API_ENABLED_METHODS=["session"],
        SECURITY_FRESHNESS=-LONGEST_SIGN_IN,
        SECURITY_CACHE_CONTROL={},  # our headers say it; the library's "no-store=True" is no directive
        SECURITY_EMAIL_PLAINTEXT=False,
        SECURITY_EMAIL_HTML=False,
        SECURITY_STATIC_FOLDER=None,
        SECURITY_CLI_USERS_NAME=None,
        SECURITY_CLI_ROLES_NAME=None,
        SECURITY_LOGIN_USER_TEMPLATE="auth/sign_in.html",
        SECURITY_FORGOT_PASSWORD_TEMPLATE="auth/forgot.html",  # noqa: S106  a template, no password
        SECURITY_RESET_PASSWORD_TEMPLATE="auth/reset.html",  # noqa: S106  a template, no password
        **{f"SECURITY_MSG_{name}": (text, "error") for name, text in _SAYS.items()},
    )
    app.config["SECURITY_MSG_PASSWORD_RESET_REQUEST"] = (_SAYS["PASSWORD_RESET_REQUEST"], "ok")
    app.config["SECURITY_MSG_PASSWORD_RESET_NO_LOGIN"] = (_SAYS["PASSWORD_RESET_NO_LOGIN"], "ok")


def _link_to_reset(base_url: str, token: str) -> str:
    return base_url + url_for("security.reset_password", token=token)


def init(app: Flask, wired: Parts) -> None:
    """Flask-Security with our tables, mails, forms and doors, and without what this product has no use for."""
    _configure(app, wired)
    mails = partial(
        Mails, session=accounts_session, vault=wired.vault, link=partial(_link_to_reset, wired.config.base_url)
    )
    security = Security(
        app,
        Accounts(accounts_session),
        login_form=SignInForm,
        forgot_password_form=AskForResetForm,
        mail_util_cls=mails,  # type: ignore[arg-type]  # it is called, never looked into
        password_util_cls=Passwords,
    )
    security.want_json(lambda _request: False)
    security.unauthn_handler(_answer_to_strangers)
    security.login_context_processor(_sign_in_words)
    security.login_manager.user_loader(lambda _uniquifier: person())
    security.login_manager.request_loader(lambda _request: None)  # no tokens in headers or addresses

    # Flask-Principal would load the person for every request, style sheets too, to fill in roles that we don't use.
    app.before_request_funcs[None].remove(security.principal._on_before_request)
    identity_changed.disconnect(security.principal._on_identity_changed, app)

    user_logged_in.connect(_begin, app)
    password_reset.connect(_password_was_reset, app)
    reset_password_instructions_sent.connect(_reset_was_asked, app)

    doors = {
        "security.login": _counted_sign_in,
        "security.logout": _ending_sign_out,
        "security.forgot_password": _counted_reset,
        "security.reset_password": _counted_reset,
    }
    for endpoint, door in doors.items():
        app.view_functions[endpoint] = public(door(app.view_functions[endpoint]))
