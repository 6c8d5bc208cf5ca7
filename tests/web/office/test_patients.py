"""Patients' files in the office: finding, adding, changing, payers, and how a person's account stands."""

import re
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.audit import RecordView
from portal.clock import now
from portal.people import Patient
from tests.makers import make_invoice, make_patient
from tests.web.conftest import Site, Visitor, words


@pytest.fixture
def dana(site: Site) -> Visitor:
    """The front desk."""
    return site.visitor("dana@example.com")


def found_by(visitor: Visitor, query: str) -> list[str]:
    """The names of the people whom a search finds."""
    page = visitor.get("/office/patients", query_string={"q": query})
    return re.findall(r'<th scope="row"><a [^>]*>([^<]+)</a>', page.text)


def rows(site: Site, statement: Any) -> list[Any]:
    with Session(site.parts.database.reading) as session:
        return list(session.execute(statement).all())


# --- finding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "etienne gag", "gagnon", "GAGNON étienne", "Gagnon, É", "250-555-0118", "(250) 555 0118", "+1 250 555 0118",
        "5550118", "0118", "etienne.g@", "gagnon@", "example.org gag", "etienne.gagnon@example.org", "o'b", "obrien",
        "CHART-77", "chart77",
    ],
)  # fmt: skip
def test_people_are_found_by_the_beginning_of_anything_one_knows(site: Site, dana: Visitor, query: str) -> None:
    def add(session: Session) -> None:
        session.add(
            Patient(
                given_name="Étienne", family_name="Gagnon O'Brien", email="Etienne.Gagnon@example.org",
                phone="1-250-555-0118 x12", reference="CHART-77", created_at=now(),
            )
        )  # fmt: skip

    site.change(add)
    assert "Étienne Gagnon O&#39;Brien" in found_by(dana, query)


@pytest.mark.parametrize(
    "query", ["gagnonx", "tienne", "etienne weber", "250-555-0119", "%", "_", "'; --", "gag\x00x", "🙂"]
)
def test_people_who_do_not_fit_are_not_found(site: Site, dana: Visitor, query: str) -> None:
    site.change(lambda session: make_patient(session, "Étienne", "Gagnon", email="e@example.org"))
    assert "Étienne Gagnon" not in found_by(dana, query)


def test_every_page_of_a_file_opens_and_is_written_down(site: Site, dana: Visitor) -> None:
    number = site.change(lambda session: make_invoice(session, site.cast.maya).number)
    file = f"/office/patients/{site.cast.maya.id}"
    for page in ("", "/appointments", "/accounting", "/statement", "/edit"):
        shown = dana.get(file + page)
        assert shown.status_code == 200, page
        assert "Maya Lindqvist" in words(shown)
    assert number in words(dana.get(f"{file}/accounting"))
    looked = rows(site, select(RecordView.page).where(RecordView.patient_id == site.cast.maya.id))
    assert {page for (page,) in looked} == {"details", "appointments", "accounting", "statement", "edit"}
    assert dana.get("/office/patients/999999").status_code == 404
    assert dana.get("/office/patients/99999999999999999999").status_code == 404
