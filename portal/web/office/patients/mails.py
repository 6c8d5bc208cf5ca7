"""The Emails tab: every mail about a person and how it stands, and which ones they told the clinic they want."""

from uuid import uuid4

from flask import abort, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from portal.errors import Refusal
from portal.letters.choices import choices_of, choose_receipt_pdf, choose_reminders
from portal.letters.reading import mails_of_patient
from portal.letters.registrations import send_again
from portal.parts import parts
from portal.patients.accounting import office_path
from portal.permissions import May
from portal.web import typed
from portal.web.access import staff_may, who
from portal.web.office.patients.room import bp, file_page, person_or_404
from portal.web.scope import done_reading, reading, settings

_CHOOSE = {"reminders": choose_reminders, "receipt_pdf": choose_receipt_pdf}
_KEPT = {
    ("reminders", True): _l("%(name)s gets reminders again."),
    ("reminders", False): _l("%(name)s gets no more reminders."),
    ("receipt_pdf", True): _l("It is on file that %(name)s agreed to receipts as a PDF."),
    ("receipt_pdf", False): _l("It is on file that %(name)s wants no receipts as a PDF."),
}


@bp.get("/<int:patient_id>/emails")
@staff_may(May.INVOICES)
def emails(patient_id: int) -> ResponseReturnValue:
    """What a person wants, and the mails about them, the newest first."""
    person = person_or_404(patient_id)
    before = typed.number(request.args.get("before"))
    page = mails_of_patient(reading(), person.id, before)
    reminders, receipt_pdf = choices_of(reading(), person.id)
    return file_page(
        "emails",
        person,
        "emails",
        mails=page,
        is_first=before is None,
        path_of=office_path,
        reminders=reminders,
        receipt_pdf=receipt_pdf,
        offers_pdf=settings().yes("email_receipt_pdf"),
        request_id=uuid4(),
    )


@bp.post("/<int:patient_id>/emails/<int:mail_id>/again")
@staff_may(May.REGISTER)
def email_again(patient_id: int, mail_id: int) -> ResponseReturnValue:
    """Send a mail about somebody's place in a program once more, written anew. (One about an invoice: there.)"""
    person = person_or_404(patient_id)
    press = typed.uuid(request.form.get("request")) or abort(400)
    if mail_id > typed.LARGEST_ID:
        abort(404)
    done_reading()
    try:
        sent = send_again(parts(), person.id, mail_id, press, by=who().id) or abort(404)
    except Refusal as refusal:
        flash(f"{refusal.heading}\n{refusal.text}", "warn")
    else:
        flash(_("It is on its way again.\nIt goes to %(email)s.", email=sent.email), "ok")
    return redirect(url_for("patients.emails", patient_id=person.id), 303)


@bp.post("/<int:patient_id>/emails")
@staff_may(May.PATIENTS)
def choose_emails(patient_id: int) -> ResponseReturnValue:
    """Keep what the person said at the desk or on the phone. Each press names what it wants, so a stale page or a
    press sent twice turns nothing around.
    """
    person = person_or_404(patient_id)
    choice, on = request.form.get("choice", ""), request.form.get("on")
    if choice not in _CHOOSE or on not in ("yes", "no"):
        abort(400)
    done_reading()
    _CHOOSE[choice](parts().database, person.id, on == "yes", by=who().id)
    flash(str(_KEPT[choice, on == "yes"]) % {"name": person.name}, "ok")
    return redirect(url_for("patients.emails", patient_id=person.id), 303)
