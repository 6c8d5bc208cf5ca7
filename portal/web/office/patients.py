"""Patients' files: finding, adding, editing, and their tabs."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from portal.permissions import May
from portal.web.access import staff_may

bp = Blueprint("patients", __name__, url_prefix="/office/patients")


@bp.get("")
@staff_may(May.PATIENTS)
def find() -> ResponseReturnValue:
    """To come."""
    return render_template("office/to_come.html")
