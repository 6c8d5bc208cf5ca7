"""A clinic with a program that costs something, and a small Stripe behind it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from portal.invariants import broken_invariants
from portal.invoices.tables import Invoice
from portal.programs.tables import Program, Registration
from portal.sandbox import Sandbox
from tests.makers import make_gateway, make_program
from tests.web.conftest import Site, Visitor

JSON = {"Accept": "application/json"}


@dataclass
class Studio:
    """A site with programs, where cards can be charged at a sandbox in this process."""

    site: Site
    sandbox: Sandbox
    program: Program = field(init=False)

    def __post_init__(self) -> None:
        self.program = self.make(capacity=2, waitlist_size=3, practitioner=self.site.cast.practitioner)

    def make(self, name: str = "Back in motion", **details: Any) -> Program:
        """Another program."""
        made: Program = self.site.change(lambda session: make_program(session, name, **details))
        return made

    def hold(self, visitor: Visitor, program: Program | None = None, **fields: str) -> TestResponse:
        """Press Register on a program's page."""
        public_id = (program or self.program).public_id
        page = "/my-programs" if visitor.get("/my-programs").status_code == 200 else "/login"
        data = {"csrf_token": visitor.token(page), **fields}
        return visitor.post(f"/programs/{public_id}/hold", data=data)

    def held(self, visitor: Visitor, program: Program | None = None) -> str:
        """As `hold`; gives the address of the place."""
        answer = self.hold(visitor, program)
        assert answer.status_code == 303, answer.text
        return str(answer.location)

    def fields(self, visitor: Visitor, path: str) -> dict[str, str]:
        """The hidden fields of the first form that a page has."""
        page = visitor.get(path).text
        page = page[page.index('class="sheet') :]
        return dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page))

    def save(self, visitor: Visitor, path: str, **typed: str) -> TestResponse:
        """Send the form of a place as it stands, with what was typed."""
        return visitor.post(path, data={**self.fields(visitor, path), **typed})

    def pay(self, visitor: Visitor, path: str, card: str = "visa") -> dict[str, Any]:
        """Press Pay on the pay page of a place; gives the answer."""
        fields = {**self.fields(visitor, f"{path}/pay"), "card": "new", "script": "1", "name": "Maya Lindqvist"}
        amount, currency = int(fields["amount"]), fields["currency"].lower()
        fields["confirmation_token"] = self.sandbox.elements_token(card, amount=amount, currency=currency)
        answer = visitor.post(f"{path}/pay", data=fields, headers=JSON)
        return {"status": answer.status_code, **(answer.get_json(silent=True) or {})}

    def paid(self, visitor: Visitor, program: Program | None = None) -> str:
        """The whole way; gives the address of the confirmed place."""
        path = self.held(visitor, program)
        assert self.save(visitor, path).location == f"{path}/pay"
        assert self.pay(visitor, path)["outcome"] == "paid"
        return path

    def registration(self, path: str) -> Registration:
        public_id = path.rsplit("/", 1)[1]
        with Session(self.site.parts.database.reading) as session:
            return session.scalars(select(Registration).where(Registration.public_id == public_id)).one()

    def invoice(self, path: str) -> Invoice:
        invoice_id = self.registration(path).invoice_id
        assert invoice_id is not None
        with Session(self.site.parts.database.reading) as session:
            return session.get_one(Invoice, invoice_id)

    def registrations(self) -> list[Registration]:
        with Session(self.site.parts.database.reading) as session:
            return list(session.scalars(select(Registration).order_by(Registration.id)))

    @property
    def taken_cents(self) -> int:
        """The money that the sandbox took, less what it gave back."""
        return sum(
            charge["amount_captured"] - charge["amount_refunded"]
            for charge in self.sandbox.charges()
            if charge["paid"]
        )


@pytest.fixture
def studio(site: Site) -> Iterator[Studio]:
    sandbox = Sandbox()
    site.take_cards_at(sandbox)
    for key in ("module_payment_gateways", "accept_payments_in_portal", "module_programs"):
        site.setting(key, "yes")
    site.change(lambda session: make_gateway(session, site.parts.vault, secret=sandbox.secret_key))
    yield Studio(site, sandbox)
    assert broken_invariants(site.parts.database) == []


@pytest.fixture
def jonas(studio: Studio) -> Visitor:
    """Jonas, signed in: nobody pays for him, and he pays for nobody."""
    return studio.site.visitor("jonas@example.com")


@pytest.fixture
def maya(studio: Studio) -> Visitor:
    """Maya, signed in: she pays for Theo too."""
    return studio.site.visitor("maya@example.com")
