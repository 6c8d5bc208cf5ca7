"""Patients' files in the office: finding, adding, changing, payers, and how a person's account stands."""

import gzip
import re
from base64 import urlsafe_b64encode
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from portal import ROOT
from portal.audit import AuditEntry, RecordView
from portal.cards import Consent, SavedCard, keep_card
from portal.clock import now
from portal.gateway import CardLook
from portal.patients.accounting import PAGE
from portal.patients.file import Details, add_patient, change_patient, details_of
from portal.patients.finding import SHOWN, people_found
from portal.payments.states import State
from portal.people import Invitation, Patient, SignUp
from portal.schedule.tables import Appointment
from tests.makers import (
    make_attempt,
    make_gateway,
    make_invoice,
    make_patient,
    make_payer_link,
    make_payment,
    make_service,
)
from tests.support.at_once import at_once, names
from tests.web.conftest import Site, Visitor, words


@pytest.fixture
def dana(site: Site) -> Visitor:
    """The front desk."""
    return site.visitor("dana@example.com")


def found_by(visitor: Visitor, query: str) -> list[str]:
    """The names of the people whom a search finds."""
    page = visitor.get("/office/patients", query_string={"q": query})
    return re.findall(r'<th scope="row"><a [^>]*>([^<]+)</a>', page.text)


def rows(site: Site, statement: Any) -> list[Any]:
    with Session(site.parts.database.reading) as session:
        return list(session.execute(statement).all())


# --- finding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "etienne gag", "gagnon", "GAGNON étienne", "Gagnon, É", "250-555-0118", "(250) 555 0118", "+1 250 555 0118",
        "5550118", "0118", "etienne.g@", "gagnon@", "example.org gag", "etienne.gagnon@example.org", "o'b", "obrien",
        "CHART-77", "chart77",
    ],
)  # fmt: skip
def test_people_are_found_by_the_beginning_of_anything_one_knows(site: Site, dana: Visitor, query: str) -> None:
    def add(session: Session) -> None:
        session.add(
            Patient(
                given_name="Étienne", family_name="Gagnon O'Brien", email="Etienne.Gagnon@example.org",
                phone="1-250-555-0118 x12", reference="CHART-77", created_at=now(),
            )
        )  # fmt: skip

    site.change(add)
    assert "Étienne Gagnon O&#39;Brien" in found_by(dana, query)


@pytest.mark.parametrize(
    "query", ["gagnonx", "tienne", "etienne weber", "250-555-0119", "%", "_", "'; --", "gag\x00x", "🙂"]
)
def test_people_who_do_not_fit_are_not_found(site: Site, dana: Visitor, query: str) -> None:
    site.change(lambda session: make_patient(session, "Étienne", "Gagnon", email="e@example.org"))
    assert "Étienne Gagnon" not in found_by(dana, query)


def test_without_a_query_the_files_opened_last_are_shown(site: Site, dana: Visitor) -> None:
    assert "Jonas Weber" in found_by(dana, "")  # nobody was opened yet: the newest people
    for person in (site.cast.theo, site.cast.maya):
        dana.get(f"/office/patients/{person.id}")
    assert found_by(dana, "") == ["Maya Lindqvist", "Theo Lindqvist"]


def test_a_person_is_found_by_their_number(site: Site, dana: Visitor) -> None:
    number = site.cast.stranger.id
    for query in (f"P-{number}", f"p-{number}", f"P{number}", str(number)):
        assert "Jonas Weber" in found_by(dana, query)
    assert found_by(dana, f"P-{number}") == ["Jonas Weber"]
    assert found_by(dana, "P-999999999") == []


def test_a_change_of_name_or_phone_is_found_at_once_and_the_old_one_no_more(site: Site, dana: Visitor) -> None:
    def marry(session: Session) -> None:
        person = session.get_one(Patient, site.cast.stranger.id)
        person.family_name, person.phone = "Nwosu", "604-555-0199"

    site.change(marry)
    assert found_by(dana, "nwosu") == found_by(dana, "6045550199") == ["Jonas Nwosu"]
    assert found_by(dana, "weber") == []


def test_more_than_a_page_of_people_asks_for_a_longer_query(site: Site, dana: Visitor) -> None:
    site.change(lambda session: [make_patient(session, f"Given{n}", "Popular") for n in range(SHOWN + 1)])
    page = dana.get("/office/patients?q=popular")
    assert f"More than {SHOWN} people fit" in words(page)
    assert len(found_by(dana, "popular")) == SHOWN
    assert found_by(dana, "popular given20") == ["Given20 Popular"]


