"""A clinic that takes payments online and asks for them by mail, and whoever holds one of its links."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from portal.db import Base
from portal.invariants import broken_invariants
from portal.invoices.books import void_invoice
from portal.invoices.tables import Invoice
from portal.paylinks import MAIL, NewLink, make_link, revoke_link
from portal.sandbox import Sandbox
from portal.sandbox.gate import Request
from portal.settings import read_settings
from tests.makers import make_gateway, make_invoice, make_payment
from tests.web.conftest import Site, Visitor

JSON = {"Accept": "application/json"}


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

    def fields(self, page: TestResponse, card_typed: str = "visa", **changes: str) -> dict[str, str]:
        """What the form on this page sends, with a card typed."""
        found = {
            name: re.search(rf'name="{name}" value="([^"]*)"', page.text)[1]  # type: ignore[index]  # it is there
            for name in ("csrf_token", "attempt", "amount", "currency", "card")
        }
        token = self.sandbox.elements_token(
            card_typed, amount=int(found["amount"]), currency=found["currency"].lower()
        )
        return {**found, "script": "1", "name": "Maya Lindqvist", "confirmation_token": token, **changes}

    def press(
        self, visitor: Visitor, link: NewLink, page: TestResponse, card_typed: str = "visa", **changes: str
    ) -> dict[str, Any]:
        """Press Pay on a link's page, as its script does; gives the answer and its status."""
        fields = {**self.fields(page, card_typed), **changes}
        answer = visitor.post(f"/pay/i/{link.public_id}", data=fields, headers=JSON)
        return {"status": answer.status_code, **answer.get_json()}

    @contextmanager
    def hearing_stripe(self) -> Iterator[list[str]]:
        """All that is sent to the gateway meanwhile: methods, addresses, headers and bodies."""
        sent: list[str] = []
        answer = self.sandbox.gate.answer

        def hear(request: Request) -> Any:
            sent.append(f"{request.method} {request.path}?{request.query} {request.headers} {request.body}")
            return answer(request)

        self.sandbox.gate.answer = hear  # type: ignore[method-assign]  # listening in
        yield sent
        self.sandbox.gate.answer = answer  # type: ignore[method-assign]  # as it was

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
def desk(site: Site) -> Iterator[Desk]:
    sandbox = Sandbox()
    sandbox.world.sleep = lambda _seconds: None
    site.take_cards_at(sandbox)
    for key in ("module_payment_gateways", "accept_payments_in_portal", "email_pay_online_request"):
        site.setting(key, "yes")
    site.change(lambda session: make_gateway(session, site.parts.vault, secret=sandbox.secret_key))
    yield Desk(site, sandbox)
    assert broken_invariants(site.parts.database) == []
