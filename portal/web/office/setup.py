"""Settings: locations, practitioners, services and prices, taxes."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from portal.permissions import May
from portal.web.access import staff_may

bp = Blueprint("setup", __name__, url_prefix="/office/settings")


@bp.get("/locations")
@staff_may(May.SETTINGS, fresh=True)
def locations() -> ResponseReturnValue:
    """To come."""
    return render_template("office/to_come.html")


@bp.get("/practitioners")
@staff_may(May.SETTINGS, fresh=True)
def practitioners() -> ResponseReturnValue:
    """To come."""
    return render_template("office/to_come.html")


@bp.get("/services")
@staff_may(May.SETTINGS, fresh=True)
def services() -> ResponseReturnValue:
    """To come."""
    return render_template("office/to_come.html")


@bp.get("/taxes")
@staff_may(May.SETTINGS, fresh=True)
def taxes() -> ResponseReturnValue:
    """To come."""
    return render_template("office/to_come.html")
