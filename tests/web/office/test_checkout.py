"""Appointment checkout as the front desk uses it."""

import re
from datetime import UTC, date, datetime, time, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from portal.clock import shifted
from portal.invoices.tables import Invoice
from portal.schedule import Appointment
from portal.schedule.booking import Slot, Wish, book_in, cancel
from tests.makers import GST, PST, make_location, make_service
from tests.web.conftest import Site, Visitor, words

DAY = date(2026, 11, 24)


def booked(site: Site, minute: int = 540) -> Appointment:
    """A massage of Maya's at 9."""
    cast = site.cast

    def book(session: Session) -> Appointment:
        service = make_service(session)
        slot = Slot(cast.location.id, cast.practitioner.id, DAY, minute)
        return book_in(session, Wish(uuid4().hex, cast.maya.id, service.id, slot), cast.clerk.id)

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
    notes = re.search(r'<textarea id="notes"[^>]*>\n([^<]*)</textarea>', form)
    assert notes
    return [*found, ("notes", notes[1])]


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


@pytest.mark.promise("O7")
def test_invoice_appointment_leaves_the_visit_booked(site: Site, dana: Visitor) -> None:
    visit = booked(site)
    desk = Desk(dana, f"/office/checkout/new?appointment={visit.public_id}")
    assert "Checkout also marks the visit completed." not in desk.words
    assert desk.press("checkout").status_code == 303
    assert site.change(lambda session: session.get_one(Appointment, visit.id).status) == "booked"


@pytest.mark.parametrize(("days", "is_to_come"), [(-1, True), (0, False), (1, False)])
def test_a_visit_to_come_is_told_from_one_that_was(site: Site, days: int, is_to_come: bool) -> None:
    visit = booked(site)
    noon = datetime.combine(DAY + timedelta(days), time(20), UTC)  # where the clinic is
    with shifted(noon - datetime.now(UTC)):
        page = words(site.visitor("dana@example.com").get(f"/office/checkout/new?appointment={visit.public_id}"))
    assert ("This visit is still to come." in page) is is_to_come


def test_a_product_that_was_chosen_but_not_added_is_shown_before_it_is_issued(site: Site, dana: Visitor) -> None:
    visit, item = booked(site), cushion(site)
    desk = Desk(dana, f"/office/checkout/new?appointment={visit.public_id}")
    answer = desk.press("checkout", item=str(item), more="2")
    assert answer.status_code == 409 and "It is $233.52 now; this page showed $126.00." in desk.words
    assert invoices(site) == []
    assert desk.press("checkout").status_code == 303
    assert invoices(site)[0].owed_cents == 233_52


def test_lines_are_changed_and_removed(site: Site, dana: Visitor) -> None:
    visit, item = booked(site), cushion(site)
    desk = Desk(dana, f"/office/checkout/new?appointment={visit.public_id}")
    desk.press("update", price="100.50", quantity="2")
    assert "Subtotal $201.00 GST 5% $10.05 Total $211.05" in desk.words
    desk.press("add", item=str(item), notes="Kept.")
    answer = desk.press("remove:0")
    assert answer.status_code == 200 and "Total $53.76" in desk.words and "Kept." in desk.words
    desk.press("remove:0")
    assert "Nothing yet. Add a product or service below." in desk.words
    answer = desk.press("checkout")
    assert answer.status_code == 422 and "An invoice takes at least one service or product." in desk.words
    assert "Choose a product or service" in words(desk.press("add"))


@pytest.mark.parametrize("price", ["abc", "1,50", "-5", "1.234", "1e3", "12345678901234567890"])
def test_a_price_that_is_none_is_named_and_kept(site: Site, dana: Visitor, price: str) -> None:
    visit = booked(site)
    desk = Desk(dana, f"/office/checkout/new?appointment={visit.public_id}")
    answer = desk.press("checkout", price=price, notes="Kept.")
    assert answer.status_code == 422
    assert f'value="{price[:20]}"' in answer.text and "Kept." in desk.words
    assert "Nothing was issued yet" in desk.words and invoices(site) == []


def test_a_total_beyond_any_invoice_is_refused_in_a_sentence(site: Site, dana: Visitor) -> None:
    visit = booked(site)
    desk = Desk(dana, f"/office/checkout/new?appointment={visit.public_id}")
    desk.press("update", price="9999999.99", quantity="999")
    answer = desk.press("checkout")
    assert answer.status_code == 422 and "An invoice comes to at least $0.00 and at most $9,999,999.99" in desk.words


