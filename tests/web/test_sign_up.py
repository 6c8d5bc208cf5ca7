"""Sign-up: who gets in by themselves, who waits for the staff, and what a stranger learns: nothing."""

import re
import time
from datetime import date, timedelta
from functools import partial

import pytest
from sqlalchemy import func, select

from portal.audit import AuditEntry
from portal.clock import shifted
from portal.invitations import invitations_sent, invite
from portal.mail import deliver_waiting_mail
from portal.people import Patient, SignUp, User
from portal.sign_ups import approve, prove, waiting_sign_ups
from tests.makers import make_patient
from tests.support.at_once import at_once, names
from tests.web.conftest import Site, Visitor, words
from tests.web.test_resetting import mails

NEW = "four loud orange trains"
BORN = date(1961, 4, 9)
RUTH = {
    "given_name": "Ruth", "family_name": "Friesen", "birth_date": "1961-04-09", "email": "ruth@example.com",
    "phone": "250-555-0199", "password": NEW,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _sign_up_is_on(site: Site) -> None:
    site.setting("portal_allow_sign_up", "yes")


def on_file(site: Site, email: str = "Ruth@Example.com", born: date | None = BORN, given: str = "Ruth") -> int:
    """Ruth's file, as the clinic keeps it."""
    made: int = site.change(lambda s: make_patient(s, given, "Friesen", email=email, birth_date=born).id)
    return made


def ask(site: Site, **changes: str) -> Visitor:
    visitor = site.visitor()
    response = visitor.send("/sign-up", {**RUTH, **changes})
    assert (response.status_code, response.location) == (303, "/sign-up/sent")
    return visitor


def link(site: Site) -> str:
    """The link of the newest mail."""
    deliver_waiting_mail(site.parts)
    body = mails(site)[-1].get_body(("plain",))
    assert body is not None
    found = re.search(r"http://pay\.example\.com(/sign-up/link/\S+)", body.get_content())
    assert found, body.get_content()
    return found[1]


def asks_and_proves(site: Site, **changes: str) -> Visitor:
    """The whole way, up to what it leads to; gives the browser."""
    visitor = ask(site, **changes)
    assert visitor.get(link(site)).location == "/sign-up/confirm"
    visitor.last = visitor.send("/sign-up/confirm", {"password": NEW})  # type: ignore[attr-defined]  # a note for led_to
    return visitor


def led_to(visitor: Visitor) -> str:
    return str(visitor.last.location)  # type: ignore[attr-defined]  # a note for led_to


def count(site: Site, table: type) -> int:
    with site.parts.database.read() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0


def owner_of_ruths_account(site: Site) -> int | None:
    with site.parts.database.read() as connection:
        return connection.scalar(select(User.patient_id).where(User.email == "ruth@example.com"))


# --- getting in ----------------------------------------------------------------------------------------------------


@pytest.mark.promise("P1")
def test_the_address_and_birth_date_on_file_let_in(site: Site) -> None:
    patient = on_file(site)
    ruth = asks_and_proves(site)
    assert led_to(ruth) == "/invoices"
    assert "Your account is made" in words(ruth.get("/invoices"))
    assert owner_of_ruths_account(site) == patient
    assert site.visitor().sign_in("ruth@example.com", NEW).location == "/invoices"
    deliver_waiting_mail(site.parts)
    assert mails(site)[-1]["Subject"] == "Your account with Alder Lane Clinic is ready"
    with site.parts.database.read() as connection:
        kept = connection.execute(select(SignUp)).one()
        last = connection.scalars(select(AuditEntry.action).order_by(AuditEntry.id.desc()).limit(1)).one()
    assert kept.password is None and kept.patient_id == patient and last == "sign_up.attached"


@pytest.mark.promise("P1")
@pytest.mark.parametrize(
    ("email", "born", "why"),
    [
        ("ruth@elsewhere.example", BORN, "another address, the same name and birth date"),
        ("", BORN, "no address on file"),
        ("ruth@example.com", date(1961, 4, 10), "another birth date"),
        ("ruth@example.com", None, "no birth date on file"),
    ],
)
def test_a_name_or_one_of_the_two_alone_attaches_to_nobody(
    site: Site, email: str, born: date | None, why: str
) -> None:
    on_file(site, email, born)
    ruth = asks_and_proves(site)
    assert led_to(ruth) == "/sign-up/waiting", why
    assert "the front desk has a look now" in words(ruth.get("/sign-up/waiting"))
    assert owner_of_ruths_account(site) is None
    assert "We don't know this email" in words(site.visitor().sign_in("ruth@example.com", NEW))


def test_two_files_with_the_same_address_and_birth_date_are_for_the_staff(site: Site) -> None:
    on_file(site)
    on_file(site, given="Rose")
    assert led_to(asks_and_proves(site)) == "/sign-up/waiting"


def test_a_patient_who_has_an_account_is_not_given_another(site: Site) -> None:
    site.change(lambda session: session.query(Patient).filter_by(id=site.cast.maya.id).update({"email": "m@x.org"}))
    maya = asks_and_proves(site, email="m@x.org", birth_date="1988-06-14")
    assert led_to(maya) == "/sign-up/waiting"


def test_who_guesses_birth_dates_has_one_guess(site: Site) -> None:
    on_file(site)
    assert led_to(asks_and_proves(site, birth_date="1961-04-08")) == "/sign-up/waiting"
    assert led_to(asks_and_proves(site)) == "/sign-up/waiting"
    with site.parts.database.read() as connection:
        assert waiting_sign_ups(connection) == 1, "the newest one waits alone"


def test_without_the_password_the_link_is_worth_nothing(site: Site) -> None:
    """Somebody asks in Ruth's name, with a password of theirs, and she opens the link that comes."""
    on_file(site)
    ask(site)
    ruth = site.visitor()
    ruth.get(link(site))
    for password in ("", "her own password", "x" * 5000, "\0"):
        response = ruth.send("/sign-up/confirm", {"password": password})
        assert response.status_code == 422
        assert "This is not the password that was chosen when the account was asked for." in words(response)
    assert owner_of_ruths_account(site) is None


def test_guessing_that_password_is_limited(site: Site) -> None:
    visitor = ask(site)
    visitor.get(link(site))
    token = visitor.token("/sign-up/confirm")
    data = {"csrf_token": token, "password": "wrong"}
    assert [visitor.post("/sign-up/confirm", data=data).status_code for _ in range(11)] == [422] * 10 + [429]


def test_opening_the_link_changes_nothing(site: Site) -> None:
    on_file(site)
    ask(site)
    address = link(site)
    for _ in range(3):
        assert "One more step" in words(site.visitor().get(address, follow_redirects=True))
    with site.parts.database.read() as connection:
        assert connection.scalar(select(SignUp.proved_at)) is None


def test_a_link_works_once_and_two_presses_at_once_make_one_account(site: Site) -> None:
    on_file(site)
    ask(site)
    token = link(site).rpartition("/")[2]

    answers = at_once([partial(prove, site.parts, token, NEW)] * 3)
    assert names(answers)["LinkIsClosed"] == 2
    again = site.visitor().get(f"/sign-up/link/{token}", follow_redirects=True)
    assert again.status_code == 410 and "This link was used already" in words(again)


def test_an_expired_link_says_so(site: Site) -> None:
    ask(site)
    address = link(site)
    with shifted(timedelta(days=2, seconds=1)):
        visitor = site.visitor()
        page = visitor.get(address, follow_redirects=True)
        assert page.status_code == 410 and "This link has expired" in words(page)
        token = visitor.token("/sign-up")
        assert visitor.post("/sign-up/confirm", data={"csrf_token": token, "password": NEW}).status_code == 410


@pytest.mark.parametrize("token", ["x", "a" * 43, "x" * 3000, "%20", "é"])
def test_an_unknown_and_a_malformed_link_look_alike(site: Site, token: str) -> None:
    page = site.visitor().get(f"/sign-up/link/{token}", follow_redirects=True)
    assert page.status_code == 404
    assert words(page) == words(site.visitor().get("/sign-up/confirm"))


def test_an_open_invitation_is_taken_back_once_the_account_is_there(site: Site) -> None:
    patient = on_file(site)
    invite(site.parts, email="ruth@example.com", name="Ruth", role="patient", patient_id=patient, by=None)
    deliver_waiting_mail(site.parts)
    assert led_to(asks_and_proves(site)) == "/invoices"
    with site.parts.database.read() as connection:
        assert invitations_sent(connection, patient_id=patient) == []


# --- what strangers learn -------------------------------------------------------------------------------------------


def test_the_answer_does_not_tell_whether_the_address_is_known(site: Site) -> None:
    on_file(site)
    pages = []
    for email in ("maya@example.com", "ruth@example.com", "nobody@example.com", "dana@example.com"):
        visitor = ask(site, email=email)
        pages.append(words(visitor.get("/sign-up/sent")))
        assert deliver_waiting_mail(site.parts) == 1, "one mail, whoever it is"
    assert len(set(pages)) == 1
    told = [str(mail["Subject"]) for mail in mails(site)]
    assert told.count("You have an account with Alder Lane Clinic already") == 2
    assert count(site, SignUp) == 2


def test_the_answer_takes_as_long_for_a_known_address(site: Site) -> None:
    def seconds(email: str) -> float:
        visitor = site.visitor()
        token = visitor.token("/sign-up")
        begun = time.process_time()
        visitor.post("/sign-up", data={"csrf_token": token, **RUTH, "email": email})
        return time.process_time() - begun

    known = min(seconds("maya@example.com") for _ in range(3))
    unknown = min(seconds(f"nobody{turn}@example.com") for turn in range(3))
    assert abs(known - unknown) < 0.5 * max(known, unknown)


def test_asking_is_limited_by_address_and_by_network(site: Site) -> None:
    for _ in range(4):
        ask(site)
    assert site.visitor().send("/sign-up", RUTH).status_code == 429
    for turn in range(15):
        ask(site, email=f"ruth{turn}@example.com")
    assert site.visitor().send("/sign-up", {**RUTH, "email": "last@example.com"}).status_code == 429


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("email", "no address", "This is not an email address."),
        ("email", "a\0@example.com", "This is not an email address."),
        ("given_name", "", "Type your given name."),
        ("family_name", "   ", "Type your family name."),
        ("given_name", "x" * 200, "Please use at most 80 letters here."),
        ("family_name", "a\0b", "Please use at most 80 letters here."),
        ("phone", "5" * 60, "Please use at most 40 letters here."),
        ("birth_date", "", "Type your birth date, for example 1988-06-14."),
        ("birth_date", "yesterday", "Type your birth date"),
        ("birth_date", "2999-01-01", "Type your birth date"),
        ("birth_date", "0001-01-01", "Type your birth date"),
        ("birth_date", "1961-02-30", "Type your birth date"),
        ("password", "short", "Use at least 10 characters."),
        ("password", "ruth@example.com", "Your email address is easy to guess."),
        ("password", NEW + "\0", "Use at most 128 characters."),
    ],
)
def test_what_can_not_be_right_is_said_at_its_field_and_the_rest_is_kept(
    site: Site, field: str, value: str, why: str
) -> None:
    response = site.visitor().send("/sign-up", {**RUTH, field: value})
    assert response.status_code == 422 and why in words(response)
    assert f'href="#{field}"' in response.text
    kept = RUTH["family_name"] if field != "family_name" else RUTH["given_name"]
    assert f'value="{kept}"' in response.text and NEW not in response.text
    assert count(site, SignUp) == 0 and deliver_waiting_mail(site.parts) == 0


