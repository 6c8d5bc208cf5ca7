"""Settings: payment gateways."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from portal.permissions import May
from portal.web.access import staff_may

bp = Blueprint("gateways", __name__, url_prefix="/office/settings/gateways")


@bp.get("")
@staff_may(May.SETTINGS, fresh=True)
def every() -> ResponseReturnValue:
    """To come."""
    return render_template("office/to_come.html")
