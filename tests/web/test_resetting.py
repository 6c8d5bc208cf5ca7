"""Resetting a password by mail, and what a stranger can learn from it: nothing."""

import email
import email.policy
import re
import time
from datetime import timedelta
from email.message import EmailMessage

import pytest
from sqlalchemy import func, select

from portal.audit import AuditEntry
from portal.clock import shifted
from portal.mail import deliver_waiting_mail
from portal.outbox import OutboxMessage
from tests.web.conftest import PASSWORD, Site, Visitor, words

NEW = "four loud orange trains"


def mails(site: Site) -> list[EmailMessage]:
    """What the worker has sent, oldest first."""
    files = sorted(site.mails.glob("*.eml"), key=lambda file: file.stat().st_mtime_ns)
    return [email.message_from_bytes(file.read_bytes(), policy=email.policy.default) for file in files]


def link_for(site: Site, visitor: Visitor, address: str = "maya@example.com") -> str:
    """Ask for a reset, let the worker send it, and take the link out of the mail."""
    assert visitor.send("/reset", {"email": address}).status_code == 200
    assert deliver_waiting_mail(site.parts) == 1
    body = mails(site)[-1].get_body(("plain",))
    assert body is not None
    found = re.search(r"http://pay\.example\.com(/reset/\S+)", body.get_content())
    assert found
    return found[1]


def choose(visitor: Visitor, link: str, password: str = NEW, again: str | None = None) -> str:
    """Fill in the form behind the link; gives the page that follows, as a person reads it."""
    fields = {"password": password, "password_confirm": password if again is None else again}
    return words(visitor.send(link, fields, follow_redirects=True))


@pytest.mark.promise("P1")
def test_a_new_password_by_mail(site: Site) -> None:
    maya = site.visitor()
    assert "Your password is changed. Sign in with it." in choose(maya, link_for(site, maya))
    assert "We don't know this email" in words(site.visitor().sign_in("maya@example.com"))
    assert site.visitor().sign_in("maya@example.com", NEW).location == "/invoices"
    with site.parts.database.read() as connection:
        changes = connection.execute(select(AuditEntry.action, AuditEntry.user_id)).all()
    assert ("password.reset", site.cast.maya_user.id) in [tuple(change) for change in changes]


def test_the_mail_is_in_the_clinics_name_and_reads_well_both_ways(site: Site) -> None:
    link_for(site, site.visitor())
    (mail,) = mails(site)
    assert mail["From"] == "Alder Lane Clinic <frontdesk@example.com>"
    assert mail["To"] == "maya@example.com"
    assert mail["Subject"] == "Choose a new password for Alder Lane Clinic"
    plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None and html is not None
    assert "It works once, for two hours." in plain.get_content()
    assert html.get_content().count("<a href") == 1


def test_the_link_is_on_our_own_address_whatever_the_asker_says(site: Site) -> None:
    visitor = site.visitor()
    elsewhere = "http://evil.example"
    found = re.search(r'name="csrf_token" value="([^"]+)"', visitor.get("/reset", base_url=elsewhere).text)
    assert found
    fields = {"csrf_token": found[1], "email": "maya@example.com"}
    assert visitor.post("/reset", data=fields, base_url=elsewhere).status_code == 200
    deliver_waiting_mail(site.parts)
    assert b"evil.example" not in bytes(mails(site)[0])


@pytest.mark.promise("P1")
def test_a_reset_ends_every_sign_in_and_says_so_by_mail(site: Site) -> None:
    phone, desk = site.visitor("maya@example.com"), site.visitor()
    choose(desk, link_for(site, desk))
    assert phone.get("/invoices").status_code == 303
    deliver_waiting_mail(site.parts)
    assert mails(site)[-1]["Subject"] == "Your password for Alder Lane Clinic was changed"


def test_a_link_works_once(site: Site) -> None:
    maya = site.visitor()
    link = link_for(site, maya)
    choose(maya, link)
    assert "This link was used already" in words(maya.get(link, follow_redirects=True))


