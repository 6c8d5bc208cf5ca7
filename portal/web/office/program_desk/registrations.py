"""A program at the desk: its places, who registered and how that stands, its sessions."""

from flask import render_template
from flask.typing import ResponseReturnValue

from portal.permissions import May
from portal.programs.desk import rosters
from portal.web.access import staff_may
from portal.web.office.program_desk.room import bp, group_or_404
from portal.web.scope import reading


@bp.get("/<public_id>")
@staff_may(May.ROSTERS)
def one(public_id: str) -> ResponseReturnValue:
    """Everybody who registered, waits, or did."""
    group = group_or_404(public_id)
    return render_template(
        "office/programs/one.html",
        group=group,
        meetings=rosters.meetings(reading(), group),
        everybody=rosters.everybody(reading(), group),
    )
