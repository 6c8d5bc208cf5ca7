"""Locations, practitioners, services and taxes: added, changed and recorded, on the pages that staff use."""

import re
from functools import partial
from html import unescape
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.audit import AuditEntry
from portal.clinic import Location, Practitioner, Service, ServiceTax, Tax
from portal.invoices.books import LocationChanged
from portal.setup.entry import BadEntry
from portal.setup.locations import LOCATIONS
from portal.setup.taxes import parse_rate, rate_in_percent
from tests.makers import make_invoice, make_location
from tests.support.at_once import at_once
from tests.web.conftest import Site, Visitor, words

SETTINGS = "/office/settings"
RIVERSIDE = {
    "name": "Riverside", "address": "27 Riverside Walk\nKelowna", "phone": "250-555-0167",
    "timezone": "America/Toronto", "currency": "CAD", "tax_numbers": "GST 1", "invoice_prefix": "R-",
    "next_invoice_number": "2001", "payment_terms_days": "30", "opens": "08:30", "closes": "17:15", "active": "on",
}  # fmt: skip
PAGES = {
    "locations": RIVERSIDE,
    "practitioners": {"name": "Amara Singh", "credentials": "PT", "registration": "CPTBC 1", "active": "on"},
    "taxes": {"name": "QST", "rate": "9.975", "position": "2", "active": "on"},
    "services": {"name": "Massage, 60 minutes", "kind": "service", "price": "1,120.50", "duration": "60",
                 "active": "on"},
}  # fmt: skip


def rows(site: Site, table: type[Any]) -> list[Any]:
    return list(site.change(lambda session: session.scalars(select(table).order_by(table.id)).all()))


def entries(site: Site) -> list[tuple[str, str, str, str]]:
    return [(e.action, e.subject, e.before, e.after) for e in rows(site, AuditEntry) if "setting" not in e.action]


def fields_of(visitor: Visitor, path: str) -> dict[str, str]:
    """What a form would send as it stands."""
    html = visitor.get(path).text
    found: dict[str, str] = {}
    for tag in re.findall(r"<input[^>]*>", html):
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        is_off = attributes.get("type") in ("checkbox", "radio") and " checked" not in tag
        if "name" in attributes and not is_off:
            ticked = "on" if attributes.get("type") == "checkbox" else ""
            found[attributes["name"]] = unescape(attributes.get("value", ticked))
    for name, body in re.findall(r'<select[^>]* name="([^"]*)".*?>(.*?)</select>', html, re.DOTALL):
        chosen = re.search(r'value="([^"]*)" selected', body)
        found[name] = chosen[1] if chosen else ""
    for name, text in re.findall(r'<textarea[^>]* name="([^"]*)"[^>]*>\n?(.*?)</textarea>', html, re.DOTALL):
        found[name] = unescape(text)
    return found


@pytest.mark.promise("O17")
def test_a_location_is_added_and_recorded(site: Site, marc: Visitor) -> None:
    answer = marc.send(f"{SETTINGS}/locations/new", RIVERSIDE)
    assert answer.status_code == 303
    made = rows(site, Location)[-1]
    assert (made.name, made.timezone, made.invoice_prefix, made.next_invoice_number) == (
        "Riverside", "America/Toronto", "R-", 2001,
    )  # fmt: skip
    assert (made.opens_minute, made.closes_minute, made.payment_terms_days) == (510, 1035, 30)
    ((action, subject, before, after),) = entries(site)
    assert (action, subject, before) == ("location.added", "location Riverside", "")
    assert "Time zone: America/Toronto" in after and "Next invoice number: 2001" in after
    assert "Riverside" in words(marc.get(f"{SETTINGS}/locations"))


@pytest.mark.promise("O17")
@pytest.mark.parametrize("kind", PAGES)
def test_the_same_press_twice_adds_one(site: Site, marc: Visitor, kind: str) -> None:
    tables = {"locations": Location, "practitioners": Practitioner, "taxes": Tax, "services": Service}
    before = len(rows(site, tables[kind]))
    for _press in range(2):
        assert marc.send(f"{SETTINGS}/{kind}/new", PAGES[kind]).status_code == 303
    assert len(rows(site, tables[kind])) == before + 1
    assert len(entries(site)) == 1


@pytest.mark.promise("O17")
def test_each_changed_field_stands_in_the_audit_log_before_and_after(site: Site, marc: Visitor) -> None:
    path = f"{SETTINGS}/locations/{site.cast.location.id}"
    sent = fields_of(marc, path) | {"phone": "250-555-9999", "payment_terms_days": "7"}
    assert marc.send(path, sent).status_code == 303
    assert entries(site) == [
        ("location.changed", "location Alder Lane, phone", "250-555-0142", "250-555-9999"),
        ("location.changed", "location Alder Lane, days to pay", "14", "7"),
    ]
    assert marc.send(path, fields_of(marc, path)).status_code == 303
    assert len(entries(site)) == 2, "nothing changed, nothing recorded"


