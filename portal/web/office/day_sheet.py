"""The day sheet: money taken on one day."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from portal.permissions import May
from portal.web.access import staff_may

bp = Blueprint("day_sheet", __name__, url_prefix="/office/day-sheet")


@bp.get("")
@staff_may(May.DAY_SHEET)
def page() -> ResponseReturnValue:
    """To come."""
    return render_template("office/to_come.html")
