"""How people get in: the second factor of staff, passkeys, invitations, sign-up. As they do it, in a real browser."""

import base64
import email
import email.policy
import re
from collections.abc import Callable
from datetime import date, timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from portal.clock import shifted
from portal.invitations import invite
from portal.mail import deliver_waiting_mail
from portal.people import Passkey
from portal.second_factor import code_at, step_now
from tests.e2e.conftest import PASSWORD, Person, Story
from tests.makers import give_authenticator, make_patient
from tests.support.axe import assert_accessible
from tests.support.browser import Pages

pytestmark = pytest.mark.browser

Someone = Callable[..., Person]
NEW = "four loud orange trains"
APP = b"twenty bytes of app!"


def types_password(person: Person, email: str, password: str = PASSWORD) -> Page:
    person.go("/login")
    person.page.get_by_label("Email").fill(email)
    person.page.get_by_label("Password").fill(password)
    person.page.get_by_role("button", name="Sign in").click()
    person.page.wait_for_url(lambda url: "/login" not in url)
    return person.page


def heading(page: Page, text: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(text)


def shown_key(page: Page) -> bytes:
    """The key that the set-up page spells out."""
    page.get_by_text("I can't scan it").click()
    return base64.b32decode(page.locator(".key").inner_text().replace(" ", ""))


def check_looks(page: Page) -> None:
    """Accessible, and no wider than the window, on a desk and on a small phone."""
    for width in (320, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert_accessible(page)
        for size in ("200%", ""):
            page.evaluate("size => document.documentElement.style.fontSize = size", size)
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def sets_up(person: Person) -> tuple[bytes, list[str]]:
    """From the set-up page to the office; gives the app's key and the recovery codes."""
    page = person.page
    heading(page, "Set up your second factor")
    check_looks(page)
    expect(page.locator(".qr svg")).to_be_visible()
    key = shown_key(page)
    page.get_by_label("Code from the app").fill("000000")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_text("This code doesn't fit.")).to_be_visible()
    assert shown_key(page) == key
    page.get_by_label("Code from the app").fill(code_at(key, step_now()))
    page.get_by_role("button", name="Continue").click()
    heading(page, "Your recovery codes")
    check_looks(page)
    codes = page.locator(".codes li").all_inner_texts()
    page.reload()
    assert page.locator(".codes li").all_inner_texts() == codes
    page.get_by_role("button", name="I have kept them").click()
    return key, codes


def test_marc_sets_up_an_app_and_signs_in_with_it_again(story: Story, someone: Someone, new_page: Pages) -> None:
    new_page.expect_console("422")
    marc = someone(None)
    types_password(marc, "marc@example.com")
    key, codes = sets_up(marc)
    expect(marc.page.get_by_text("Marc Oduya").first).to_be_visible()
    assert "/office/" in marc.page.url and len(codes) == 10

    again = someone(None)
    page = types_password(again, "marc@example.com")
    heading(page, "Your six-digit code, please")
    check_looks(page)
    page.get_by_label("Code", exact=True).fill(code_at(key, step_now() + 1))
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url(lambda url: "/second-factor" not in url)

    third = someone(None)
    page = types_password(third, "marc@example.com")
    page.get_by_role("link", name="use a recovery code").click()
    heading(page, "Use a recovery code")
    check_looks(page)
    page.get_by_label("Recovery code", exact=True).fill(codes[3])
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url(lambda url: "/second-factor" not in url)


def test_the_way_to_a_page_survives_both_steps(story: Story, someone: Someone) -> None:
    story.change(lambda session: give_authenticator(session, story.parts.vault, "dana@example.com", APP))
    dana = someone(None)
    dana.go("/office/account")
    dana.page.get_by_label("Email").fill("dana@example.com")
    dana.page.get_by_label("Password").fill(PASSWORD)
    dana.page.get_by_role("button", name="Sign in").click()
    dana.page.get_by_label("Code", exact=True).fill(code_at(APP, step_now()))
    dana.page.get_by_role("button", name="Continue").click()
    heading(dana.page, "Your account")
    check_looks(dana.page)


@pytest.mark.parametrize("host", ["localhost"])  # WebAuthn takes names only
def test_a_passkey_is_added_used_instead_of_a_code_and_removed(
    story: Story, someone: Someone, new_page: Pages, host: str
) -> None:
    story.change(lambda session: give_authenticator(session, story.parts.vault, "marc@example.com", APP))
    marc = someone("marc@example.com")
    devtools = marc.page.context.new_cdp_session(marc.page)
    devtools.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "hasUserVerification": True, "isUserVerified": True,
               "automaticPresenceSimulation": True}  # fmt: skip
    authenticator = devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]
    marc.go("/office/account")
    marc.page.get_by_role("link", name="Add a passkey").click()
    check_looks(marc.page)
    marc.page.get_by_label("A name for it").fill("Office laptop")
    marc.page.get_by_role("button", name="Add the passkey").click()
    expect(marc.page.get_by_text("Your passkey is added")).to_be_visible()
    expect(marc.page.get_by_text("Office laptop").first).to_be_visible()
    check_looks(marc.page)

    marc.page.get_by_role("button", name="Sign out").click()
    types_password(marc, "marc@example.com")
    heading(marc.page, "Your six-digit code, please")
    check_looks(marc.page)
    devtools.send("WebAuthn.setUserVerified", {"authenticatorId": authenticator, "isUserVerified": True})
    marc.page.get_by_role("button", name="Use a passkey").click()
    marc.page.wait_for_url(lambda url: "/second-factor" not in url)
    made = devtools.send("WebAuthn.getCredentials", {"authenticatorId": authenticator})["credentials"]
    with story.parts.database.read() as connection:
        kept = connection.execute(select(Passkey.sign_count, Passkey.last_used_at)).one()
    assert kept.sign_count == made[0]["signCount"] and kept.last_used_at is not None

    marc.go("/office/account")
    marc.page.get_by_role("button", name="Remove Office laptop").click()
    expect(marc.page.get_by_text("The passkey is removed")).to_be_visible()
    marc.page.get_by_role("button", name="Sign out").click()
    types_password(marc, "marc@example.com")
    heading(marc.page, "Your six-digit code, please")
    expect(marc.page.get_by_role("button", name="Use a passkey")).to_have_count(0)


