"""The roster: on paper, as a file, and to mark who came to a session."""

from flask import Response, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.audit import record
from portal.invoices.reading import plain_day
from portal.invoices.reading.words import short_day
from portal.parts import parts
from portal.permissions import May
from portal.programs.desk import rosters
from portal.programs.desk.attending import mark
from portal.programs.desk.roster_files import as_csv, as_workbook
from portal.programs.desk.rosters import Group, Meeting
from portal.web.access import staff_may, who
from portal.web.office.program_desk.room import bp, group_or_404
from portal.web.scope import done_reading, reading

UNNOTED = "-"
"""How the page says of somebody that nothing is noted of them."""
KINDS = {"csv": "text/csv", "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}


@bp.get("/<public_id>/roster")
@staff_may(May.ROSTERS)
def roster(public_id: str) -> ResponseReturnValue:
    """Who takes part, with a box for each session: fit to print and to tick by hand."""
    group = group_or_404(public_id)
    return render_template(
        "office/programs/roster.html",
        group=group,
        meetings=rosters.meetings(reading(), group),
        people=rosters.confirmed(reading(), group),
        came=rosters.attendance(reading(), group),
        short_day=short_day,
        plain_day=plain_day,
    )


@bp.get("/<public_id>/roster.csv", defaults={"kind": "csv"})
@bp.get("/<public_id>/roster.xlsx", defaults={"kind": "xlsx"})
@staff_may(May.EXPORT, fresh=True)
def export(public_id: str, kind: str) -> ResponseReturnValue:
    """The same as a file. Who took what along stands in the audit log."""
    group = group_or_404(public_id)
    people = rosters.confirmed(reading(), group)
    with parts().database.transaction() as session:
        record(
            session, "roster.exported", f"{group.name}, as {kind.upper()}", by=who().id, after=f"{len(people)} people"
        )
    write = as_csv if kind == "csv" else as_workbook
    file = write(people, rosters.meetings(reading(), group), rosters.attendance(reading(), group))
    name = f'attachment; filename="roster-{group.public_id}.{kind}"'
    return Response(file, mimetype=KINDS[kind], headers={"Content-Disposition": name})


# --- who came -------------------------------------------------------------------------------------------------------


def _meeting_or_404(group: Group, session_id: int) -> Meeting:
    found = (meeting for meeting in rosters.meetings(reading(), group) if meeting.id == session_id)
    return next(found, None) or abort(404)


@bp.get("/<public_id>/sessions/<int:session_id>")
@staff_may(May.ROSTERS)
def attendance(public_id: str, session_id: int) -> ResponseReturnValue:
    """A box for everybody; those of whom it was noted that they came are ticked."""
    group = group_or_404(public_id)
    return render_template(
        "office/programs/attendance.html",
        group=group,
        meeting=_meeting_or_404(group, session_id),
        people=rosters.confirmed(reading(), group),
        came=rosters.attendance(reading(), group),
    )


@bp.post("/<public_id>/sessions/<int:session_id>")
@staff_may(May.ROSTERS)
def mark_attendance(public_id: str, session_id: int) -> ResponseReturnValue:
    """Note who came. Only what differs from what the page showed is changed: two may go through the list at once.
    Whom it showed without a note, and nobody ticked, is absent, unless somebody else has noted them meanwhile."""
    group = group_or_404(public_id)
    meeting = _meeting_or_404(group, session_id)
    came = set(request.form.getlist("came"))
    shown = dict(text.partition(":")[::2] for text in request.form.getlist("shown"))
    changes = {
        key: key in came
        for key, was in shown.items()
        if was != ("yes" if key in came else "no") and key.isascii() and key.isprintable() and len(key) <= 24
    }
    done_reading()
    left_empty = [key for key, is_ticked in changes.items() if not is_ticked and shown[key] == UNNOTED]
    mark(parts().database, meeting.id, changes, who().id, if_not_noted=left_empty)
    flash(_("It is noted who came on %(day)s.", day=meeting.day_words), "ok")
    return redirect(url_for("office_programs.one", public_id=public_id, _anchor="sessions"), 303)
