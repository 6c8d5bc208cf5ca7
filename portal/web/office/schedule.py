"""The schedule: day and week, booking, moving and cancelling visits."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from portal.permissions import May
from portal.web.access import staff_may

bp = Blueprint("schedule", __name__, url_prefix="/office/schedule")


@bp.get("")
@staff_may(May.SCHEDULE)
def week() -> ResponseReturnValue:
    """To come."""
    return render_template("office/to_come.html")
