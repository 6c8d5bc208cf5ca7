"""Which gateway the desk charges through, and what it says where there is none."""

from dataclasses import replace

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from portal.gateway.configured import ConfiguredGateway
from tests.makers import make_gateway, make_invoice, make_location
from tests.web.conftest import words
from tests.web.office.receive.conftest import Desk


@pytest.mark.promise("O8")
def test_the_gateway_of_the_invoices_location_comes_before_the_clinics(desk: Desk) -> None:
    vault = desk.site.parts.vault

    def another_place(session: Session) -> str:
        place = make_location(session, "Harbour", prefix="H-", currency="USD")
        make_gateway(session, vault, location=place, name="Harbour Clinic", secret=desk.sandbox.secret_key)
        return str(make_invoice(session, desk.site.cast.maya, location=place).number)

    number = str(desk.site.change(another_place))
    page = desk.dana.get(desk.path(number))
    assert "Stripe, Harbour Clinic" in words(page)
    assert "Amount, US$" in words(page)
    assert "Stripe, Alder Lane Clinic" in words(desk.dana.get(desk.path()))
    received = desk.send(number, paid_by="cash", amount="26.00")
    assert "US$" in words(desk.dana.get(received.location))
    assert [one.currency for one in desk.payments()] == ["USD"]


@pytest.mark.promise("O8")
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("module", "Payment Gateways are switched off under Settings, Modules. No card can be processed."),
        ("inactive", "Alder Lane has no active gateway. No card can be processed."),
    ],
)
def test_without_a_gateway_a_sentence_says_why_and_cards_are_refused(desk: Desk, how: str, said: str) -> None:
    fields = {**desk.form(), "confirmation_token": "ctoken_any", "card": "new"}
    if how == "module":
        desk.site.setting("module_payment_gateways", "no")
    else:
        desk.site.change(lambda session: session.execute(update(ConfiguredGateway).values(status="inactive")))
    page = desk.dana.get(desk.path())
    assert said in words(page)
    assert '<script src="/static/js/pay.js' not in page.text
    answer = desk.dana.post(desk.path(), data=fields)
    assert answer.status_code == 422
    assert "No card can be processed here now." in words(answer)
    assert desk.taken == 0
    assert desk.send(paid_by="visa", gateway="none").status_code == 303
    assert [(one.kind, one.brand, one.charge_id) for one in desk.payments()] == [("card", "visa", None)]


@pytest.mark.promise("O3", "O8")
def test_in_production_a_test_gateway_takes_no_payment_at_the_desk(desk: Desk) -> None:
    parts = desk.site.parts
    desk.site.app.extensions["portal"] = replace(parts, config=replace(parts.config, production=True))
    said = words(desk.dana.get(desk.path()))
    assert "The gateway is in Test mode, which takes no payment on real invoices." in said
    answer = desk.send(paid_by="visa", gateway="process", card="new", confirmation_token="ctoken_any")
    assert answer.status_code == 422
    assert desk.taken == 0
