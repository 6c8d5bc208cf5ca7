"""What a file says of a person: details, appointments; a new one, and changes."""

from dataclasses import asdict
from datetime import date
from uuid import UUID, uuid4

from flask import flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_wtf import FlaskForm
from wtforms import Field, HiddenField, StringField, TextAreaField, ValidationError
from wtforms.validators import Length

from portal.accounts import BadAccount, mail_address
from portal.audit import note_view
from portal.invitations import invite
from portal.invoices.reading import plain_day
from portal.parts import parts
from portal.patients.facts import Person, portal_of, today_at_the_clinic, visits_of
from portal.patients.file import ChangedMeanwhile, Details, LooksLikeSomebody, add_patient, change_patient, is_phone
from portal.patients.payers import payees_of, payers_of
from portal.people import PATIENT, is_minor
from portal.permissions import May
from portal.web.access import staff_may, who
from portal.web.look import typed
from portal.web.office.patients.room import back_with, bp, file_page, person_or_404, way_back
from portal.web.scope import done_reading, reading
from portal.web.typed import uuid

OLDEST = date(1890, 1, 1)


# --- what it says ---------------------------------------------------------------------------------------------------


@bp.get("/<int:patient_id>")
@staff_may(May.PATIENTS)
def details(patient_id: int) -> ResponseReturnValue:
    """What the file says, who pays for whom, and the person's account in the portal."""
    person = person_or_404(patient_id)
    today = today_at_the_clinic(reading())
    return file_page(
        "details",
        person,
        "details",
        portal=portal_of(reading(), person.id, person.zone),
        payers=payers_of(reading(), person.id, person.birth_date, today),
        payees=payees_of(reading(), person.id, today),
        is_minor=is_minor(person.birth_date, today),
    )


@bp.get("/<int:patient_id>/appointments")
@staff_may(May.PATIENTS)
def appointments(patient_id: int) -> ResponseReturnValue:
    """What is to come, and what was."""
    person = person_or_404(patient_id)
    before = request.args.get("before", "")
    past, following = visits_of(
        reading(), person.id, upcoming=False, before=int(before) if _is_moment(before) else None
    )
    upcoming = [] if _is_moment(before) else visits_of(reading(), person.id, upcoming=True)[0]
    return file_page(
        "appointments", person, "appointments", upcoming=upcoming, past=past, following=following,
        first=not _is_moment(before),
    )  # fmt: skip


