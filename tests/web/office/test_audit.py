"""Settings › Audit: changes and looks at records, narrowed by filters, a page at a time."""

from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from portal.audit import chain_entries, note_view, record
from portal.clock import now, shifted
from tests.web.conftest import Site, Visitor, words

LOG, VIEWS = "/office/settings/audit", "/office/settings/audit/views"


def write(site: Site, count: int, subject: str = "thing", **words: object) -> None:
    def work(session: Session) -> None:
        for turn in range(count):
            record(session, "thing.changed", f"{subject} {turn}", by=site.cast.clerk.id, before="a", after="b")

    site.change(work)


@pytest.mark.promise("O5")
def test_changes_say_who_what_when_before_and_after(site: Site, marc: Visitor) -> None:
    write(site, 1, "invoice 10482")
    page = words(marc.get(LOG))
    assert "Dana Whitlock Thing changed invoice 10482 0 a b" in page
    assert "in the time of America/Vancouver" in page
    assert "The system Setting changed" in page


@pytest.mark.promise("O5")
def test_filters_narrow_the_list(site: Site, marc: Visitor) -> None:
    write(site, 1, "100% sure")
    with shifted(timedelta(days=-40)):
        write(site, 1, "long ago")
    today, then = now().date(), (now() - timedelta(days=40)).date()

    def shown(query: str) -> str:
        return words(marc.get(f"{LOG}?{query}")).partition("Of what")[2]

    assert "sure" in shown("text=100%25") and "long ago" not in shown("text=100%25")
    assert shown("text=%25%25") == ""
    assert "sure" in shown(f"who={site.cast.clerk.id}") and "clinic" not in shown(f"who={site.cast.clerk.id}")
    assert "sure" not in shown("who=system") and shown("who=system") != ""
    assert "sure" in shown("action=thing.changed") and "Setting" not in shown("action=thing.changed")
    assert "long ago" in shown(f"until={then + timedelta(days=1)}")
    assert "sure" not in shown(f"until={then + timedelta(days=1)}")
    assert "long ago" not in shown(f"from={today - timedelta(days=2)}")
    assert "Thing changed" in words(marc.get(LOG)), "the kinds of change are offered"


def test_pages_follow_each_other_without_gap_or_repetition(site: Site, marc: Visitor) -> None:
    write(site, 130)
    seen: list[str] = []
    address = f"{LOG}?action=thing.changed"
    while address:
        html = marc.get(address).text
        rows = html.split("<tbody>")[1].split("</tbody>")[0]
        seen += [row.split("thing ")[1].split("<")[0] for row in rows.split("<tr>")[1:]]
        older = [part for part in html.split('href="') if "before=" in part.partition('"')[0]]
        address = LOG + older[-1].partition('"')[0].replace("&amp;", "&") if older else ""
    assert seen == [str(turn) for turn in reversed(range(130))]


@pytest.mark.parametrize(
    "query",
    ["who=x", "who=99999999999999", "action=%00", "text=%00%27", "from=yesterday", "until=9999-12-31", "before=-1",
     "before=99999999999999999999", "from=0001-01-01", "patient=x", "patient=9999999999", "text=" + "x" * 5000],
)  # fmt: skip
@pytest.mark.parametrize("log", [LOG, VIEWS])
def test_an_address_that_nobody_wrote_by_hand_is_answered(marc: Visitor, log: str, query: str) -> None:
    assert marc.get(f"{log}?{query}").status_code == 200


def test_a_date_that_is_none_is_told(marc: Visitor) -> None:
    assert "This is not a date" in words(marc.get(f"{LOG}?from=yesterday"))


def test_the_page_says_how_far_the_chain_reaches(site: Site, marc: Visitor) -> None:
    assert "Nothing is chained yet" in words(marc.get(LOG))
    chain_entries(site.parts.database)
    write(site, 2)
    assert "; 2 wait for the worker" in words(marc.get(LOG))


@pytest.mark.promise("O5")
def test_looks_at_records_are_listed_and_narrowed(site: Site, marc: Visitor) -> None:
    database, cast = site.parts.database, site.cast
    note_view(database, cast.clerk.id, cast.maya.id, "details")
    note_view(database, cast.therapist.id, cast.stranger.id, "accounting")
    page = words(marc.get(VIEWS))
    assert "Dana Whitlock Lindqvist, Maya Details" in page and "Liam Tremblay Weber, Jonas Accounting" in page

    def shown(query: str) -> str:
        return words(marc.get(f"{VIEWS}?{query}")).partition("Patient Page")[2]

    assert "Weber" not in shown(f"who={cast.clerk.id}") and "Lindqvist" in shown(f"who={cast.clerk.id}")
    assert "Weber" in shown("text=jonas") and "Lindqvist" not in shown("text=jonas")
    assert "Lindqvist" in shown(f"patient={cast.maya.id}") and "Weber" not in shown(f"patient={cast.maya.id}")


def test_the_log_costs_the_same_few_statements(site: Site, marc: Visitor) -> None:
    write(site, 120)
    with site.counting() as sent:
        marc.get(LOG)
    assert len(sent) <= 9


def test_only_who_may_read_the_log_opens_it(site: Site) -> None:
    for email in ("dana@example.com", "ines@example.com", "liam@example.com"):
        for log in (LOG, VIEWS):
            assert site.visitor(email).get(log).status_code == 403
