"""One's own account: the second factor and passkeys."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from portal.web.access import staff_only

bp = Blueprint("own_account", __name__, url_prefix="/office/account")


@bp.get("")
@staff_only
def page() -> ResponseReturnValue:
    """To come."""
    return render_template("office/to_come.html")
