"""What the pages say is so, also where something changed between looking and pressing (P6, P7, O4)."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.clock import shifted
from portal.payments.tables import PaymentAttempt
from portal.programs.states import Place
from portal.programs.tables import Program
from tests.makers import make_patient, make_user
from tests.web.conftest import Visitor, words
from tests.web.office.programs.at_desk.desk import cancel
from tests.web.programs.conftest import JSON, Studio
from tests.web.programs.test_details import code

pytestmark = pytest.mark.promise("P6", "P7")


def hidden(html: str) -> dict[str, str]:
    return dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', html))


def test_who_lets_go_what_was_paid_in_another_tab_is_not_told_that_nothing_was_charged(
    studio: Studio, jonas: Visitor
) -> None:
    path = studio.held(jonas)
    old_tab = studio.fields(jonas, path)
    studio.save(jonas, path)
    studio.pay(jonas, path)
    assert jonas.post(f"{path}/let-go", data=old_tab).location == path
    page = words(jonas.get(path))
    assert "The place is yours." in page
    assert "not been charged" not in page
    assert "free for somebody else" not in page
    assert studio.registration(path).state == Place.CONFIRMED


def test_a_place_that_was_let_go_twice_is_told_once(studio: Studio, jonas: Visitor) -> None:
    path = studio.held(jonas)
    fields = studio.fields(jonas, path)
    assert jonas.post(f"{path}/let-go", data=fields).location == "/programs"
    assert jonas.post(f"{path}/let-go", data=fields).location == path
    assert "You let this place go" in words(jonas.get(path))


@pytest.mark.promise("G3")
def test_no_name_of_ours_for_what_has_no_number_goes_to_the_gateway(studio: Studio, jonas: Visitor) -> None:
    path = studio.held(jonas)
    studio.save(jonas, path)
    assert studio.pay(jonas, path, "visa_chargeDeclined")["outcome"] == "declined"
    assert studio.pay(jonas, path)["outcome"] == "paid"
    said = f"Registration {path.rsplit('/', 1)[1]}"
    assert {intent["description"] for intent in studio.sandbox.objects("payment_intent")} == {said}
    assert {charge["description"] for charge in studio.sandbox.charges()} == {said}
    with Session(studio.site.parts.database.reading) as session:
        orders = session.scalars(select(PaymentAttempt.order)).all()
    assert {(order or {}).get("description") for order in orders} == {said}, "asked again, it says the same"


def test_a_code_that_leaves_too_little_for_a_card_says_so_before_anybody_goes_on(
    studio: Studio, jonas: Visitor
) -> None:
    code(studio, "NEARLY", amount_cents=199_80)
    path = studio.held(jonas)
    looked = studio.save(jonas, path, code="nearly", look="1")
    page = words(looked)
    assert "Total $0.21 So small an amount can't be paid by card. You have not been charged." in page
    assert "Go on to pay" not in page
    pressed = jonas.post(path, data={**hidden(looked.text), "code": "nearly"})
    assert pressed.status_code == 409
    assert "So small an amount can't be paid by card." in words(pressed)
    assert "isn't taking payments online" not in words(pressed)
    assert studio.registration(path).invoice_id is None


@pytest.mark.promise("O4")
def test_once_programs_are_switched_off_a_press_on_pay_takes_nothing(studio: Studio, jonas: Visitor) -> None:
    path = studio.held(jonas)
    studio.save(jonas, path)
    fields = {**studio.fields(jonas, f"{path}/pay"), "card": "new", "script": "1", "name": "Jonas Weber"}
    amount, currency = int(fields["amount"]), fields["currency"].lower()
    fields["confirmation_token"] = studio.sandbox.elements_token("visa", amount=amount, currency=currency)
    studio.site.setting("module_programs", "no")
    pressed = jonas.post(f"{path}/pay", data=fields, headers=JSON)
    assert (pressed.status_code, pressed.get_json()["title"]) == (
        404,
        "The clinic has no programs here at the moment",
    )
    assert studio.taken_cents == 0
    studio.site.setting("module_programs", "yes")
    assert jonas.post(f"{path}/pay", data=fields, headers=JSON).get_json()["outcome"] == "paid"


def test_somebody_who_has_a_place_already_is_named_beside_the_choice(studio: Studio, maya: Visitor) -> None:
    studio.program = studio.make("Choir", capacity=5)
    cast = studio.site.cast
    first = studio.held(maya)
    studio.save(maya, first, patient=str(cast.theo.id))
    second = studio.held(maya)
    assert second != first
    again = studio.save(maya, second, patient=str(cast.theo.id))
    assert again.status_code == 422
    page = words(again)
    assert "Theo Lindqvist is registered for Choir already. Choose somebody else, or let this place go." in page
    assert "We hold a place for you until" in page
    assert studio.save(maya, second, patient=str(cast.maya.id)).location == f"{second}/pay"


def test_whoever_is_registered_already_is_not_the_one_who_is_ticked(studio: Studio, maya: Visitor) -> None:
    studio.program = studio.make("Choir", capacity=5)
    cast = studio.site.cast
    first = studio.held(maya)
    assert re.search(rf'value="{cast.maya.id}"[^>]* checked', maya.get(first).text)
    studio.save(maya, first, patient=str(cast.maya.id))
    assert re.search(rf'value="{cast.theo.id}"[^>]* checked', maya.get(studio.held(maya)).text)


def test_who_turns_out_to_have_a_place_already_after_signing_in_is_told_on_the_form(
    studio: Studio, jonas: Visitor
) -> None:
    studio.paid(jonas)
    stranger = studio.site.visitor()
    path = studio.held(stranger)
    cookie = stranger.get_cookie("place")
    assert cookie
    jonas.set_cookie("place", cookie.value)
    told = studio.save(jonas, path)
    assert told.status_code == 422
    assert (
        "Jonas Weber is registered for Back in motion already Nothing was changed, and nothing was charged."
        in words(told)
    )
    assert jonas.post(f"{path}/let-go", data=hidden(told.text)).location == "/programs"


def test_who_asks_for_a_place_in_a_program_that_was_hidden_is_led_to_the_list(studio: Studio, jonas: Visitor) -> None:
    studio.site.change(lambda session: setattr(session.get_one(Program, studio.program.id), "visible", False))
    answer = studio.hold(jonas)
    assert answer.status_code == 404
    assert 'href="/programs">See all programs' in answer.text
    assert "Back to the program" not in answer.text


def declined_and_over(studio: Studio, visitor: Visitor, **typed: str) -> str:
    path = studio.held(visitor)
    studio.save(visitor, path, **typed)
    assert studio.pay(visitor, path, "visa_chargeDeclined")["outcome"] == "declined"
    return path


@pytest.mark.parametrize("email", ["jonas@example.com", "maya@example.com"])
def test_a_declined_card_and_a_clock_that_ran_out_are_in_nobodys_way(studio: Studio, email: str) -> None:
    """The worker has not taken the old place back yet, and its payment is open still."""
    visitor = studio.site.visitor(email)
    mine = {"patient": str(studio.site.cast.maya.id)} if email.startswith("maya") else {}
    old = declined_and_over(studio, visitor, **mine)
    with shifted(timedelta(minutes=25)):
        visitor = studio.site.visitor(email)
        new = studio.held(visitor)
        assert new != old
        assert studio.save(visitor, new, **mine).location == f"{new}/pay"
        assert studio.registration(old).state == Place.LAPSED
        assert studio.pay(visitor, new)["outcome"] == "paid"
    assert studio.taken_cents == 210_00


def test_whom_the_desk_takes_off_the_list_is_not_told_that_they_did_it(studio: Studio, jonas: Visitor) -> None:
    path = studio.held(jonas)
    dana = studio.site.visitor("dana@example.com")
    assert cancel(dana, studio.program, studio.registration(path)).status_code == 303
    page = words(jonas.get(path))
    assert "The clinic has taken you off the list You have not been charged." in page
    assert "You let this place go" not in page


@pytest.mark.promise("O4")
@pytest.mark.parametrize("switch", ["module_payment_gateways", "accept_payments_in_portal"])
def test_a_code_for_all_of_a_held_place_needs_no_gateway(studio: Studio, jonas: Visitor, switch: str) -> None:
    code(studio, "GIFT", percent=100)
    path = studio.held(jonas)
    studio.site.setting(switch, "no")
    assert "You can't pay online at the moment" in words(jonas.get(path))
    looked = studio.save(jonas, path, code="gift", look="1")
    assert "Register, free of charge" in words(looked)
    assert jonas.post(path, data={**hidden(looked.text), "code": "gift"}).location == path
    assert studio.registration(path).state == Place.CONFIRMED


@pytest.mark.promise("O4")
@pytest.mark.parametrize("switch", ["module_payment_gateways", "accept_payments_in_portal"])
def test_a_code_for_all_of_a_place_opens_a_program_that_nobody_can_pay_for(
    studio: Studio, jonas: Visitor, switch: str
) -> None:
    code(studio, "GIFT", percent=100)
    code(studio, "HALF", percent=50)
    studio.site.setting(switch, "no")
    at = f"/programs/{studio.program.public_id}"
    page = jonas.get(at)
    assert "You can't register online at the moment" in words(page)
    for typed in ("", "half", "nonsense"):
        refused = jonas.post(f"{at}/hold", data={**hidden(page.text), "code": typed}, follow_redirects=True)
        assert ('value="' + typed in refused.text and "That code can't be used here" in words(refused)) or not typed
    assert studio.registrations() == []
    held = jonas.post(f"{at}/hold", data={**hidden(page.text), "code": "gift"})
    assert held.location.startswith("/registrations/")
    page = jonas.get(held.location)
    assert "Register, free of charge" in words(page)
    assert jonas.post(held.location, data={**hidden(page.text), "code": "GIFT"}).location == held.location
    assert studio.registration(held.location).state == Place.CONFIRMED


def test_a_rush_of_people_who_are_signed_in_at_one_address_is_not_held_up(studio: Studio) -> None:
    """A clinic's own Wi-Fi, or a company's: the limits are for those who hold places under no name."""
    wide = studio.make("Choir", capacity=70)

    def join(session: Session) -> list[str]:
        emails = [f"guest{number}@example.com" for number in range(70)]
        for email in emails:
            make_user(session, email, patient=make_patient(session, "Guest", email[:8], email=email))
        return emails

    for email in studio.site.change(join):
        assert studio.hold(studio.site.visitor(email), wide).location.startswith("/registrations/")
    assert studio.hold(studio.site.visitor("jonas@example.com"), wide).status_code == 409
