"""The contract with Stripe: the same tests against the sandbox and, with test keys, against Stripe itself.

That needs STRIPE_TEST_SECRET_KEY and STRIPE_TEST_PUBLISHABLE_KEY, and pytest's `--open-network`. Without them
its half is not skipped but absent, and the summary says so.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
import stripe

from portal.sandbox import Sandbox

_SECRET, _PUBLISHABLE = "STRIPE_TEST_SECRET_KEY", "STRIPE_TEST_PUBLISHABLE_KEY"
Found = TypeVar("Found")


@dataclass(frozen=True)
class Side:
    """One side of the contract: Stripe as the clinic's server and the payer's browser reach it."""

    name: str
    server: stripe.StripeClient
    browser: stripe.StripeClient
    stranger: stripe.StripeClient
    """With a key that nobody issued."""
    patience_s: float

    def eventually(self, look: Callable[[], Found | None]) -> Found:
        """What `look` finds, once it does: some things take Stripe a moment."""
        until = time.monotonic() + self.patience_s
        while True:
            found = look()
            if found is not None:
                return found
            assert time.monotonic() < until, "it never came"
            time.sleep(0.5)

    def intent(self, **params: Any) -> stripe.PaymentIntent:
        """An unconfirmed intent over 10.00 CAD for cards, as the product makes it."""
        given: Any = {"amount": 1000, "currency": "cad", "allowed_payment_method_types": ["card"], **params}
        return self.server.v1.payment_intents.create(given)

    def token(self, card: str = "pm_card_visa", **params: Any) -> str:
        given: Any = {"payment_method": card, **params}
        return self.server.v1.test_helpers.confirmation_tokens.create(given).id

    def paid(self, card: str = "pm_card_visa", **params: Any) -> stripe.PaymentIntent:
        """An intent that was confirmed with a token."""
        intent = self.intent(**params)
        return self.confirm(intent.id, confirmation_token=self.token(card))

    def confirm(self, intent: str, *, key: str | None = None, **params: Any) -> stripe.PaymentIntent:
        given: Any = {"return_url": "https://clinic.example/return", **params}
        return self.server.v1.payment_intents.confirm(intent, given, {"idempotency_key": key or new_key()})


def metadata(thing: Any) -> dict[str, str]:
    """Of any object of Stripe's, as a plain dict."""
    found: dict[str, str] = thing.to_dict()["metadata"]
    return found


def new_key() -> str:
    return f"contract-{uuid.uuid4()}"


def _sandbox() -> Side:
    sandbox = Sandbox()

    def client(key: str) -> stripe.StripeClient:
        return stripe.StripeClient(key, http_client=sandbox.http_client(), max_network_retries=0)

    return Side(
        "the sandbox", client(sandbox.secret_key), client(sandbox.publishable_key), client("sk_test_nobody"), 0.0
    )


def _real_stripe() -> Side:
    def client(key: str) -> stripe.StripeClient:
        return stripe.StripeClient(key, http_client=stripe.RequestsClient(timeout=30), max_network_retries=2)

    return Side(
        "real Stripe",
        client(os.environ[_SECRET]),
        client(os.environ[_PUBLISHABLE]),
        client("sk_test_4eC39HqLyjWDarjtT1zdp7nobody"),
        20.0,
    )


_SIDES: dict[str, Callable[[], Side]] = {"sandbox": _sandbox, "real-stripe": _real_stripe}


def _why_not_real(config: pytest.Config) -> str | None:
    keys = os.environ.get(_SECRET, ""), os.environ.get(_PUBLISHABLE, "")
    if not all(keys):
        return "no keys"
    if not keys[0].startswith(("sk_test_", "rk_test_")) or not keys[1].startswith("pk_test_"):
        return "the keys are not test keys"
    if not config.getoption("--open-network", default=True):
        return "there are keys, but not --open-network"
    return None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "side" in metafunc.fixturenames:
        names = ["sandbox"] if _why_not_real(metafunc.config) else list(_SIDES)
        metafunc.parametrize("side", names, indirect=True, scope="module")


@pytest.fixture(scope="module")
def side(request: pytest.FixtureRequest) -> Side:
    return _SIDES[request.param]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    reason = _why_not_real(config)
    terminalreporter.write_line(f"real Stripe: not run ({reason})" if reason else "real Stripe: run, in test mode")
