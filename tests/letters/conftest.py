"""A clinic that takes payments online, for the mails about its invoices."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from sqlalchemy import select

from portal.config import Config
from portal.db import Database
from portal.gateway import Gateway
from portal.mail import deliver_waiting_mail
from portal.outbox import Letter, Mishap, OutboxMessage, claim_letter, mark_failed, mark_sent, queue_mail
from portal.parts import Parts
from portal.settings import change_setting
from portal.vault import Vault, parse_key
from tests.payments.stage import Stage


@pytest.fixture
def stage(database_url: str) -> Iterator[Stage]:
    stage = Stage(database_url)
    stage.set("email_pay_online_request", "yes")
    yield stage
    stage.close()


KEY = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


@dataclass
class Desk:
    """A clinic with an outbox, and nothing else."""

    database_url: str
    parts: Parts

    def queue(self, number: int = 1, *, first: int = 0, name: str = "Maya") -> None:
        """Mails to p0@, p1@, … at example.com."""
        with self.parts.database.transaction() as session:
            for each in range(first, first + number):
                to = f"p{each}@example.com"
                queue_mail(session, self.parts.vault, "password_changed", f"test:{each}", to, name=name)

    def deliver(self, url: str) -> int:
        """One round to this mail server; gives how many were sent."""
        return deliver_waiting_mail(self.at(url))

    def at(self, url: str) -> Parts:
        """The parts of a worker that sends there."""
        return replace(self.parts, config=replace(self.parts.config, mail_url=url))

    def claim(self) -> Letter:
        """What a worker does before it sends."""
        with self.parts.database.transaction() as session:
            letter = claim_letter(session, self.parts.vault, "pay.example.com")
        assert letter is not None
        return letter

    def sent(self, letter: Letter) -> None:
        """What a worker does when the server took it."""
        with self.parts.database.transaction() as session:
            mark_sent(session, letter)

    def failed(self, letter: Letter, mishap: Mishap) -> None:
        """What a worker does when it did not."""
        with self.parts.database.transaction() as session:
            mark_failed(session, letter, mishap)

    def rows(self) -> list[OutboxMessage]:
        """The outbox, oldest first."""
        with self.parts.database.transaction() as session:
            return list(session.scalars(select(OutboxMessage).order_by(OutboxMessage.id)))

    def row(self) -> OutboxMessage:
        """The only mail there is."""
        (row,) = self.rows()
        return row


def _no_gateway(_secret: str) -> Gateway:
    raise AssertionError("mail needs no gateway")


@pytest.fixture
def desk(database_url: str) -> Iterator[Desk]:
    keys = (parse_key(KEY),)
    config = Config(
        production=False, database_url=database_url, secret_key="x" * 40, encryption_keys=keys,
        base_url="https://pay.example.com", mail_url="",
    )  # fmt: skip
    parts = Parts(config, Database(database_url), Vault(keys), _no_gateway)
    with parts.database.transaction() as session:
        change_setting(session, "clinic_name", "Alder Lane Clinic")
        change_setting(session, "clinic_email", "frontdesk@example.com")
    yield Desk(database_url, parts)
    parts.database.close()
