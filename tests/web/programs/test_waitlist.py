"""The waitlist in the portal: get in line, see one's turn, take the place that is offered or say no to it (P7)."""

from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy.orm import Session

from portal.clock import shifted
from portal.programs.registering import Holder
from portal.programs.states import Place, Why
from portal.programs.sweeping import sweep_places
from portal.programs.waiting import join
from tests.makers import make_patient, make_user
from tests.web.conftest import Visitor, words
from tests.web.programs.conftest import Studio

pytestmark = pytest.mark.promise("P7")


def newcomer(studio: Studio, name: str) -> Visitor:
    """Somebody else with an account, who pays for nobody."""
    email = f"{name.lower()}@example.com"

    def make(session: Session) -> None:
        make_user(session, email, patient=make_patient(session, name, "Newcomer", email=email))

    studio.site.change(make)
    return studio.site.visitor(email)


@pytest.fixture
def olga(studio: Studio) -> Visitor:
    return newcomer(studio, "Olga")


@pytest.fixture
def full(studio: Studio, olga: Visitor) -> str:
    """One place, and Olga has it: gives the address of her registration."""
    studio.program = studio.make("Calm jaw", capacity=1, waitlist_size=3)
    return studio.paid(olga)


def press(studio: Studio, visitor: Visitor, **fields: str) -> str:
    """Press Join on the program's page; gives where that leads."""
    path = f"/programs/{studio.program.public_id}"
    data = {"csrf_token": visitor.token("/me/payers"), "request_id": str(uuid4()), **fields}
    answer = visitor.post(f"{path}/wait", data=data)
    assert answer.status_code == 303, answer.text
    return str(answer.location)


def cancels(studio: Studio, place: str, visitor: Visitor) -> None:
    fields = studio.fields(visitor, f"{place}/cancel")
    assert visitor.post(f"{place}/cancel", data=fields).status_code == 303


def test_jonas_gets_in_line_with_one_press_sees_his_turn_and_leaves(
    studio: Studio, full: str, jonas: Visitor
) -> None:
    nadia = press(studio, newcomer(studio, "Nadia"))
    place = press(studio, jonas)
    assert place.startswith("/registrations/") and place != nadia
    page = words(jonas.get(place))
    assert "Number 2 in line." in page and "You have not been charged." in page and "24 hours" in page
    assert "On the waitlist" in words(jonas.get("/my-programs"))
    assert press(studio, jonas) == place, "pressed twice: the same place in line"
    left = jonas.post(f"{place}/decline", data=studio.fields(jonas, place), follow_redirects=True)
    assert "You have left the waitlist" in words(left)
    assert studio.registration(place).state == Place.RELEASED
    assert "Leave the waitlist" not in words(jonas.get(place))


def test_maya_chooses_who_is_to_wait(studio: Studio, full: str, maya: Visitor) -> None:
    ask = press(studio, maya)
    assert ask.endswith("/wait")
    page = words(maya.get(ask))
    assert "Who is to wait?" in page and "Nobody waits yet." in page
    fields = studio.fields(maya, ask)
    for patient in ("", "abc", str(studio.site.cast.stranger.id), "9" * 30):
        wrong = maya.post(ask, data={**fields, "patient": patient})
        assert wrong.status_code == 422 and "Choose who is to wait." in words(wrong)
    answer = maya.post(ask, data={**fields, "patient": str(studio.site.cast.theo.id)})
    registration = studio.registration(str(answer.location))
    assert (registration.patient_id, registration.state) == (studio.site.cast.theo.id, Place.WAITING)
    assert "Next in line." in words(maya.get(str(answer.location)))


def test_a_stranger_signs_in_first_and_comes_back(studio: Studio, full: str) -> None:
    stranger = studio.site.visitor()
    path = f"/programs/{studio.program.public_id}/wait"
    answer = stranger.post(path, data={"csrf_token": stranger.token(), "request_id": str(uuid4())})
    assert answer.status_code == 303 and str(answer.location) == f"/login?next={path}"


def test_an_offer_is_taken_and_paid(studio: Studio, full: str, olga: Visitor, jonas: Visitor) -> None:
    place = press(studio, jonas)
    cancels(studio, full, olga)
    assert studio.registration(place).state == Place.OFFERED
    mine = words(jonas.get("/my-programs"))
    assert "A place came free in Calm jaw" in mine and "No, thank you" in mine
    assert studio.save(jonas, place).location == f"{place}/pay"
    assert studio.pay(jonas, place)["outcome"] == "paid"
    assert studio.registration(place).state == Place.CONFIRMED


