"""The Emails tab: every mail about a person, and how it stands."""

from flask import request
from flask.typing import ResponseReturnValue

from portal.letters.reading import mails_of_patient
from portal.patients.accounting import office_path
from portal.permissions import May
from portal.web import typed
from portal.web.access import staff_may
from portal.web.office.patients.room import bp, file_page, person_or_404
from portal.web.scope import reading


@bp.get("/<int:patient_id>/emails")
@staff_may(May.INVOICES)
def emails(patient_id: int) -> ResponseReturnValue:
    """The mails about a person, the newest first."""
    person = person_or_404(patient_id)
    before = typed.number(request.args.get("before"))
    page = mails_of_patient(reading(), person.id, before)
    return file_page("emails", person, "emails", mails=page, is_first=before is None, path_of=office_path)
