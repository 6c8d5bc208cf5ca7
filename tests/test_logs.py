"""What may stand in a log."""

import logging

import pytest
import stripe

from portal import logs
from portal.sandbox import Sandbox


def test_no_address_of_an_object_at_stripe_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    logs.init()
    sandbox = Sandbox()
    token = sandbox.elements_token("visa", amount=5_000, currency="cad")
    client = stripe.StripeClient(sandbox.secret_key, http_client=sandbox.http_client())
    with caplog.at_level(logging.INFO):
        client.v1.confirmation_tokens.retrieve(token)
    assert token not in caplog.text