def test_no_thank_you_offers_it_to_the_next(studio: Studio, full: str, olga: Visitor, jonas: Visitor) -> None:
    place = press(studio, jonas)
    nadia = press(studio, newcomer(studio, "Nadia"))
    cancels(studio, full, olga)
    said = jonas.post(f"{place}/decline", data=studio.fields(jonas, place), follow_redirects=True)
    assert "Thank you for telling us. The place goes to the next in line. You were not charged." in words(said)
    declined = studio.registration(place)
    assert (declined.state, declined.why) == (Place.RELEASED, Why.DECLINED)
    assert studio.registration(nadia).state == Place.OFFERED
    again = jonas.post(f"{place}/decline", data={"csrf_token": jonas.token("/me/payers")})
    assert again.status_code == 303 and studio.registration(nadia).state == Place.OFFERED


def test_an_offer_that_nobody_took_goes_to_the_next_by_itself(
    studio: Studio, full: str, olga: Visitor, jonas: Visitor
) -> None:
    place = press(studio, jonas)
    nadia = press(studio, newcomer(studio, "Nadia"))
    cancels(studio, full, olga)
    with shifted(timedelta(days=4)):
        sweep_places(studio.site.parts)
    assert studio.registration(place).state == Place.LAPSED
    assert studio.registration(nadia).state == Place.OFFERED


def test_nobody_declines_for_somebody_else(studio: Studio, full: str, jonas: Visitor, maya: Visitor) -> None:
    place = press(studio, jonas)
    token = {"csrf_token": maya.token("/me/payers")}
    assert maya.post(f"{place}/decline", data=token).status_code == 404
    assert maya.post("/registrations/nothing/decline", data=token).status_code == 404
    dana = studio.site.visitor("dana@example.com")
    assert dana.post(f"{place}/decline", data={"csrf_token": dana.token("/office/patients")}).status_code == 403
    assert studio.registration(place).state == Place.WAITING


def test_decline_gives_no_confirmed_place_away(studio: Studio, full: str, olga: Visitor) -> None:
    olga.post(f"{full}/decline", data={"csrf_token": olga.token("/me/payers")})
    assert studio.registration(full).state == Place.CONFIRMED


def test_where_a_place_is_free_there_is_no_line(studio: Studio, jonas: Visitor) -> None:
    there = press(studio, jonas)
    assert there == f"/programs/{studio.program.public_id}"
    assert "There is no need to wait" in words(jonas.get(there))
    assert jonas.get(f"{there}/wait").location == there
    assert studio.registrations() == []


def test_a_full_line_takes_nobody(studio: Studio, full: str, jonas: Visitor) -> None:
    for name in ("Ada", "Ben", "Cleo"):
        press(studio, newcomer(studio, name))
    path = f"/programs/{studio.program.public_id}/wait"
    answer = jonas.post(path, data={"csrf_token": jonas.token("/me/payers")})
    assert answer.status_code == 409 and "so is its waitlist" in words(answer)
    assert jonas.get(path).status_code == 303
    assert jonas.post("/programs/nothing/wait", data={"csrf_token": jonas.token("/me/payers")}).status_code == 404


@pytest.mark.promise("O4")
@pytest.mark.parametrize(
    ("switch", "status"),
    [
        ("module_programs", 404),
        ("portal_enabled", 403),
        ("accept_payments_in_portal", 409),
        ("module_payment_gateways", 409),
    ],
)
def test_each_switch_closes_the_line_with_a_sentence(
    studio: Studio, full: str, jonas: Visitor, switch: str, status: int
) -> None:
    token = {"csrf_token": jonas.token("/me/payers"), "request_id": str(uuid4())}
    studio.site.setting(switch, "no")
    answer = jonas.post(f"/programs/{studio.program.public_id}/wait", data=token)
    assert answer.status_code == status and len(words(answer)) > 100
    assert [each.state for each in studio.registrations()] == [Place.CONFIRMED]


def test_who_is_on_it_already_by_somebody_else_is_told_so(studio: Studio, full: str, maya: Visitor) -> None:
    cast = studio.site.cast
    desk = Holder(cast.clerk.id, cast.theo.id, channel="desk")
    place = join(studio.site.parts, studio.program.public_id, uuid4(), desk)
    assert press(studio, maya, patient=str(cast.theo.id)) == f"/registrations/{place}"
