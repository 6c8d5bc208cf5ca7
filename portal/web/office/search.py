"""Invoice Search, and one invoice."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from portal.permissions import May
from portal.web.access import staff_may

bp = Blueprint("search", __name__, url_prefix="/office/invoices")


@bp.get("")
@staff_may(May.INVOICES)
def invoices() -> ResponseReturnValue:
    """To come."""
    return render_template("office/to_come.html")
