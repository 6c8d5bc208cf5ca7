"""Invoice Search: what it finds, what it comes to, and what it says when it can't read a field."""

from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from portal.clock import now
from portal.invoices.books import void_invoice
from tests.makers import make_invoice, make_payment
from tests.web.conftest import Site, Visitor, words


@pytest.fixture
def dana(site: Site) -> Visitor:
    return site.visitor("dana@example.com")


def test_the_search_shows_this_month_and_adds_all_of_it_up(site: Site, dana: Visitor) -> None:
    def clinic(session: Session) -> None:
        today = now().date()
        cast = site.cast
        make_invoice(session, cast.maya, practitioner=cast.practitioner, location=cast.location, service_on=today)
        paid = make_invoice(session, cast.theo, location=cast.location, service_on=today)
        make_payment(session, paid)
        void = make_invoice(session, cast.stranger, location=cast.location, service_on=today)
        void_invoice(session, void.id, "wrong visit")
        long_ago = today.replace(day=1) - timedelta(3)
        make_invoice(session, cast.maya, location=cast.location, service_on=long_ago)

    site.change(clinic)
    page = words(dana.get("/office/invoices"))
    assert "3 invoices, " in page
    assert "Lindqvist, Maya" in page and "Weber, Jonas" in page and "Void" in page
    assert "Totals, void ones left out $252.00 $126.00 $126.00" in page
