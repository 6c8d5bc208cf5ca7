"""People who signed up in the portal and wait for the clinic's word."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from portal.permissions import May
from portal.web.access import staff_may

bp = Blueprint("sign_ups", __name__, url_prefix="/office/sign-ups")


@bp.get("")
@staff_may(May.INVITE)
def waiting() -> ResponseReturnValue:
    """To come."""
    return render_template("office/to_come.html")
