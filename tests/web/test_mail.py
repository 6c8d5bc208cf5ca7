"""Mail over SMTP: what the server gets, and what happens when it says no or goes away."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from sqlalchemy import select, update

from portal.clock import shifted
from portal.mail import deliver_waiting_mail
from portal.outbox import OutboxMessage, queue_mail
from portal.parts import Parts
from tests.web.conftest import Site


class Post:
    """A mail server that keeps what it gets, and says what it is told to say."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.answer = "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        if self.answer.startswith("250"):
            self.got.append(envelope.content)
        return self.answer


@contextmanager
def serving(post: Post) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Controller(post, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield f"smtp://127.0.0.1:{port}"
    finally:
        controller.stop()


def queue(site: Site, number: int = 1) -> None:
    with site.parts.database.transaction() as session:
        for position in range(number):
            event = f"test:{position}"
            queue_mail(session, site.parts.vault, "password_changed", event, "maya@example.com", name="Maya")


def with_mail(site: Site, url: str) -> Parts:
    return replace(site.parts, config=replace(site.config, mail_url=url))


def test_the_server_gets_each_mail_once(site: Site) -> None:
    queue(site, 3)
    post = Post()
    with serving(post) as url:
        assert deliver_waiting_mail(with_mail(site, url)) == 3
        assert deliver_waiting_mail(with_mail(site, url)) == 0
    assert len(post.got) == 3


def test_a_mail_that_is_sent_again_keeps_its_message_id(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    queue(site)
    post = Post()
    with serving(post) as url:
        with monkeypatch.context() as crash:
            crash.setattr("portal.mail.mark_sent", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                deliver_waiting_mail(with_mail(site, url))
        with shifted(timedelta(minutes=4)):
            assert deliver_waiting_mail(with_mail(site, url)) == 1
    ids = [[line for line in mail.splitlines() if line.lower().startswith(b"message-id")] for mail in post.got]
    assert len(ids) == 2 and ids[0] == ids[1]


def test_a_server_that_says_no_is_asked_again_later(site: Site) -> None:
    queue(site)
    post = Post()
    post.answer = "451 Try again later"
    with serving(post) as url:
        assert deliver_waiting_mail(with_mail(site, url)) == 0
        assert deliver_waiting_mail(with_mail(site, url)) == 0
        post.answer = "250 OK"
        with shifted(timedelta(minutes=5)):
            assert deliver_waiting_mail(with_mail(site, url)) == 1


def test_a_server_that_is_away_loses_nothing(site: Site) -> None:
    queue(site)
    assert deliver_waiting_mail(with_mail(site, "smtp://127.0.0.1:9")) == 0
    with site.parts.database.read() as connection:
        assert connection.scalar(select(OutboxMessage.last_error)) == "unreachable: ConnectionRefusedError"
        assert connection.scalar(select(OutboxMessage.words_sealed)) is not None


def test_a_mail_that_can_not_be_opened_lets_those_behind_it_pass(site: Site) -> None:
    queue(site, 3)
    with site.parts.database.transaction() as session:
        session.execute(
            update(OutboxMessage).where(OutboxMessage.event_key == "test:0").values(words_sealed="gone.AAAA")
        )
    post = Post()
    with serving(post) as url:
        assert deliver_waiting_mail(with_mail(site, url)) == 2
    with site.parts.database.read() as connection:
        stuck = connection.execute(select(OutboxMessage).where(OutboxMessage.sent_at.is_(None))).one()
    assert (stuck.last_error, stuck.tries, stuck.failed_at) == ("not opened", 1, None)
    assert len(post.got) == 2