@pytest.mark.promise("O17")
@pytest.mark.parametrize("kind", PAGES)
def test_bad_input_is_told_at_its_field_and_kept(site: Site, marc: Visitor, kind: str) -> None:
    for name in PAGES[kind]:
        for bad in ("", "\0", "x" * 3000, "-1", "٣", "<b>&", "9" * 30):
            answer = marc.send(f"{SETTINGS}/{kind}/new", {**PAGES[kind], name: bad})
            assert answer.status_code in (303, 422)
            if answer.status_code == 422:
                assert "Not saved yet" in words(answer)
    assert marc.send(f"{SETTINGS}/{kind}/new", {}).status_code == 422
    for number in ("99999", "2147483647", "2147483648", "0", "-1", "9" * 40):
        assert marc.get(f"{SETTINGS}/{kind}/{number}").status_code == 404
        assert marc.send(f"{SETTINGS}/{kind}/{number}", PAGES[kind], page="/office/account").status_code == 404


def test_a_name_is_taken_whatever_its_case(site: Site, marc: Visitor) -> None:
    for kind, name in (("locations", "ALDER LANE"), ("practitioners", "liam tremblay")):
        answer = marc.send(f"{SETTINGS}/{kind}/new", {**PAGES[kind], "name": name})
        assert answer.status_code == 422
        assert "already" in words(answer)
        assert f'value="{name}"' in answer.text


@pytest.mark.promise("O17")
def test_the_currency_stays_once_there_are_invoices(site: Site, marc: Visitor) -> None:
    path = f"{SETTINGS}/locations/{site.cast.location.id}"
    assert marc.send(path, fields_of(marc, path) | {"currency": "USD"}).status_code == 303
    site.change(lambda session: make_invoice(session, site.cast.maya))
    answer = marc.send(path, fields_of(marc, path) | {"currency": "CAD"})
    assert answer.status_code == 422 and "The currency stays USD" in words(answer)
    assert rows(site, Location)[0].currency == "USD"


def test_prices_are_one_figure_so_all_currencies_have_as_many_decimals(marc: Visitor) -> None:
    answer = marc.send(f"{SETTINGS}/locations/new", {**RIVERSIDE, "currency": "JPY"})
    assert answer.status_code == 422 and "another number of decimals" in words(answer)


@pytest.mark.promise("O17")
def test_invoice_numbers_go_up_and_never_meet_another_locations(site: Site, marc: Visitor) -> None:
    site.change(lambda session: [make_invoice(session, site.cast.maya) for _each in range(3)])
    path = f"{SETTINGS}/locations/{site.cast.location.id}"
    answer = marc.send(path, fields_of(marc, path) | {"next_invoice_number": "10003"})
    assert "Numbers up to 10003 are used already. The next one is 10004 or higher." in words(answer)
    assert marc.send(path, fields_of(marc, path) | {"next_invoice_number": "10500"}).status_code == 303
    assert rows(site, Location)[0].next_invoice_number == 10_500
    for prefix, sentence in (
        ("", "Alder Lane numbers its invoices without letters"),
        ("R1", "must not end in a digit"),
        ("R /", "letters, digits, dots and hyphens"),
    ):
        answer = marc.send(f"{SETTINGS}/locations/new", {**RIVERSIDE, "invoice_prefix": prefix})
        assert answer.status_code == 422 and sentence in words(answer)


def test_letters_that_were_used_by_another_location_begin_above_its_numbers(site: Site, marc: Visitor) -> None:
    def used(session: Session) -> None:
        place = make_location(session, "Old town", prefix="O-", first_number=77)
        make_invoice(session, site.cast.maya, location=place)
        place.invoice_prefix = "P-"

    site.change(used)
    answer = marc.send(f"{SETTINGS}/locations/new", {**RIVERSIDE, "invoice_prefix": "O-", "next_invoice_number": "5"})
    assert "Numbers up to O-77 are used already" in words(answer)


def test_a_number_that_moved_while_the_form_was_open_is_left_alone(site: Site, marc: Visitor) -> None:
    path = f"{SETTINGS}/locations/{site.cast.location.id}"
    sent = fields_of(marc, path) | {"phone": "1"}
    site.change(lambda session: make_invoice(session, site.cast.maya))
    assert marc.send(path, sent).status_code == 303
    assert rows(site, Location)[0].next_invoice_number == 10_002


