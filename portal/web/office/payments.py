"""View Payments: what was paid, and how mistakes are put right."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from portal.permissions import May
from portal.web.access import staff_may

bp = Blueprint("payments", __name__, url_prefix="/office/invoices")


@bp.get("/<number>/payments")
@staff_may(May.INVOICES)
def page(number: str) -> ResponseReturnValue:
    """To come."""
    return render_template("office/to_come.html", number=number)
