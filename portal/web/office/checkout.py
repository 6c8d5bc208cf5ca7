"""Appointment checkout: from a visit to its invoice."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from portal.permissions import May
from portal.web.access import staff_may

bp = Blueprint("checkout", __name__, url_prefix="/office/checkout")


@bp.get("/new")
@staff_may(May.CHECKOUT)
def new() -> ResponseReturnValue:
    """To come."""
    return render_template("office/to_come.html")
