"""Patients' files in the office: adding, changing, visits, and who looked."""

import re
from base64 import urlsafe_b64encode
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.audit import AuditEntry, RecordView
from portal.clock import now
from portal.patients.file import Details, add_patient, change_patient, details_of
from portal.people import Invitation, Patient, SignUp
from portal.schedule.tables import Appointment
from tests.makers import (
    make_invoice,
    make_patient,
    make_service,
)
from tests.support.at_once import at_once, names
from tests.web.conftest import Site, Visitor, words
from tests.web.office.test_finding_patients import found_by


def rows(site: Site, statement: Any) -> list[Any]:
    with Session(site.parts.database.reading) as session:
        return list(session.execute(statement).all())


# --- new people -----------------------------------------------------------------------------------------------------

RUTH = {
    "given_name": "Ruth",
    "family_name": "Friesen",
    "birth_date": "1971-02-28",
    "email": "Ruth@Example.com",
    "phone": "604-555-0123",
    "address": "4 Elm Street\r\nKelowna BC",
}


def add(visitor: Visitor, **changes: str) -> Any:
    return visitor.send("/office/patients/new", {**RUTH, "request_id": str(uuid4()), **changes})


def people_called(site: Site, given_name: str) -> list[Any]:
    return rows(site, select(Patient.__table__).where(Patient.given_name == given_name).order_by(Patient.id))


def test_a_new_person_is_on_file_once_however_often_the_button_is_pressed(site: Site, dana: Visitor) -> None:
    press = str(uuid4())
    first, second = add(dana, request_id=press), add(dana, request_id=press)
    assert first.status_code == second.status_code == 303
    assert first.location == second.location
    (ruth,) = people_called(site, "Ruth")
    assert (ruth.email, ruth.birth_date, ruth.address) == (
        "ruth@example.com", date(1971, 2, 28), "4 Elm Street\nKelowna BC",
    )  # fmt: skip
    (entry,) = rows(site, select(AuditEntry.__table__).where(AuditEntry.action == "patient.added"))
    assert (entry.patient_id, entry.user_id) == (ruth.id, site.cast.clerk.id)
    assert found_by(dana, "friesen 0123") == ["Ruth Friesen"]


@pytest.mark.parametrize(
    "same",
    [
        {"given_name": "RUTH", "family_name": "Friesén", "email": "", "phone": ""},
        {"given_name": "Ruth", "family_name": "Friesen", "birth_date": "", "email": "", "phone": ""},
        {"given_name": "Rose", "birth_date": "1999-01-01", "email": "RUTH@example.com", "phone": ""},
        {"given_name": "Rose", "birth_date": "1999-01-01", "email": "", "phone": "+1 (604) 555 0123"},
    ],
)
def test_somebody_who_may_be_on_file_already_is_pointed_out(site: Site, dana: Visitor, same: dict[str, str]) -> None:
    add(dana)
    asked = add(dana, **same)
    assert asked.status_code == 422
    assert "This may be somebody who is on file already. Nothing was saved." in words(asked)
    (ruth,) = people_called(site, "Ruth")
    assert f'href="/office/patients/{ruth.id}"' in asked.text
    assert 'value="1999-01-01"' in asked.text or "birth_date" not in same or not same["birth_date"]
    assert len(rows(site, select(Patient.id).where(Patient.family_name.in_(("Friesen", "Friesén"))))) == 1
    assert add(dana, **same, another="yes").status_code == 303
    assert len(rows(site, select(Patient.id).where(Patient.family_name.in_(("Friesen", "Friesén"))))) == 2


def test_a_family_name_with_one_letter_off_is_pointed_out(site: Site, dana: Visitor) -> None:
    add(dana)
    misspelt = {"family_name": "Friessen", "email": "", "phone": ""}
    assert "This may be somebody who is on file already." in words(add(dana, **misspelt))
    assert add(dana, **misspelt, given_name="Rudolf").status_code == 303, "a twin is somebody else"


def test_another_birth_date_is_another_person(site: Site, dana: Visitor) -> None:
    add(dana)
    assert add(dana, birth_date="2001-02-28", email="", phone="").status_code == 303


def test_who_was_looked_for_in_vain_stands_in_the_form(dana: Visitor) -> None:
    assert 'value="Ruth"' in dana.get("/office/patients/new?q=ruth friesen").text
    assert 'value="r@example.com"' in dana.get("/office/patients/new?q=r@example.com").text


def test_a_new_person_goes_back_to_the_page_that_wanted_them(site: Site, dana: Visitor) -> None:
    made = add(dana, **{"for": "/office/schedule/book?day=2026-11-23"})
    (ruth,) = people_called(site, "Ruth")
    assert made.location == f"/office/schedule/book?day=2026-11-23&patient={ruth.id}"
    assert add(dana, given_name="Rudi", email="", phone="", **{"for": "https://evil.example/"}).location.startswith(
        "/office/patients/"
    )


