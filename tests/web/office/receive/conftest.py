"""A clinic whose desk receives money, and the page it does that on."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from portal.invariants import broken_invariants
from portal.invoices.tables import Invoice
from portal.parts import Parts
from portal.payments.tables import Payment, PaymentAttempt
from portal.sandbox import Sandbox
from tests.makers import make_gateway, make_invoice
from tests.web.conftest import Site

JSON = {"Accept": "application/json"}


class Desk:
    """A clinic whose desk can charge cards, at a sandbox in this process; Dana works there."""

    def __init__(self, site: Site, sandbox: Sandbox) -> None:
        self.site = site
        self.sandbox = sandbox
        self.parts: Parts = site.app.extensions["portal"]
        self.number = self.invoice()
        self.dana = site.visitor("dana@example.com")

    def invoice(self, patient: str = "maya", **how: Any) -> str:
        person = getattr(self.site.cast, patient)
        return str(self.site.change(lambda session: make_invoice(session, person, **how).number))

    def path(self, number: str = "") -> str:
        return f"/office/invoices/{number or self.number}/receive"

    def form(self, number: str = "") -> dict[str, str]:
        """The fields of the page as they stand."""
        page = self.dana.get(self.path(number)).text
        fields = dict(re.findall(r'<input[^>]* name="(\w+)"[^>]* value="([^"]*)"', page))
        for name in ("payer", "paid_by", "gateway"):
            options = page[page.index(f'name="{name}"') :]
            found = re.search(r'<option value="([^"]*)"[^>]* selected', options[: options.index("</select>")])
            fields[name] = found[1] if found else ""
        for box in ("save", "absent", "take_over", "update", "confirmation_token", "person"):
            fields.pop(box, None)
        return fields

    def send(self, on: str = "", **changes: str) -> TestResponse:
        """Press the button with the fields as they stand, but for these."""
        return self.dana.post(self.path(on), data={**self.form(on), **changes})

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
def desk(site: Site) -> Iterator[Desk]:
    sandbox = Sandbox()
    site.take_cards_at(sandbox)
    site.setting("module_payment_gateways", "yes")  # at the desk no other switch counts
    site.setting("portal_enabled", "no")
    site.change(lambda session: make_gateway(session, site.parts.vault, secret=sandbox.secret_key))
    yield Desk(site, sandbox)
    assert broken_invariants(site.parts.database) == []