def test_another_page_can_have_a_person_chosen(site: Site, dana: Visitor) -> None:
    page = dana.get("/office/patients", query_string={"q": "maya", "for": "/office/schedule/book?day=2026-11-23"})
    assert f'href="/office/schedule/book?day=2026-11-23&amp;patient={site.cast.maya.id}"' in page.text
    for elsewhere in ("https://evil.example/", "//evil.example/", "/login", "javascript:alert(1)"):
        page = dana.get("/office/patients", query_string={"q": "maya", "for": elsewhere})
        assert page.status_code == 200 and "evil" not in page.text and "Choose" not in words(page)


def test_the_script_runs_where_it_is_used_and_talks_to_us_alone(site: Site, dana: Visitor) -> None:
    policy = dana.get("/office/patients").headers["Content-Security-Policy"]
    assert "script-src 'self'; connect-src 'self'" in policy and "unsafe" not in policy
    assert "script-src 'none'" in site.visitor().get("/sign-in").headers["Content-Security-Policy"]
    assert len(gzip.compress((ROOT / "static" / "js" / "office.js").read_bytes())) <= 8 * 1024


MANY = 100_000
GIVEN = ("maria", "john", "wei", "aisha", "etienne", "olga", "kwame", "priya", "lars", "noor")
FAMILY = ("smith", "gagnon", "chow", "rahman", "novak", "haddad", "fraser", "tanabe", "mehta", "kelly", "holm")
WORDS = ("given", "family", "'mail'", "'example'", "'person' || id", "phone")


@pytest.fixture
def crowded(site: Site) -> Site:
    """A clinic with a hundred thousand people on file, many of whom share their names; made by the database."""

    def one_of(names: tuple[str, ...]) -> str:
        choices = " ".join(f"WHEN {number} THEN '{name}'" for number, name in enumerate(names))
        return f"CASE id % {len(names)} {choices} END"

    people = f"""
        WITH RECURSIVE
          numbers (id) AS (SELECT 1000 UNION ALL SELECT id + 1 FROM numbers WHERE id < {MANY + 999}),
          people AS (
            SELECT id, {one_of(GIVEN)} AS given, {one_of(FAMILY)} AS family, 6040000000 + id || '' AS phone
            FROM numbers
          )"""
    columns = "id, given_name, family_name, email, phone, search_key, created_at"
    with site.parts.database.transaction() as session:
        session.execute(
            text(
                f"{people} INSERT INTO patients ({columns}) SELECT id, given, family, "
                "'person' || id || '@mail.example', phone, family || ' ' || given, '2026-01-01 00:00:00' FROM people"
            )
        )
        for word in WORDS:
            session.execute(
                text(f"{people} INSERT INTO patient_words (word, patient_id) SELECT {word}, id FROM people")
            )
        session.execute(text("ANALYZE"))
    return site


def test_among_a_hundred_thousand_people_a_search_walks_an_index_and_little_of_it(crowded: Site) -> None:
    database = crowded.parts.database
    for query in (
        "s",
        "smith",
        "maria smith",
        "mail",
        "mail example person",
        "smith etienne 604",
        "6040099999",
        "zzz",
    ):
        with crowded.counting() as sent, database.read() as connection:
            people_found(connection, query)
        assert len(sent) <= 3, (query, sent)
    with database.read() as connection:
        assert len(people_found(connection, "person99999").rows) == 1
        assert len(people_found(connection, "etienne gagnon 604").rows) == SHOWN
        if database.is_sqlite:
            plan = connection.execute(
                text(
                    "EXPLAIN QUERY PLAN SELECT patient_id FROM patient_words WHERE word >= 'smi' AND word < 'smj' "
                    "ORDER BY word, patient_id LIMIT 252"
                )
            ).all()
            assert "SEARCH" in str(plan) and "TEMP B-TREE" not in str(plan)
        moment = now()
        for query in ("maria smith", "mail example person", "smith etienne 604", "s e 6"):
            people_found(connection, query)
        assert now() - moment < timedelta(seconds=1)


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


# --- who pays for whom ----------------------------------------------------------------------------------------------


def link(visitor: Visitor, patient: Patient, payer: Patient, **fields: str) -> Any:
    path = f"/office/patients/{patient.id}/payers/new"
    return visitor.send(path, {"payer": str(payer.id), **fields}, page=f"/office/patients/{patient.id}")


