"""Invitations: one link, one person, one account; what its holder is told, and what a stranger is not."""

import re
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import func, select

from portal.accounts import BadAccount
from portal.audit import AuditEntry
from portal.clock import shifted
from portal.invitations import accept, invitations_sent, invite, revoke
from portal.mail import deliver_waiting_mail
from portal.outbox import OutboxMessage
from portal.people import Invitation, User
from tests.makers import make_patient
from tests.support.at_once import at_once, names
from tests.web.conftest import Site, words
from tests.web.test_resetting import mails

NEW = "four loud orange trains"


def link_in_mail(site: Site) -> str:
    """The link of the newest invitation, as its reader opens it."""
    assert deliver_waiting_mail(site.parts) >= 1
    body = mails(site)[-1].get_body(("plain",))
    assert body is not None
    found = re.search(r"http://pay\.example\.com(/\S+)", body.get_content())
    assert found
    return found[1]


def invite_ruth(site: Site) -> str:
    """Ruth is a patient on file without an account."""
    patient = site.change(lambda session: make_patient(session, "Ruth", "Friesen", email="ruth@example.com").id)
    invite(site.parts, email=" Ruth@example.com", name="Ruth Friesen", role="patient", patient_id=patient,
           by=site.cast.clerk.id)  # fmt: skip
    return link_in_mail(site)


def invite_staff(site: Site, email: str = "nadia@example.com", role: str = "billing") -> str:
    invite(site.parts, email=email, name="Nadia Petit", role=role, patient_id=None, by=site.cast.administrator.id)
    return link_in_mail(site)


@pytest.mark.promise("P1")
def test_a_patient_accepts_an_invitation_and_is_in(site: Site) -> None:
    link = invite_ruth(site)
    ruth = site.visitor()
    opened = ruth.get(link)
    assert (opened.status_code, opened.location) == (303, "/invitation")
    page = ruth.get("/invitation")
    assert "Welcome, Ruth Friesen" in words(page) and "ruth@example.com" in page.text
    response = ruth.send("/invitation", {"password": NEW, "password_confirm": NEW})
    assert (response.status_code, response.location) == (303, "/invoices")
    assert "Your account is made" in words(ruth.get("/invoices"))
    assert site.visitor().sign_in("ruth@example.com", NEW).location == "/invoices"
    with site.parts.database.read() as connection:
        actions = connection.scalars(select(AuditEntry.action).order_by(AuditEntry.id)).all()
    assert actions[-2:] == ["invitation.sent", "invitation.accepted"]


@pytest.mark.promise("P1")
def test_a_member_of_staff_who_accepts_sets_up_a_second_factor_next(site: Site) -> None:
    nadia = site.visitor()
    nadia.get(invite_staff(site))
    assert "Your role there: billing." in words(nadia.get("/invitation"))
    response = nadia.send("/invitation", {"password": NEW, "password_confirm": NEW})
    assert response.location == "/office/"
    assert nadia.get("/office/").location.startswith("/second-factor")
    assert "Set up your second factor" in words(nadia.get("/second-factor"))


def test_opening_the_link_changes_nothing(site: Site) -> None:
    link = invite_ruth(site)
    for _ in range(3):
        scanner = site.visitor()
        assert "Welcome, Ruth" in words(scanner.get(link, follow_redirects=True))
    with site.parts.database.read() as connection:
        assert connection.scalar(select(Invitation.used_at)) is None


def test_the_mail_has_no_health_detail_and_is_sealed_until_it_is_sent(site: Site) -> None:
    patient = site.change(lambda session: make_patient(session, "Ruth", "Friesen").id)
    invite(site.parts, email="ruth@example.com", name="Ruth Friesen", role="patient", patient_id=patient, by=None)
    with site.parts.database.read() as connection:
        row = connection.execute(select(OutboxMessage)).one()
        kept = connection.execute(select(Invitation)).one()
    assert "/invitation/" not in (row.words_sealed or "")
    token = link_in_mail(site).rpartition("/")[2]
    assert len(token) >= 43 and token not in str(kept)
    message = mails(site)[-1]
    assert message["Subject"] == "Your account with Alder Lane Clinic"
    assert "massage" not in message.as_string().lower()


def test_a_link_works_once_and_says_so_afterwards(site: Site) -> None:
    link = invite_ruth(site)
    ruth = site.visitor()
    ruth.get(link)
    ruth.send("/invitation", {"password": NEW, "password_confirm": NEW})
    again = site.visitor().get(link, follow_redirects=True)
    assert again.status_code == 410
    assert "This invitation was used already" in words(again) and "Ruth" not in words(again)


def test_an_expired_a_revoked_and_a_replaced_link_say_what_to_do(site: Site) -> None:
    first = invite_ruth(site)
    patient = site.change(lambda session: session.scalars(select(Invitation.patient_id)).one())
    invite(site.parts, email="ruth@new.example", name="Ruth", role="patient", patient_id=patient, by=None)
    second = link_in_mail(site)
    assert "use the link in that email" in words(site.visitor().get(first, follow_redirects=True))
    with shifted(timedelta(days=7, seconds=1)):
        page = site.visitor().get(second, follow_redirects=True)
        assert page.status_code == 410 and "This invitation has expired" in words(page)
    with site.parts.database.read() as connection:
        (open_one,) = invitations_sent(connection, patient_id=patient)
    assert revoke(site.parts, open_one.id, by=None)
    assert not revoke(site.parts, open_one.id, by=None)
    assert "was replaced or taken back" in words(site.visitor().get(second, follow_redirects=True))


