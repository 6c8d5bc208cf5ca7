"""Settings: the clinic's staff, their roles and second factors."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from portal.permissions import May
from portal.web.access import staff_may

bp = Blueprint("staff", __name__, url_prefix="/office/settings/staff")


@bp.get("")
@staff_may(May.STAFF, fresh=True)
def everybody() -> ResponseReturnValue:
    """To come."""
    return render_template("office/to_come.html")
