"""Settings › Payment Gateways: both keys are tried at Stripe before anything is kept."""

import re
from typing import Any

import pytest
from werkzeug.test import TestResponse

from portal.sandbox import Sandbox
from portal.sandbox.accounts import Account
from tests.web.conftest import Site, Visitor, words
from tests.web.office.gateways.conftest import (
    LIST,
    NEEDED,
    NEW,
    add,
    added,
    credentials,
    filled,
    hidden,
    secret_of,
    stored,
)

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


def test_unknown_gateways_and_garbage_are_answered_calmly(site: Site, marc: Visitor, keys: Account) -> None:
    path = added(site, marc, keys)
    token = marc.token(NEW)
    for wrong in (f"{LIST}/nobody", f"{LIST}/{'0' * 16}", f"{LIST}/nobody/webhook"):
        assert marc.post(wrong, data={"csrf_token": token}).status_code == 404
    for data in ({}, {"name": "\0", "token": "\0", "secret": "\0", "kept": "\0", "public_id": "\0"}, {"kept": "ü.ü"}):
        assert marc.post(NEW, data={"csrf_token": token, **data}).status_code == 422
        assert marc.post(path, data={"csrf_token": token, **data}).status_code in (409, 422)