BAD = [
    ({"given_name": "  "}, "Enter the given name."),
    ({"family_name": "\x00"}, "Enter the family name."),
    ({"given_name": "x" * 81}, "Use at most 80 characters."),
    ({"birth_date": "14 June"}, "This is not a date."),
    ({"birth_date": "2026-02-30"}, "This is not a date."),
    ({"birth_date": "2999-01-01"}, "This day has not come yet."),
    ({"birth_date": "1066-10-14"}, "This is too long ago."),
    ({"email": "ruth at example"}, "This is not an email address."),
    ({"email": "ruth@exämple.com"}, "This is not an email address."),
    ({"phone": "call me"}, "This is not a phone number."),
    ({"phone": "1" * 41}, "This is not a phone number."),
    ({"address": "long " * 200}, "Use at most 500 characters."),
]


@pytest.mark.parametrize(("change", "sentence"), BAD)
def test_what_can_not_be_is_said_at_its_field_and_what_was_typed_is_kept(
    site: Site, dana: Visitor, change: dict[str, str], sentence: str
) -> None:
    page = add(dana, **change)
    assert page.status_code == 422
    assert words(page).count(sentence) == 2  # in the summary and at the field
    assert "4 Elm Street" in page.text or "address" in change
    assert not people_called(site, "Ruth")


@pytest.mark.parametrize("rubbish", [{}, {"request_id": "x" * 5000}, {"shown": "🙂" * 900, "request_id": "\x00"}])
def test_rubbish_is_refused_with_words(site: Site, dana: Visitor, rubbish: dict[str, str]) -> None:
    file = f"/office/patients/{site.cast.maya.id}"
    assert dana.send("/office/patients/new", rubbish).status_code == 422
    assert dana.send(f"{file}/edit", rubbish).status_code == 422
    for path in ("/payers/new", "/payers/999999999/lines", "/payers/99999999999/remove", "/payers/0/lines"):
        assert dana.send(file + path, rubbish, page=file).status_code == 404
    far = urlsafe_b64encode(b"20260101.999999999999999999").decode()
    for query in ("after=%00", f"after={far}", "before=x", "before=999999999999", "after=" + "A" * 300, "before=-1"):
        assert dana.get(f"{file}/accounting?{query}").status_code == 200, query
        assert dana.get(f"{file}/appointments?{query}").status_code == 200, query
    maya = site.visitor("maya@example.com")
    assert (
        maya.get(f"/invoices?after={far}").status_code == maya.get(f"/invoices/paid?after={far}").status_code == 200
    )


# --- changes --------------------------------------------------------------------------------------------------------


def form_of(visitor: Visitor, path: str) -> dict[str, str]:
    """An edit form as it is shown."""
    page = visitor.get(path).text
    fields = dict(re.findall(r'<input [^>]*name="(\w+)"[^>]*? value="([^"]*)"', page))
    return {
        name: fields.get(name, "") for name in ("given_name", "family_name", "birth_date", "email", "phone", "shown")
    }


def test_each_changed_field_is_in_the_audit_log(site: Site, dana: Visitor) -> None:
    maya = site.cast.maya
    path = f"/office/patients/{maya.id}/edit"
    form = {**form_of(dana, path), "phone": "250-555-0118", "family_name": "Lindqvist-Holm"}
    assert dana.send(path, form).status_code == 303
    entries = rows(site, select(AuditEntry.__table__).where(AuditEntry.action == "patient.changed"))
    assert {(entry.subject, entry.before, entry.after, entry.patient_id) for entry in entries} == {
        (f"family name of Maya Lindqvist, P-{maya.id}", "Lindqvist", "Lindqvist-Holm", maya.id),
        (f"phone of Maya Lindqvist, P-{maya.id}", "", "250-555-0118", maya.id),
    }
    assert dana.send(path, form).status_code == 303  # the same press again
    assert len(rows(site, select(AuditEntry.id).where(AuditEntry.action == "patient.changed"))) == 2


def test_of_two_who_edit_at_once_the_second_is_told(site: Site, dana: Visitor) -> None:
    path = f"/office/patients/{site.cast.maya.id}/edit"
    ines = site.visitor("ines@example.com")
    danas, iness = form_of(dana, path), form_of(ines, path)
    assert ines.send(path, {**iness, "phone": "250-555-0100"}).status_code == 303
    told = dana.send(path, {**danas, "email": "new@example.com"})
    assert told.status_code == 409
    assert "Somebody else changed this file meanwhile. Nothing was saved." in words(told)
    assert "250-555-0100" in words(told) and 'value="new@example.com"' in told.text
    (maya,) = people_called(site, "Maya")
    assert (maya.email, maya.phone) == ("maya@example.com", "250-555-0100")
    again = dict(re.findall(r'name="(shown)" value="(\w+)"', told.text))
    assert dana.send(path, {**danas, **again, "phone": "250-555-0100", "email": "new@example.com"}).status_code == 303


