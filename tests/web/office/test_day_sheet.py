"""The day sheet: what was taken, by kind and by person, on days as the clock of the place has them."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from portal.invoices.tables import Invoice
from portal.payments.takings import CHART_DAYS, Place, sheet_of
from portal.schedule import CANCELLED, Appointment
from portal.schedule.times import edge_at
from tests.makers import (
    make_gateway,
    make_invoice,
    make_location,
    make_patient,
    make_payment,
    make_service,
)
from tests.web.conftest import Site, Visitor, words

DAY = date(2026, 11, 23)


def _paid(session: Session, site: Site, cents: int, at: datetime, **how: Any) -> Any:
    """Money on a new invoice."""
    details: dict[str, Any] = {
        "location": site.cast.location,
        "practitioner": site.cast.practitioner,
        "service_on": DAY,
    }
    for name in ("location", "service_on"):
        if name in how:
            details[name] = how.pop(name)
    lines = [("Visit", 1, abs(cents), ())]
    invoice = how.pop("invoice", None) or make_invoice(session, site.cast.maya, lines, **details)
    return make_payment(session, invoice, cents, received_at=at, **how)


def _at(hour: int, minute: int = 0) -> datetime:
    """That hour of the day in Vancouver (UTC−8 in November)."""
    return datetime(2026, 11, 23, hour, minute, tzinfo=UTC) + timedelta(hours=8)


def test_a_day_by_kind_and_by_who_took_it(site: Site, dana: Visitor) -> None:
    def day(session: Session) -> None:
        gateway = make_gateway(session, site.parts.vault)
        clerk = site.cast.clerk.id
        card = {"kind": "card", "brand": "visa", "last4": "4242"}
        _paid(session, site, 142_00, _at(9, 4), gateway_id=gateway.id, charge_id="ch_1", recorded_by=clerk, **card)
        _paid(session, site, 68_00, _at(9, 31), kind="cash", recorded_by=clerk)
        _paid(session, site, 95_00, _at(10), gateway_id=gateway.id, charge_id="ch_2", channel="portal", **card)
        twice = _paid(session, site, 168_00, _at(11, 34), recorded_by=clerk, **card)
        invoice = session.get_one(Invoice, twice.invoice_id)
        _paid(session, site, -168_00, _at(16, 5), invoice=invoice, nature="reversal", reverses_id=twice.id,
              receipt_number=None, recorded_by=clerk, **card)  # fmt: skip
        make_invoice(session, site.cast.theo, [("Visit", 1, 50_00, ())], location=site.cast.location, service_on=DAY)

    site.change(day)
    page = dana.get(f"/office/day-sheet?day={DAY}")
    said = words(page)
    assert "Day sheet, Monday 23 November 2026" in said
    assert "Invoiced $523.00 Received $305.00 Still receivable $218.00 Visits 0" in said
    assert "Visa $237.00 Cash $68.00 Received $305.00" in said
    assert "Dana Whitlock $210.00 Patients, online $95.00" in said
    assert "Through Stripe $237.00 Cash to count $68.00" in said
    assert "11:34" in said and "Visa, not processed" in said and "Reverses R-" in said and "−$168.00" in said
    assert said.index("09:04") < said.index("09:31") < said.index("16:05")
    assert page.text.count('class="books') == 1  # of thirty days, one had money
    assert "Invoiced and still receivable: invoices for services of this day." in said
    maya, invoice = f"/office/patients/{site.cast.maya.id}", "/office/invoices/10001"
    for address in (maya, f"{invoice}/payments", f"{invoice}/received/R-20001"):
        assert f'href="{address}"' in page.text
        assert dana.get(address).status_code == 200
    assert page.text.count("/received/") == 4  # a reversal has no receipt


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 8), 23), (date(2026, 11, 1), 25), (date(2026, 11, 2), 24)])
def test_days_on_which_the_clocks_change(site: Site, day: date, hours: int) -> None:
    """Spring's day has 23 hours and autumn's 25; each minute belongs to one day."""
    zone = "America/Toronto"

    def at_the_edges(session: Session) -> Place:
        place = make_location(session, "Toronto", prefix="T", timezone=zone)
        begins, ends = edge_at(day, 0, zone), edge_at(day + timedelta(1), 0, zone)
        assert ends - begins == timedelta(hours=hours)
        for cents, moment in (
            (1_00, begins - timedelta(seconds=1)),
            (10_00, begins),
            (100_00, ends - timedelta(seconds=1)),
            (1000_00, ends),
        ):
            _paid(session, site, cents, moment, location=place, service_on=day)
        return Place(place.id, place.name, place.timezone, place.currency)

    place = site.change(at_the_edges)
    with site.parts.database.read() as connection, site.app.test_request_context():
        for on, expected in ((day - timedelta(1), 1_00), (day, 110_00), (day + timedelta(1), 1000_00)):
            taken = sheet_of(connection, on, [place]).takings[0]
            assert taken.received_cents == expected
            assert len(taken.bars) == CHART_DAYS and taken.bars[-1].cents == expected


def test_each_place_has_a_day_and_a_currency_of_its_own(site: Site, dana: Visitor) -> None:
    """Half past midnight in Toronto is still the day before in Vancouver."""
    moment = datetime(2026, 11, 24, 5, 30, tzinfo=UTC)

    def two_places(session: Session) -> int:
        toronto = make_location(session, "Toronto", prefix="T", timezone="America/Toronto", currency="USD")
        _paid(session, site, 10_00, moment)
        _paid(session, site, 20_00, moment, location=toronto)
        return toronto.id

    toronto = site.change(two_places)
    here = site.cast.location.id
    assert "Received $10.00" in words(dana.get(f"/office/day-sheet?day=2026-11-23&location={here}"))
    assert "No money was taken" in words(dana.get(f"/office/day-sheet?day=2026-11-24&location={here}"))
    assert "Received US$20.00" in words(dana.get(f"/office/day-sheet?day=2026-11-24&location={toronto}"))
    both = words(dana.get("/office/day-sheet?day=2026-11-23"))
    assert "Alder Lane and Toronto" in both and "Received CAD $10.00" in both and "Received USD US$0.00" in both


def test_visits_are_those_that_were_not_cancelled(site: Site, dana: Visitor) -> None:
    def visits(session: Session) -> None:
        service = make_service(session)
        for turn, status in enumerate(("booked", "completed", CANCELLED)):
            session.add(
                Appointment(public_id=f"v{turn}", location_id=site.cast.location.id, status=status,
                            practitioner_id=site.cast.practitioner.id, patient_id=site.cast.maya.id,
                            service_id=service.id, starts_at=_at(9 + turn), ends_at=_at(10 + turn), booked_at=_at(8))
            )  # fmt: skip

    site.change(visits)
    assert "Visits 2" in words(dana.get(f"/office/day-sheet?day={DAY}"))


@pytest.mark.parametrize("asked", ["day=yesterday", "day=9999-99-99", "day=%00", "location=x", "location=77"])
def test_what_cannot_be_read_is_said_at_its_field(dana: Visitor, asked: str) -> None:
    answer = dana.get(f"/office/day-sheet?{asked}")
    assert answer.status_code == 200 and 'aria-invalid="true"' in answer.text


def test_practitioners_see_no_day_sheet(site: Site) -> None:
    assert site.visitor("liam@example.com").get("/office/day-sheet").status_code == 403


def test_names_are_text_and_nothing_else(site: Site, dana: Visitor) -> None:
    def odd(session: Session) -> None:
        patient = make_patient(session, "<b>", "<script>alert(1)</script>")
        invoice = make_invoice(session, patient, location=site.cast.location)
        make_payment(session, invoice, received_at=_at(9))

    site.change(odd)
    assert "&lt;script&gt;" in dana.get(f"/office/day-sheet?day={DAY}").text