def test_a_link_works_for_two_hours(site: Site) -> None:
    maya = site.visitor()
    link = link_for(site, maya)
    serializer = site.app.extensions["security"].reset_serializer
    data = serializer.loads(link.rpartition("/")[2])
    signer = serializer.make_signer(serializer.salt)
    signer.get_timestamp = lambda: int(time.time()) - 7300
    old = signer.sign(serializer.dump_payload(data)).decode()
    assert "This link has expired" in words(maya.get(f"/reset/{old}", follow_redirects=True))


def test_opening_the_link_changes_nothing(site: Site) -> None:
    maya = site.visitor()
    link = link_for(site, maya)
    for _ in range(3):
        assert site.visitor().get(link).status_code == 200
    assert site.visitor().sign_in("maya@example.com", PASSWORD).status_code == 303
    assert "Your password is changed" in choose(maya, link)


@pytest.mark.parametrize("link", ["/reset/x", "/reset/a.b.c", "/reset/%20", "/reset/" + "x" * 3000, "/reset/é"])
def test_a_malformed_link_is_a_used_one(site: Site, link: str) -> None:
    assert "This link was used already, or is incomplete." in words(site.visitor().get(link, follow_redirects=True))


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("short", "Use at least 10 characters."),
        ("x" * 200, "Use at most 128 characters."),
        ("password123", "one of the first passwords that anybody would try"),
        ("aaaaaaaaaaaa", "one of the first passwords that anybody would try"),
        ("maya@example.com", "Your email address is easy to guess."),
    ],
)
def test_a_weak_password_is_refused_at_its_field(site: Site, password: str, why: str) -> None:
    maya = site.visitor()
    link = link_for(site, maya)
    response = maya.send(link, {"password": password, "password_confirm": password})
    assert why in words(response)
    assert 'aria-describedby="password-hint password-error" aria-invalid="true"' in response.text
    assert '<a href="#password">' in response.text


def test_two_different_passwords_are_refused_at_the_second(site: Site) -> None:
    maya = site.visitor()
    assert "The two passwords differ." in choose(maya, link_for(site, maya), again="something else")


def test_a_stranger_learns_nothing_from_asking(site: Site) -> None:
    known = words(site.visitor().send("/reset", {"email": "maya@example.com"}))
    unknown = words(site.visitor().send("/reset", {"email": "nobody@example.com"}))
    assert known == unknown
    assert deliver_waiting_mail(site.parts) == 1


@pytest.mark.parametrize(
    "address", ["", "no address", "a\0@example.com", "<script>@example.com", "x" * 5000 + "@b.c"]
)
def test_asking_with_what_is_no_address_does_no_harm(site: Site, address: str) -> None:
    assert site.visitor().send("/reset", {"email": address}).status_code == 200
    assert deliver_waiting_mail(site.parts) == 0


def test_what_waits_in_the_outbox_is_sealed_and_forgotten_once_sent(site: Site) -> None:
    visitor = site.visitor()
    visitor.send("/reset", {"email": "maya@example.com"})
    with site.parts.database.read() as connection:
        assert "/reset/" not in (connection.scalar(select(OutboxMessage.words_sealed)) or "")
    deliver_waiting_mail(site.parts)
    with site.parts.database.read() as connection:
        assert connection.scalar(select(OutboxMessage.words_sealed)) is None


def test_asking_writes_one_mail_in_the_request_itself(site: Site) -> None:
    site.visitor().send("/reset", {"email": "maya@example.com"})
    with site.parts.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(OutboxMessage)) == 1


def test_a_mail_that_can_not_be_written_waits_and_is_not_lost(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.visitor().send("/reset", {"email": "maya@example.com"})
    site.change(lambda session: session.query(OutboxMessage).update({"kind": "unknown_kind"}))
    assert deliver_waiting_mail(site.parts) == 0
    with site.parts.database.read() as connection:
        row = connection.execute(select(OutboxMessage.last_error, OutboxMessage.tries, OutboxMessage.failed_at)).one()
    assert tuple(row) == ("not written: TemplateNotFound", 1, None)
    site.change(lambda session: session.query(OutboxMessage).update({"kind": "password_reset"}))
    with shifted(timedelta(minutes=2)):
        assert deliver_waiting_mail(site.parts) == 1
