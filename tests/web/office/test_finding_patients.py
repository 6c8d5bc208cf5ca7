"""Finding patients in the office: by the beginnings of what one knows, quickly, also among very many."""

import gzip
import re
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from portal import ROOT
from portal.clock import now
from portal.patients.finding import SHOWN, people_found
from portal.people import Patient
from tests.makers import (
    make_patient,
)
from tests.web.conftest import Site, Visitor, words


def found_by(visitor: Visitor, query: str) -> list[str]:
    """The names of the people whom a search finds."""
    page = visitor.get("/office/patients", query_string={"q": query})
    return re.findall(r'<th scope="row"><a [^>]*>([^<]+)</a>', page.text)


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


def test_without_a_query_the_files_opened_last_are_shown(site: Site, dana: Visitor) -> None:
    assert "Jonas Weber" in found_by(dana, "")  # nobody was opened yet: the newest people
    for person in (site.cast.theo, site.cast.maya):
        dana.get(f"/office/patients/{person.id}")
    assert found_by(dana, "") == ["Maya Lindqvist", "Theo Lindqvist"]


def test_a_person_is_found_by_their_number(site: Site, dana: Visitor) -> None:
    number = site.cast.stranger.id
    for query in (f"P-{number}", f"p-{number}", f"P{number}", str(number)):
        assert "Jonas Weber" in found_by(dana, query)
    assert found_by(dana, f"P-{number}") == ["Jonas Weber"]
    assert found_by(dana, "P-999999999") == []


def test_a_change_of_name_or_phone_is_found_at_once_and_the_old_one_no_more(site: Site, dana: Visitor) -> None:
    def marry(session: Session) -> None:
        person = session.get_one(Patient, site.cast.stranger.id)
        person.family_name, person.phone = "Nwosu", "604-555-0199"

    site.change(marry)
    assert found_by(dana, "nwosu") == found_by(dana, "6045550199") == ["Jonas Nwosu"]
    assert found_by(dana, "weber") == []


def test_more_than_a_page_of_people_asks_for_a_longer_query(site: Site, dana: Visitor) -> None:
    site.change(lambda session: [make_patient(session, f"Given{n}", "Popular") for n in range(SHOWN + 1)])
    page = dana.get("/office/patients?q=popular")
    assert f"More than {SHOWN} people fit" in words(page)
    assert len(found_by(dana, "popular")) == SHOWN
    assert found_by(dana, "popular given20") == ["Given20 Popular"]


def test_another_page_can_have_a_person_chosen(site: Site, dana: Visitor) -> None:
    page = dana.get("/office/patients", query_string={"q": "maya", "for": "/office/schedule/book?day=2026-11-23"})
    assert f'href="/office/schedule/book?day=2026-11-23&amp;patient={site.cast.maya.id}"' in page.text
    for elsewhere in ("https://evil.example/", "//evil.example/", "/login", "javascript:alert(1)"):
        page = dana.get("/office/patients", query_string={"q": "maya", "for": elsewhere})
        assert page.status_code == 200 and "evil" not in page.text and "Choose" not in words(page)


def test_the_script_runs_where_it_is_used_and_talks_to_us_alone(site: Site, dana: Visitor) -> None:
    policy = dana.get("/office/patients").headers["Content-Security-Policy"]
    assert "script-src 'self'; connect-src 'self'" in policy and "unsafe" not in policy
    assert "script-src 'none'" in site.visitor().get("/sign-in").headers["Content-Security-Policy"]
    assert len(gzip.compress((ROOT / "static" / "js" / "office.js").read_bytes())) <= 8 * 1024


MANY = 100_000
GIVEN = ("maria", "john", "wei", "aisha", "etienne", "olga", "kwame", "priya", "lars", "noor")
FAMILY = ("smith", "gagnon", "chow", "rahman", "novak", "haddad", "fraser", "tanabe", "mehta", "kelly", "holm")
WORDS = ("given", "family", "'mail'", "'example'", "'person' || id", "phone")


@pytest.fixture
def crowded(site: Site) -> Site:
    """A clinic with a hundred thousand people on file, many of whom share their names; made by the database."""

    def one_of(names: tuple[str, ...]) -> str:
        choices = " ".join(f"WHEN {number} THEN '{name}'" for number, name in enumerate(names))
        return f"CASE id % {len(names)} {choices} END"

    people = f"""
        WITH RECURSIVE
          numbers (id) AS (SELECT 1000 UNION ALL SELECT id + 1 FROM numbers WHERE id < {MANY + 999}),
          people AS (
            SELECT id, {one_of(GIVEN)} AS given, {one_of(FAMILY)} AS family, 6040000000 + id || '' AS phone
            FROM numbers
          )"""
    columns = "id, given_name, family_name, email, phone, search_key, created_at"
    with site.parts.database.transaction() as session:
        session.execute(
            text(
                f"{people} INSERT INTO patients ({columns}) SELECT id, given, family, "
                "'person' || id || '@mail.example', phone, family || ' ' || given, '2026-01-01 00:00:00' FROM people"
            )
        )
        for word in WORDS:
            session.execute(
                text(f"{people} INSERT INTO patient_words (word, patient_id) SELECT {word}, id FROM people")
            )
        session.execute(text("ANALYZE"))
    return site


def test_among_a_hundred_thousand_people_a_search_walks_an_index_and_little_of_it(crowded: Site) -> None:
    database = crowded.parts.database
    for query in (
        "s",
        "smith",
        "maria smith",
        "mail",
        "mail example person",
        "smith etienne 604",
        "6040099999",
        "zzz",
    ):
        with crowded.counting() as sent, database.read() as connection:
            people_found(connection, query)
        assert len(sent) <= 3, (query, sent)
    with database.read() as connection:
        assert len(people_found(connection, "person99999").rows) == 1
        assert len(people_found(connection, "etienne gagnon 604").rows) == SHOWN
        if database.is_sqlite:
            plan = connection.execute(
                text(
                    "EXPLAIN QUERY PLAN SELECT patient_id FROM patient_words WHERE word >= 'smi' AND word < 'smj' "
                    "ORDER BY word, patient_id LIMIT 252"
                )
            ).all()
            assert "SEARCH" in str(plan) and "TEMP B-TREE" not in str(plan)
        moment = now()
        for query in ("maria smith", "mail example person", "smith etienne 604", "s e 6"):
            people_found(connection, query)
        assert now() - moment < timedelta(seconds=1)
