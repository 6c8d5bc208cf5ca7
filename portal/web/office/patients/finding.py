"""Find people: as you type where there is script, by a plain form where there is none."""

from flask import render_template, request
from flask.typing import ResponseReturnValue

from portal.invoices.reading import plain_day
from portal.patients.finding import people_found, people_lately
from portal.permissions import May
from portal.sign_ups import waiting_sign_ups
from portal.web.access import staff_may, who
from portal.web.look import typed
from portal.web.office.patients.room import back_with, bp, way_back
from portal.web.scope import reading


@bp.get("")
@staff_may(May.PATIENTS)
def find() -> ResponseReturnValue:
    """People who fit. `?for=/office/…`: that page wants one of them chosen, and gets `patient=<id>`."""
    query, back = typed(request.args.get("q"))[:100].strip(), way_back(request.args.get("for", ""))
    page = render_template(
        "office/patients/find.html",
        query=query,
        found=people_found(reading(), query) if query else people_lately(reading(), who().id),
        day=plain_day,
        back=back,
        chosen=back_with(back) if back else "",
        waiting=waiting_sign_ups(reading()) if who().may(May.INVITE) and not back else 0,
    )
    return page
