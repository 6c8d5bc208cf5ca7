"""The schedule as the front desk uses it: week, booking, moving, cancelling."""

from datetime import date

import pytest

from tests.makers import make_service
from tests.web.conftest import Site, Visitor, words

DAY = date(2026, 11, 24)


@pytest.fixture
def dana(site: Site) -> Visitor:
    return site.visitor("dana@example.com")


def book(site: Site, dana: Visitor, **changes: object) -> str:
    service = site.change(lambda session: make_service(session).id)
    fields = {
        "patient": site.cast.maya.id, "service": service, "practitioner": site.cast.practitioner.id,
        "location": site.cast.location.id, "day": DAY, "minute": 540, "do": "book", **changes,
    }  # fmt: skip
    answer = dana.send("/office/schedule/book", {key: str(value) for key, value in fields.items()})
    return words(dana.get(answer.location)) if answer.status_code == 303 else words(answer)


@pytest.mark.promise("O6")
def test_dana_books_a_visit_and_sees_it_in_the_week(site: Site, dana: Visitor) -> None:
    page = book(site, dana)
    assert "Booked. Maya Lindqvist, Tue 24 Nov 2026, 9:00 to 10:00 am, with Liam Tremblay, RMT." in page
    assert "Lindqvist, Maya 9:00" in page
    assert "Complete & Invoice" in page
