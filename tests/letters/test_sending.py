"""Mail over SMTP: what the server gets, and what happens when it says no, is slow, or goes away."""

import logging
import time
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest
from sqlalchemy import update

from portal.clock import shifted
from portal.outbox import LEASE, MailState, OutboxMessage, claim_letter, state_of
from portal.post import SmtpPost
from portal.settings import Setting
from tests.letters.conftest import Desk
from tests.support.mail_server import (
    MailServer,
    Script,
    certificate_for_loopback,
    following,
    free_port,
    letting_in,
    serving,
)

pytestmark = pytest.mark.promise("E3")
GONE = "550 5.1.1 <p0@example.com>: no such user here"


def test_the_server_gets_each_mail_once_over_one_connection(desk: Desk) -> None:
    desk.queue(5)
    server = MailServer()
    with serving(server) as url:
        assert desk.deliver(url) == 5
        assert desk.deliver(url) == 0
    assert server.to == {f"p{each}@example.com": 1 for each in range(5)}
    assert server.sessions == 1
    (mail, *_) = server.mails()
    assert mail["From"] == "Alder Lane Clinic <frontdesk@example.com>"
    assert mail["Message-ID"].endswith("@pay.example.com>") and mail["Auto-Submitted"] == "auto-generated"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert all(byte < 128 for raw in server.got for byte in raw), "seven bits, whatever the server can take"
    assert [row.words_sealed for row in desk.rows()] == [None] * 5


def test_an_address_refused_for_good_fails_at_once_and_the_others_go(desk: Desk) -> None:
    desk.queue(3)
    server = MailServer()
    server.answers["p0@example.com"] = GONE
    with serving(server) as url:
        assert desk.deliver(url) == 2
    failed = desk.rows()[0]
    assert (state_of(failed), failed.last_error) == (MailState.FAILED, "no such address: 550 5.1.1")
    assert failed.words_sealed is None and server.sessions == 1


@pytest.mark.parametrize(
    ("answer", "note", "state"),
    [
        ("450 4.2.0 greylisted, come back", "later: 450 4.2.0", MailState.TRYING_AGAIN),
        ("421 4.3.2 going down", "later: 421 4.3.2", MailState.TRYING_AGAIN),
        ("552 5.2.2 over quota", "mailbox full: 552 5.2.2", MailState.FAILED),
        ("553 no such mailbox", "no such address: 553", MailState.FAILED),
        ("554 5.7.1 relay access denied", "mail refused: 554 5.7.1", MailState.TRYING_AGAIN),
        ("530 5.7.0 sign in first", "mail refused: 530 5.7.0", MailState.TRYING_AGAIN),
        ("550 5.1.8 bad sender", "sender refused: 550 5.1.8", MailState.TRYING_AGAIN),
    ],
)
def test_only_what_is_surely_about_the_address_is_given_up(
    desk: Desk, answer: str, note: str, state: MailState
) -> None:
    desk.queue(2)
    server = MailServer()
    server.answers["p0@example.com"] = answer
    with serving(server) as url:
        assert desk.deliver(url) == 1, "the one behind it still goes"
    assert (desk.rows()[0].last_error, state_of(desk.rows()[0])) == (note, state)


def test_greylisting_is_outwaited(desk: Desk) -> None:
    desk.queue()
    server = MailServer()
    server.answer = "451 4.7.1 try again in five minutes"
    with serving(server) as url:
        assert desk.deliver(url) == desk.deliver(url) == 0
        server.answer = "250 OK"
        with shifted(timedelta(minutes=5)):
            assert desk.deliver(url) == 1
    assert desk.row().tries == 2 and desk.row().unanswered == 0


def test_a_server_that_is_away_is_asked_once_for_all(desk: Desk) -> None:
    desk.queue(30)
    with following(Script(drops_at="greeting")) as url:
        assert desk.deliver(url) == 0
    assert desk.deliver(f"smtp://127.0.0.1:{free_port()}") == 0, "nothing is due for a minute"
    assert {row.last_error for row in desk.rows()} == {"unreachable: SMTPServerDisconnected"}
    with shifted(timedelta(minutes=2)):
        assert desk.deliver(f"smtp://127.0.0.1:{free_port()}") == 0
    assert {(row.last_error, row.tries, row.unanswered) for row in desk.rows()} == {
        ("unreachable: ConnectionRefusedError", 2, 0)
    }
    assert all(row.words_sealed for row in desk.rows())


