"""The web application as a client sees it. Every page that any test fetches is held against the laws for pages."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from portal import create_app
from portal.config import Config, from_environment
from portal.gateway import Gateway
from portal.gateway.stripe import StripeConnector
from portal.parts import Parts
from portal.passwords import hashed
from portal.sandbox import Sandbox
from portal.settings import change_setting
from tests.makers import Cast, make_cast
from tests.support.page_laws import check_page
from tests.support.sign_in import cookie_of

PASSWORD = "three quiet green boats"
KEY = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


@lru_cache(maxsize=1)
def password_hash() -> str:
    """One hash for the whole cast: making one takes long on purpose."""
    return hashed(PASSWORD)


def no_gateway(_secret: str) -> Gateway:
    """No test here talks to a gateway."""
    raise AssertionError("a page called a gateway")


class Visitor(FlaskClient):
    """A browser of a person's own."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        response = super().open(*args, **kwargs)
        has_page = response.request.method not in ("HEAD", "OPTIONS") and response.status_code not in range(300, 400)
        is_a_mail = "style-src 'unsafe-inline'" in response.headers.get("Content-Security-Policy", "")
        if response.mimetype == "text/html" and has_page and not is_a_mail:
            check_page(response.text, response.request.path)
        return response

    def token(self, path: str = "/login") -> str:
        """The token of the first form on a page."""
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.get(path).text)
        assert found, f"{path} has no form"
        return found[1]

    def send(self, path: str, fields: dict[str, str] | None = None, page: str = "", **kwargs: Any) -> TestResponse:
        """Post a form as it stands on `page`, with its token."""
        return self.post(path, data={"csrf_token": self.token(page or path), **(fields or {})}, **kwargs)

    def sign_in(self, email: str, password: str = PASSWORD, **fields: str) -> TestResponse:
        """Fill in the sign-in form and press the button."""
        return self.send("/login", {"email": email, "password": password, **fields})

    def cookie(self) -> str:
        """What the browser holds."""
        found = self.get_cookie("portal")
        assert found
        return found.value


@dataclass
class Site:
    """A clinic with its cast, and an application for it."""

    app: Flask
    config: Config
    cast: Cast
    mails: Path
    others: list[Flask] = field(default_factory=list)

    @property
    def parts(self) -> Parts:
        found: Parts = self.app.extensions["portal"]
        return found

    def visitor(self, email: str = "") -> Visitor:
        """A new browser; signed in where an email is given."""
        client = self.app.test_client()
        assert isinstance(client, Visitor)
        if email:
            client.set_cookie(*cookie_of(self.app, email))
        return client

    def take_cards_at(self, sandbox: Sandbox) -> None:
        """From now on the clinic's Stripe is this sandbox, reached without a socket."""
        connect = StripeConnector("https://api.stripe.test", http_client=sandbox.http_client())
        self.app.extensions["portal"] = replace(self.parts, connect=connect)

    def another_process(self, **changes: Any) -> Flask:
        """A second application over the same clinic database, with nothing else in common."""
        app = _made(replace(self.config, **changes))
        self.others.append(app)
        return app

    def close(self) -> None:
        """Give every connection back."""
        for app in (self.app, *self.others):
            app.extensions["portal"].database.close()

    def change(self, work: Callable[[Session], Any]) -> Any:
        """Something that happens in the clinic."""
        with self.parts.database.transaction() as session:
            return work(session)

    def setting(self, key: str, value: str) -> None:
        """What staff do in Settings."""
        self.change(lambda session: change_setting(session, key, value))

    @contextmanager
    def counting(self) -> Iterator[list[str]]:
        """The statements that are sent to the database meanwhile."""
        sent: list[str] = []

        def hear(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            sent.append(statement)

        engine = self.parts.database.engine
        event.listen(engine, "before_cursor_execute", hear)
        try:
            yield sent
        finally:
            event.remove(engine, "before_cursor_execute", hear)


def _made(config: Config) -> Flask:
    app = create_app(config, connect=no_gateway)
    app.test_client_class = Visitor
    return app


@pytest.fixture
def config(database_url: str, tmp_path: Path) -> Config:
    """A development configuration over this test's own database."""
    return from_environment(
        {
            "PORTAL_ENV": "development",
            "PORTAL_DATABASE_URL": database_url,
            "PORTAL_SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyz",
            "PORTAL_ENCRYPTION_KEYS": KEY,
            "PORTAL_BASE_URL": "http://pay.example.com",
            "PORTAL_MAIL_URL": f"file:{tmp_path / 'mails'}",
        }
    )


@pytest.fixture
def site(config: Config, tmp_path: Path) -> Iterator[Site]:
    """A clinic with its cast."""
    app = _made(config)
    parts: Parts = app.extensions["portal"]
    with parts.database.transaction() as session:
        cast = make_cast(session, password_hash())
        for key, value in {
            "clinic_name": "Alder Lane Clinic",
            "clinic_phone": "250-555-0142",
            "clinic_email": "frontdesk@example.com",
        }.items():
            change_setting(session, key, value)
    clinic = Site(app, config, cast, tmp_path / "mails")
    yield clinic
    clinic.close()


def words(response: TestResponse) -> str:
    """A page as a person reads it: without tags, in one line."""
    body = response.text[response.text.find("<body") :]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())
