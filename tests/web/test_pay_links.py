"""What the holder of a pay link meets, who need not be signed in; and who only claims to hold one."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from portal import create_app
from portal.config import Config
from portal.db import Base
from portal.gateway.stripe import StripeConnector
from portal.invariants import broken_invariants
from portal.invoices.books import void_invoice
from portal.invoices.tables import Invoice
from portal.outbox import OutboxMessage
from portal.parts import Parts
from portal.paylinks import MAIL, NewLink, make_link, revoke_link
from portal.payments.tables import PaymentAttempt
from portal.sandbox import Sandbox
from portal.settings import read_settings
from tests.makers import make_gateway, make_invoice, make_payment
from tests.web.conftest import Site, Visitor, words

JSON = {"Accept": "application/json"}
HEALTH_WORD = "Colonoscopy"


class Desk:
    """A clinic that takes payments online and asks for them by mail, with one open invoice of Maya's."""

    def __init__(self, site: Site, sandbox: Sandbox) -> None:
        self.site = site
        self.sandbox = sandbox
        self.number = self.invoice()

    def invoice(self, **details: Any) -> str:
        return str(self.site.change(lambda session: make_invoice(session, self.site.cast.maya, **details).number))

    def change_invoice(self, work: Callable[[Session, Invoice], Any], number: str = "") -> Any:
        def change(session: Session) -> Any:
            return work(
                session, session.scalars(select(Invoice).where(Invoice.number == (number or self.number))).one()
            )

        return self.site.change(change)

    def link(self, number: str = "", medium: str = MAIL) -> NewLink:
        """A new link, as a request to pay makes it."""

        def make(session: Session, invoice: Invoice) -> NewLink:
            return make_link(session, self.site.parts.vault, read_settings(session), invoice, medium, by=None)

        made: NewLink = self.change_invoice(make, number)
        return made

    def revoke(self, link: NewLink) -> None:
        self.change_invoice(lambda session, invoice: revoke_link(session, invoice, link.id, by=None))

    def void(self) -> None:
        self.change_invoice(lambda session, invoice: void_invoice(session, invoice.id, by=None, reason="a mistake"))

    def pay_at_the_desk(self, **details: Any) -> None:
        self.change_invoice(lambda session, invoice: make_payment(session, invoice, **details))

    def opened(self, link: NewLink, visitor: Visitor | None = None) -> tuple[Visitor, TestResponse]:
        """Open a link as its holder does; gives the page behind it."""
        visitor = visitor or self.site.visitor()
        onward = visitor.get(f"/pay/{link.token}")
        assert (onward.status_code, onward.location) == (303, f"/pay/i/{link.public_id}")
        return visitor, visitor.get(onward.location)

    def fields(self, page: TestResponse, card: str = "visa", **changes: str) -> dict[str, str]:
        """What the form on this page sends, with a card typed."""
        found = {
            name: re.search(rf'name="{name}" value="([^"]*)"', page.text)[1]  # type: ignore[index]
            for name in ("csrf_token", "attempt", "amount", "currency", "card")
        }
        token = self.sandbox.elements_token(card, amount=int(found["amount"]), currency=found["currency"].lower())
        return {**found, "script": "1", "name": "Maya Lindqvist", "confirmation_token": token, **changes}

    @property
    def taken(self) -> int:
        return sum(charge["amount_captured"] for charge in self.sandbox.charges() if charge["paid"])

    def rows(self, table: type[Any]) -> list[Any]:
        with Session(self.site.parts.database.reading) as session:
            return list(session.scalars(select(table)))

    def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        """All that the database holds, but for the counts of tries."""
        with self.site.parts.database.read() as connection:
            return {
                table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
                for table in Base.metadata.sorted_tables
                if table.name != "try_counts"
            }


@pytest.fixture
def desk(config: Config, site: Site) -> Iterator[Desk]:
    sandbox = Sandbox()
    sandbox.world.sleep = lambda _seconds: None
    app = create_app(config, connect=StripeConnector("https://api.stripe.test", http_client=sandbox.http_client()))
    app.test_client_class = Visitor
    site.parts.database.close()
    site.app = app
    parts: Parts = app.extensions["portal"]
    for key in ("module_payment_gateways", "accept_payments_in_portal", "email_pay_online_request"):
        site.setting(key, "yes")
    site.change(lambda session: make_gateway(session, parts.vault, secret=sandbox.secret_key))
    yield Desk(site, sandbox)
    assert broken_invariants(parts.database) == []


# --- a link that works ----------------------------------------------------------------------------------------------


@pytest.mark.promise("E2", "P3")
def test_who_holds_a_link_sees_the_amount_and_pays_without_signing_in(desk: Desk) -> None:
    link = desk.link()
    visitor, page = desk.opened(link)
    shown = words(page)
    assert page.status_code == 200
    for told in (
        "Alder Lane Clinic asks you to pay",
        "126.00",
        f"Invoice {desk.number}, due",
        "The link works until",
    ):
        assert told in shown
    for hidden in ("Maya", "Lindqvist", "Massage", "Liam", "Keep this card", 'type="radio"'):
        assert hidden not in page.text
    fields = desk.fields(page, email=" Sam@Example.com ")
    answers = [visitor.post(f"/pay/i/{link.public_id}", data=fields, headers=JSON).get_json() for _ in range(3)]
    assert [answer["outcome"] for answer in answers] == ["paid"] * 3
    assert len({answer["location"] for answer in answers}) == 1
    receipt = words(visitor.get(answers[0]["location"]))
    for told in ("Thank you, your payment went through.", "Receipt R-", "126.00", desk.number, "s•••@example.com"):
        assert told in receipt
    assert "Maya" not in receipt and "4242" not in receipt
    assert desk.taken == 12_600
    (attempt,) = desk.rows(PaymentAttempt)
    assert (attempt.payer_id, attempt.user_id, attempt.channel, attempt.pay_link_id) == (None, None, "link", link.id)
    assert [mail.recipient for mail in desk.rows(OutboxMessage)] == ["sam@example.com"]


@pytest.mark.promise("E2")
def test_the_token_leaves_for_a_cookie_of_this_link_alone(desk: Desk) -> None:
    link = desk.link()
    visitor = desk.site.visitor()
    onward = visitor.get(f"/pay/{link.token}")
    (cookie,) = onward.headers.getlist("Set-Cookie")
    assert cookie.startswith(f"pay-{link.public_id}=")
    for part in ("HttpOnly", "Path=/", "SameSite=Lax", "Max-Age=14400"):
        assert part in cookie
    assert "Domain" not in cookie and link.token not in cookie
    assert onward.headers["Cache-Control"] == "no-store"
    assert onward.headers["Referrer-Policy"] == "no-referrer"
    page = visitor.get(onward.location)
    assert page.headers["Cache-Control"] == "no-store" and page.headers["Referrer-Policy"] == "no-referrer"
    assert link.token not in page.text


@pytest.mark.promise("E2")
def test_over_https_the_cookie_is_bound_to_the_host(desk: Desk) -> None:
    link = desk.link()
    app = desk.site.another_process(base_url="https://pay.example.com")
    (cookie,) = app.test_client().get(f"/pay/{link.token}").headers.getlist("Set-Cookie")
    assert cookie.startswith(f"__Host-pay-{link.public_id}=")
    assert "Secure" in cookie and "Path=/" in cookie and "Domain" not in cookie
