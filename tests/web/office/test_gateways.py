"""Settings › Payment Gateways: both keys are tried at Stripe before anything is kept, and no secret is seen again."""

import logging
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from portal import create_app
from portal.audit import AuditEntry
from portal.config import Config
from portal.db import Base
from portal.gateway import IntentOrder
from portal.gateway.configured import ConfiguredGateway, Credentials, keys_of, signing_secrets
from portal.gateway.facts import API_VERSION, WEBHOOK_EVENTS
from portal.gateway.setting_up import GatewayChangedMeanwhile, GatewayWanted, Tools, set_up_gateway
from portal.gateway.stripe import StripeConnector
from portal.invariants import broken_invariants
from portal.sandbox import Sandbox
from portal.sandbox.accounts import Account
from portal.sandbox.client import InProcessClient
from portal.sandbox.gate import Gate
from tests.makers import make_cast, make_gateway, make_invoice, make_location
from tests.payments.stage import OpenTransactions
from tests.web.conftest import Site, Visitor, password_hash, words

LIST = "/office/settings/gateways"
NEW = f"{LIST}/new"


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


# --- a good one -----------------------------------------------------------------------------------------------------


@pytest.mark.promise("O3")
def test_good_keys_are_tried_together_and_kept_with_their_account(
    site: Site, marc: Visitor, keys: Account, sandbox: Sandbox
) -> None:
    path = added(site, marc, keys)
    page = words(marc.get(path))
    assert f"They belong to the account {keys.id}." in page
    (gateway,) = stored(site)
    assert (gateway.status, gateway.mode, gateway.is_default, gateway.location_id) == ("active", "test", True, None)
    kept = credentials(site)
    assert kept.account == keys.id and kept.tested_at is not None
    assert [intent["status"] for intent in sandbox.objects("setup_intent")] == ["canceled"]
    assert sandbox.charges() == []
    assert "Card payment" in words(marc.get(LIST))


@pytest.mark.promise("O3")
def test_live_keys_of_a_location_are_kept_for_production(site: Site, marc: Visitor, keys: Account) -> None:
    place = site.cast.location.id
    added(site, marc, keys, mode="production", location=str(place), token=keys.live_publishable_key,
          secret=keys.live_secret_key)  # fmt: skip
    (gateway,) = stored(site)
    assert (gateway.mode, gateway.location_id) == ("production", place)
    assert credentials(site, "production").account == keys.id


def test_the_same_press_twice_sets_up_one_gateway(site: Site, marc: Visitor, keys: Account) -> None:
    form = {**hidden(marc.get(NEW).text), **filled(keys)}
    first, second = marc.post(NEW, data=form), marc.post(NEW, data=form)
    assert first.location == second.location
    assert len(stored(site)) == 1


# --- wrong ones, each with its own sentence -------------------------------------------------------------------------


def is_refused(site: Site, answer: TestResponse, field: str, sentence: str) -> None:
    assert answer.status_code == 422
    assert sentence in words(answer)
    assert re.search(rf'id="{field}-error">', answer.text), f"the sentence stands at {field}"
    assert re.search(rf'<a href="#{field}">', answer.text), "and in the summary"
    assert stored(site) == []


@pytest.mark.promise("O3")
@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"token": "sk_test_sandbox"}, "token", "The Token is a secret key. It takes the publishable key"),
        ({"secret": "pk_test_sandbox"}, "secret", "The Secret is not a secret key."),
        ({"mode": "production", "secret": "sk_live_sandbox"}, "token",
         "The Token is a test key (it begins with pk_test_), but the mode is Production."),
        ({"mode": "production", "token": "pk_live_sandbox"}, "secret",
         "The Secret is a test key (it begins with sk_test_), but the mode is Production. Enter the live key"),
        ({"token": "pk_live_sandbox"}, "token", "The Token is a live key (it begins with pk_live_)"),
        ({"secret": "rk_live_sandbox"}, "secret", "The Secret is a live key (it begins with rk_live_)"),
        ({"token": ""}, "token", "Enter the Token"),
        ({"secret": ""}, "secret", "Enter the Secret"),
        ({"token": "hello"}, "token", "does not look like a publishable key of this mode: pk_test_…"),
        ({"secret": "hello"}, "secret", "does not look like a secret or restricted key of this mode: sk_test_…"),
        ({"secret": "sk_test_" + "x" * 300}, "secret", "does not look like a secret"),
        ({"webhook_secret": "sk_test_sandbox"}, "webhook_secret", "begins with whsec_"),
        ({"token": "pk_test_nobody"}, "token", "Stripe does not know this Token."),
        ({"secret": "sk_test_nobody"}, "secret", "Stripe does not know this Secret."),
        ({"secret": "rk_test_nobody"}, "secret", "Stripe does not know this Secret."),
        ({"name": "  "}, "name", "The name takes 1 to 120 characters"),
        ({"name": "x" * 121}, "name", "The name takes 1 to 120 characters"),
        ({"name": "my sk_live_key"}, "name", "The Name holds a secret key."),
        ({"location": "999"}, "location", "There is no such location."),
        ({"location": "nowhere"}, "location", "There is no such location."),
        ({"mode": "rehearsal"}, "mode", "The mode is test or production."),
    ],
)  # fmt: skip
def test_each_wrong_entry_has_its_own_sentence_at_its_field(
    site: Site, marc: Visitor, keys: Account, changes: dict[str, str], field: str, sentence: str
) -> None:
    answer = add(marc, filled(keys, **changes))
    is_refused(site, answer, field, sentence)
    if "name" not in changes:
        assert 'value="Card payment"' in answer.text, "what was typed stays"


