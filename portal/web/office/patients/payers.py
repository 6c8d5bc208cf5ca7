"""Who pays for whom: link a payer, take one off, and lines for a minor's payers."""

from urllib.parse import quote

from flask import flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.audit import note_view
from portal.errors import Refusal
from portal.parts import parts
from portal.patients.facts import Person, person_on_file, today_at_the_clinic
from portal.patients.payers import LONGEST_RELATION, NotOneself, PaysAlready, link_payer, show_lines, unlink_payer
from portal.people import is_minor
from portal.permissions import May
from portal.web.access import staff_may, who
from portal.web.look import typed
from portal.web.office.patients.room import bp, person_or_404
from portal.web.scope import done_reading, reading

RELATIONS = ("Parent", "Guardian", "Spouse or partner", "Child", "Employer", "Other")


@bp.get("/<int:patient_id>/payers/new")
@staff_may(May.PATIENTS)
def new_payer(patient_id: int) -> ResponseReturnValue:
    """The form that links a payer: first choose the person, then say what they are to the patient."""
    person = person_or_404(patient_id)
    asked = request.args.get("patient", "")
    payer = person_on_file(reading(), int(asked)) if _is_id(asked) else None
    if payer is None:
        here = url_for("patients.new_payer", patient_id=patient_id)
        return redirect(f"{url_for('patients.find')}?for={quote(here)}", 303)
    return _form(person, payer)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 9


def _form(person: Person, payer: Person, refusal: Refusal | None = None) -> ResponseReturnValue:
    page = render_template(
        "office/patients/payer.html",
        patient=person,
        payer=payer,
        relations=[(words, words) for words in RELATIONS],
        relation=typed(request.form.get("relation")),
        wants_lines=request.form.get("sees_lines") is not None,
        is_minor=is_minor(person.birth_date, today_at_the_clinic(reading())),
        refusal=refusal,
    )
    note_view(parts().database, who().id, person.id, "payers")
    return make_response(page, refusal.status if refusal else 200)


@bp.post("/<int:patient_id>/payers/new")
@staff_may(May.PATIENTS)
def add_payer(patient_id: int) -> ResponseReturnValue:
    """Link the payer."""
    person = person_or_404(patient_id)
    asked = request.form.get("payer", "")
    payer = person_or_404(int(asked) if _is_id(asked) else 0)
    today = today_at_the_clinic(reading())
    done_reading()
    try:
        link_payer(
            parts().database,
            patient_id=patient_id,
            payer_id=payer.id,
            relation=typed(request.form.get("relation")).strip()[:LONGEST_RELATION],
            sees_lines=request.form.get("sees_lines") is not None,
            today=today,
            by=who().id,
        )
    except (NotOneself, PaysAlready) as refusal:
        return _form(person, payer, refusal)
    flash(_("%(payer)s now pays for %(patient)s.", payer=payer.name, patient=person.name), "ok")
    return _to_payers(patient_id)


@bp.post("/<int:patient_id>/payers/<int:payer_id>/remove")
@staff_may(May.PATIENTS)
def remove_payer(patient_id: int, payer_id: int) -> ResponseReturnValue:
    """Take a payer off: they see nothing of this patient any more."""
    person, payer = person_or_404(patient_id), person_or_404(payer_id)
    done_reading()
    unlink_payer(parts().database, patient_id=patient_id, payer_id=payer_id, by=who().id)
    flash(_("%(payer)s does not pay for %(patient)s any more.", payer=payer.name, patient=person.name), "ok")
    return _to_payers(patient_id)


@bp.post("/<int:patient_id>/payers/<int:payer_id>/lines")
@staff_may(May.PATIENTS)
def lines(patient_id: int, payer_id: int) -> ResponseReturnValue:
    """Show a minor's payer what each invoice is for, or stop it."""
    person, payer = person_or_404(patient_id), person_or_404(payer_id)
    on, today = request.form.get("on") == "yes", today_at_the_clinic(reading())
    done_reading()
    show_lines(parts().database, patient_id=patient_id, payer_id=payer_id, on=on, by=who().id, today=today)
    words = _("%(payer)s now sees what %(patient)s's invoices are for.") if on else _(
        "%(payer)s now sees %(patient)s's amounts only."
    )  # fmt: skip
    flash(words % {"payer": payer.name, "patient": person.details.given_name}, "ok")
    return _to_payers(patient_id)


def _to_payers(patient_id: int) -> ResponseReturnValue:
    return redirect(url_for("patients.details", patient_id=patient_id, _anchor="payers"), 303)
