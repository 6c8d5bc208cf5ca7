"""A stranger holds a place, signs in or makes an account on the way, and does not lose it (P6, P7)."""

import re
from datetime import date, timedelta
from urllib.parse import urlsplit

import pytest
from limits import parse
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.audit import AuditEntry
from portal.clock import shifted
from portal.mail import deliver_waiting_mail
from portal.people import Patient, User
from portal.programs.states import Place
from portal.web import limits
from tests.makers import make_patient
from tests.web.conftest import PASSWORD, Visitor, words
from tests.web.programs.conftest import Studio
from tests.web.test_resetting import mails

pytestmark = pytest.mark.promise("P6", "P7")

NEW = "four loud orange trains"
RUTH = {
    "given_name": "Ruth", "family_name": "Friesen", "birth_date": "1961-04-09", "email": "ruth@example.com",
    "phone": "250-555-0199", "password": NEW,
}  # fmt: skip


@pytest.fixture
def stranger(studio: Studio) -> Visitor:
    studio.site.setting("portal_allow_sign_up", "yes")
    return studio.site.visitor()


def asks_for_an_account(studio: Studio, visitor: Visitor, **changes: str) -> str:
    """Fill in the sign-up form; gives the address of the link in the mail."""
    assert visitor.send("/sign-up", {**RUTH, **changes}).location == "/sign-up/sent"
    deliver_waiting_mail(studio.site.parts)
    body = mails(studio.site)[-1].get_body(("plain",))
    assert body is not None
    found = re.search(r"http://pay\.example\.com(/sign-up/link/\S+)", body.get_content())
    assert found
    return found[1]


def proves(visitor: Visitor, link: str) -> str:
    """Open the link and type the password; gives where that leads."""
    assert visitor.get(link).location == "/sign-up/confirm"
    return str(visitor.send("/sign-up/confirm", {"password": NEW}).location)


def patient_of(studio: Studio, email: str) -> Patient:
    with Session(studio.site.parts.database.reading) as session:
        return session.scalars(
            select(Patient).join(User, User.patient_id == Patient.id).where(User.email == email)
        ).one()


def last_action(studio: Studio) -> str:
    with studio.site.parts.database.read() as connection:
        return connection.scalars(select(AuditEntry.action).order_by(AuditEntry.id.desc()).limit(1)).one()


def test_a_stranger_holds_a_place_and_signs_in_without_losing_it(studio: Studio, stranger: Visitor) -> None:
    path = studio.held(stranger)
    assert studio.held(stranger) == path
    page = stranger.get(path)
    assert "We hold a place for you until" in words(page)
    assert f'href="/login?next={path}"' in page.text
    assert stranger.sign_in("jonas@example.com", PASSWORD, next=path).location == path
    assert studio.held(stranger) == path
    assert "Register for Back in motion" in words(stranger.get(path))
    assert studio.save(stranger, path).location == f"{path}/pay"
    assert studio.registration(path).user_id == studio.site.cast.stranger_user.id
    assert studio.pay(stranger, path)["outcome"] == "paid"
    assert len(studio.registrations()) == 1


def test_nobody_sees_what_another_browser_holds(studio: Studio, stranger: Visitor) -> None:
    path = studio.held(stranger)
    assert studio.site.visitor().get(path).location == f"/login?next={path}"
    jonas = studio.site.visitor("jonas@example.com")
    assert jonas.get(path).status_code == 404
    assert jonas.post(path, data={"csrf_token": jonas.token("/my-programs")}).status_code == 404
    assert studio.registration(path).user_id is None
    other = studio.site.visitor()
    other.set_cookie("place", "a-secret-of-somebody-else-or-none")
    assert other.post(f"{path}/let-go", data={"csrf_token": other.token("/login")}).status_code == 404
    assert studio.registration(path).state == Place.HELD


def test_a_stranger_lets_the_place_go(studio: Studio, stranger: Visitor) -> None:
    path = studio.held(stranger)
    answer = stranger.post(f"{path}/let-go", data={"csrf_token": stranger.token(path)})
    assert answer.location == "/programs"
    assert studio.registration(path).state == Place.RELEASED
    assert studio.held(stranger) != path


def test_a_newcomer_gets_a_file_of_their_own_and_goes_on_to_pay(studio: Studio, stranger: Visitor) -> None:
    path = studio.held(stranger)
    link = asks_for_an_account(studio, stranger)
    assert "We hold a place in Back in motion for you until" in words(stranger.get("/sign-up/sent"))
    assert proves(stranger, link) == path
    ruth = patient_of(studio, "ruth@example.com")
    assert (ruth.name, ruth.birth_date) == ("Ruth Friesen", date(1961, 4, 9))
    assert last_action(studio) == "sign_up.newcomer"
    assert studio.save(stranger, path).location == f"{path}/pay"
    assert studio.pay(stranger, path)["outcome"] == "paid"
    assert studio.registration(path).patient_id == ruth.id