def actions(site: Site, prefix: str) -> list[tuple[str, str, str]]:
    found = rows(
        site, select(AuditEntry.__table__).where(AuditEntry.action.like(f"{prefix}%")).order_by(AuditEntry.id)
    )
    return [(entry.action, entry.before, entry.after) for entry in found]


@pytest.mark.promise("P9")
def test_staff_let_a_minors_payer_see_lines_and_nobody_elses(site: Site, dana: Visitor) -> None:
    theo, maya, jonas = site.cast.theo, site.cast.maya, site.cast.stranger
    number = site.change(lambda session: make_invoice(session, theo).number)
    hers = site.change(lambda session: make_invoice(session, maya).number)
    assert link(dana, theo, jonas, relation="Guardian").status_code == 303
    reader = site.visitor("jonas@example.com")
    assert "Massage therapy" not in words(reader.get(f"/invoices/{number}"))
    switch = f"/office/patients/{theo.id}/payers/{jonas.id}/lines"
    assert dana.send(switch, {"on": "yes"}, page=f"/office/patients/{theo.id}").status_code == 303
    assert "Massage therapy" in words(reader.get(f"/invoices/{number}"))
    assert actions(site, "payer.") == [
        ("payer.linked", "", "Guardian, sees amounts only"),
        ("payer.lines", "sees amounts only", "sees lines"),
    ]
    # Maya is of age: it is hers alone to allow.
    assert link(dana, maya, jonas).status_code == 303
    form = dana.get(f"/office/patients/{maya.id}/payers/new?patient={site.cast.second_payer.id}")
    assert "sees_lines" not in form.text
    assert link(dana, maya, site.cast.second_payer, sees_lines="on").status_code == 403
    refused = dana.send(
        f"/office/patients/{maya.id}/payers/{jonas.id}/lines", {"on": "yes"}, page=f"/office/patients/{theo.id}"
    )
    assert refused.status_code == 403 and "Only the patient can allow that" in words(refused)
    assert "Massage therapy" not in words(reader.get(f"/invoices/{hers}"))


@pytest.mark.promise("P9")
def test_what_staff_allowed_for_a_minor_ends_on_the_eighteenth_birthday(site: Site, dana: Visitor) -> None:
    theo, jonas = site.cast.theo, site.cast.stranger
    number = site.change(lambda session: make_invoice(session, theo).number)
    link(dana, theo, jonas, sees_lines="on")
    reader = site.visitor("jonas@example.com")
    assert "Massage therapy" in words(reader.get(f"/invoices/{number}"))
    today = now().date()
    for born, sees in (
        (today.replace(year=today.year - 18, day=1) + timedelta(days=60), True),
        (today.replace(year=today.year - 18), False),
        (None, False),
    ):
        with site.parts.database.transaction() as session:
            session.execute(update(Patient).where(Patient.id == theo.id).values(birth_date=born))
        assert ("Massage therapy" in words(reader.get(f"/invoices/{number}"))) is sees, born
        allowed = words(dana.get(f"/office/patients/{theo.id}")).count("Sees amounts and lines")
        assert allowed == 1 + sees  # Maya's, which Theo allowed himself, stays


@pytest.mark.promise("P9")
def test_a_patient_decides_themselves_what_each_payer_sees(site: Site, dana: Visitor) -> None:
    maya, jonas = site.cast.maya, site.cast.stranger
    number = site.change(lambda session: make_invoice(session, maya).number)
    link(dana, maya, jonas, relation="Spouse or partner")
    herself, reader = site.visitor("maya@example.com"), site.visitor("jonas@example.com")
    assert "Who pays for you" in words(herself.get("/invoices"))
    page = herself.get("/me/payers")
    assert "Jonas Weber" in words(page) and "Sees amounts only" in words(page)
    assert herself.send(f"/me/payers/{jonas.id}/lines", {"on": "yes"}, page="/me/payers").status_code == 303
    assert "Massage therapy" in words(reader.get(f"/invoices/{number}"))
    herself.send(f"/me/payers/{jonas.id}/lines", {"on": "no"}, page="/me/payers")
    assert "Massage therapy" not in words(reader.get(f"/invoices/{number}"))
    # Nobody decides for others: Jonas can't let himself see more, nor Maya decide for Theo here.
    assert reader.send(f"/me/payers/{maya.id}/lines", {"on": "yes"}, page="/invoices").status_code == 404
    assert herself.send(f"/me/payers/{site.cast.theo.id}/lines", {"on": "yes"}, page="/me/payers").status_code == 404
    assert "You pay for yourself." in words(reader.get("/me/payers"))


