"""Settings: the audit log."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from portal.permissions import May
from portal.web.access import staff_may

bp = Blueprint("audit", __name__, url_prefix="/office/settings/audit")


@bp.get("")
@staff_may(May.AUDIT, fresh=True)
def changes() -> ResponseReturnValue:
    """To come."""
    return render_template("office/to_come.html")