# --- the switch -----------------------------------------------------------------------------------------------------


@pytest.mark.promise("P1", "O4")
def test_where_sign_up_is_off_the_link_is_gone_and_every_route_refuses(site: Site) -> None:
    ask(site)
    visitor = site.visitor()
    visitor.get(link(site))
    token = visitor.token("/sign-up")
    assert "make an account" in words(site.visitor().get("/login"))
    site.setting("portal_allow_sign_up", "no")
    assert "make an account" not in words(site.visitor().get("/login"))
    for method, path in (
        ("GET", "/sign-up"),
        ("POST", "/sign-up"),
        ("GET", "/sign-up/confirm"),
        ("POST", "/sign-up/confirm"),
    ):
        data = {"csrf_token": token, **RUTH} if method == "POST" else None
        response = visitor.open(path, method=method, data=data)
        assert response.status_code == 403, path
        assert "You can't sign up here at the moment" in words(response)
    site.setting("portal_allow_sign_up", "yes")
    assert visitor.get("/sign-up").status_code == 200
    site.setting("portal_enabled", "no")
    assert "The patient portal is closed" in words(visitor.get("/sign-up"))
    assert "make an account" not in words(site.visitor().get("/login"))


def test_what_nobody_proved_is_forgotten(site: Site) -> None:
    ask(site)
    with shifted(timedelta(days=10)):
        ask(site, email="another@example.com")
    with site.parts.database.read() as connection:
        assert connection.scalars(select(SignUp.email)).all() == ["another@example.com"]


