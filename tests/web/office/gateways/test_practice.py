"""What Test mode is good for: a practice invoice, and in production no real one."""

import re

import pytest
from sqlalchemy import text

from portal.gateway import IntentOrder
from portal.invariants import broken_invariants
from portal.sandbox import Sandbox
from portal.sandbox.accounts import Account
from tests.makers import make_invoice
from tests.web.conftest import Site, Visitor, words
from tests.web.office.gateways.conftest import LIST, NEW, added


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
