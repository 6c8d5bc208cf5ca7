"""Who may do what, and what Stripe would refuse."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from portal.sandbox import Sandbox
from tests.sandbox.conftest import client_of
from tests.sandbox.makers import confirm, error_of, intent, paid


def test_accounts_and_modes_see_nothing_of_each_other(sandbox: Sandbox, api: stripe.StripeClient) -> None:
    made = intent(api)
    other = sandbox.add_account("The clinic next door")
    live = client_of(sandbox, sandbox.default_account.live_secret_key)
    with pytest.raises(stripe.InvalidRequestError) as error:
        client_of(sandbox, other.test_secret_key).v1.payment_intents.retrieve(made.id)
    assert error.value.http_status == 404
    with pytest.raises(stripe.InvalidRequestError, match="similar object exists in test mode"):
        live.v1.payment_intents.retrieve(made.id)
    assert intent(live).livemode is True
    assert [one.id for one in api.v1.payment_intents.list().data] == [made.id]


def test_each_account_has_its_own_id(sandbox: Sandbox, api: stripe.StripeClient) -> None:
    other = sandbox.add_account()
    assert api.v1.accounts.retrieve_current().id == sandbox.default_account.id
    assert client_of(sandbox, other.live_secret_key).v1.accounts.retrieve_current().id == other.id


def test_a_restricted_key_does_what_it_may(sandbox: Sandbox) -> None:
    key = sandbox.add_key("restricted", permissions=["payment_intents:write", "charges:read"])
    narrow = client_of(sandbox, key)
    made = intent(narrow)
    assert narrow.v1.payment_intents.retrieve(made.id).id == made.id
    assert narrow.v1.charges.list().data == []
    with pytest.raises(stripe.PermissionError) as error:
        narrow.v1.refunds.list()
    assert error.value.http_status == 403
    assert key not in str(error.value)


def test_a_revoked_key_is_not_let_in(sandbox: Sandbox) -> None:
    key = sandbox.add_key("secret")
    sandbox.revoke_key(key)
    with pytest.raises(stripe.AuthenticationError) as error:
        client_of(sandbox, key).v1.customers.list()
    assert error_of(error)["code"] == "api_key_expired"


def test_a_pair_of_keys_from_two_accounts_does_not_fit(sandbox: Sandbox, api: stripe.StripeClient) -> None:
    setup = api.v1.setup_intents.create()
    other = client_of(sandbox, sandbox.add_account().test_publishable_key)
    with pytest.raises(stripe.InvalidRequestError) as error:
        other.v1.setup_intents.retrieve(setup.id, {"client_secret": str(setup.client_secret)})
    assert error.value.http_status == 404


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"amount": "ten"}, "amount"),
        ({"amount": 0}, "amount"),
        ({"amount": 100_000_000}, "amount"),
        ({"currency": "CAD"}, "currency"),
        ({"currency": "xyz"}, "currency"),
        ({"capture_method": "never"}, "capture_method"),
        ({"customer": "cus_nobody"}, "customer"),
        ({"customer": ""}, "customer"),
        ({"metadata": {"k" * 41: "v"}}, f"metadata[{'k' * 41}]"),
        ({"metadata": {"k": "v" * 501}}, "metadata[k]"),
        ({"metadata": {f"k{number}": "v" for number in range(51)}}, "metadata"),
        ({"shipping": {"address": {"line1": "x", "planet": "y"}, "name": "z"}}, "shipping[address][planet]"),
        ({"confirmation_token": "ctoken_1"}, "confirmation_token"),
    ],
)
def test_what_stripe_would_refuse_is_refused_by_name(
    api: stripe.StripeClient, params: dict[str, Any], param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as error:
        intent(api, **params)
    assert (error.value.http_status, error.value.param) == (400, param)


def test_automatic_methods_may_redirect_and_so_need_a_return_url(api: stripe.StripeClient) -> None:
    params: Any = {"amount": 1000, "currency": "cad", "confirm": True, "payment_method": "pm_card_visa"}
    with pytest.raises(stripe.InvalidRequestError) as error:
        api.v1.payment_intents.create(params)
    assert error.value.param == "return_url"
    never: Any = {**params, "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"}}
    assert api.v1.payment_intents.create(never).status == "succeeded"


def test_an_intent_can_be_changed_only_while_it_is_open(api: stripe.StripeClient) -> None:
    open_one = intent(api)
    assert api.v1.payment_intents.update(open_one.id, {"amount": 1200}).amount == 1200
    done = paid(api)
    with pytest.raises(stripe.InvalidRequestError) as error:
        api.v1.payment_intents.update(done.id, {"amount": 1200})
    assert error.value.code == "payment_intent_unexpected_state"
    told = api.v1.payment_intents.update(done.id, {"metadata": {"note": "x"}})
    assert told.to_dict()["metadata"] == {"note": "x"}


def test_metadata_is_merged_and_emptied_key_by_key(api: stripe.StripeClient) -> None:
    made = api.v1.customers.create({"metadata": {"a": "1", "b": "2"}})
    changed = api.v1.customers.update(made.id, {"metadata": {"a": "", "c": "3"}})
    assert changed.to_dict()["metadata"] == {"b": "2", "c": "3"}
    cleared = api.v1.customers.update(made.id, {"metadata": ""})
    assert cleared.to_dict()["metadata"] == {}


def test_ids_become_objects_where_asked_and_only_there(api: stripe.StripeClient) -> None:
    payment = paid(api, customer=api.v1.customers.create({"name": "Ada"}).id)
    found: Any = api.v1.payment_intents.retrieve(
        payment.id, {"expand": ["customer", "payment_method", "latest_charge.balance_transaction"]}
    )
    assert found.customer.name == "Ada"
    assert found.payment_method.card.last4 == "4242"
    assert found.latest_charge.balance_transaction.net == 941
    listed: Any = api.v1.payment_intents.list({"expand": ["data.latest_charge"]})
    assert listed.data[0].latest_charge.id == payment.latest_charge
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        api.v1.payment_intents.retrieve(payment.id, {"expand": ["colour"]})
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        confirm(api, intent(api).id, payment_method="pm_card_visa", expand=["latest_charge.colour"])
    assert len(api.v1.charges.list().data) == 1


def test_a_deleted_customer_is_named_but_not_used(api: stripe.StripeClient) -> None:
    customer = api.v1.customers.create().id
    payment = paid(api, customer=customer)
    api.v1.customers.delete(customer)
    found: Any = api.v1.payment_intents.retrieve(payment.id, {"expand": ["customer"]})
    assert found.customer.deleted is True
    with pytest.raises(stripe.InvalidRequestError):
        intent(api, customer=customer)


def test_a_confirmed_intent_that_waits_can_be_confirmed_anew(api: stripe.StripeClient) -> None:
    waiting = paid(api, "pm_card_authenticationRequired")
    assert waiting.status == "requires_action"
    assert confirm(api, waiting.id, payment_method="pm_card_visa").status == "succeeded"


def test_another_version_of_the_api_is_not_spoken(sandbox: Sandbox) -> None:
    old = stripe.StripeClient(sandbox.secret_key, http_client=sandbox.http_client(), stripe_version="2020-08-27")
    with pytest.raises(stripe.InvalidRequestError, match="version"):
        old.v1.customers.list()


def test_basic_authentication_is_as_good(sandbox: Sandbox) -> None:
    headers = {"Authorization": "Basic c2tfdGVzdF9zYW5kYm94Og=="}
    assert sandbox.http_client().request("get", "https://stripe/v1/account", headers)[1] == 200
    assert sandbox.http_client().request("get", "https://stripe/v1/account", {})[1] == 401