def test_a_server_that_keeps_hanging_up_is_left_alone_after_two_mails(desk: Desk) -> None:
    desk.queue(30)
    script = Script(drops_at="RCPT")
    with following(script) as url:
        assert desk.deliver(url) == 0
    assert script.connections == 2
    assert {row.tries for row in desk.rows()} == {1}
    assert {row.last_error for row in desk.rows()} == {"broken off: SMTPServerDisconnected at RCPT"}


@pytest.mark.parametrize(
    ("drops_at", "unanswered"), [("MAIL", 0), ("RCPT", 0), ("DATA", 0), ("content", 1), ("dot", 1)]
)
def test_a_line_that_breaks_loses_nothing_and_an_answer_that_never_came_is_counted(
    desk: Desk, drops_at: str, unanswered: int
) -> None:
    desk.queue()
    script = Script(drops_at=drops_at)
    with following(script) as url:
        assert desk.deliver(url) == 0
        assert (desk.row().unanswered, state_of(desk.row())) == (unanswered, MailState.TRYING_AGAIN)
        script.drops_at = ""
        with shifted(timedelta(minutes=2)):
            assert desk.deliver(url) == 1
    assert desk.row().unanswered == unanswered
    assert len(script.whole_mails) == (2 if drops_at == "dot" else 1)


