"""The Programs tab: what a person is, or was, registered for."""

from flask.typing import ResponseReturnValue

from portal.permissions import May
from portal.programs.desk.asking import parts_of
from portal.web.access import staff_may
from portal.web.office.patients.room import bp, file_page, person_or_404
from portal.web.scope import reading


@bp.get("/<int:patient_id>/programs")
@staff_may(May.ROSTERS)
def programs(patient_id: int) -> ResponseReturnValue:
    """Their programs, the newest registration first."""
    person = person_or_404(patient_id)
    return file_page("programs", person, "programs", registrations=parts_of(reading(), person.id))