def test_the_mail_may_be_opened_in_another_browser(studio: Studio, stranger: Visitor) -> None:
    path = studio.held(stranger)
    link = asks_for_an_account(studio, stranger)
    telephone = studio.site.visitor()
    assert proves(telephone, link) == path
    assert "Register for Back in motion" in words(telephone.get(path))
    assert stranger.get(path).status_code == 303
    assert studio.save(telephone, path).location == f"{path}/pay"


def test_the_place_waits_while_the_mail_is_opened_but_not_twice(studio: Studio, stranger: Visitor) -> None:
    path = studio.held(stranger)
    with shifted(timedelta(minutes=14)):
        asks_for_an_account(studio, stranger)
        until = studio.registration(path).held_until
    with shifted(timedelta(minutes=30)):
        assert "We hold a place for you until" in words(stranger.get(path))
        asks_for_an_account(studio, stranger, email="ruth@elsewhere.example")
    assert studio.registration(path).held_until == until
    with shifted(timedelta(minutes=35)):
        assert "We no longer hold a place for you" in words(stranger.get(path))


def test_a_place_that_is_gone_by_then_can_be_taken_again(studio: Studio, stranger: Visitor) -> None:
    path = studio.held(stranger)
    link = asks_for_an_account(studio, stranger)
    with shifted(timedelta(hours=3)):
        assert proves(stranger, link) == path
        assert "We no longer hold a place for you" in words(stranger.get(path))
        assert studio.held(stranger) != path


def test_whose_address_is_on_file_is_not_taken_for_a_newcomer(studio: Studio, stranger: Visitor) -> None:
    """Another birth date than on file: the staff decide, as without a program. The place is named meanwhile."""
    studio.site.change(
        lambda s: make_patient(s, "Ruth", "Friesen", email="Ruth@example.com", birth_date=date(1950, 1, 1))
    )
    studio.held(stranger)
    link = asks_for_an_account(studio, stranger)
    assert proves(stranger, link) == "/sign-up/waiting"
    page = words(stranger.get("/sign-up/waiting"))
    assert "We hold a place in Back in motion for you until" in page
    assert "Call us before then" in page


def test_whose_address_and_birth_date_are_on_file_is_attached_as_ever(studio: Studio, stranger: Visitor) -> None:
    known = studio.site.change(
        lambda s: make_patient(s, "Ruth", "Friesen", email="ruth@example.com", birth_date=date(1961, 4, 9)).id
    )
    path = studio.held(stranger)
    assert proves(stranger, asks_for_an_account(studio, stranger)) == path
    assert patient_of(studio, "ruth@example.com").id == known


@pytest.mark.parametrize("proof", ["", "?place=", "?place=abc", "?place=%00", "?place=" + "x" * 500])
def test_without_a_place_a_newcomer_waits_for_the_staff(studio: Studio, stranger: Visitor, proof: str) -> None:
    link = asks_for_an_account(studio, stranger)
    assert "?" not in link
    assert proves(stranger, link + proof) == "/sign-up/waiting"


def test_a_link_never_hands_over_somebody_elses_place(studio: Studio, stranger: Visitor) -> None:
    """The proof of one sign-up, used after its place has found its owner."""
    path = studio.held(stranger)
    proof = urlsplit(asks_for_an_account(studio, stranger)).query
    assert stranger.sign_in("jonas@example.com", PASSWORD).status_code == 303
    studio.save(stranger, path)
    other = studio.site.visitor()
    link = asks_for_an_account(studio, other, email="other@example.com")
    assert proves(other, f"{link}?{proof}") == path
    assert other.get(path).status_code == 404
    assert studio.registration(path).user_id == studio.site.cast.stranger_user.id


def test_many_strangers_of_one_network_sign_in_first(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = studio.make("Choir", capacity=100)
    monkeypatch.setattr(limits, "HOLD_BY_NETWORK_AND_PROGRAM", parse("12 per 15 minutes"))
    for _each in range(12):
        assert studio.hold(studio.site.visitor(), wide).location.startswith("/registrations/")
    thirteenth = studio.site.visitor()
    assert studio.hold(thirteenth, wide).location == f"/login?next=/programs/{wide.public_id}"
    assert "Sign in first, then we hold a place for you." in words(thirteenth.get("/login"))
    assert studio.hold(studio.site.visitor("jonas@example.com"), wide).location.startswith("/registrations/")
