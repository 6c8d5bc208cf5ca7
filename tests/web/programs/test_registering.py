"""A signed-in patient holds a place, pays, sees that it is theirs, and cancels (P6, P7)."""

from datetime import timedelta

import pytest

from portal.clock import shifted
from portal.programs.states import Place
from tests.web.conftest import Visitor, words
from tests.web.programs.conftest import Studio

pytestmark = pytest.mark.promise("P6", "P7")


def test_a_place_is_held_paid_and_theirs(studio: Studio, jonas: Visitor) -> None:
    path = studio.held(jonas)
    page = words(jonas.get(path))
    assert "We hold a place for you until" in page
    assert "About 15 minutes left." in page
    assert "GST $10.00 Total $210.00 Go on to pay CA$210.00" in page
    assert studio.save(jonas, path).location == f"{path}/pay"
    assert "Pay for Back in motion CA$ 210.00" in words(jonas.get(f"{path}/pay"))
    outcome = studio.pay(jonas, path)
    assert (outcome["outcome"], outcome["location"]) == ("paid", path)
    assert "Back in motion Confirmed The place is yours." in words(jonas.get(path))
    assert studio.registration(path).state == Place.CONFIRMED
    assert studio.taken_cents == 210_00
    assert "Confirmed Receipt" in words(jonas.get("/my-programs"))


def test_a_cancelled_place_gives_back_what_its_page_says(studio: Studio, jonas: Visitor) -> None:
    path = studio.paid(jonas)
    page = words(jonas.get(f"{path}/cancel"))
    assert "all you have paid goes back: $210.00." in page
    assert "It goes to Visa ending 4242; banks take up to ten working days." in page
    answer = jonas.post(f"{path}/cancel", data=studio.fields(jonas, f"{path}/cancel"))
    assert (answer.status_code, answer.location) == (303, path)
    assert studio.taken_cents == 0
    assert "You have cancelled this place $210.00 goes back." in words(jonas.get(path))
    assert "Past and cancelled" in words(jonas.get("/my-programs"))


def test_what_is_not_paid_in_time_is_gone_and_says_so(studio: Studio, jonas: Visitor) -> None:
    path = studio.held(jonas)
    studio.save(jonas, path)
    with shifted(timedelta(minutes=16)):
        assert jonas.get(f"{path}/pay").location == path
        page = words(jonas.get(path))
        assert "We no longer hold a place for you Your time ran out" in page
        assert "You have not been charged." in page
        again = studio.held(jonas)
        assert again != path
        assert studio.registration(path).state == Place.LAPSED
    assert studio.taken_cents == 0


def test_whoever_is_too_late_is_told_so_without_waiting_for_a_lock(studio: Studio, jonas: Visitor) -> None:
    last = studio.make("Choir", capacity=1, waitlist_size=3)
    path = studio.held(jonas, last)
    maya = studio.site.visitor("maya@example.com")
    with studio.site.counting() as sent:
        answer = studio.hold(maya, last)
    assert answer.status_code == 409
    assert "Choir is full. You have not been charged." in words(answer)
    assert not [statement for statement in sent if statement.startswith(("BEGIN IMMEDIATE", "INSERT", "UPDATE"))]
    assert not [statement for statement in sent if "FOR UPDATE" in statement]
    assert studio.held(jonas, last) == path, "whoever has it finds it"