@pytest.mark.promise("O3")
def test_swapped_keys_are_both_named(site: Site, marc: Visitor, keys: Account) -> None:
    answer = add(marc, filled(keys, token=keys.test_secret_key, secret=keys.test_publishable_key))
    is_refused(site, answer, "token", "The Token is a secret key.")
    is_refused(site, answer, "secret", "The Secret is not a secret key.")
    assert keys.test_secret_key not in answer.text, "not even a secret in the wrong field is shown again"


@pytest.mark.promise("O3")
def test_a_revoked_secret_is_named(site: Site, marc: Visitor, keys: Account, sandbox: Sandbox) -> None:
    secret = sandbox.add_key("secret")
    sandbox.revoke_key(secret)
    is_refused(site, add(marc, filled(keys, secret=secret)), "secret", "this Secret was revoked or has expired")


@pytest.mark.promise("O3")
def test_a_revoked_token_is_named(site: Site, marc: Visitor, keys: Account, sandbox: Sandbox) -> None:
    token = sandbox.add_key("publishable")
    sandbox.revoke_key(token)
    is_refused(site, add(marc, filled(keys, token=token)), "token", "this Token was revoked or has expired")
    assert [intent["status"] for intent in sandbox.objects("setup_intent")] == ["canceled"]


@pytest.mark.promise("O3")
def test_keys_of_two_accounts_are_named(site: Site, marc: Visitor, keys: Account, sandbox: Sandbox) -> None:
    other = sandbox.add_account()
    answer = add(marc, filled(keys, token=other.test_publishable_key))
    is_refused(site, answer, "token", "The Token and the Secret belong to two different Stripe accounts.")


NEEDED = ("payment_intents:write", "setup_intents:write", "customers:write", "payment_methods:write",
          "confirmation_tokens:read", "charges:read", "refunds:write", "disputes:read")  # fmt: skip


@pytest.mark.promise("O3")
@pytest.mark.parametrize("missing", NEEDED)
def test_a_restricted_key_that_lacks_a_permission_is_told_which(
    site: Site, marc: Visitor, keys: Account, sandbox: Sandbox, missing: str
) -> None:
    secret = sandbox.add_key("restricted", permissions=[each for each in NEEDED if each != missing])
    answer = add(marc, filled(keys, secret=secret))
    is_refused(site, answer, "secret", "The Secret is a restricted key that lacks a permission: ")
    resource, access = missing.split(":")
    assert f"(rak_{resource.removesuffix('s')}_{access})" in words(answer)


@pytest.mark.promise("O3")
@pytest.mark.parametrize("also", [[], ["account:read"]])
def test_a_restricted_key_with_what_it_needs_is_taken(
    site: Site, marc: Visitor, keys: Account, sandbox: Sandbox, also: list[str]
) -> None:
    secret = sandbox.add_key("restricted", permissions=[*NEEDED, *also])
    added(site, marc, keys, secret=secret)
    assert credentials(site).account == keys.id


