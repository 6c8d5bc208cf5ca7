"""The second factor of staff: given after the password, set up at the first sign-in."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from portal.web.access import SECOND_FACTOR, half_signed_in

bp = Blueprint("second_factor", __name__, url_prefix=SECOND_FACTOR)


@bp.get("")
@half_signed_in
def ask() -> ResponseReturnValue:
    """To come."""
    return render_template("office/to_come.html")
