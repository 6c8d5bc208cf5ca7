"""The whole product for one story: the portal and the sandbox as servers on loopback, one clinic, one cast."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Thread
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import pytest
from flask import Flask
from playwright.sync_api import FrameLocator, Page, expect
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session
from werkzeug.routing import Map
from werkzeug.serving import WSGIRequestHandler, make_server

from portal import create_app
from portal.config import Config
from portal.gateway.configured import ConfiguredGateway
from portal.gateway.stripe import StripeConnector
from portal.invariants import broken_invariants
from portal.invoices.books import TaxRate
from portal.invoices.tables import Invoice
from portal.parts import Parts
from portal.passwords import hashed
from portal.payments.tables import Payment, PaymentAttempt
from portal.sandbox import Sandbox
from portal.sandbox.server import serve
from portal.settings import change_setting
from portal.vault import new_key, parse_key
from tests.makers import Cast, give_second_factor, make_cast, make_gateway, make_invoice
from tests.support.browser import Pages
from tests.support.sign_in import cookie_of

PASSWORD = "a long enough password"

VISA = "4242424242424242"
VISA_DEBIT = "4000056655665556"
MASTERCARD = "5555555555554444"
DEBIT_MASTERCARD = "5200828282828210"
DECLINED = "4000000000000002"
NO_MONEY = "4000000000009995"
ASKS_FOR_3D_SECURE = "4000002760003184"


@lru_cache(maxsize=1)
def _password_hash() -> str:
    return hashed(PASSWORD)


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: object) -> None:
        """No access log among the test results."""


@dataclass
class Story:
    """Everything that a story touches."""

    app: Flask
    url: str
    parts: Parts
    sandbox: Sandbox
    cast: Cast
    gateway_id: int
    webhook_address: str
    webhook_secret: str

    @property
    def addresses(self) -> Map:
        """Every address of the portal."""
        return self.app.url_map

    def invoice(self, *lines: tuple[str, int, int, tuple[TaxRate, ...]], patient: str = "maya") -> str:
        """A new invoice with these lines; gives its number. Without lines: a massage for 100.00, no tax."""
        with self.parts.database.transaction() as session:
            person = getattr(self.cast, patient)
            made = make_invoice(
                session, person, lines=lines or (("Massage therapy, 60 minutes", 1, 100_00, ()),),
                location=self.cast.location, practitioner=self.cast.practitioner,
            )  # fmt: skip
            return made.number

    def setting(self, key: str, value: str) -> None:
        """What staff do in Settings."""
        with self.parts.database.transaction() as session:
            change_setting(session, key, value)

    def change_gateway(self, **values: object) -> None:
        """What staff do under Payment Gateways."""
        with self.parts.database.transaction() as session:
            session.execute(update(ConfiguredGateway).where(ConfiguredGateway.id == self.gateway_id).values(**values))

    def change(self, work: Callable[[Session], object]) -> None:
        """Anything else that happens in the clinic meanwhile."""
        with self.parts.database.transaction() as session:
            work(session)

    def invoice_row(self, number: str) -> Invoice:
        with Session(self.parts.database.reading) as session:
            return session.scalars(select(Invoice).where(Invoice.number == number)).one()

    def balance(self, number: str) -> int:
        """What is left to pay, in cents."""
        return self.invoice_row(number).balance_cents

    def payments(self, number: str) -> list[Payment]:
        with Session(self.parts.database.reading) as session:
            return list(
                session.scalars(select(Payment).join(Invoice).where(Invoice.number == number).order_by(Payment.id))
            )

    def attempts(self, number: str) -> list[PaymentAttempt]:
        with Session(self.parts.database.reading) as session:
            return list(
                session.scalars(
                    select(PaymentAttempt)
                    .join(Invoice)
                    .where(Invoice.number == number)
                    .order_by(PaymentAttempt.started_at)
                )
            )

    def wait_for_state(self, number: str, state: str) -> None:
        """Until the invoice's newest attempt stands there."""
        until = time.monotonic() + 10
        while not (attempts := self.attempts(number)) or attempts[-1].state != state:
            assert time.monotonic() < until, f"no attempt is {state}: {[a.state for a in attempts]}"
            time.sleep(0.02)

    def captured(self) -> int:
        """All the money that the sandbox took, in cents."""
        return sum(charge["amount_captured"] for charge in self.sandbox.charges() if charge["paid"])

    def check_the_books(self) -> None:
        """What must always hold, and: the books have exactly the money that the sandbox took."""
        assert broken_invariants(self.parts.database) == []
        with self.parts.database.read() as connection:
            booked = connection.scalar(
                select(func.coalesce(func.sum(Payment.amount_cents), 0)).where(Payment.charge_id.is_not(None))
            )
        assert booked == self.captured()


@contextmanager
def _served(app: WSGIApplication) -> Iterator[int]:
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def host() -> str:
    """What the portal is called on this machine; a test may say otherwise."""
    return "127.0.0.1"