# --- the staff decide -----------------------------------------------------------------------------------------------


@pytest.fixture
def waiting(site: Site) -> int:
    """Ruth has proved her address and waits; her file has another one. Gives the number of her sign-up."""
    on_file(site, "old@example.com")
    asks_and_proves(site)
    with site.parts.database.read() as connection:
        return connection.scalars(select(SignUp.id)).one()


@pytest.mark.promise("P1")
def test_staff_say_which_patient_it_is(site: Site, waiting: int) -> None:
    dana = site.visitor("dana@example.com")
    assert "Ruth Friesen" in words(dana.get("/office/sign-ups"))
    page = dana.get(f"/office/sign-ups/{waiting}")
    assert "same name same birth date" in words(page) and "same email" not in words(page)
    found = re.search(r'value="(P-(\d+))"', page.text)
    assert found
    response = dana.send(f"/office/sign-ups/{waiting}/approve", {"who": found[1]}, page=f"/office/sign-ups/{waiting}")
    assert response.location == f"/office/patients/{found[2]}"
    assert owner_of_ruths_account(site) == int(found[2])
    assert site.visitor().sign_in("ruth@example.com", NEW).location == "/invoices"
    deliver_waiting_mail(site.parts)
    assert mails(site)[-1]["Subject"] == "Your account with Alder Lane Clinic is ready"
    assert "Nobody waits." in words(dana.get("/office/sign-ups"))


