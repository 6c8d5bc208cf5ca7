"""A clinic whose Stripe is the sandbox, and the form for a gateway of it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from portal import create_app
from portal.audit import AuditEntry
from portal.config import Config
from portal.gateway.configured import ConfiguredGateway, Credentials, keys_of
from portal.gateway.stripe import StripeConnector
from portal.sandbox import Sandbox
from portal.sandbox.accounts import Account
from portal.sandbox.client import InProcessClient
from portal.sandbox.gate import Gate
from tests.makers import make_cast
from tests.payments.stage import OpenTransactions
from tests.web.conftest import Site, Visitor, password_hash, words

LIST = "/office/settings/gateways"
NEW = f"{LIST}/new"
NEEDED = ("payment_intents:write", "setup_intents:write", "customers:write", "payment_methods:write",
          "confirmation_tokens:read", "charges:read", "refunds:write", "disputes:read")  # fmt: skip


class Careful(InProcessClient):
    """The way to the sandbox; nobody holds a connection of the clinic's database meanwhile."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate)
        self.held: OpenTransactions | None = None

    def request(self, *args: Any, **kwargs: Any) -> tuple[str, int, Mapping[str, str]]:
        assert self.held is None or self.held.here == 0, "a connection is held across a call to Stripe"
        return super().request(*args, **kwargs)


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox()


@pytest.fixture
def site(config: Config, sandbox: Sandbox, tmp_path: Any) -> Iterator[Site]:
    """A clinic whose Stripe is the sandbox."""
    client = Careful(sandbox.gate)
    app = create_app(config, connect=StripeConnector("https://api.stripe.test", http_client=client))
    app.test_client_class = Visitor
    site = Site(app, config, _cast(app), tmp_path / "mails")
    client.held = OpenTransactions(site.parts.database)
    yield site
    site.close()


def _cast(app: Flask) -> Any:
    with app.extensions["portal"].database.transaction() as session:
        return make_cast(session, password_hash())


@pytest.fixture
def keys(sandbox: Sandbox) -> Account:
    return sandbox.default_account


def hidden(page: str) -> dict[str, str]:
    """The hidden fields of the page's gateway form."""
    form = page[page.index('class="stack gateway"') : page.index("Test the keys and save")]
    return {
        name: value
        for tag in re.findall(r'<input type="hidden" [^>]*>', form)
        for name, value in re.findall(r'name="([^"]+)" value="([^"]*)"', tag)
    }


def filled(keys: Account, **changes: str) -> dict[str, str]:
    """The form as it is filled in for the account's test keys."""
    return {
        "type": "stripe",
        "location": "",
        "name": "Card payment",
        "mode": "test",
        "status": "active",
        "default": "on",
        "token": keys.test_publishable_key,
        "secret": keys.test_secret_key,
        "webhook_secret": "",
        **changes,
    }


def add(visitor: Visitor, form: dict[str, str]) -> TestResponse:
    return visitor.post(NEW, data={**hidden(visitor.get(NEW).text), **form})


def stored(site: Site) -> list[ConfiguredGateway]:
    every = select(ConfiguredGateway).order_by(ConfiguredGateway.id)
    found: list[ConfiguredGateway] = site.change(lambda session: list(session.scalars(every)))
    return found


def credentials(site: Site, mode: str = "test") -> Credentials:
    of_mode = select(Credentials).where(Credentials.mode == mode)
    found: Credentials = site.change(lambda session: session.scalars(of_mode).one())
    return found


def secret_of(site: Site, mode: str = "test") -> str:
    with site.parts.database.read() as connection:
        return keys_of(connection, stored(site)[0].id, mode).secret(site.parts.vault)


def edit(visitor: Visitor, path: str, form: dict[str, str]) -> TestResponse:
    return visitor.post(path, data={**hidden(visitor.get(path).text), **form})


def added(site: Site, visitor: Visitor, keys: Account, **changes: str) -> str:
    """Add a gateway; gives its page."""
    answer = add(visitor, filled(keys, **changes))
    assert answer.status_code == 303, words(answer)
    return str(answer.location)


def as_it_is(**changes: str) -> dict[str, str]:
    """The form of a gateway as it is shown, with changes."""
    form = {"type": "stripe", "location": "", "name": "Card payment", "mode": "test", "status": "active",
            "default": "on", "token": "", "secret": "", "webhook_secret": ""}  # fmt: skip
    return {**form, **changes}


def audit(site: Site) -> list[tuple[str, str, str]]:
    def entries(session: Session) -> list[tuple[str, str, str]]:
        wanted = select(AuditEntry.subject, AuditEntry.before, AuditEntry.after).where(
            AuditEntry.user_id == site.cast.administrator.id
        )
        return [(row.subject, row.before, row.after) for row in session.execute(wanted.order_by(AuditEntry.id))]

    found: list[tuple[str, str, str]] = site.change(entries)
    return found


def webhook_press(page: str) -> dict[str, str]:
    form = page[page.index('aria-labelledby="webhook"') :]
    return dict(re.findall(r'name="(csrf_token|request_id)" value="([^"]+)"', form))