def _is_moment(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 10


# --- new, and changed -----------------------------------------------------------------------------------------------


def _tidy(text: str | None) -> str:
    """One line, without what can't be seen."""
    return " ".join("".join(mark if mark.isprintable() else " " for mark in text or "").split())


def _tidy_lines(text: str | None) -> str:
    lines = [_tidy(line) for line in (text or "").splitlines()]
    return "\n".join(line for line in lines if line)


class PatientForm(FlaskForm):
    """What may stand on a file."""

    given_name = StringField(filters=[_tidy], validators=[Length(max=80, message=_l("Use at most 80 characters."))])
    family_name = StringField(filters=[_tidy], validators=[Length(max=80, message=_l("Use at most 80 characters."))])
    birth_date = StringField(filters=[_tidy])
    email = StringField(filters=[_tidy])
    phone = StringField(filters=[_tidy])
    address = TextAreaField(
        filters=[_tidy_lines], validators=[Length(max=500, message=_l("Use at most 500 characters."))]
    )
    request_id = HiddenField(filters=[lambda text: str(uuid(text) or uuid4())])
    shown = HiddenField(filters=[_tidy])

    def validate_given_name(self, field: Field) -> None:
        if not field.data:
            raise ValidationError(_("Enter the given name."))

    def validate_family_name(self, field: Field) -> None:
        if not field.data:
            raise ValidationError(_("Enter the family name."))

    def validate_birth_date(self, field: Field) -> None:
        if not field.data:
            return
        day = _day(field.data)
        if day is None:
            raise ValidationError(_("This is not a date. Write it as year-month-day, like 1988-06-14."))
        if day > today_at_the_clinic(reading()):
            raise ValidationError(_("This day has not come yet. Check the year."))
        if day < OLDEST:
            raise ValidationError(_("This is too long ago. Check the year."))

    def validate_email(self, field: Field) -> None:
        if not field.data:
            return
        try:
            field.data = mail_address(field.data)
        except BadAccount as refusal:
            raise ValidationError(refusal.text) from None

    def validate_phone(self, field: Field) -> None:
        if field.data and not (is_phone(field.data) and len(field.data) <= 40):
            raise ValidationError(_("This is not a phone number. It looks like 250-555-0118."))

    @property
    def details(self) -> Details:
        """What a checked form says."""
        return Details(
            given_name=self.given_name.data,
            family_name=self.family_name.data,
            birth_date=_day(self.birth_date.data),
            email=self.email.data,
            phone=self.phone.data,
            address=self.address.data,
        )


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if len(text) == 10 else None
    except ValueError:
        return None


def _form_page(form: PatientForm, status: int, person: Person | None = None, **words: object) -> ResponseReturnValue:
    page = render_template("office/patients/form.html", form=form, patient=person, day=plain_day, **words)
    return make_response(page, status)


@bp.get("/new")
@staff_may(May.PATIENTS)
def new() -> ResponseReturnValue:
    """The form for a new person; a name or email that was looked for stands in it already."""
    form = PatientForm(formdata=None)
    asked = typed(request.args.get("q"))[:80]
    if "@" in asked:
        form.email.data = asked
    elif asked and not any(mark.isdecimal() for mark in asked):
        form.given_name.data, _space, form.family_name.data = asked.title().rpartition(" ")
    return _form_page(form, 200, back=way_back(request.values.get("for", "")))


@bp.post("/new")
@staff_may(May.PATIENTS)
def add() -> ResponseReturnValue:
    """Put a person on file, unless they look like somebody who is there."""
    form = PatientForm()
    another, back = request.form.get("another") == "yes", way_back(request.form.get("for", ""))
    if not form.validate_on_submit():
        return _form_page(form, 422, back=back)
    done_reading()
    try:
        patient_id = add_patient(
            parts().database,
            form.details,
            request_id=UUID(form.request_id.data),
            by=who().id,
            another_person=another,
        )
    except LooksLikeSomebody as refusal:
        return _form_page(form, 422, alike=refusal.people, refusal=refusal, back=back)
    flash(_("%(name)s is on file.", name=f"{form.given_name.data} {form.family_name.data}"), "ok")
    target = back_with(back, patient_id) if back else url_for("patients.details", patient_id=patient_id)
    return redirect(target, 303)


@bp.get("/<int:patient_id>/edit")
@staff_may(May.PATIENTS)
def edit(patient_id: int) -> ResponseReturnValue:
    """The form with what the file says now."""
    person = person_or_404(patient_id)
    born = person.birth_date.isoformat() if person.birth_date else ""
    form = PatientForm(formdata=None, data=asdict(person.details) | {"birth_date": born})
    form.shown.data = person.details.print
    page = _form_page(form, 200, person)
    note_view(parts().database, who().id, patient_id, "edit")
    return page


@bp.post("/<int:patient_id>/edit")
@staff_may(May.PATIENTS)
def change(patient_id: int) -> ResponseReturnValue:
    """Save what was changed, unless somebody else did meanwhile."""
    person = person_or_404(patient_id)
    form = PatientForm()
    if not form.validate_on_submit():
        return _form_page(form, 422, person)
    done_reading()
    try:
        changed = change_patient(parts().database, patient_id, form.details, shown=form.shown.data or "", by=who().id)
    except ChangedMeanwhile as refusal:
        newest = person_or_404(patient_id)
        form.shown.data = newest.details.print
        return _form_page(form, 409, newest, refusal=refusal, newest=newest)
    flash(_("Saved.") if changed else _("Nothing was different, so nothing changed."), "ok")
    return redirect(url_for("patients.details", patient_id=patient_id), 303)


# --- the portal -----------------------------------------------------------------------------------------------------


@bp.post("/<int:patient_id>/invite")
@staff_may(May.INVITE)
def invite_to_portal(patient_id: int) -> ResponseReturnValue:
    """A link with which the patient makes their account; a former one is revoked."""
    person = person_or_404(patient_id)
    done_reading()
    try:
        invite(
            parts(), email=person.details.email, name=person.name, role=PATIENT, patient_id=patient_id, by=who().id
        )
    except BadAccount as refusal:
        flash(f"{_('No invitation was sent.')}\n{refusal.text}", "warn")
    else:
        flash(
            _("An invitation is on its way to %(email)s. It is good for seven days.", email=person.details.email),
            "ok",
        )
    return redirect(url_for("patients.details", patient_id=patient_id, _anchor="portal"), 303)
