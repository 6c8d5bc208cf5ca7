"""A gateway that is there already: its keys, its mode, its place, and which one is the default."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text, update
from sqlalchemy.exc import DBAPIError

from portal.gateway.configured import Credentials
from portal.gateway.setting_up import GatewayChangedMeanwhile, GatewayWanted, Tools, set_up_gateway
from portal.invariants import broken_invariants
from portal.sandbox import Sandbox
from portal.sandbox.accounts import Account
from tests.makers import make_gateway, make_location
from tests.web.conftest import Site, Visitor, words
from tests.web.office.gateways.conftest import (
    LIST,
    added,
    as_it_is,
    audit,
    credentials,
    edit,
    hidden,
    secret_of,
    stored,
)


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
