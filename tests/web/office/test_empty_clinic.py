"""A clinic begins with an empty database and one administrator: no page fails, and each says what comes first."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from portal.accounts import create_account
from portal.config import Config
from portal.parts import Parts
from portal.people import User
from portal.settings import change_setting
from portal.web.access import HALF, STAFF, rule_of
from tests.makers import Cast
from tests.web.conftest import PASSWORD, Site, Visitor, _made, words

pytestmark = pytest.mark.promise("O17")


@pytest.fixture
def empty(config: Config, tmp_path: Path) -> Iterator[Site]:
    app = _made(config)
    found: Parts = app.extensions["portal"]
    create_account(
        found.database, email="nora@example.com", role="administrator", name="Nora Quill", patient_id=None,
        password=PASSWORD,
    )  # fmt: skip
    clinic = Site(app, config, cast(Cast, None), tmp_path / "mails")
    clinic.setting("module_programs", "yes")  # whose pages are nowhere while it is off
    yield clinic
    clinic.close()


@pytest.fixture
def nora(empty: Site) -> Visitor:
    return empty.visitor("nora@example.com")


def test_the_office_leads_a_new_clinic_to_its_first_steps(nora: Visitor) -> None:
    answer = nora.get("/office/")
    assert answer.location == "/office/settings/first-steps"
    page = words(nora.get(answer.location))
    assert "Add a location Its zone, currency and invoice numbers stand behind everything else. To do" in page


def office_addresses(site: Site) -> list[str]:
    """Every page of the office that needs nothing in its address."""
    return sorted(
        rule.rule
        for rule in site.app.url_map.iter_rules()
        if not rule.arguments
        and rule.endpoint != "checkout.new"  # it is nothing without a patient or a visit in its address
        and "GET" in (rule.methods or set())
        and (rule_of(site.app.view_functions[rule.endpoint]) or "").startswith((STAFF, HALF))
    )


def test_no_page_of_the_office_fails_in_an_empty_clinic(empty: Site, nora: Visitor) -> None:
    for address in office_addresses(empty):
        answer = nora.get(address)
        assert answer.status_code < 400, f"{address}: {answer.status_code}"


@pytest.mark.parametrize("role", ["front_desk", "billing", "practitioner"])
def test_nobody_else_of_the_staff_meets_an_error_either(empty: Site, role: str) -> None:
    create_account(
        empty.parts.database, email="dana@example.com", role=role, name="Dana", patient_id=None, password=PASSWORD
    )
    dana = empty.visitor("dana@example.com")
    for address in office_addresses(empty):
        assert dana.get(address).status_code in (200, 303, 403), address


def test_the_first_steps_are_ticked_off_one_by_one(empty: Site, nora: Visitor) -> None:
    from tests.web.office.test_setup import PAGES

    def done() -> int:
        return words(nora.get("/office/settings/first-steps")).count("Done")

    assert done() == 0
    for count, kind in enumerate(("locations", "taxes", "practitioners", "services"), start=1):
        assert nora.send(f"/office/settings/{kind}/new", PAGES[kind]).status_code == 303
        nora.get("/office/settings/taxes")
        assert done() == count
    empty.change(lambda session: change_setting(session, "clinic_name", "Elm Street Clinic"))
    assert done() == 5
    assert nora.get("/office/").location != "/office/settings/first-steps"


def test_booking_says_what_is_missing_for_it(empty: Site, nora: Visitor) -> None:
    from tests.web.office.test_setup import PAGES

    for kind, heading in (
        ("locations", "This clinic has no location yet"),
        ("practitioners", "Nobody to book with"),
        ("services", "Nothing to book"),
    ):
        nora.get("/office/settings/taxes")
        assert heading in words(nora.get("/office/schedule/book"))
        assert nora.send(f"/office/settings/{kind}/new", PAGES[kind]).status_code == 303
    nora.get("/office/settings/taxes")
    assert "to book" not in words(nora.get("/office/schedule/book"))


def test_a_price_without_a_location_says_what_comes_first(empty: Site, nora: Visitor) -> None:
    assert "Add a location first" in words(nora.get("/office/settings/services/new"))
    assert empty.change(lambda s: s.query(User).count()) == 1