def test_nobody_overwrites_unseen_what_somebody_else_saved(site: Site, marc: Visitor) -> None:
    path = f"{SETTINGS}/locations/{site.cast.location.id}"
    sent = fields_of(marc, path) | {"phone": "2"}
    marc.send(path, fields_of(marc, path) | {"address": "1 New Road"})
    answer = marc.send(path, sent)
    assert answer.status_code == 422 and "Somebody else saved this meanwhile" in words(answer)
    assert "Address: 1 New Road" in words(answer)
    stamp = re.search(r'name="as_shown" value="(\w+)"', answer.text)
    assert stamp and marc.send(path, sent | {"as_shown": stamp[1]}).status_code == 303
    assert rows(site, Location)[0].phone == "2"


def test_an_invoice_takes_the_letters_of_now_and_no_other_currency(site: Site) -> None:
    """Somebody saves the location after it was read for an invoice, and before the invoice has its number."""
    stale = rows(site, Location)[0]
    assert (stale.invoice_prefix, stale.currency) == ("", "CAD")
    site.change(lambda s: s.query(Location).update({"invoice_prefix": "N-"}))
    assert site.change(lambda s: make_invoice(s, site.cast.maya, location=stale)).number == "N-10001"
    site.change(lambda s: s.query(Location).update({"currency": "USD"}))
    with pytest.raises(LocationChanged):
        site.change(lambda s: make_invoice(s, site.cast.maya, location=stale))


@pytest.mark.promise("O17")
def test_a_service_has_its_price_its_minutes_and_its_taxes(site: Site, marc: Visitor) -> None:
    for tax in (PAGES["taxes"], {"name": "GST", "rate": "5", "position": "1", "active": "on"}):
        marc.send(f"{SETTINGS}/taxes/new", tax)
    qst, gst = rows(site, Tax)
    assert (qst.rate_per_100k, gst.rate_per_100k) == (9975, 5000)
    ticked: dict[str, Any] = {"taxes": [str(qst.id), str(gst.id)]}
    assert marc.send(f"{SETTINGS}/services/new", PAGES["services"] | ticked).status_code == 303
    service = rows(site, Service)[-1]
    assert (service.price_cents, service.duration_minutes, service.is_product) == (112_050, 60, False)
    borne = site.change(lambda s: set(s.scalars(select(ServiceTax.tax_id)).all()))
    assert borne == {qst.id, gst.id}
    path = f"{SETTINGS}/services/{service.id}"
    sent: dict[str, Any] = fields_of(marc, path) | {"kind": "product", "taxes": [str(gst.id)]}
    assert marc.send(path, sent).status_code == 303
    assert rows(site, Service)[-1].duration_minutes == 0
    assert ("service.changed", "service Massage, 60 minutes, taxes", "GST, QST", "GST") in entries(site)
    assert "GST" in words(marc.get(f"{SETTINGS}/services"))


def test_a_tax_out_of_use_is_offered_to_nothing_new(site: Site, marc: Visitor) -> None:
    marc.send(f"{SETTINGS}/taxes/new", {**PAGES["taxes"], "active": ""})
    marc.get(f"{SETTINGS}/taxes")
    assert "QST" not in words(marc.get(f"{SETTINGS}/services/new"))
    assert "Inactive" in words(marc.get(f"{SETTINGS}/taxes"))


@pytest.mark.parametrize(
    ("typed", "rate"), [("5", 5000), ("9.975", 9975), ("0", 0), ("100", 100_000), ("13.0 %", 13_000)]
)
def test_rates_are_read_as_they_are_written(typed: str, rate: int) -> None:
    assert parse_rate(typed) == rate
    assert parse_rate(rate_in_percent(rate)) == rate


@pytest.mark.parametrize("typed", ["", "100.001", "9.9751", "-5", "5,5", "1e2", "٥", "101"])
def test_what_is_no_rate_is_refused(typed: str) -> None:
    with pytest.raises(ValueError, match="not a rate"):
        parse_rate(typed)


def test_two_locations_added_at_once_do_not_share_their_letters(site: Site) -> None:
    def add(name: str) -> None:
        with site.parts.database.transaction() as session:
            LOCATIONS.add(session, {**RIVERSIDE, "name": name}, by=None)

    answers = at_once([partial(add, f"Place {turn}") for turn in range(4)])
    refused = [answer for answer in answers if isinstance(answer, BadEntry)]
    assert len(refused) == 3 and all("invoice_prefix" in bad.wrong for bad in refused)
    assert [row.invoice_prefix for row in rows(site, Location)] == ["", "R-"]


@pytest.mark.parametrize("kind", PAGES)
def test_an_empty_list_says_what_comes_first(site: Site, marc: Visitor, kind: str) -> None:
    def empty(session: Session) -> None:
        for table in (ServiceTax, Service, Tax, Practitioner, Location):
            session.query(table).delete()

    site.change(empty)
    assert re.search(r"No (location|practitioner|service|tax) yet", words(marc.get(f"{SETTINGS}/{kind}")))
    assert marc.get(f"{SETTINGS}/{kind}/new").status_code == 200
    assert "Add a location" in words(marc.get(f"{SETTINGS}/first-steps"))