def test_one_press_at_the_same_moment_makes_one_person(site: Site) -> None:
    press, details = uuid4(), Details("Ruth", "Friesen")
    made = at_once([lambda: add_patient(site.parts.database, details, request_id=press, by=None)] * 4)
    assert len(set(made)) == 1 and len(people_called(site, "Ruth")) == 1


def test_of_two_changes_at_the_same_moment_one_is_saved(site: Site) -> None:
    maya, database = site.cast.maya, site.parts.database
    shown = details_of(maya)
    outcomes = at_once(
        [
            partial(change_patient, database, maya.id, replace(shown, phone=phone), shown=shown.print, by=None)
            for phone in ("250-555-0111", "250-555-0122")
        ]
    )
    assert names(outcomes) == {"bool": 1, "ChangedMeanwhile": 1} and True in outcomes


# --- visits and the portal ------------------------------------------------------------------------------------------


def test_visits_to_come_and_those_that_were_lead_into_the_schedule(site: Site, dana: Visitor) -> None:
    cast = site.cast

    def book(session: Session) -> None:
        service = make_service(session)
        for number, (hours, status) in enumerate(
            ((-30, "completed"), (-2, "booked"), (50, "cancelled"), (26, "booked"))
        ):
            starts = now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=hours)
            session.add(
                Appointment(
                    public_id=f"visit{number}", location_id=cast.location.id, practitioner_id=cast.practitioner.id,
                    patient_id=cast.maya.id, service_id=service.id, starts_at=starts,
                    ends_at=starts + timedelta(minutes=30), status=status, booked_at=now(),
                )
            )  # fmt: skip

    site.change(book)
    page = dana.get(f"/office/patients/{cast.maya.id}/appointments")
    assert re.findall(r'href="/office/appointments/(\w+)"', page.text) == ["visit3", "visit2", "visit1", "visit0"]
    for state in ("Booked", "Cancelled", "To be completed", "Completed"):
        assert state in words(page)
    assert dana.get("/office/appointments/visit3").status_code == 200
    assert "Nothing is booked." in words(dana.get(f"/office/patients/{cast.theo.id}/appointments"))


def test_sign_ups_that_wait_are_told_where_people_are_looked_for(site: Site, dana: Visitor) -> None:
    assert "/office/sign-ups" not in dana.get("/office/patients").text

    def ask(session: Session) -> None:
        session.add(
            SignUp(
                token_hash="x" * 64, email="ruth@example.com", given_name="Ruth", family_name="Friesen",
                asked_at=now(), expires_at=now() + timedelta(days=1), proved_at=now(),
            )
        )  # fmt: skip

    site.change(ask)
    page = dana.get("/office/patients")
    assert 'href="/office/sign-ups"' in page.text and "Sign-ups that wait for your word: 1" in words(page)


def test_an_invitation_is_sent_and_sent_again(site: Site, dana: Visitor) -> None:
    ruth = site.change(lambda session: make_patient(session, "Ruth", "Friesen", email="ruth@example.com").id)
    path = f"/office/patients/{ruth}"
    assert "No account" in words(dana.get(path))
    assert dana.send(f"{path}/invite", page=path).status_code == 303
    assert "Invited, until" in words(dana.get(path)) and "Invite again" in words(dana.get(path))
    dana.send(f"{path}/invite", page=path)
    open_ones = select(Invitation.id).where(Invitation.patient_id == ruth, Invitation.revoked_at.is_(None))
    assert len(rows(site, open_ones)) == 1
    maya = f"/office/patients/{site.cast.maya.id}"
    assert "Has an account" in words(dana.get(maya)) and "Invite" not in words(dana.get(maya))
    dana.send(f"{maya}/invite", page=path)
    assert "No invitation was sent" in words(dana.get(maya))


def test_every_page_of_a_file_opens_and_is_written_down(site: Site, dana: Visitor) -> None:
    number = site.change(lambda session: make_invoice(session, site.cast.maya).number)
    file = f"/office/patients/{site.cast.maya.id}"
    for page in ("", "/appointments", "/accounting", "/statement", "/edit"):
        shown = dana.get(file + page)
        assert shown.status_code == 200, page
        assert "Maya Lindqvist" in words(shown)
    assert number in words(dana.get(f"{file}/accounting"))
    looked = rows(site, select(RecordView.page).where(RecordView.patient_id == site.cast.maya.id))
    assert {page for (page,) in looked} == {"details", "appointments", "accounting", "statement", "edit"}
    assert dana.get("/office/patients/999999").status_code == 404
    assert dana.get("/office/patients/99999999999999999999").status_code == 404