@pytest.mark.promise("O3")
@pytest.mark.parametrize("operation", ["account.retrieve", "setup_intents.create", "setup_intents.retrieve"])
@pytest.mark.parametrize("fault", ["lost_before", "lost_after", "error_before", "rate_limited"])
def test_when_stripe_is_away_nothing_is_saved_and_the_secret_need_not_be_typed_again(
    site: Site, marc: Visitor, keys: Account, sandbox: Sandbox, operation: str, fault: Any
) -> None:
    sandbox.fault(operation, fault)
    answer = add(marc, filled(keys))
    assert answer.status_code == 503
    assert "We can't reach Stripe just now" in words(answer) and "Nothing was saved." in words(answer)
    assert keys.test_secret_key not in answer.text
    assert stored(site) == []
    again = marc.post(NEW, data={**hidden(answer.text), **filled(keys, secret="")})
    assert again.status_code == 303
    assert secret_of(site) == keys.test_secret_key


def test_a_kept_secret_opens_for_nobody_else(site: Site, marc: Visitor, keys: Account) -> None:
    answer = add(marc, filled(keys, token="hello"))
    kept = hidden(answer.text)["kept"]
    other = site.visitor("marc@example.com")
    is_refused(site, add(other, {**filled(keys, secret=""), "kept": kept}), "secret", "Enter the Secret")


# --- changing one ---------------------------------------------------------------------------------------------------


def as_it_is(**changes: str) -> dict[str, str]:
    """The form of a gateway as it is shown, with changes."""
    form = {"type": "stripe", "location": "", "name": "Card payment", "mode": "test", "status": "active",
            "default": "on", "token": "", "secret": "", "webhook_secret": ""}  # fmt: skip
    return {**form, **changes}


@pytest.mark.promise("O3")
def test_empty_keys_stay_and_a_new_secret_takes_the_place(
    site: Site, marc: Visitor, keys: Account, sandbox: Sandbox
) -> None:
    path = added(site, marc, keys)
    assert edit(marc, path, as_it_is(name="Cards")).status_code == 303
    assert stored(site)[0].name == "Cards" and secret_of(site) == keys.test_secret_key
    rolled = sandbox.add_key("secret")
    assert edit(marc, path, as_it_is(name="Cards", secret=rolled)).status_code == 303
    assert secret_of(site) == rolled


@pytest.mark.promise("O3")
def test_another_account_is_a_new_gateway(site: Site, marc: Visitor, keys: Account, sandbox: Sandbox) -> None:
    path = added(site, marc, keys)
    other = sandbox.add_account()
    answer = edit(marc, path, as_it_is(token=other.test_publishable_key, secret=other.test_secret_key))
    assert answer.status_code == 422
    assert f"These keys belong to another Stripe account ({other.id})." in words(answer)
    assert secret_of(site) == keys.test_secret_key
    with pytest.raises(DBAPIError), site.parts.database.transaction() as session:
        session.execute(update(Credentials).values(account=other.id))


def test_an_account_that_nobody_asked_for_is_told_by_the_former_key(
    site: Site, marc: Visitor, keys: Account, sandbox: Sandbox
) -> None:
    gateway = site.change(
        lambda s: make_gateway(s, site.parts.vault, token=keys.test_publishable_key, secret=keys.test_secret_key)
    )
    path = f"{LIST}/{gateway.public_id}"
    other = sandbox.add_account()
    theirs = as_it_is(token=other.test_publishable_key, secret=other.test_secret_key)
    assert "belong to another Stripe account" in words(edit(marc, path, theirs))
    assert edit(marc, path, as_it_is(secret=sandbox.add_key("secret"))).status_code == 303
    assert credentials(site).account == keys.id


@pytest.mark.promise("O3", "G6")
def test_switching_the_mode_keeps_the_keys_of_the_other(site: Site, marc: Visitor, keys: Account) -> None:
    path = added(site, marc, keys)
    missing = edit(marc, path, as_it_is(mode="production"))
    assert missing.status_code == 422 and "Enter the Token" in words(missing) and "Enter the Secret" in words(missing)
    live = as_it_is(mode="production", token=keys.live_publishable_key, secret=keys.live_secret_key)
    assert edit(marc, path, live).status_code == 303
    assert stored(site)[0].mode == "production" and secret_of(site, "production") == keys.live_secret_key
    assert edit(marc, path, as_it_is(mode="test")).status_code == 303
    assert stored(site)[0].mode == "test" and secret_of(site, "test") == keys.test_secret_key
    assert secret_of(site, "production") == keys.live_secret_key


