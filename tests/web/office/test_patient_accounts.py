"""A patient's account in the office: who pays for whom, what is owed, and the cards that are kept."""

import re
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from portal.audit import AuditEntry
from portal.cards import Consent, SavedCard, keep_card
from portal.clock import now
from portal.gateway import CardLook
from portal.patients.accounting import PAGE
from portal.payments.states import State
from portal.people import Patient
from tests.makers import (
    make_attempt,
    make_gateway,
    make_invoice,
    make_patient,
    make_payer_link,
    make_payment,
)
from tests.web.conftest import Site, Visitor, words
from tests.web.office.test_patients import rows

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
