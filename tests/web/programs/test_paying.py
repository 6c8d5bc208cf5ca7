"""The pay pages of a held place: found by its registration before and after its invoice has a number (P6, P7)."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.clock import shifted
from portal.payments.tables import PaymentAttempt
from portal.programs.my_places import PlaceReceipt
from portal.programs.states import Place
from portal.web.place_endings import how_it_goes_back
from tests.web.conftest import Visitor, words
from tests.web.programs.conftest import Studio

pytestmark = pytest.mark.promise("P6", "P7")


@pytest.fixture
def path(studio: Studio, jonas: Visitor) -> str:
    """The place that Jonas holds, ready to be paid."""
    held = studio.held(jonas)
    assert studio.save(jonas, held).location == f"{held}/pay"
    return held


def intent_of(studio: Studio, attempt: str) -> str:
    with Session(studio.site.parts.database.reading) as session:
        found = session.scalars(select(PaymentAttempt.intent_id).where(PaymentAttempt.id == UUID(attempt))).one()
    assert found is not None
    return found


@pytest.fixture
def waiting(studio: Studio, jonas: Visitor, path: str) -> str:
    """An attempt whose bank asks Jonas something."""
    answer = studio.pay(jonas, path, "threeDSecure2Required")
    assert (answer["outcome"], answer["settle"]) == ("action", f"{path}/pay/{answer['attempt']}/settle")
    return str(answer["attempt"])


def test_back_from_the_bank_the_place_is_theirs(studio: Studio, jonas: Visitor, path: str, waiting: str) -> None:
    assert jonas.get(f"{path}/pay/{waiting}/return").location == f"{path}/pay"
    assert "Your bank was asking you to confirm a payment" in words(jonas.get(f"{path}/pay"))
    studio.sandbox.authenticate(intent_of(studio, waiting), succeed=True)
    assert jonas.get(f"{path}/pay/{waiting}/return").location == path
    assert studio.registration(path).state == Place.CONFIRMED
    for again in (f"{path}/pay/{waiting}/return", f"{path}/pay/{waiting}", f"{path}/pay"):
        assert jonas.get(again).location == path, "its invoice has a number by now"
    settled = jonas.post(f"{path}/pay/{waiting}/settle", data={"csrf_token": jonas.token(f"{path}/cancel")})
    assert settled.location == path
    assert studio.taken_cents == 210_00


def test_a_bank_that_says_no_leaves_the_place_held(studio: Studio, jonas: Visitor, path: str, waiting: str) -> None:
    studio.sandbox.authenticate(intent_of(studio, waiting), succeed=False)
    assert jonas.get(f"{path}/pay/{waiting}/return").location == f"{path}/pay"
    page = words(jonas.get(f"{path}/pay"))
    assert "You have not been charged." in page
    assert "We hold a place for you until" in page
    assert studio.pay(jonas, path)["outcome"] == "paid"


def test_a_press_in_time_keeps_the_place_while_the_bank_asks(studio: Studio, jonas: Visitor, path: str) -> None:
    with shifted(timedelta(minutes=14)):
        waiting = str(studio.pay(jonas, path, "threeDSecure2Required")["attempt"])
    with shifted(timedelta(minutes=20)):
        assert "We hold a place for you until" in words(jonas.get(f"{path}/pay"))
        studio.sandbox.authenticate(intent_of(studio, waiting), succeed=True)
        assert jonas.get(f"{path}/pay/{waiting}/return").location == path
    assert studio.registration(path).state == Place.CONFIRMED


def test_letting_go_ends_what_the_bank_still_asks(studio: Studio, jonas: Visitor, path: str, waiting: str) -> None:
    answer = jonas.post(f"{path}/let-go", data={"csrf_token": jonas.token(path)})
    assert answer.location == "/programs"
    assert studio.registration(path).state == Place.RELEASED
    assert jonas.get(f"{path}/pay/{waiting}").status_code in (200, 303)
    assert studio.taken_cents == 0


def test_an_attempt_of_somebody_else_leads_to_ones_own_place(studio: Studio, jonas: Visitor, waiting: str) -> None:
    maya = studio.site.visitor("maya@example.com")
    hers = studio.held(maya)
    assert maya.get(f"{hers}/pay/{waiting}").location == hers
    assert maya.get(f"{hers}/pay/{waiting}/return").location == hers


def test_a_held_place_has_no_invoice_page(studio: Studio, jonas: Visitor, path: str) -> None:
    name = studio.invoice(path).number
    assert name.startswith("~")
    assert jonas.get(f"/invoices/{name}").location == path
    assert jonas.get(f"/invoices/{name}/pay").location == f"{path}/pay"
    assert jonas.post(f"/invoices/{name}/pay", data={"csrf_token": jonas.token(path)}).status_code == 404
    assert name not in jonas.get("/invoices").text
    studio.pay(jonas, path)
    assert "Back in motion" in words(jonas.get(f"/invoices/{name}"))


def test_pressing_pay_again_after_it_went_through_answers_the_same(studio: Studio, jonas: Visitor, path: str) -> None:
    fields = {**studio.fields(jonas, f"{path}/pay"), "card": "new", "script": "1", "name": "Jonas Weber"}
    fields["confirmation_token"] = studio.sandbox.elements_token("visa", amount=210_00, currency="cad")
    for _each in range(3):
        assert jonas.post(f"{path}/pay", data=fields).location == path
    assert studio.taken_cents == 210_00


def test_how_money_goes_back_is_said_by_how_it_came() -> None:
    visa = PlaceReceipt("R-1", "Visa ending 4242", True, 100)
    cash = PlaceReceipt("R-2", "Cash", False, 100)
    assert "Visa ending 4242" in how_it_goes_back([visa])
    assert "the cards that paid" in how_it_goes_back([visa, visa])
    assert "front desk" in how_it_goes_back([cash])
    assert "front desk" in how_it_goes_back([visa, cash])