@pytest.mark.promise("O3")
def test_a_gateway_without_its_keys_can_not_become_active(site: Site, marc: Visitor, keys: Account) -> None:
    added(site, marc, keys)
    for statement in ("UPDATE gateways SET mode = 'production'", "INSERT INTO gateways (public_id, kind, name, mode, "
                      "status, is_default, created_at) VALUES ('x', 'stripe', 'X', 'test', 'active', false, "
                      "'2026-11-02 17:00:00')"):  # fmt: skip
        with pytest.raises(DBAPIError), site.parts.database.transaction() as session:
            session.execute(text(statement))
    assert broken_invariants(site.parts.database) == []


@pytest.mark.promise("O3", "O5")
def test_a_new_default_takes_it_from_the_former_and_both_are_audited(
    site: Site, marc: Visitor, keys: Account, sandbox: Sandbox
) -> None:
    added(site, marc, keys, name="First")
    place = str(site.cast.location.id)
    added(site, marc, keys, name="Here", location=place)
    assert [gateway.is_default for gateway in stored(site)] == [True, True], "one of the clinic, one of the place"
    added(site, marc, keys, name="Second")
    assert {gateway.name: gateway.is_default for gateway in stored(site)} == {
        "First": False, "Here": True, "Second": True,
    }  # fmt: skip
    elsewhere = site.change(lambda session: make_location(session, "Riverside", prefix="R").id)
    path = f"{LIST}/{stored(site)[1].public_id}"
    assert edit(marc, path, as_it_is(name="Here", location=str(elsewhere))).status_code == 303
    assert edit(marc, path, as_it_is(name="Here", location="")).status_code == 303
    assert {gateway.name: gateway.is_default for gateway in stored(site)} == {
        "First": False, "Here": True, "Second": False,
    }  # fmt: skip
    said = audit(site)
    assert ("Gateway First, Default", "yes", "no") in said
    assert ("Gateway Second, Default", "yes", "no") in said
    assert ("Gateway Here, Clinic location", "Alder Lane", "Riverside") in said


def audit(site: Site) -> list[tuple[str, str, str]]:
    def entries(session: Session) -> list[tuple[str, str, str]]:
        wanted = select(AuditEntry.subject, AuditEntry.before, AuditEntry.after).where(
            AuditEntry.user_id == site.cast.administrator.id
        )
        return [(row.subject, row.before, row.after) for row in session.execute(wanted.order_by(AuditEntry.id))]

    found: list[tuple[str, str, str]] = site.change(entries)
    return found


def test_switching_a_gateway_off_needs_no_stripe(site: Site, marc: Visitor, keys: Account, sandbox: Sandbox) -> None:
    path = added(site, marc, keys)
    sandbox.revoke_key(keys.test_secret_key)
    assert "this Secret was revoked" in words(edit(marc, path, as_it_is(name="Cards")))
    assert edit(marc, path, as_it_is(status="inactive")).status_code == 303
    assert stored(site)[0].status == "inactive"
    assert audit(site)[-1] == ("Gateway Card payment, Status", "active", "inactive")


def test_two_at_once_do_not_overwrite_each_other(site: Site, marc: Visitor, keys: Account) -> None:
    path = added(site, marc, keys)
    old = hidden(marc.get(path).text)
    assert edit(marc, path, as_it_is(name="Cards")).status_code == 303
    late = marc.post(path, data={**old, **as_it_is(status="inactive")})
    assert late.status_code == 409
    assert "Somebody else has changed this gateway meanwhile" in words(late)
    assert (stored(site)[0].name, stored(site)[0].status) == ("Cards", "active")


@pytest.mark.promise("O3")
def test_of_gateways_that_become_default_at_once_one_is(site: Site, keys: Account) -> None:
    parts = site.parts

    def set_up(number: int) -> str:
        wanted = GatewayWanted(f"Cards {number}", None, "test", True, True, keys.test_publishable_key,
                               keys.test_secret_key)  # fmt: skip
        try:
            set_up_gateway(Tools(parts.database, parts.vault, parts.connect), f"{number:016x}", wanted, by=None)
        except GatewayChangedMeanwhile:
            return "told"
        return "saved"

    with ThreadPoolExecutor(4) as pool:
        came = list(pool.map(set_up, range(8)))
    assert set(came) <= {"saved", "told"} and "saved" in came
    assert [gateway.is_default for gateway in stored(site)].count(True) == 1
    assert len(stored(site)) == came.count("saved")


