"""Invoices with what was posted on them; after every story the books hold."""

import re
from typing import Any

import pytest
from sqlalchemy import select
from werkzeug.test import TestResponse

from portal.invariants import broken_invariants
from portal.invoices.tables import Invoice
from portal.payments.cases import follow_books
from portal.payments.states import State
from portal.payments.tables import Payment
from tests.makers import make_attempt, make_gateway, make_invoice, make_payment
from tests.web.conftest import Site, Visitor

ALL = 126_00


@pytest.fixture(autouse=True)
def _the_books_hold(site: Site) -> Any:
    yield
    assert broken_invariants(site.parts.database) == []


def invoice(site: Site) -> str:
    return str(site.change(lambda session: make_invoice(session, site.cast.maya).number))


def pays(site: Site, number: str, cents: int | None = None, kind: str = "card", **details: Any) -> int:
    """Money that was typed in at the desk; gives the payment's id."""

    def post(session: Any) -> int:
        found = session.scalars(select(Invoice).where(Invoice.number == number)).one()
        also = {"brand": "visa", "funding": "credit"} if kind == "card" else {}
        payment = make_payment(session, found, cents, kind, **{**also, "recorded_by": site.cast.clerk.id, **details})
        follow_books(session, found)
        return payment.id

    return int(site.change(post))


def pays_through_stripe(site: Site, number: str) -> int:
    """As if a card payment had come through the gateway."""

    def post(session: Any) -> int:
        found = session.scalars(select(Invoice).where(Invoice.number == number)).one()
        gateway = make_gateway(session, site.parts.vault)
        attempt = make_attempt(session, found, gateway, State.SUCCEEDED, intent_id="pi_4242")
        payment = make_payment(
            session, found, kind="card", brand="visa", last4="1881", attempt_id=attempt.id, gateway_id=gateway.id,
            charge_id="ch_4242",
        )  # fmt: skip
        return payment.id

    return int(site.change(post))


def posted(site: Site, number: str) -> list[tuple[str, int, int | None]]:
    def look(session: Any) -> list[tuple[str, int, int | None]]:
        rows = session.scalars(select(Payment).join(Invoice).where(Invoice.number == number).order_by(Payment.id))
        return [(row.nature, row.amount_cents, row.reverses_id) for row in rows]

    rows: list[tuple[str, int, int | None]] = site.change(look)
    return rows


def request_id(page: TestResponse) -> str:
    found = re.search(r'name="request_id" value="([^"]+)"', page.text)
    assert found
    return found[1]


def new_payment(visitor: Visitor, number: str, **fields: str) -> TestResponse:
    """Fill in New Payment as it stands on the page, and press its button."""
    path = f"/office/invoices/{number}/payments"
    page = visitor.get(path)
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert token
    form = {
        "csrf_token": token[1], "request_id": request_id(page), "paid_by": "visa", "gateway": "", "amount": "-126.00",
        "reverses": "0", "reason": "Entered twice at the desk.", **fields,
    }  # fmt: skip
    return visitor.post(path, data=form)
