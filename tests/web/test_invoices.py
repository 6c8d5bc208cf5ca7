"""The invoices that a patient reads: what the lists show, in which order, and what they cost."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from portal.clock import now
from portal.gateway.configured import ConfiguredGateway
from portal.invoices.reading import BOUND, PAGE
from portal.invoices.tables import Invoice
from portal.payments.states import State
from tests.makers import (
    MASSAGE_AND_CUSHION,
    make_attempt,
    make_gateway,
    make_invoice,
    make_patient,
    make_payer_link,
    make_payment,
)
from tests.web.conftest import Site, Visitor, words

TODAY = date(2026, 11, 24)
NOVEMBER_19 = datetime(2026, 11, 20, 1, tzinfo=UTC)  # where the clinic is


@pytest.fixture
def maya(site: Site) -> Visitor:
    return site.visitor("maya@example.com")


def issue(site: Site, count: int = 1, **details: Any) -> list[str]:
    """Invoices of Maya's, one day apart; gives their numbers in the order of their dates."""

    def write(session: Session) -> list[str]:
        return [
            make_invoice(
                session,
                site.cast.maya,
                practitioner=site.cast.practitioner,
                service_on=TODAY + timedelta(days=number),
                due_on=TODAY + timedelta(days=number + 14),
                **details,
            ).number
            for number in range(count)
        ]

    numbers: list[str] = site.change(write)
    return numbers


def pay_online(site: Site, on: bool = True) -> None:
    """Turn online payment on, with a gateway."""
    for key in ("module_payment_gateways", "accept_payments_in_portal"):
        site.setting(key, "yes" if on else "no")
    site.change(lambda session: make_gateway(session, site.parts.vault))


def shown(page: str) -> list[str]:
    """The numbers of the invoices in a list, from the top."""
    return re.findall(r'<h2><a href="/invoices/([^"]+)">', page)


def test_a_patient_without_invoices_is_told_so(maya: Visitor) -> None:
    assert "You have no open invoices." in words(maya.get("/invoices"))
    assert "Nothing here yet." in words(maya.get("/invoices/paid"))


@pytest.mark.promise("P2")
def test_the_list_says_what_each_invoice_is_and_what_they_come_to(site: Site, maya: Visitor) -> None:
    first, second = issue(site, 2)
    page = words(maya.get("/invoices"))
    assert "You have two open invoices, $252.00 in all. Each invoice is paid on its own" in page
    assert f"Invoice {first} Tue 24 Nov 2026, Liam Tremblay, RMT $126.00 due 8 Dec" in page
    assert page.index(f"Invoice {first}") < page.index(f"Invoice {second}")


def test_the_earliest_due_comes_first_and_pages_follow_each_other(site: Site, maya: Visitor) -> None:
    numbers = issue(site, 2 * PAGE + 3)
    seen, path = [], "/invoices"
    for _ in range(3):
        page = maya.get(path).text
        seen += shown(page)
        following = page.partition('href="/invoices?after=')[2].partition('"')[0]
        path = f"/invoices?after={following}"
    assert seen == numbers and not following


def test_closed_ones_come_newest_first_and_pages_follow_each_other(site: Site, maya: Visitor) -> None:
    numbers = issue(site, PAGE + 3)
    site.change(lambda session: session.execute(text("UPDATE invoices SET voided_at = CURRENT_TIMESTAMP")))
    page = maya.get("/invoices/paid")
    assert "Show the 3 older ones" in words(page)
    following = page.text.partition('href="/invoices/paid?after=')[2].partition('"')[0]
    older = maya.get(f"/invoices/paid?after={following}")
    assert shown(page.text) + shown(older.text) == numbers[::-1]
    assert "Back to the newest" in words(older)


def test_invoices_due_on_one_day_are_each_shown_once(site: Site, maya: Visitor) -> None:
    numbers = [issue(site)[0] for _ in range(PAGE + 5)]
    first = maya.get("/invoices").text
    following = first.partition('href="/invoices?after=')[2].partition('"')[0]
    assert shown(first) + shown(maya.get(f"/invoices?after={following}").text) == numbers


