"""What the pages of a file share."""

from flask import Blueprint, abort, render_template

from portal.audit import note_view
from portal.invoices.reading import plain_day
from portal.parts import parts
from portal.patients.facts import Person, person_on_file
from portal.web.access import is_own_path, who
from portal.web.scope import reading

bp = Blueprint("patients", __name__, url_prefix="/office/patients")


def person_or_404(patient_id: int) -> Person:
    """Whose file this is."""
    return person_on_file(reading(), patient_id) or abort(404)


def file_page(template: str, person: Person, page: str, **words: object) -> str:
    """One page of a person's file; that it was looked at is written down."""
    html = render_template(f"office/patients/{template}.html", patient=person, day=plain_day, **words)
    note_view(parts().database, who().id, person.id, page)
    return html


def way_back(asked: str) -> str:
    """The page of ours that wants a person chosen; empty for none."""
    return asked if is_own_path(asked) else ""


def back_with(back: str, patient_id: object = "") -> str:
    """The address of that page, with the chosen person's id."""
    return f"{back}{'&' if '?' in back else '?'}patient={patient_id}"