def test_inviting_staff_leaves_other_invitations_open(site: Site) -> None:
    invite_staff(site)
    invite_staff(site, "omar@example.com")
    with site.parts.database.read() as connection:
        assert [one.email for one in invitations_sent(connection)] == ["omar@example.com", "nadia@example.com"]


@pytest.mark.parametrize("token", ["x", "a" * 43, "x" * 3000, "%20", "é", "..", "a%00b"])
def test_an_unknown_and_a_malformed_link_look_alike(site: Site, token: str) -> None:
    page = site.visitor().get(f"/invitation/{token}", follow_redirects=True)
    assert page.status_code == 404
    if "%00" not in token and token != "..":
        assert words(page) == words(site.visitor().get("/invitation"))


@pytest.mark.parametrize(
    ("email", "role", "whose", "why"),
    [
        ("no address", "billing", None, "This is not an email address."),
        ("", "billing", None, "This is not an email address."),
        ("é@example.com", "billing", None, "This is not an email address."),
        ("a\n@example.com", "billing", None, "This is not an email address."),
        ("dana@example.com", "billing", None, "There is an account with this address already."),
        ("DANA@example.com", "billing", None, "There is an account with this address already."),
        ("maya2@example.com", "patient", "maya", "This patient has an account already."),
        ("nobody@example.com", "patient", "nobody", "There is no patient with this number on file."),
        ("nobody@example.com", "patient", None, "An invitation is for one patient on file"),
        ("nobody@example.com", "billing", "theo", "An invitation is for one patient on file"),
        ("nobody@example.com", "queen", None, "An invitation is for one patient on file"),
    ],
)
def test_who_can_not_be_invited(site: Site, email: str, role: str, whose: str | None, why: str) -> None:
    patient_id = {None: None, "maya": site.cast.maya.id, "theo": site.cast.theo.id, "nobody": 10**9}[whose]
    with site.app.test_request_context(), pytest.raises(BadAccount) as refused:
        invite(site.parts, email=email, name="Somebody", role=role, patient_id=patient_id, by=None)
    assert why in refused.value.text
    assert deliver_waiting_mail(site.parts) == 0


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ("short", "short", "Use at least 10 characters."),
        (NEW, NEW + "x", "The two passwords differ."),
        ("", "", "Use at least 10 characters."),
        ("ruth@example.com", "ruth@example.com", "Your email address is easy to guess."),
        (NEW + "\0", NEW + "\0", "Use at most 128 characters."),
    ],
)
def test_a_password_that_will_not_do_is_refused_at_its_field(site: Site, first: str, second: str, why: str) -> None:
    ruth = site.visitor()
    ruth.get(invite_ruth(site))
    response = ruth.send("/invitation", {"password": first, "password_confirm": second})
    assert response.status_code == 422 and why in words(response)
    assert ruth.send("/invitation", {"password": NEW, "password_confirm": NEW}).status_code == 303


def test_two_presses_at_once_make_one_account(site: Site) -> None:
    token = invite_ruth(site).rpartition("/")[2]

    answers = at_once([partial(accept, site.parts, token, NEW)] * 4)
    assert names(answers)["LinkIsClosed"] == 3
    with site.parts.database.read() as connection:
        whose = User.email == "ruth@example.com"
        assert connection.scalar(select(func.count()).select_from(User).where(whose)) == 1


def test_two_invitations_at_once_leave_one_open(site: Site) -> None:
    def send() -> None:
        invite(site.parts, email="nadia@example.com", name="Nadia", role="billing", patient_id=None, by=None)

    assert at_once([send] * 2) == [None, None]
    with site.parts.database.read() as connection:
        assert len(invitations_sent(connection)) == 1


def test_an_account_that_was_made_meanwhile_is_not_made_again(site: Site) -> None:
    ruth = site.visitor()
    ruth.get(invite_ruth(site))
    patient = site.change(lambda session: session.scalars(select(Invitation.patient_id)).one())
    site.change(lambda session: session.add(
        User(email="other@example.com", name="Ruth", role="patient", patient_id=patient, fs_uniquifier="x",
             created_at=site.cast.maya_user.created_at)
    ))  # fmt: skip
    response = ruth.send("/invitation", {"password": NEW, "password_confirm": NEW})
    assert response.status_code == 422 and "This patient has an account already." in words(response)


def test_whoever_is_signed_in_is_told_that_this_sign_in_ends(site: Site) -> None:
    dana = site.visitor("dana@example.com")
    dana.get(invite_ruth(site))
    assert "You are signed in as Dana Whitlock in this browser." in words(dana.get("/invitation"))
    dana.send("/invitation", {"password": NEW, "password_confirm": NEW})
    assert dana.get("/office/account").status_code == 403
    assert dana.get("/invoices").status_code == 200


def test_while_the_portal_is_closed_a_patients_account_is_made_and_waits(site: Site) -> None:
    ruth = site.visitor()
    ruth.get(invite_ruth(site))
    site.setting("portal_enabled", "no")
    assert ruth.send("/invitation", {"password": NEW, "password_confirm": NEW}).location == "/login"
    site.setting("portal_enabled", "yes")
    assert site.visitor().sign_in("ruth@example.com", NEW).location == "/invoices"