def test_staff_make_a_new_patient_of_them(site: Site, waiting: int) -> None:
    dana = site.visitor("dana@example.com")
    before = count(site, Patient)
    dana.send(f"/office/sign-ups/{waiting}/approve", {"who": "new"}, page=f"/office/sign-ups/{waiting}")
    assert count(site, Patient) == before + 1
    with site.parts.database.read() as connection:
        made = connection.execute(select(Patient).order_by(Patient.id.desc()).limit(1)).one()
    assert (made.given_name, made.birth_date, made.email) == ("Ruth", BORN, "ruth@example.com")
    assert owner_of_ruths_account(site) == made.id


def test_staff_name_another_patient_by_number(site: Site, waiting: int) -> None:
    dana = site.visitor("dana@example.com")
    fields = {"who": "another", "number": f" p-{site.cast.theo.id} "}
    dana.send(f"/office/sign-ups/{waiting}/approve", fields, page=f"/office/sign-ups/{waiting}")
    assert owner_of_ruths_account(site) == site.cast.theo.id


@pytest.mark.parametrize(
    ("who", "number", "why"),
    [
        ("", "", "Choose who this is."),
        ("another", "", "Choose who this is."),
        ("another", "P-99999999", "There is no patient with this number on file."),
        ("another", "P-999999999999999999", "Choose who this is."),
        ("P-1", "", "This patient has an account already."),
        ("garbage", "\0", "Choose who this is."),
        ("x" * 5000, "", "Choose who this is."),
    ],
)
def test_a_choice_that_can_not_be_makes_nothing(site: Site, waiting: int, who: str, number: str, why: str) -> None:
    assert site.cast.maya.id == 1
    dana = site.visitor("dana@example.com")
    path = f"/office/sign-ups/{waiting}"
    response = dana.send(f"{path}/approve", {"who": who, "number": number}, page=path)
    assert response.status_code == 422 and why in words(response)
    assert owner_of_ruths_account(site) is None


def test_staff_refuse_and_a_mail_says_how_to_reach_the_clinic(site: Site, waiting: int) -> None:
    deliver_waiting_mail(site.parts)
    dana = site.visitor("dana@example.com")
    path = f"/office/sign-ups/{waiting}"
    assert dana.send(f"{path}/refuse", page=path).location == "/office/sign-ups"
    assert deliver_waiting_mail(site.parts) == 1
    assert "call or write" in str(mails(site)[-1].get_body(("plain",)))
    late = dana.send(f"{path}/approve", {"who": "new"}, page="/office/account")
    assert late.location == "/office/sign-ups"
    assert "This was decided already" in words(dana.get("/office/sign-ups"))
    assert dana.get(path).location == "/office/sign-ups"
    with site.parts.database.read() as connection:
        assert connection.scalar(select(SignUp.password)) is None
    assert owner_of_ruths_account(site) is None


def test_two_clerks_at_once_make_one_account(site: Site, waiting: int) -> None:
    answers = at_once([partial(approve, site.parts, waiting, patient_id=None, by=site.cast.clerk.id)] * 3)
    assert names(answers)["DecidedAlready"] == 2


@pytest.mark.parametrize("email", ["liam@example.com", "maya@example.com"])
def test_who_may_not_invite_may_not_decide(site: Site, waiting: int, email: str) -> None:
    somebody = site.visitor(email)
    home = "/invoices" if email.startswith("maya") else "/office/account"
    for path in ("", f"/{waiting}", f"/{waiting}/approve", f"/{waiting}/refuse"):
        page = f"/office/sign-ups{path}"
        answer = somebody.send(page, page=home) if path.count("/") == 2 else somebody.get(page)
        assert answer.status_code == 403


def test_the_count_follows(site: Site, waiting: int) -> None:
    dana, liam = site.visitor("dana@example.com"), site.visitor("liam@example.com")
    assert "Sign-ups that wait for your word: 1" in words(dana.get("/office/patients"))
    assert "Sign-ups" not in words(liam.get("/office/patients")), "he may not decide"
    with site.parts.database.read() as connection:
        assert waiting_sign_ups(connection) == 1
    approve(site.parts, waiting, patient_id=None, by=site.cast.clerk.id)
    with site.parts.database.read() as connection:
        assert waiting_sign_ups(connection) == 0
    assert "Sign-ups" not in words(dana.get("/office/patients"))