def test_unknown_gateways_and_garbage_are_answered_calmly(site: Site, marc: Visitor, keys: Account) -> None:
    path = added(site, marc, keys)
    token = marc.token(NEW)
    for wrong in (f"{LIST}/nobody", f"{LIST}/{'0' * 16}", f"{LIST}/nobody/webhook"):
        assert marc.post(wrong, data={"csrf_token": token}).status_code == 404
    for data in ({}, {"name": "\0", "token": "\0", "secret": "\0", "kept": "\0", "public_id": "\0"}, {"kept": "ü.ü"}):
        assert marc.post(NEW, data={"csrf_token": token, **data}).status_code == 422
        assert marc.post(path, data={"csrf_token": token, **data}).status_code in (409, 422)


# --- its webhook ----------------------------------------------------------------------------------------------------


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


def webhook_press(page: str) -> dict[str, str]:
    form = page[page.index('aria-labelledby="webhook"') :]
    return dict(re.findall(r'name="(csrf_token|request_id)" value="([^"]+)"', form))


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


# --- who, and what is never seen ------------------------------------------------------------------------------------


@pytest.mark.promise("O5")
@pytest.mark.parametrize("email", ["dana@example.com", "ines@example.com", "liam@example.com"])
def test_only_administrators_see_gateways(site: Site, marc: Visitor, keys: Account, email: str) -> None:
    path = added(site, marc, keys)
    someone = site.visitor(email)
    token = someone.token("/office/account")
    for place in (LIST, NEW, path):
        assert someone.get(place).status_code == 403
    for place in (NEW, path, f"{path}/webhook"):
        assert someone.post(place, data={"csrf_token": token, **filled(keys)}).status_code == 403
    assert len(stored(site)) == 1


@pytest.mark.promise("O5")
def test_no_secret_is_in_any_page_log_audit_entry_or_table(
    site: Site, marc: Visitor, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    account = sandbox.add_account()
    revoked = sandbox.add_key("secret", account=account.id)
    sandbox.revoke_key(revoked)
    signing = "whsec_" + "planted" * 5
    planted = [account.test_secret_key, account.live_secret_key, account.test_restricted_key, revoked, signing]
    pages: list[str] = []

    def keep(answer: TestResponse) -> TestResponse:
        pages.append(answer.text + str(answer.headers))
        if answer.status_code == 303:
            pages.append(marc.get(answer.location).text)
        return answer

    for wrong in (
        {"secret": revoked}, {"token": account.test_secret_key}, {"name": account.test_secret_key},
        {"token": "pk_test_nobody"}, {"webhook_secret": account.test_secret_key}, {"mode": "production"},
        {"secret": account.live_secret_key}, {"token": signing}, {"location": account.test_secret_key},
    ):  # fmt: skip
        assert keep(add(marc, filled(account, **{"webhook_secret": signing, **wrong}))).status_code == 422
    for operation in ("account.retrieve", "setup_intents.retrieve"):
        sandbox.fault(operation, "lost_after")
        assert keep(add(marc, filled(account, webhook_secret=signing))).status_code == 503
    path = keep(add(marc, filled(account, webhook_secret=signing))).location
    live = as_it_is(mode="production", token=account.live_publishable_key, secret=account.live_secret_key)
    assert keep(edit(marc, path, live)).status_code == 303
    assert keep(edit(marc, path, as_it_is(secret=account.test_restricted_key))).status_code == 303
    assert keep(marc.post(f"{path}/webhook", data=webhook_press(marc.get(path).text))).status_code == 303
    made = sandbox.world.store.find(sandbox.objects("webhook_endpoint", account=account.id)[0]["id"])
    assert made is not None
    planted.append(made["_secrets"][0])
    with site.parts.database.transaction() as session:
        session.execute(text("UPDATE sign_ins SET confirmed_at = '2020-01-01 00:00:00'"))
        session.execute(text("UPDATE sign_ins SET started_at = '2020-01-01 00:00:00'"))
    asked = marc.post(path, data={"csrf_token": webhook_press(pages[-1])["csrf_token"], **live})
    assert "Your password again" in words(keep(asked)), "the form that is kept while the password is asked for"
    pages += [marc.get(each).text for each in (LIST, NEW, path, "/office/settings", "/office/settings/audit")]
    with site.parts.database.read() as connection:
        rows = [row for table in Base.metadata.sorted_tables for row in connection.execute(select(table))]
    tables = "\n".join(repr(tuple(row)) for row in rows)
    told = {"pages": "\n".join(pages), "the log": caplog.text, "the database": tables}
    found = [(secret[:12], place) for secret in planted for place, words in told.items() if secret in words]
    assert found == []


@pytest.mark.promise("O3")
def test_in_production_a_test_gateway_takes_no_payment_and_the_pages_say_so(
    site: Site, marc: Visitor, keys: Account
) -> None:
    path = added(site, marc, keys)
    for key in ("module_payment_gateways", "accept_payments_in_portal"):
        site.setting(key, "yes")
    number = site.change(lambda session: make_invoice(session, site.cast.maya).number)
    assert "Test mode" in words(marc.get(path))
    maya = site.visitor("maya@example.com")
    page = words(maya.get(f"/invoices/{number}"))
    assert "Pay this invoice" in page and "Test mode" in page
    live = site.another_process(production=True)
    live.test_client_class = Visitor
    site.others.append(site.app)
    site.app = live
    for visitor, place in ((site.visitor("marc@example.com"), path), (site.visitor("marc@example.com"), LIST)):
        assert "takes no payment on real invoices" in words(visitor.get(place))
    practice = words(site.visitor("marc@example.com").get(f"{path}/practice"))
    assert "Pay CA$10.00 in Test mode" in practice, "a practice invoice shows that it works"
    maya = site.visitor("maya@example.com")
    assert "Pay this invoice" not in words(maya.get(f"/invoices/{number}"))
    assert maya.get(f"/invoices/{number}/pay").status_code == 409


# --- the practice invoice -------------------------------------------------------------------------------------------


def practice_press(visitor: Visitor, path: str, card_token: str) -> dict[str, str]:
    page = visitor.get(f"{path}/practice").text
    form = page[page.index('class="sheet pay') :]
    fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form))
    return {**fields, "confirmation_token": card_token, "name": "Marc"}