def test_the_password_is_asked_for_again_and_what_was_entered_goes_on(
    story: Story, someone: Someone, new_page: Pages
) -> None:
    marc = someone("marc@example.com")
    marc.go("/office/settings")
    marc.page.locator("#clinic_name").fill("Birch Street Clinic")
    with shifted(timedelta(minutes=5, seconds=1)):
        marc.page.get_by_role("button", name="Save settings").click()
        heading(marc.page, "Your password again, please")
        check_looks(marc.page)
        expect(marc.page.get_by_label("Password", exact=True)).to_be_focused()
        marc.page.get_by_label("Password", exact=True).fill("not his password")
        new_page.expect_console("422")
        marc.page.get_by_role("button", name="Continue").click()
        expect(marc.page.get_by_text("This is not your password.")).to_be_visible()
        marc.page.get_by_label("Password", exact=True).fill(PASSWORD)
        marc.page.get_by_role("button", name="Continue").click()
        expect(marc.page.get_by_text("Saved").first).to_be_visible()
    expect(marc.page).to_have_title(re.compile("Birch Street Clinic"))


# --- invitations and sign-up ----------------------------------------------------------------------------------------


def newest_mail(story: Story) -> EmailMessage:
    """What the worker sends."""
    assert deliver_waiting_mail(story.parts) >= 1
    folder = Path(story.parts.config.mail_url.removeprefix("file:"))
    newest = max(folder.glob("*.eml"), key=lambda file: file.stat().st_mtime_ns)
    return email.message_from_bytes(newest.read_bytes(), policy=email.policy.default)


def link_in_mail(story: Story) -> str:
    """The link in the newest mail."""
    body = newest_mail(story).get_body(("plain",))
    assert body is not None
    found = re.search(rf"{story.url}(/\S+)", body.get_content())
    assert found
    return found[1]


def follows_link(story: Story, person: Person) -> Page:
    """They open the mail, and the link in it."""
    link = link_in_mail(story)
    person.go(link)
    assert link.rpartition("/")[2] not in person.page.url, "the token does not stay in the address bar"
    return person.page


def ruths_file(story: Story, address: str = "ruth@example.com") -> int:
    """Ruth is on file and has no account."""
    made = []
    story.change(
        lambda session: made.append(
            make_patient(session, "Ruth", "Friesen", email=address, birth_date=date(1961, 4, 9)).id
        )
    )
    return made[0]


def signs_up(person: Person) -> None:
    person.go("/login")
    person.page.get_by_role("link", name="make an account").click()
    check_looks(person.page)
    for label, text in (
        ("Given name", "Ruth"), ("Family name", "Friesen"), ("Birth date", "1961-04-09"),
        ("Email", "ruth@example.com"), ("Choose a password", NEW),
    ):  # fmt: skip
        person.page.get_by_label(label).fill(text)
    person.page.get_by_role("button", name="Send me the link").click()
    heading(person.page, "Look into your mailbox")
    check_looks(person.page)


