"""Who pays: the patient, whoever pays for them, anybody else on file, or nobody by name."""

import re

import pytest
from sqlalchemy.orm import Session

from portal.clock import now
from portal.patients.finding import SHOWN
from portal.people import Patient
from tests.web.conftest import words
from tests.web.office.receive.conftest import Desk


def test_the_people_who_pay_for_the_patient_are_offered(desk: Desk) -> None:
    page = desk.dana.get(desk.path(desk.invoice("theo"))).text
    options = re.findall(r"<option[^>]*>([^<]+)</option>", page[page.index('name="payer"') :])
    assert options[:5] == [
        "Theo Lindqvist, the patient",
        "Maya Lindqvist, pays for them",
        "Sven Lindqvist, pays for them",
        "Someone else on file",
        "Not named",
    ]


@pytest.mark.promise("O8")
@pytest.mark.parametrize("text", ["weber", "JONAS web", "jonas@example.com", "Wéber"])
def test_somebody_else_is_found_without_script(desk: Desk, text: str) -> None:
    found = desk.send(update="find", payer="other", find=text, amount="26")
    assert found.status_code == 200
    assert "Jonas Weber" in words(found)
    assert "born 9 Sep 1975" in words(found)
    assert 'value="26"' in found.text
    jonas = str(desk.site.cast.stranger.id)
    chosen = desk.send(update="payer", payer="other", person=jonas, amount="26")
    assert "Read aloud to Jonas Weber" in words(chosen)
    assert desk.send(payer="other", person=jonas, amount="26", paid_by="cash").status_code == 303
    assert [one.payer_id for one in desk.payments()] == [desk.site.cast.stranger.id]


@pytest.mark.promise("O8")
@pytest.mark.parametrize("text", ["250 555 0177", "0177", "P-{id}"])
def test_the_payer_is_found_by_phone_and_by_number(desk: Desk, text: str) -> None:
    jonas = desk.site.cast.stranger

    def call(session: Session) -> None:
        session.merge(jonas).phone = "(250) 555-0177"

    desk.site.change(call)
    assert "Jonas Weber" in words(desk.send(update="find", payer="other", find=text.format(id=jonas.id)))


@pytest.mark.promise("O8")
def test_a_search_that_fits_too_many_asks_for_more(desk: Desk) -> None:
    def crowd(session: Session) -> None:
        session.add_all(
            Patient(given_name=f"Ann {turn}", family_name="Weberling", created_at=now()) for turn in range(SHOWN)
        )

    desk.site.change(crowd)
    assert "More people fit." in words(desk.send(update="find", payer="other", find="weber"))
    assert "More people fit." not in words(desk.send(update="find", payer="other", find="jonas"))


@pytest.mark.parametrize("text", ["%", "_", "\\", "\0", "nobody at all", " ", "x" * 5000])
def test_a_search_that_finds_nobody_says_so(desk: Desk, text: str) -> None:
    page = desk.send(update="find", payer="other", find=text)
    assert page.status_code == 200
    assert "Jonas Weber" not in words(page)


@pytest.mark.promise("O8")
def test_a_payer_may_stay_unnamed_and_keeps_no_card_then(desk: Desk) -> None:
    shown = desk.send(update="payer", payer="nobody")
    assert "To save a card, choose the payer first: it belongs to them." in words(shown)
    assert 'name="save"' not in shown.text
    assert desk.press(payer="nobody", amount="26.00")["outcome"] == "paid"
    refused = desk.press(payer="nobody", amount="26.00", save="y")
    assert refused["status"] == "422"
    assert [one.payer_id for one in desk.payments()] == [None]