@pytest.mark.promise("O3")
def test_the_practice_invoice_is_paid_once_and_stands_in_no_book(
    site: Site, marc: Visitor, keys: Account, sandbox: Sandbox
) -> None:
    path = added(site, marc, keys)
    press = practice_press(marc, path, sandbox.elements_token("visa", amount=1000))
    for _twice in range(2):
        assert marc.post(f"{path}/practice", data=press).status_code == 303
    assert [charge["amount"] for charge in sandbox.charges()] == [1000]
    assert "The practice payment went through." in words(marc.get(path))
    with site.parts.database.read() as connection:
        for table in ("invoices", "payments", "payment_attempts", "cases"):
            assert connection.scalar(text(f"SELECT count(*) FROM {table}")) == 0
    assert broken_invariants(site.parts.database) == []


def test_a_practice_that_goes_wrong_says_so(site: Site, marc: Visitor, keys: Account, sandbox: Sandbox) -> None:
    path = added(site, marc, keys)
    for token, sentence in (
        ("", "The card has not been entered."),
        ("\0é", "The card has not been entered."),
        ("ctoken_nobody", "Those card details could not be used."),
        (sandbox.elements_token("mastercard_debit", amount=1000), "This debit card is not accepted."),
        (sandbox.elements_token("chargeDeclined", amount=1000), "The bank said no to this card."),
    ):
        answer = marc.post(f"{path}/practice", data=practice_press(marc, path, token))
        assert (answer.status_code, sentence in words(answer)) == (422, True), words(answer)
    sandbox.fault("payment_intents.create", "lost_before")
    token = sandbox.elements_token("visa", amount=1000)
    answer = marc.post(f"{path}/practice", data=practice_press(marc, path, token))
    assert answer.status_code == 503 and "nothing is in the books" in words(answer)
    assert [charge for charge in sandbox.charges() if charge["paid"]] == []


def test_a_practice_never_uses_live_keys_nor_shows_other_payments(
    site: Site, marc: Visitor, keys: Account, sandbox: Sandbox
) -> None:
    live = {"mode": "production", "token": keys.live_publishable_key, "secret": keys.live_secret_key}
    path = added(site, marc, keys, **live)
    answer = marc.get(f"{path}/practice")
    assert answer.status_code == 303 and "There are no Test keys yet" in words(marc.get(path))
    other = added(site, marc, keys)
    gateway = site.parts.connect(keys.test_secret_key)
    intent = gateway.create_intent(IntentOrder(1000, "CAD", "x", {}), "k").id
    for intent_id in (intent, "pi_nobody", "x"):
        data = {"csrf_token": marc.token(NEW)}
        assert marc.post(f"{other}/practice/{intent_id}/settle", data=data).status_code == 404
