"""Group programs. None can be registered for yet, and the page says so."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from portal.web.access import patient_only

bp = Blueprint("programs", __name__)


@bp.get("/programs")
@patient_only
def browse() -> ResponseReturnValue:
    """What there is to take part in."""
    return render_template("programs/list.html")
