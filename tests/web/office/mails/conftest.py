"""What the tests of mails about invoices start from."""

import re
from collections.abc import Sequence
from uuid import uuid4

import pytest
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from portal.invoices.tables import Invoice
from portal.outbox import OutboxMessage
from portal.paylinks import PayLink
from portal.people import Patient
from tests.makers import make_gateway, make_invoice
from tests.web.conftest import Site, Visitor

SEARCH = "/office/invoices"


@pytest.fixture
def dana(site: Site) -> Visitor:
    """At the desk of a clinic that takes payments online and asks for them by mail."""
    site.change(lambda session: make_gateway(session, site.parts.vault))
    for key in ("module_payment_gateways", "accept_payments_in_portal", "email_pay_online_request"):
        site.setting(key, "yes")
    return site.visitor("dana@example.com")


def invoice_of(site: Site, patient: Patient) -> Invoice:
    made: Invoice = site.change(lambda session: make_invoice(session, patient, location=site.cast.location))
    return made


def mails(site: Site, kind: str = "pay_request") -> list[OutboxMessage]:
    statement = select(OutboxMessage).where(OutboxMessage.kind == kind).order_by(OutboxMessage.id)
    found: list[OutboxMessage] = site.change(lambda session: list(session.scalars(statement)))
    return found


def field(page: TestResponse, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page.text)
    assert found, f"no {name} on the page"
    return found[1].replace("&amp;", "&")


def press(
    visitor: Visitor, page: str = SEARCH, ticked: Sequence[str] = (), *, request: str = "", **fields: str
) -> TestResponse:
    """Press a button that asks for payments, as a browser does on this page; gives the answer after the redirect."""
    shown = visitor.get(page)
    data = {name: field(shown, name) for name in ("csrf_token", "back")}
    data["request"] = request or field(shown, "request")
    return visitor.post(
        "/office/invoices/request", data={**data, "number": list(ticked), **fields}, follow_redirects=True
    )


def mail_of(site: Site, **values: object) -> None:
    """Something happens to the mails that wait."""
    site.change(lambda session: session.execute(update(OutboxMessage).values(**values)))


def send_again(visitor: Visitor, number: str, mail_id: int, request: str = "") -> TestResponse:
    page = f"{SEARCH}/{number}"
    data = {"csrf_token": visitor.token(page), "request": request or str(uuid4())}
    return visitor.post(f"{page}/mails/{mail_id}/again", data=data, follow_redirects=True)


def links(site: Site) -> list[PayLink]:
    found: list[PayLink] = site.change(lambda session: list(session.scalars(select(PayLink).order_by(PayLink.id))))
    return found