def test_a_list_price_follows_the_list_and_an_own_price_stays(site: Site, dana: Visitor) -> None:
    visit, item = booked(site), cushion(site)
    desk = Desk(dana, f"/office/checkout/new?appointment={visit.public_id}")
    desk.press("update", price="90.00")
    desk.press("add", item=str(item))
    site.change(lambda session: session.execute(text("UPDATE services SET price_cents = price_cents + 1000")))
    answer = desk.press("checkout")
    assert answer.status_code == 409 and "It is $159.46 now; this page showed $148.26." in desk.words
    assert 'value="90.00"' in answer.text and 'value="58.00"' in answer.text
    assert desk.press("checkout").status_code == 303


def test_a_visit_that_has_its_invoice_leads_to_it(site: Site, dana: Visitor) -> None:
    visit = booked(site)
    path = f"/office/checkout/new?appointment={visit.public_id}"
    one, other = Desk(dana, path), Desk(dana, path)
    one.press("checkout")
    answer = other.press("checkout")
    (invoice,) = invoices(site)
    assert answer.status_code == 303 and answer.location == f"/office/invoices/{invoice.number}/receive"
    answer = dana.get(path)
    assert answer.status_code == 303 and answer.location == f"/office/invoices/{invoice.number}/receive"


def test_a_cancelled_visit_is_not_invoiced(site: Site, dana: Visitor) -> None:
    visit = booked(site)
    path = f"/office/checkout/new?appointment={visit.public_id}"
    desk = Desk(dana, path)
    cancel(site.parts.database, visit.public_id, 1, site.cast.clerk.id)
    answer = desk.press("checkout")
    assert answer.status_code == 409 and "This visit is cancelled already" in desk.words
    assert dana.get(path).status_code == 409


@pytest.mark.promise("O7")
def test_a_product_is_sold_without_a_visit(site: Site, dana: Visitor) -> None:
    item, riverside = cushion(site), site.change(lambda session: make_location(session, "Riverside", prefix="V-").id)
    desk = Desk(dana, f"/office/checkout/new?patient={site.cast.theo.id}")
    assert "Theo Lindqvist, a sale without a visit" in desk.words
    assert "No email address is on file" in desk.words
    desk.press("add", item=str(item), location=str(riverside))
    assert f'<option value="{riverside}" selected>' in desk.answer.text
    assert desk.press("checkout", location=str(riverside), mail="on").status_code == 303
    (invoice,) = invoices(site)
    assert invoice.number.startswith("V-")
    assert (invoice.patient_id, invoice.appointment_id, invoice.email_wanted) == (site.cast.theo.id, None, False)


@pytest.mark.parametrize(
    "name", ["service", "quantity", "price", "listed", "item", "more", "shown", "request", "location", "do", "notes"]
)
def test_garbage_never_breaks_the_checkout(site: Site, dana: Visitor, name: str) -> None:
    visit = booked(site)
    desk = Desk(dana, f"/office/checkout/new?appointment={visit.public_id}")
    page = desk.answer
    for garbage in ("", "x", "-1", "9" * 30, "\0", "0", "é", "٣", "remove:x", "remove:99", "' OR 1=1 --"):
        for button in ("add", "checkout"):
            desk.answer = page
            answer = desk.press(garbage if name == "do" else button, **({} if name == "do" else {name: garbage}))
            assert answer.status_code in (200, 303, 409, 422), (name, garbage, answer.status_code)


def test_who_is_not_there_is_not_found(site: Site, dana: Visitor) -> None:
    for query in ("", "?patient=999", "?patient=x", "?appointment=x", "?appointment=%00", "?patient=99999999999"):
        assert dana.get(f"/office/checkout/new{query}").status_code == 404


def test_fifty_lines_are_the_most(site: Site, dana: Visitor) -> None:
    item = cushion(site)
    desk = Desk(dana, f"/office/checkout/new?patient={site.cast.maya.id}")
    for _turn in range(50):
        desk.press("add", item=str(item))
    answer = desk.press("add", item=str(item))
    assert answer.status_code == 422 and "An invoice has at most 50 lines" in desk.words
    assert desk.press("checkout", item="").status_code == 303
