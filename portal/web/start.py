"""The front door, for everybody."""

from flask import Blueprint, redirect, url_for
from flask.typing import ResponseReturnValue

from portal.web.access import public
from portal.web.scope import person

bp = Blueprint("start", __name__)


@bp.get("/")
@public
def door() -> ResponseReturnValue:
    """To their own part of the product, or to the sign-in page."""
    someone = person()
    if someone is None:
        return redirect(url_for("security.login"), 303)
    return redirect(url_for("office.start" if someone.is_staff else "invoices.still_open"), 303)
