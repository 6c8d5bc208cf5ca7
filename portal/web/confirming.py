"""Asking for the password again before something delicate, without losing what was typed.

A form that is sent after the five minutes is sealed into the page that asks: it goes on to where it was going once
the password is right. Sealed, because a form can hold a gateway's secret, which no page shows.
"""

import json
from typing import cast

from flask import make_response, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_security.utils import verify_password
from sqlalchemy import select
from werkzeug.datastructures import ImmutableMultiDict

from portal.parts import parts
from portal.people import User
from portal.sign_ins import Person, confirm_sign_in
from portal.vault import CannotOpen
from portal.web import limits
from portal.web.asking import wants_json
from portal.web.scope import done_reading, person, reading

PASSWORD, KEPT = "password_again", "kept_form"


def ask_again() -> ResponseReturnValue | None:
    """The page that asks for the password; None when it was typed a moment ago, or has just been given.

    In the latter case the request's form is the one that was sent first.
    """
    someone = cast(Person, person())
    if PASSWORD in request.form:
        return _answered(someone)
    if someone.is_fresh:
        return None
    return _page(kept=_seal(someone) if request.method == "POST" else "")


def _answered(someone: Person) -> ResponseReturnValue | None:
    """The form that was kept takes this one's place, once the password is right."""
    kept = request.form.get(KEPT, "")
    error = password_error(someone, request.form[PASSWORD])
    if error:
        return _page(kept=kept, error=error)
    try:
        pairs = json.loads(parts().vault.open(kept, _place(someone)))
    except (CannotOpen, ValueError):
        return _page(kept="", error=_("This page was open for too long. Please start again."))
    pairs.append(["csrf_token", request.form.get("csrf_token", "")])
    request.__dict__["form"] = ImmutableMultiDict([(name, value) for name, value in pairs])
    return None


def password_error(someone: Person, password: str) -> str:
    """Confirm the sign-in with the account's password; gives the sentence that says why not. Tries are counted."""
    account = limits.account_key(someone.email)
    limits.count(limits.SIGN_IN_BY_ACCOUNT, "confirm", account)
    if not _is_right(someone, password):
        return _("This is not your password. Nothing was done yet.")
    limits.forget(limits.SIGN_IN_BY_ACCOUNT, "confirm", account)
    done_reading()
    with parts().database.transaction() as session:
        confirm_sign_in(session, someone.sign_in_id)
    return ""


def _is_right(someone: Person, password: str) -> bool:
    if not password or len(password) > 512 or "\0" in password:
        return False
    stored = reading().scalar(select(User.password).where(User.id == someone.id))
    return stored is not None and bool(verify_password(password, stored))


def _seal(someone: Person) -> str:
    pairs = [[name, value] for name, value in request.form.items(multi=True) if name != "csrf_token"]
    return parts().vault.seal(json.dumps(pairs), _place(someone))


def _place(someone: Person) -> str:
    """A kept form opens for this sign-in at this address alone."""
    return f"kept_form:{someone.sign_in_id}:{request.path}"


def _page(*, kept: str, error: str = "") -> ResponseReturnValue:
    if wants_json():
        return {"outcome": "refused", "title": _("Please type your password again"), "text": "", "reload": True}, 403
    here = request.full_path if request.query_string else request.path
    return asking_page(action=here, kept=kept, error=error)


def asking_page(*, action: str, kept: str = "", back: str = "", error: str = "") -> ResponseReturnValue:
    """The page that asks. A page that was only to be looked at (`kept` empty) is shown by way of /office/confirm."""
    page = render_template(
        "office/confirm.html",
        action=action if kept else url_for("office.confirm"),
        back="" if kept else back or action,
        kept=kept,
        error=error,
    )
    return make_response(page, 422 if error else 200)
