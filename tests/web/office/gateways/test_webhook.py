"""A gateway's webhook is made at Stripe by one button, and its secrets count from then on."""

import re
from collections.abc import Mapping

import pytest

from portal.gateway import IntentOrder
from portal.gateway.configured import signing_secrets
from portal.gateway.facts import API_VERSION, WEBHOOK_EVENTS
from portal.gateway.stripe import StripeConnector
from portal.sandbox import Sandbox
from portal.sandbox.accounts import Account
from tests.web.conftest import Site, Visitor, words
from tests.web.office.gateways.conftest import NEEDED, added, audit, credentials, stored, webhook_press


@pytest.mark.promise("O3")
def test_one_button_makes_the_webhook_at_stripe_and_keeps_its_secret(
    site: Site, marc: Visitor, keys: Account, sandbox: Sandbox
) -> None:
    path = added(site, marc, keys)
    page = marc.get(path)
    address = f"http://pay.example.com/webhooks/stripe/{stored(site)[0].public_id}"
    assert address in page.text and API_VERSION in page.text
    assert all(event in page.text for event in WEBHOOK_EVENTS), "or the page shows what to paste"
    press = webhook_press(page.text)
    assert marc.post(f"{path}/webhook", data=press).status_code == 303
    assert marc.post(f"{path}/webhook", data=press).status_code == 303, "pressed twice"
    (endpoint,) = sandbox.objects("webhook_endpoint")
    assert (endpoint["url"], endpoint["api_version"]) == (address, API_VERSION)
    assert endpoint["enabled_events"] == list(WEBHOOK_EVENTS)
    kept = credentials(site)
    assert kept.webhook_endpoint == endpoint["id"]
    assert sandbox_secret(sandbox) in counting_secrets(site)
    page = marc.get(path)
    assert "Last event received None yet" in words(page)
    assert sandbox_secret(sandbox) not in page.text
    assert ("Gateway Card payment, Webhook endpoint (Test)", "", f"made at Stripe: {endpoint['id']}") in audit(site)


def sandbox_secret(sandbox: Sandbox) -> str:
    (endpoint,) = sandbox.objects("webhook_endpoint")
    secret: str = sandbox.world.store.find(endpoint["id"])["_secrets"][0]  # type: ignore[index]  # it is there
    return secret


def counting_secrets(site: Site) -> list[str]:
    with site.parts.database.read() as connection:
        found = signing_secrets(connection, site.parts.vault, stored(site)[0].public_id)
    return found.by_mode["test"] if found else []


def test_a_second_webhook_takes_the_place_of_the_first_and_both_secrets_count_for_a_while(
    site: Site, marc: Visitor, keys: Account, sandbox: Sandbox
) -> None:
    path = added(site, marc, keys)
    marc.post(f"{path}/webhook", data=webhook_press(marc.get(path).text))
    first = sandbox_secret(sandbox)
    marc.post(f"{path}/webhook", data=webhook_press(marc.get(path).text))
    assert counting_secrets(site) == [sandbox_secret(sandbox), first]


def test_a_webhook_that_stripe_may_have_made_is_found_again_by_the_same_press(
    site: Site, marc: Visitor, keys: Account, sandbox: Sandbox
) -> None:
    path = added(site, marc, keys)
    press = webhook_press(marc.get(path).text)
    sandbox.fault("webhook_endpoints.create", "lost_after")
    away = marc.post(f"{path}/webhook", data=press)
    assert away.status_code == 503 and "We can't reach Stripe just now" in words(away)
    assert webhook_press(away.text)["request_id"] == press["request_id"], "the same press is offered again"
    assert marc.post(f"{path}/webhook", data=press).status_code == 303
    assert sandbox_secret(sandbox) in counting_secrets(site)


def test_a_key_that_may_not_make_webhooks_is_told_so(
    site: Site, marc: Visitor, keys: Account, sandbox: Sandbox
) -> None:
    path = added(site, marc, keys, secret=sandbox.add_key("restricted", permissions=list(NEEDED)))
    answer = marc.post(f"{path}/webhook", data=webhook_press(marc.get(path).text))
    assert answer.status_code == 422
    assert "lacks a permission: Webhook Endpoints, write (rak_webhook_write)" in words(answer)


@pytest.mark.promise("O3")
def test_the_time_of_the_last_event_is_shown(site: Site, marc: Visitor, keys: Account, sandbox: Sandbox) -> None:
    path = added(site, marc, keys)
    marc.post(f"{path}/webhook", data=webhook_press(marc.get(path).text))

    def post(address: str, body: bytes, headers: Mapping[str, str]) -> int:
        path = address.removeprefix("http://pay.example.com")
        return site.app.test_client().post(path, data=body, headers=dict(headers)).status_code

    sandbox.send_webhooks_with(post)
    gateway = StripeConnector("https://api.stripe.test", http_client=sandbox.http_client())(keys.test_secret_key)
    gateway.cancel(gateway.create_intent(IntentOrder(1000, "CAD", "x", {}), "k").id)
    assert sandbox.deliver_webhooks(everything=True)
    assert "Last event received None yet" not in words(marc.get(path))
    assert re.search(r"Last event received \d+ \w+ \d{4}, \d\d:\d\d", words(marc.get(path)))