@pytest.fixture
def story(database_url: str, host: str, tmp_path: Path) -> Iterator[Story]:
    sandbox = Sandbox()
    with serve(sandbox) as stripe_url:
        late: dict[str, Flask] = {}

        def application(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
            """The app is made once its own address is known."""
            return late["app"](environ, start)

        with _served(application) as port:
            url = f"http://{host}:{port}"
            config = Config(
                production=False,
                database_url=database_url,
                secret_key="a key for tests, forty characters long!!",
                encryption_keys=(parse_key(new_key()),),
                base_url=url,
                mail_url=f"file:{tmp_path / 'mails'}",
                stripe_api_base=stripe_url,
                stripe_js_url=f"{stripe_url}/endive/stripe.js",
            )
            app = create_app(config, connect=StripeConnector(stripe_url))
            late["app"] = app
            parts: Parts = app.extensions["portal"]
            yield _begin(app, sandbox, url)
            parts.database.close()


def _begin(app: Flask, sandbox: Sandbox, url: str) -> Story:
    parts: Parts = app.extensions["portal"]
    secret = "whsec_" + "s" * 32
    with parts.database.transaction() as session:
        cast = make_cast(session, _password_hash())
        gateway = make_gateway(
            session, parts.vault, token=sandbox.publishable_key, secret=sandbox.secret_key, webhook_secret=secret
        )
        for key in ("module_payment_gateways", "accept_payments_in_portal"):
            change_setting(session, key, "yes")
        change_setting(session, "clinic_name", "Alder Lane Clinic")
        change_setting(session, "clinic_phone", "250-555-0142")
        session.flush()
        address = f"{url}/webhooks/stripe/{gateway.public_id}"
        return Story(app, url, parts, sandbox, cast, gateway.id, address, secret)


# --- what people do -------------------------------------------------------------------------------------------------


class Person:
    """Somebody at a browser."""

    def __init__(self, story: Story, page: Page) -> None:
        self.story = story
        self.page = page

    def go(self, path: str) -> None:
        self.page.goto(self.story.url + path)

    def signs_in(self, email: str = "maya@example.com", password: str = PASSWORD) -> "Person":
        self.go("/login")
        self.page.get_by_label("Email").fill(email)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(lambda url: "/login" not in url)
        if "/second-factor" in self.page.url:
            self.story.change(lambda session: give_second_factor(session, email))
            self.go("/office/")
        return self

    def has_signed_in(self, email: str) -> "Person":
        """As `signs_in`, and where that leads, without the walk through the sign-in page."""
        name, value = cookie_of(self.story.app, email)
        self.page.context.add_cookies([{"name": name, "value": value, "url": self.story.url}])
        self.go("/")
        return self

    def another_tab(self) -> "Person":
        return Person(self.story, self.page.context.new_page())

    def opens_pay_page(self, number: str) -> None:
        self.go(f"/invoices/{number}/pay")
        if self.page.locator("#card-element").count():
            self.ready()

    def ready(self) -> None:
        """Stripe's fields are there."""
        self.page.wait_for_selector("#card-fields:not([aria-busy])", state="attached")

    @property
    def card_fields(self) -> FrameLocator:
        return self.page.frame_locator("iframe[title='Secure card payment input frame']")

    @property
    def challenge(self) -> FrameLocator:
        return self.page.frame_locator("dialog iframe")

    def chooses_a_new_card(self) -> None:
        """The whole row is the label, as a finger meets it."""
        if self.page.locator("#card-new:not(:checked)").count():
            self.page.get_by_text("A new card", exact=True).click()

    def types_card(self, number: str, expiry: str = "12 / 34", cvc: str = "123") -> None:
        self.card_fields.get_by_label("Card number").press_sequentially(number)
        self.card_fields.get_by_label("Expiration date").fill(expiry)
        self.card_fields.get_by_label("Security code").fill(cvc)

    def presses_pay(self) -> None:
        self.page.get_by_role("button", name="Pay CA$").click()

    def pays_here(self, card: str) -> None:
        """A new card, on the pay page that is open."""
        self.types_card(card)
        self.presses_pay()

    def pays(self, number: str, card: str = VISA) -> None:
        """The whole way, with a new card."""
        self.opens_pay_page(number)
        self.chooses_a_new_card()
        self.pays_here(card)

    def sees_the_banks_question(self) -> None:
        expect(self.challenge.get_by_role("button", name="Complete authentication")).to_be_visible()

    def satisfies_the_bank(self) -> None:
        self.challenge.get_by_role("button", name="Complete authentication").click()

    def fails_the_bank(self) -> None:
        self.challenge.get_by_role("button", name="Fail authentication").click()

    def sees_receipt(self, amount: str = "100.00") -> None:
        expect(self.page.get_by_role("heading", level=1)).to_contain_text("Receipt R-")
        expect(self.page.locator(".sum").first).to_contain_text(amount)

    def is_told(self, text: str) -> None:
        expect(self.page.locator(".note").filter(has_text=text).first).to_be_visible()


@pytest.fixture
def someone(story: Story, new_page: Pages) -> Callable[..., Person]:
    """Somebody new at a browser of their own: `someone("maya@example.com")` has signed in already."""

    def make(email: str | None = "maya@example.com", **look: Any) -> Person:
        person = Person(story, new_page(**look))
        return person.has_signed_in(email) if email else person

    return make


@pytest.fixture
def maya(someone: Callable[..., Person]) -> Person:
    """Maya, signed in."""
    return someone()
