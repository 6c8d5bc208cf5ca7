"""Settings: general, modules, the portal."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from portal.permissions import May
from portal.web.access import staff_may

bp = Blueprint("settings", __name__, url_prefix="/office/settings")


@bp.get("")
@staff_may(May.SETTINGS, fresh=True)
def general() -> ResponseReturnValue:
    """To come."""
    return render_template("office/to_come.html")


@bp.get("/modules")
@staff_may(May.SETTINGS, fresh=True)
def modules() -> ResponseReturnValue:
    """To come."""
    return render_template("office/to_come.html")