def test_the_invoices_of_those_one_pays_for_stand_among_ones_own(site: Site, maya: Visitor) -> None:
    def write(session: Session) -> list[str]:
        cast, numbers = site.cast, []
        for number in range(PAGE + 4):
            due = TODAY + timedelta(days=number // 2)
            numbers.append(make_invoice(session, cast.theo if number % 2 else cast.maya, due_on=due).number)
        return numbers

    numbers = site.change(write)
    first = maya.get("/invoices")
    following = first.text.partition('href="/invoices?after=')[2].partition('"')[0]
    assert shown(first.text) + shown(maya.get(f"/invoices?after={following}").text) == numbers
    assert "You also see the invoices of Theo Lindqvist, because you pay for them." in words(first)


def test_counting_stops_at_a_bound(site: Site, maya: Visitor) -> None:
    issue(site, BOUND + 5)
    page = words(maya.get("/invoices"))
    assert "You have 99+ open invoices. Each" in page and "Open 99+" in page


@pytest.mark.parametrize(
    "after",
    ["", "x", "%00", "MjAyNg", "é", "A" * 4000, "MjAyNjEzNDUuMQ", "MjAyNjAxMDEuOTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk"],
)
def test_a_place_in_the_list_that_no_page_wrote_is_its_start(site: Site, maya: Visitor, after: str) -> None:
    numbers = issue(site, 2)
    assert shown(maya.get(f"/invoices?after={after}").text) == numbers
    assert maya.get(f"/invoices/paid?after={after}").status_code == 200


@pytest.mark.parametrize(
    "number",
    ["%00", "x%00y", "10001%27", "..%2f..%2fetc", "é", "%ff", "A" * 500, "-1", "1e9", "10001;", "%F0%9F%92%A9"],
)
def test_a_malformed_number_is_not_found(maya: Visitor, number: str) -> None:
    for path in (f"/invoices/{number}", f"/invoices/{number}/receipts/{number}", f"/invoices/{number}/pay"):
        assert maya.get(path).status_code == 404, path


def test_states_are_said_in_words(site: Site, maya: Visitor) -> None:
    pay_online(site)

    def write(session: Session) -> None:
        cast = site.cast
        today = now().date()
        make_invoice(session, cast.maya, due_on=today - timedelta(days=10))
        partly = make_invoice(session, cast.maya, due_on=today + timedelta(days=20))
        make_payment(session, partly, 4_000, "insurance")
        checked = make_invoice(session, cast.maya, due_on=today + timedelta(days=30))
        make_attempt(session, checked, session.query(ConfiguredGateway).one(), State.CONFIRMING)
        make_payment(session, make_invoice(session, cast.maya), received_at=datetime(2026, 10, 28, 3, tzinfo=UTC))

    site.change(write)
    page = words(maya.get("/invoices"))
    assert "days overdue Pay invoice 10001" in page
    assert "Partly paid Pay invoice 10002" in page
    assert "Checking a payment See the payment of invoice 10003" in page
    # The day is the clinic's, not London's.
    assert "Paid 27 Oct Receipt for invoice 10004" in words(maya.get("/invoices/paid"))


def _switches() -> list[tuple[str, Callable[[Site], None]]]:
    def no_gateway(site: Site) -> None:
        site.change(lambda session: session.execute(text("UPDATE gateways SET status = 'inactive'")))

    return [
        ("module", lambda site: site.setting("module_payment_gateways", "no")),
        ("acceptance", lambda site: site.setting("accept_payments_in_portal", "no")),
        ("gateway", no_gateway),
    ]


@pytest.mark.parametrize("switch", [pytest.param(turn_off, id=name) for name, turn_off in _switches()])
def test_any_switch_takes_the_pay_button_away_and_says_how_to_pay(
    site: Site, maya: Visitor, switch: Callable[[Site], None]
) -> None:
    (number,) = issue(site)
    pay_online(site)
    instead = "The clinic isn't taking payments online at the moment. Pay at the front desk, or call 250-555-0142 ."
    for path in ("/invoices", f"/invoices/{number}"):
        assert f'href="/invoices/{number}/pay"' in maya.get(path).text
        assert instead not in words(maya.get(path))
    switch(site)
    for path in ("/invoices", f"/invoices/{number}"):
        assert f'href="/invoices/{number}/pay"' not in maya.get(path).text
        assert instead in words(maya.get(path))


def test_less_than_a_card_can_be_charged_is_paid_at_the_desk(site: Site, maya: Visitor) -> None:
    pay_online(site)
    (number,) = issue(site, lines=(("Tape", 1, 40, ()),))
    page = maya.get(f"/invoices/{number}")
    assert f"/invoices/{number}/pay" not in page.text + maya.get("/invoices").text
    assert "Cards can't be charged less than CA$0.50." in words(page)


def test_more_than_a_card_can_be_charged_is_paid_another_way(site: Site, maya: Visitor) -> None:
    pay_online(site)
    (number,) = issue(site, lines=(("Everything", 1, 100_000_000, ()),))
    page = maya.get(f"/invoices/{number}")
    assert f"/invoices/{number}/pay" not in page.text + maya.get("/invoices").text
    assert "A card can't be charged this exact amount in one payment." in words(page)


@pytest.mark.promise("P2")
def test_one_invoice_shows_lines_taxes_payments_and_what_is_left(site: Site, maya: Visitor) -> None:
    (number,) = issue(site, lines=MASSAGE_AND_CUSHION)

    def part(session: Session) -> None:
        invoice = session.query(Invoice).one()
        make_payment(session, invoice, 4_000, "insurance", note="claim 77-2041", received_at=NOVEMBER_19)

    site.change(part)
    page = words(maya.get(f"/invoices/{number}"))
    for sentence in (
        f"Invoice {number} Partly paid Left to pay CA$ 139.76 Due Tuesday 8 December 2026",
        "Massage therapy, 60 minutes 1 × $120.00, GST $120.00",
        "Lumbar support cushion 1 × $48.00, GST and PST $48.00",
        "Subtotal $168.00 GST 5% on $168.00 $8.40 PST 7% on $48.00 $3.36 Total $179.76",
        "Insurance Thu 19 Nov 2026, claim 77-2041 −$40.00 Left to pay $139.76",
        "GST 71234 5678 RT0001. Liam Tremblay, RMT, registration CMTBC 08842.",
        "Each invoice is paid on its own",
        "Receipt of 19 Nov",
    ):
        assert sentence in page, sentence


def test_a_receipt_says_what_was_paid_by_whom_and_how(site: Site, maya: Visitor) -> None:
    (number,) = issue(site, lines=MASSAGE_AND_CUSHION)

    def part(session: Session) -> str:
        invoice = session.query(Invoice).one()
        make_payment(session, invoice, 4_000, "insurance", received_at=NOVEMBER_19)
        moment = datetime(2026, 11, 24, 20, tzinfo=UTC)
        paid = make_payment(session, invoice, kind="card", brand="visa", last4="4242", received_at=moment)
        return str(paid.receipt_number)

    receipt = site.change(part)
    page = words(maya.get(f"/invoices/{number}/receipts/{receipt}"))
    for sentence in (
        f"Receipt {receipt} Paid in full Paid CA$ 139.76 Tuesday 24 November 2026, Visa ending 4242",
        "Patient Maya Lindqvist Paid by Maya Lindqvist",
        "Practitioner Liam Tremblay, RMT Registration CMTBC 08842",
        "Insurance, Thu 19 Nov 2026 −$40.00 Paid by Visa ending 4242 $139.76",
        "118 Alder Lane, Kelowna BC V1Y 0A1, 250-555-0142. GST 71234 5678 RT0001.",
    ):
        assert sentence in page, sentence


def test_a_void_invoice_says_where_the_money_is(site: Site, maya: Visitor) -> None:
    (number,) = issue(site)

    def void(session: Session) -> None:
        make_payment(session, session.query(Invoice).one())
        session.execute(text("UPDATE invoices SET voided_at = CURRENT_TIMESTAMP"))

    site.change(void)
    page = words(maya.get(f"/invoices/{number}"))
    assert "Void, refund pending" in page
    assert "This invoice is void. Its $126.00 goes back to whoever paid it, and then it closes by itself." in page


def test_names_are_shown_as_they_are_and_never_run(site: Site) -> None:
    nasty = '<script>alert("1")</script> & %s {{ 7*7 }}'

    def write(session: Session) -> None:
        child = make_patient(session, nasty[:80], "O'Brien")
        make_payer_link(session, site.cast.stranger, child, sees_lines=True)
        make_invoice(session, child, lines=((nasty, 1, 12_000, ()),), practitioner=site.cast.practitioner)

    site.change(write)
    jonas = site.visitor("jonas@example.com")
    for path in ("/invoices", "/invoices/10001"):
        page = jonas.get(path)
        assert "<script>" not in page.text
        assert nasty in words(page)


@pytest.mark.parametrize("many", [False, True])
def test_a_page_costs_four_statements_however_much_there_is(site: Site, maya: Visitor, many: bool) -> None:
    number = issue(site, 30 if many else 1, lines=MASSAGE_AND_CUSHION)[0]
    pay_online(site)
    receipt = site.change(
        lambda session: str(
            make_payment(session, session.merge(make_invoice(session, site.cast.maya))).receipt_number
        )
    )
    paid = maya.get("/invoices/paid").text.partition('href="/invoices/')[2]
    closed = shown(maya.get("/invoices/paid").text)[0]
    assert paid
    for path, most in {
        "/invoices": 4,
        "/invoices/paid": 4,
        f"/invoices/{number}": 4,
        f"/invoices/{closed}/receipts/{receipt}": 4,
        "/cards": 3,
        "/healthz": 0,
    }.items():
        with site.counting() as sent:
            assert maya.get(path).status_code == 200
        assert len(sent) == most, f"{path}: {sent}"


@pytest.mark.of_database("sqlite")  # PostgreSQL's plan depends on how much there is
def test_lists_walk_their_index(site: Site, maya: Visitor) -> None:
    with site.counting() as sent:
        maya.get("/invoices")
        maya.get("/invoices/paid")
    from_invoices = [statement for statement in sent if "invoices.patient_id" in statement and "page" in statement]
    assert len(from_invoices) == 2
    for statement, index in zip(from_invoices, ("ix_invoices_open", "ix_invoices_closed"), strict=True):
        with site.parts.database.read() as connection:
            plan = connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {statement}", tuple([1] * statement.count("?"))
            ).all()
        steps = " ".join(str(step[3]) for step in plan)
        assert index in steps and "SCAN invoices" not in steps, steps