def test_a_server_that_answers_a_letter_at_a_time_can_not_outlast_the_lease(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.post.SENDING_S", 0.6)
    monkeypatch.setattr("portal.post.STEP_S", 0.5)
    desk.queue()
    script = Script(letter_s=0.3)
    with following(script) as url:
        before = time.monotonic()
        assert desk.deliver(url) == 0
        assert time.monotonic() - before < 2
    assert desk.row().unanswered == 1
    assert desk.row().last_error == "broken off: SMTPServerDisconnected at DATA"


def test_a_worker_killed_after_the_servers_yes_sends_the_same_mail_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.queue()
    server = MailServer()
    with serving(server) as url:
        with monkeypatch.context() as crash:
            crash.setattr("portal.mail.mark_sent", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                desk.deliver(url)
        assert desk.deliver(url) == 0, "it is leased"
        with shifted(LEASE + timedelta(seconds=1)):
            assert desk.deliver(url) == 1
    first, second = server.mails()
    assert first["Message-ID"] == second["Message-ID"]
    assert desk.row().unanswered == 1


def test_a_claim_in_trouble_does_not_lose_that_the_mail_before_it_went(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.queue(2)
    server = MailServer()
    with serving(server) as url:
        claims = iter([claim_letter])

        def claim_once(*given: object) -> object:
            return next(claims)(*given)  # type: ignore[arg-type]  # handed on as they come

        with monkeypatch.context() as crash:
            crash.setattr("portal.mail.claim_letter", claim_once)
            with pytest.raises(StopIteration):
                desk.deliver(url)
        assert [state_of(row) for row in desk.rows()] == [MailState.SENT, MailState.QUEUED]
        assert desk.deliver(url) == 1
    assert set(server.to.values()) == {1}


# --- TLS and signing in ---------------------------------------------------------------------------------------------


def test_the_line_is_turned_to_tls_before_the_password_goes_over_it(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted, context = certificate_for_loopback(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    desk.queue(2)
    server = MailServer()
    with serving(
        server,
        tls_context=context,
        require_starttls=True,
        auth_required=True,
        authenticator=letting_in("portal", "p@ss:word"),
    ) as url:
        wrong = url.replace("smtp://", "smtp://portal:guess@")
        assert desk.deliver(wrong) == 0
        assert {row.last_error for row in desk.rows()} == {"not let in: SMTPAuthenticationError 535"}
        with shifted(timedelta(minutes=2)):
            assert desk.deliver(url.replace("smtp://", "smtp://portal:p%40ss%3Aword@")) == 2


def test_smtps_is_tls_from_the_first_byte(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trusted, context = certificate_for_loopback(tmp_path)
    desk.queue()
    server = MailServer()
    with serving(server, "smtps", ssl_context=context) as url:
        assert desk.deliver(url) == 0
        assert desk.row().last_error == "unreachable: SSLCertVerificationError", "a stranger's certificate"
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        with shifted(timedelta(minutes=2)):
            assert desk.deliver(url) == 1
    assert server.to == {"p0@example.com": 1}


def test_nothing_goes_to_another_machine_without_tls(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.post.THIS_MACHINE", ())
    desk.queue()
    server = MailServer()
    with serving(server) as url:
        assert desk.deliver(url) == 0
    assert desk.row().last_error == "unreachable: SMTPNotSupportedError" and server.got == []


# --- what is in it --------------------------------------------------------------------------------------------------


def test_a_name_can_not_add_a_header(desk: Desk) -> None:
    its_name = "Alder\r\nBcc: thief@example.com\u2028X-Own: 1"
    with desk.parts.database.transaction() as session:
        session.execute(update(Setting).where(Setting.key == "clinic_name").values(value=its_name))
    desk.queue(name="Maya\r\nBcc: thief@example.com\r\n\r\n<script>")
    server = MailServer()
    with serving(server) as url:
        assert desk.deliver(url) == 1
    (mail,) = server.mails()
    assert sorted(mail.keys()) == [
        "Auto-Submitted", "Content-Type", "Date", "From", "MIME-Version", "Message-ID", "Reply-To", "Subject", "To"
    ]  # fmt: skip
    assert server.to == {"p0@example.com": 1}
    html = mail.get_body(("html",))
    assert html is not None and "<script" not in html.get_content()


def test_a_line_that_begins_with_a_dot_ends_no_mail() -> None:
    message = EmailMessage()
    message["From"], message["To"] = "frontdesk@example.com", "p0@example.com"
    message.set_content("before\n.\nQUIT\n..two\n")
    server = MailServer()
    with serving(server) as url:
        post = SmtpPost(url, "pay.example.com")
        post.open()
        post.send(message)
        post.close()
    assert server.mails()[0].get_content().split() == ["before", ".", "QUIT", "..two"]


@pytest.mark.parametrize(
    "address",
    [
        "",
        "maya",
        "maya@",
        "a@example.com\r\nRCPT TO:<b@example.com>",
        "a b@example.com",
        "a@example.com, b@example.com",
        "josé@example.com",
    ],
)
def test_what_is_no_address_fails_at_once_and_reaches_no_server(desk: Desk, address: str) -> None:
    desk.queue(2)
    with desk.parts.database.transaction() as session:
        session.execute(update(OutboxMessage).where(OutboxMessage.event_key == "test:0").values(recipient=address))
    server = MailServer()
    with serving(server) as url:
        assert desk.deliver(url) == 1
    assert (state_of(desk.rows()[0]), desk.rows()[0].last_error) == (MailState.FAILED, "not an address")
    assert server.to == {"p1@example.com": 1}


def test_an_address_in_a_domain_with_an_accent_is_spelled_for_mail_servers(desk: Desk) -> None:
    desk.queue()
    with desk.parts.database.transaction() as session:
        session.execute(update(OutboxMessage).values(recipient="maya@exämple.ca"))
    server = MailServer()
    with serving(server) as url:
        assert desk.deliver(url) == 1
    assert server.to == {"maya@xn--exmple-cua.ca": 1}


def test_no_log_and_no_note_holds_an_address_or_a_text(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "portal")
    desk.queue(3, name="Maya Okonkwo")
    server = MailServer()
    server.answers |= {"p0@example.com": GONE, "p1@example.com": "451 4.3.0 <p1@example.com> Maya Okonkwo"}
    with serving(server) as url:
        desk.deliver(url.replace("smtp://", "smtp://who:secret@"))
        with shifted(timedelta(minutes=3)):
            desk.deliver(url)
    told = caplog.text + "".join(row.last_error or "" for row in desk.rows())
    assert "was not sent: no such address: 550 5.1.1" in told
    assert not any(secret in told for secret in ("@example.com", "Okonkwo", "secret"))