@pytest.mark.promise("P1")
def test_a_member_of_staff_accepts_an_invitation(story: Story, someone: Someone, new_page: Pages) -> None:
    new_page.expect_console("422")
    invite(story.parts, email="nadia@example.com", name="Nadia Petit", role="billing", patient_id=None, by=None)
    nadia = someone(None)
    page = follows_link(story, nadia)
    heading(page, "Welcome, Nadia Petit")
    check_looks(page)
    page.get_by_label("Choose a password").fill(NEW)
    page.get_by_label("The same once more").fill(NEW)
    page.get_by_role("button", name="Make my account").click()
    sets_up(nadia)
    expect(page.get_by_text("Nadia Petit").first).to_be_visible()


@pytest.mark.promise("P1")
def test_a_patient_accepts_an_invitation_and_the_link_is_used_up(
    story: Story, someone: Someone, new_page: Pages
) -> None:
    invite(story.parts, email="ruth@example.com", name="Ruth Friesen", role="patient", patient_id=ruths_file(story),
           by=None)  # fmt: skip
    ruth = someone(None)
    page, link = ruth.page, link_in_mail(story)
    ruth.go(link)
    check_looks(page)
    page.get_by_label("Choose a password").fill(NEW)
    page.get_by_label("The same once more").fill(NEW)
    page.get_by_role("button", name="Make my account").click()
    expect(page.get_by_text("Your account is made")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    types_password(ruth, "ruth@example.com", NEW)
    expect(page).to_have_url(f"{story.url}/invoices")
    new_page.expect_console("410")
    late = someone(None)
    late.go(link)
    heading(late.page, "This invitation was used already")
    check_looks(late.page)


@pytest.mark.promise("P1")
def test_the_address_and_birth_date_on_file_let_ruth_in(story: Story, someone: Someone, new_page: Pages) -> None:
    story.setting("portal_allow_sign_up", "yes")
    ruths_file(story)
    ruth = someone(None)
    signs_up(ruth)
    page = follows_link(story, someone(None))  # on her phone, say
    heading(page, "One more step to your account")
    check_looks(page)
    page.get_by_label("Your password").fill("not the one")
    page.get_by_role("button", name="Make my account").click()
    new_page.expect_console("422")
    expect(page.get_by_text("This is not the password")).to_be_visible()
    page.get_by_label("Your password").fill(NEW)
    page.get_by_role("button", name="Make my account").click()
    expect(page.get_by_text("Your account is made")).to_be_visible()
    assert newest_mail(story)["Subject"] == "Your account with Alder Lane Clinic is ready"


@pytest.mark.promise("P1")
def test_staff_approve_a_sign_up_that_fits_nobody_by_itself(story: Story, someone: Someone) -> None:
    story.setting("portal_allow_sign_up", "yes")
    patient = ruths_file(story, "an-old-address@example.com")
    ruth = someone(None)
    signs_up(ruth)
    page = follows_link(story, ruth)
    page.get_by_label("Your password").fill(NEW)
    page.get_by_role("button", name="Make my account").click()
    heading(page, "Thank you, the front desk has a look now")
    check_looks(page)

    dana = someone("dana@example.com")
    dana.go("/office/sign-ups")
    check_looks(dana.page)
    dana.page.get_by_role("link", name="Decide Ruth Friesen").click()
    heading(dana.page, "Who is Ruth Friesen?")
    check_looks(dana.page)
    dana.page.get_by_text(f"Ruth Friesen, P-{patient}").click()
    dana.page.get_by_role("button", name="Make the account").click()
    expect(dana.page.get_by_text("The account is made")).to_be_visible()
    expect(dana.page).to_have_url(f"{story.url}/office/patients/{patient}")

    assert newest_mail(story)["Subject"] == "Your account with Alder Lane Clinic is ready"
    types_password(ruth, "ruth@example.com", NEW)
    expect(page).to_have_url(f"{story.url}/invoices")


@pytest.mark.promise("P1")
def test_where_sign_up_is_off_there_is_no_way_in(story: Story, someone: Someone, new_page: Pages) -> None:
    stranger = someone(None)
    stranger.go("/login")
    expect(stranger.page.get_by_role("link", name="make an account")).to_have_count(0)
    new_page.expect_console("403")
    stranger.go("/sign-up")
    heading(stranger.page, "You can't sign up here at the moment")
    check_looks(stranger.page)
