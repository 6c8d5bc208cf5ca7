"""Who pays for me: a patient sees it, and switches on or off that a payer sees what each invoice is for (P9)."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.parts import parts
from portal.patients.facts import person_on_file, today_at_the_clinic
from portal.patients.payers import payers_of, show_lines
from portal.web.access import patient_only, payer, who
from portal.web.scope import done_reading, reading

bp = Blueprint("payers", __name__, url_prefix="/me/payers")


@bp.get("")
@patient_only
def mine() -> ResponseReturnValue:
    """Everybody who pays for me, and what they see."""
    myself = person_on_file(reading(), payer().id)
    assert myself is not None
    payers = payers_of(reading(), myself.id, myself.birth_date, today_at_the_clinic(reading()))
    return render_template("payers/list.html", payers=payers)


@bp.post("/<int:payer_id>/lines")
@patient_only
def lines(payer_id: int) -> ResponseReturnValue:
    """Let a payer of mine see what each invoice is for, or amounts only."""
    patient_id, by, on = payer().id, who().id, request.form.get("on") == "yes"
    done_reading()
    show_lines(parts().database, patient_id=patient_id, payer_id=payer_id, on=on, by=by, today=None)
    flash(_("They now see what each of your invoices is for.") if on else _("They now see amounts only."), "ok")
    return redirect(url_for("payers.mine"), 303)
