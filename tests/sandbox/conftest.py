"""A sandbox per test, and the `stripe` library pointed at it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import stripe

from portal.sandbox import Sandbox
from portal.sandbox.server import serve


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox()


def client_of(sandbox: Sandbox, key: str = Sandbox.secret_key) -> stripe.StripeClient:
    return stripe.StripeClient(key, http_client=sandbox.http_client(), max_network_retries=0)


@pytest.fixture
def api(sandbox: Sandbox) -> stripe.StripeClient:
    """The clinic's server, with its secret key, without sockets."""
    return client_of(sandbox)


@pytest.fixture
def base_url(sandbox: Sandbox) -> Iterator[str]:
    """The sandbox as a server on loopback."""
    with serve(sandbox) as url:
        yield url


@pytest.fixture
def remote_api(base_url: str) -> stripe.StripeClient:
    """The clinic's server, over sockets."""
    return client_over_http(base_url)


def client_over_http(base_url: str, key: str = Sandbox.secret_key) -> stripe.StripeClient:
    return stripe.StripeClient(
        key,
        base_addresses={"api": base_url},
        http_client=stripe.RequestsClient(timeout=10),
        max_network_retries=0,
    )
