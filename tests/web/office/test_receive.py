"""Receive Payment as the desk's browser meets it: what is sent, what is refused, what lands in the books."""

import re
from collections.abc import Iterator

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import create_app
from portal.config import Config
from portal.gateway.stripe import StripeConnector
from portal.invariants import broken_invariants
from portal.invoices.tables import Invoice
from portal.parts import Parts
from portal.payments.tables import Payment, PaymentAttempt
from portal.sandbox import Sandbox
from tests.makers import make_gateway, make_invoice
from tests.web.conftest import Site, Visitor, words

JSON = {"Accept": "application/json"}


class Desk:
    """A clinic whose desk can charge cards, at a sandbox in this process; Dana works there."""

    def __init__(self, site: Site, sandbox: Sandbox) -> None:
        self.site = site
        self.sandbox = sandbox
        self.number = self.invoice()
        self.dana = site.visitor("dana@example.com")

    def invoice(self, patient: str = "maya", **how: object) -> str:
        person = getattr(self.site.cast, patient)
        return str(self.site.change(lambda session: make_invoice(session, person, **how).number))  # type: ignore[arg-type]

    def path(self, number: str = "") -> str:
        return f"/office/invoices/{number or self.number}/receive"

    def form(self, number: str = "", visitor: Visitor | None = None) -> dict[str, str]:
        """The fields of the page as they stand."""
        page = (visitor or self.dana).get(self.path(number)).text
        fields = dict(re.findall(r'<input[^>]* name="(\w+)"[^>]* value="([^"]*)"', page))
        for name in ("payer", "paid_by", "gateway"):
            options = page[page.index(f'name="{name}"') :]
            found = re.search(r'<option value="([^"]*)"[^>]* selected', options[: options.index("</select>")])
            fields[name] = found[1] if found else ""
        for box in ("save", "absent", "take_over", "update", "confirmation_token", "person"):
            fields.pop(box, None)
        return fields

    def send(self, number: str = "", visitor: Visitor | None = None, **changes: str):  # type: ignore[no-untyped-def]
        """Press the button with the fields as they stand, but for these."""
        return (visitor or self.dana).post(self.path(number), data={**self.form(number, visitor), **changes})

    def press(self, number: str = "", card: str = "visa", **changes: str) -> dict[str, str]:
        """Press Process Credit Card with a new card, as the page's script does; gives the answer and its status."""
        fields = {**self.form(number), "card": "new", "script": "1", "name": "Maya Lindqvist", **changes}
        cents = round(float(fields["amount"]) * 100)
        keeps = "off_session" if fields.get("save") else None
        token = self.sandbox.elements_token(card, amount=cents, currency="cad", setup_future_usage=keeps)
        fields.setdefault("confirmation_token", token)
        answer = self.dana.post(self.path(number), data=fields, headers=JSON)
        return {"status": str(answer.status_code), **(answer.get_json(silent=True) or {})}

    def row(self, number: str = "") -> Invoice:
        with Session(self.site.parts.database.reading) as session:
            return session.scalars(select(Invoice).where(Invoice.number == (number or self.number))).one()

    def payments(self) -> list[Payment]:
        with Session(self.site.parts.database.reading) as session:
            return list(session.scalars(select(Payment).order_by(Payment.id)))

    def attempts(self) -> list[PaymentAttempt]:
        with Session(self.site.parts.database.reading) as session:
            return list(session.scalars(select(PaymentAttempt).order_by(PaymentAttempt.started_at)))

    @property
    def taken(self) -> int:
        return sum(charge["amount_captured"] for charge in self.sandbox.charges() if charge["paid"])


@pytest.fixture
def desk(config: Config, site: Site) -> Iterator[Desk]:
    sandbox = Sandbox()
    app = create_app(config, connect=StripeConnector("https://api.stripe.test", http_client=sandbox.http_client()))
    app.test_client_class = Visitor
    site.parts.database.close()
    site.app = app
    parts: Parts = app.extensions["portal"]
    site.setting("module_payment_gateways", "yes")  # at the desk no other switch counts
    site.setting("portal_enabled", "no")
    site.change(lambda session: make_gateway(session, parts.vault, secret=sandbox.secret_key))
    yield Desk(site, sandbox)
    assert broken_invariants(parts.database) == []
    parts.database.close()


# --- the page -------------------------------------------------------------------------------------------------------


@pytest.mark.promise("O8")
def test_the_form_is_filled_in_and_says_which_gateway_it_uses(desk: Desk) -> None:
    page = desk.dana.get(desk.path())
    assert page.status_code == 200
    fields = desk.form()
    assert (fields["amount"], fields["paid_by"], fields["gateway"]) == ("126.00", "visa", "process")
    assert fields["payer"] == str(desk.site.cast.maya.id)
    said = words(page)
    assert "Stripe, Alder Lane Clinic" in said
    assert "Test mode" in said


@pytest.mark.promise("O15")
def test_the_page_says_that_readers_are_not_supported_and_what_to_do_for_interac(desk: Desk) -> None:
    said = words(desk.dana.get(desk.path()))
    assert "Card readers are not supported. For Interac, use your own terminal" in said


@pytest.mark.promise("O8")
def test_a_new_card_is_charged_and_booked_as_what_stripe_reports(desk: Desk) -> None:
    answer = desk.press(card="mastercard", paid_by="visa")
    assert answer["outcome"] == "paid", answer
    (payment,) = desk.payments()
    assert (payment.brand, payment.channel, payment.nature) == ("mastercard", "desk", "payment")
    assert payment.recorded_by == desk.site.cast.clerk.id
    assert payment.payer_id == desk.site.cast.maya.id
    assert desk.taken == payment.amount_cents == 126_00
    page = desk.dana.get(answer["location"])
    assert "Payment received" in words(page)
    assert f"Receipt {payment.receipt_number}" in words(page)


@pytest.mark.promise("O8")
def test_cash_goes_into_the_books_alone(desk: Desk) -> None:
    answer = desk.send(paid_by="cash", amount="26.00")
    assert answer.status_code == 303
    (payment,) = desk.payments()
    assert (payment.kind, payment.amount_cents, payment.channel, payment.charge_id) == ("cash", 26_00, "desk", None)
    assert desk.row().balance_cents == 100_00
    said = words(desk.dana.get(answer.location))
    assert "Left to pay on invoice" in said
    assert "Receive the rest" in said
    assert desk.attempts() == []
