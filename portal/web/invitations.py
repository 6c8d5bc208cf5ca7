"""Invitations: the link with which somebody makes their account.

The link's token goes into the cookie and out of the address bar at once. Opening the link changes nothing: mail
scanners open links.
"""

from flask import Blueprint, flash, make_response, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.accounts import BadAccount
from portal.invitations import FoundInvitation, LinkIsClosed, LinkState, find_invitation
from portal.invitations import accept as accept_invitation
from portal.parts import parts
from portal.web import limits
from portal.web.access import public
from portal.web.auth import sign_in_as
from portal.web.scope import done_reading, reading, settings

bp = Blueprint("invitations", __name__, url_prefix="/invitation")

TOKEN = "invitation"  # noqa: S105  the name of the cookie's entry
LONGEST_TOKEN = 100


@bp.get("/<token>")
@public
def open_link(token: str) -> ResponseReturnValue:
    """Takes the token out of the address bar."""
    session[TOKEN] = token[:LONGEST_TOKEN]
    return redirect(url_for(".page"), 303)


@bp.get("")
@public
def page() -> ResponseReturnValue:
    """Whom the invitation is for, and a field for their password; or what became of it."""
    return _page(_found())


@bp.post("")
@public
def accept() -> ResponseReturnValue:
    """Make the account, and sign its owner in."""
    limits.count(limits.SIGN_IN_BY_NETWORK, "invitation", limits.network())
    found = _found()
    if found.state != LinkState.OPEN:
        return _page(found)
    password = request.form.get("password", "")
    if password != request.form.get("password_confirm", ""):
        return _page(found, second=_("The two passwords differ. Type the same one twice."))
    done_reading()
    try:
        user_id = accept_invitation(parts(), session[TOKEN], password)
    except BadAccount as bad:
        return _page(found, first=bad.text)
    except LinkIsClosed:
        return _page(_found())
    session.pop(TOKEN)
    if not found.is_for_staff and not settings().yes("portal_enabled"):
        flash(_("Your account is made\nThe portal is closed at the moment. You can sign in once it opens."), "ok")
        return redirect(url_for("security.login"), 303)
    flash(_("Your account is made\nFrom now on you sign in with your email address and your password."), "ok")
    return sign_in_as(user_id)


def _found() -> FoundInvitation:
    token = session.get(TOKEN, "")
    return find_invitation(reading(), token if isinstance(token, str) else "")


_STATUS = {LinkState.OPEN: 200, LinkState.UNKNOWN: 404}


def _page(found: FoundInvitation, *, first: str = "", second: str = "") -> ResponseReturnValue:
    if found.state == LinkState.OPEN:
        html = render_template("invitations/open.html", invitation=found, first=first, second=second)
    else:
        html = render_template("invitations/closed.html", state=found.state.value)
    return make_response(html, 422 if first or second else _STATUS.get(found.state, 410))