def test_a_payer_is_linked_once_and_never_to_themselves(site: Site, dana: Visitor) -> None:
    theo, maya = site.cast.theo, site.cast.maya
    assert link(dana, theo, theo).status_code == 422
    twice = link(dana, theo, maya, relation="Parent")
    assert twice.status_code == 409 and "Maya Lindqvist pays for this person already." in words(twice)
    assert link(dana, theo, Patient(id=999_999)).status_code == 404
    assert dana.get(f"/office/patients/{theo.id}/payers/new").location.startswith("/office/patients?for=")


@pytest.mark.promise("P9")
def test_an_employer_pays_for_hundreds(site: Site, dana: Visitor) -> None:
    def hire(session: Session) -> list[str]:
        staff = [make_patient(session, f"Given{number}", "Employed") for number in range(600)]
        for person in staff:
            make_payer_link(session, site.cast.stranger, person)
        return [make_invoice(session, person).number for person in staff[::100]]

    numbers = site.change(hire)
    employer = site.visitor("jonas@example.com")
    page = employer.get("/invoices")
    assert "You have six open invoices, $756.00 in all." in words(page)
    assert all(number in page.text for number in numbers) and "Massage" not in words(page)
    assert "and 594 others, because you pay for them." in words(page)
    assert employer.get("/invoices/paid").status_code == employer.get(f"/invoices/{numbers[3]}").status_code == 200
    account = dana.get(f"/office/patients/{site.cast.stranger.id}/accounting")
    assert "and 570 more, whose invoices are in their own files" in words(account)
    assert dana.get(f"/office/patients/{site.cast.stranger.id}").status_code == 200


def test_a_payer_who_is_taken_off_sees_nothing_any_more(site: Site, dana: Visitor) -> None:
    theo, sven = site.cast.theo, site.cast.second_payer
    number = site.change(lambda session: make_invoice(session, theo).number)
    reader = site.visitor("sven@example.com")
    assert reader.get(f"/invoices/{number}").status_code == 200
    path = f"/office/patients/{theo.id}/payers/{sven.id}/remove"
    assert dana.send(path, page=f"/office/patients/{theo.id}").status_code == 303
    assert reader.get(f"/invoices/{number}").status_code == 404
    assert dana.send(path, page=f"/office/patients/{theo.id}").status_code == 404
    assert actions(site, "payer.") == [("payer.unlinked", "sees amounts only", "")]


# --- the account ----------------------------------------------------------------------------------------------------


@pytest.mark.promise("O11")
def test_the_balance_is_ones_own_and_each_invoice_is_paid_on_its_own(site: Site, dana: Visitor) -> None:
    cast = site.cast

    def bill(session: Session) -> list[str]:
        mine, part, paid = (make_invoice(session, cast.maya) for _ in range(3))
        make_payment(session, part, 26_00)
        make_payment(session, paid)
        return [mine.number, part.number, paid.number, make_invoice(session, cast.theo).number]

    mine, part, paid, theos = site.change(bill)
    page = dana.get(f"/office/patients/{cast.maya.id}/accounting")
    assert "CA$ 226.00" in words(page)
    assert "A balance can't be paid in one sum through Stripe" in words(page)
    for number in (mine, part, theos):
        assert f'href="/office/invoices/{number}/receive"' in page.text
    assert f'href="/office/invoices/{paid}/receive"' not in page.text
    assert f'href="/office/invoices/{paid}/payments"' in page.text
    statement = dana.get(f"/office/patients/{cast.maya.id}/statement")
    assert theos not in words(statement) and paid not in words(statement) and part in words(statement)
    assert "CA$ 226.00" in words(statement)


def test_an_invoice_whose_payment_is_being_checked_takes_no_second_one(site: Site, dana: Visitor) -> None:
    def begin(session: Session) -> str:
        invoice = make_invoice(session, site.cast.maya)
        make_attempt(session, invoice, make_gateway(session, site.parts.vault), State.CONFIRMING)
        return invoice.number

    number = site.change(begin)
    page = dana.get(f"/office/patients/{site.cast.maya.id}/accounting")
    assert "Checking a payment" in words(page) and "Locked until known" in words(page)
    assert f"{number}/receive" not in page.text


