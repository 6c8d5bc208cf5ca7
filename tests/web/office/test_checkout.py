"""Appointment checkout as the front desk uses it."""

import re
from datetime import date
from uuid import uuid4

import pytest
from sqlalchemy import select
from werkzeug.test import TestResponse

from portal.invoices.tables import Invoice
from portal.schedule import Appointment
from portal.schedule.booking import Slot, Wish, book_in
from tests.makers import GST, PST, make_service
from tests.web.conftest import Site, Visitor, words

DAY = date(2026, 11, 24)


@pytest.fixture
def dana(site: Site) -> Visitor:
    return site.visitor("dana@example.com")


def booked(site: Site, minute: int = 540) -> Appointment:
    """A massage of Maya's at 9."""
    cast = site.cast

    def book(session: object) -> Appointment:
        service = make_service(session)  # type: ignore[arg-type]
        slot = Slot(cast.location.id, cast.practitioner.id, DAY, minute)
        return book_in(session, Wish(uuid4().hex, cast.maya.id, service.id, slot), cast.clerk.id)  # type: ignore[arg-type]

    visit: Appointment = site.change(book)
    return visit


def cushion(site: Site) -> int:
    made: int = site.change(
        lambda session: make_service(session, "Lumbar support cushion", 4_800, (GST, PST), is_product=True).id
    )
    return made


def fields_of(page: str) -> list[tuple[str, str]]:
    """What a browser would send of the checkout form if nothing were touched."""
    form = page[page.index('<form class="panes"') : page.rindex("</form>")]
    found = []
    for tag in re.findall(r"<input [^>]*>", form):
        attributes = dict(re.findall(r'(\w[\w-]*)="([^"]*)"', tag))
        if attributes.get("type") != "checkbox" or " checked" in tag:
            found.append((attributes["name"], attributes.get("value", "on")))
    return found


class Desk:
    """A checkout form in a browser: press after press, each on the page that the one before gave."""

    def __init__(self, visitor: Visitor, path: str) -> None:
        self.visitor = visitor
        self.answer = visitor.get(path)

    def press(self, button: str, **typed: str) -> TestResponse:
        fields = [(name, typed.pop(name, value)) for name, value in fields_of(self.answer.text)]
        data: dict[str, list[str]] = {}
        for name, value in [*fields, *typed.items(), ("do", button)]:
            data.setdefault(name, []).append(value)
        self.answer = self.visitor.post("/office/checkout/new", data=data)
        return self.answer

    @property
    def words(self) -> str:
        return words(self.answer)


def invoices(site: Site) -> list[Invoice]:
    found: list[Invoice] = site.change(lambda session: list(session.scalars(select(Invoice).order_by(Invoice.id))))
    return found


@pytest.mark.promise("O7")
def test_complete_and_invoice_with_a_product_and_a_note(site: Site, dana: Visitor) -> None:
    visit, item = booked(site), cushion(site)
    desk = Desk(dana, f"/office/checkout/new?appointment={visit.public_id}&complete=1")
    assert "Subtotal $120.00 GST 5% $6.00 Total $126.00" in desk.words
    desk.press("add", item=str(item))
    assert "Subtotal $168.00 GST 5% $8.40 PST 7% $3.36 Total $179.76" in desk.words
    answer = desk.press("checkout", notes="Exchange within 14 days.")
    (invoice,) = invoices(site)
    assert answer.status_code == 303 and answer.location == f"/office/invoices/{invoice.number}/receive"
    assert (invoice.owed_cents, invoice.note, invoice.appointment_id) == (
        17_976,
        "Exchange within 14 days.",
        visit.id,
    )
    assert (invoice.created_by, invoice.email_wanted, invoice.service_on) == (site.cast.clerk.id, True, DAY)
    assert site.change(lambda session: session.get_one(Appointment, visit.id).status) == "completed"