def test_a_long_account_is_walked_page_by_page_and_nothing_is_shown_twice(site: Site, dana: Visitor) -> None:
    maya = site.cast.maya

    def bill(session: Session) -> list[str]:
        numbers = []
        for turn in range(PAGE * 2 + 5):
            invoice = make_invoice(session, maya, service_on=date(2026, 1, 1) + timedelta(days=turn // 3))
            if turn % 2:
                make_payment(session, invoice)
            numbers.append(invoice.number)
        return numbers

    numbers = site.change(bill)
    seen, path = [], f"/office/patients/{maya.id}/accounting"
    while path:
        page = dana.get(path).text
        seen += re.findall(r'<th scope="row"><a href="/office/invoices/(\d+)">', page)
        further = re.search(r'href="([^"]+\?after=[^"]+)"', page)
        path = further[1] if further else ""
    assert seen == sorted(numbers, reverse=True)
    assert "Earlier payments" in words(dana.get(f"/office/patients/{maya.id}/accounting"))


def test_the_account_of_a_long_file_takes_few_statements(site: Site, dana: Visitor) -> None:
    site.change(lambda session: [make_invoice(session, site.cast.maya) for _ in range(30)])
    with site.counting() as sent:
        dana.get(f"/office/patients/{site.cast.maya.id}/accounting")
    assert len([statement for statement in sent if statement.lstrip().startswith("SELECT")]) <= 11, sent


def test_a_practitioner_sees_files_but_no_accounts(site: Site) -> None:
    liam = site.visitor("liam@example.com")
    file = f"/office/patients/{site.cast.maya.id}"
    assert "Accounting" not in words(liam.get(file))
    assert liam.get(f"{file}/accounting").status_code == liam.get(f"{file}/statement").status_code == 403


def keep(session: Session, site: Site, payer: Patient, gateway_id: int, last4: str, user_id: int | None) -> None:
    look = CardLook("card", brand="visa", funding="credit", last4=last4, exp_month=8, exp_year=2040)
    keep_card(session, site.parts.vault, payer_id=payer.id, gateway_id=gateway_id, mode="test",
              method_id=f"pm_{payer.id}_{last4}", card=look, consent=Consent("2026-11", now(), user_id))  # fmt: skip


@pytest.mark.promise("O9")
def test_a_card_shows_in_its_payers_file_with_who_saved_it_and_which_consent(site: Site, dana: Visitor) -> None:
    cast = site.cast

    def save(session: Session) -> None:
        gateway = make_gateway(session, site.parts.vault).id
        keep(session, site, cast.maya, gateway, "4242", cast.maya_user.id)
        keep(session, site, cast.maya, gateway, "1881", cast.clerk.id)
        keep(session, site, cast.stranger, gateway, "0005", None)

    site.change(save)
    page = dana.get(f"/office/patients/{cast.maya.id}/accounting")
    assert "Visa ending 4242 Expires 08/2040. Saved by Maya Lindqvist in the portal" in words(page)
    assert "Saved by Dana Whitlock at the desk" in words(page) and "Consent, version 2026-11" in words(page)
    assert "0005" not in words(page)
    childs = dana.get(f"/office/patients/{cast.theo.id}/accounting")
    assert "Theo Lindqvist keeps no card" in words(childs) and "Paid by Maya Lindqvist" in words(childs)
    assert "/cards/" not in childs.text  # nothing to remove or choose: the cards are Maya's
    # Another card becomes the default; a card in somebody else's file is not found there.
    default, other = rows(
        site, select(SavedCard.public_id).where(SavedCard.payer_id == cast.maya.id).order_by(SavedCard.id)
    )
    assert f"/cards/{other[0]}/default" in page.text and f"/cards/{default[0]}/default" not in page.text
    file = f"/office/patients/{cast.maya.id}"
    assert dana.send(f"{file}/cards/{other[0]}/default", page=file).status_code == 303
    assert rows(site, select(SavedCard.public_id).where(SavedCard.is_usual, SavedCard.payer_id == cast.maya.id)) == [
        other
    ]
    theos = f"/office/patients/{cast.theo.id}/cards/{default[0]}"
    assert (
        dana.send(f"{theos}/remove", page=file).status_code
        == dana.send(f"{theos}/default", page=file).status_code
        == 404
    )
    assert actions(site, "card.made") != []


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
