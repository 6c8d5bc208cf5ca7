"""From a visit to its invoice: the clinic's own prices, one invoice however often it is pressed, nothing unseen."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal.audit import AuditEntry
from portal.checkout import Bill, CheckedOut, Item, NoSuchLocation, NotSold, Order, TotalChanged, check_out, priced
from portal.clinic import Service
from portal.config import Config
from portal.db import Database
from portal.gateway import Gateway
from portal.invariants import broken_invariants
from portal.invoices.books import NothingToInvoice, TaxRate, issue_invoice, void_invoice
from portal.invoices.tables import Invoice, LineTax
from portal.letters.requests import CannotBePaidOnline, Requested
from portal.outbox import OutboxMessage
from portal.parts import Parts
from portal.schedule import BOOKED, COMPLETED, Appointment
from portal.schedule.booking import Slot, Wish, book, cancel
from portal.schedule.refusals import PatientNotFound, VisitIsOver, VisitNotFound
from portal.settings import change_setting
from portal.vault import new_key, parse_key
from tests.makers import GST, PST, Cast, count_of, make_cast, make_gateway, make_service, make_vault
from tests.support.at_once import at_once

DAY = date(2026, 11, 24)


@dataclass
class Desk:
    """A clinic's front desk, with a visit of Maya's at nine."""

    parts: Parts
    cast: Cast
    massage: Service
    cushion: Service
    visit: Appointment

    @property
    def database(self) -> Database:
        return self.parts.database

    def order(self, *items: Item, **changes: Any) -> Order:
        """Checkout of the visit, as the form shows it."""
        items = items or (Item(self.massage.id),)
        order = Order(uuid4(), items, self.bill(*items).total_cents, visit_key=self.visit.public_id)
        return replace(order, **changes)

    def bill(self, *items: Item) -> Bill:
        with self.database.read() as connection:
            return priced(connection, items)

    def press(self, order: Order) -> CheckedOut:
        return check_out(self.parts, order, self.cast.clerk.id)

    def change(self, work: Callable[[Session], Any]) -> Any:
        with self.database.transaction() as session:
            return work(session)

    def one(self, statement: Any) -> Any:
        return self.change(lambda session: session.scalars(statement).one())

    def sql(self, statement: str) -> None:
        self.change(lambda session: session.execute(text(statement)))

    def invoices(self) -> list[Invoice]:
        found: list[Invoice] = self.change(
            lambda session: list(session.scalars(select(Invoice).order_by(Invoice.id)))
        )
        return found

    def status(self) -> str:
        found: str = self.change(lambda session: session.get_one(Appointment, self.visit.id).status)
        return found


def _parts(database_url: str, database: Database) -> Parts:
    def no_gateway(_secret: str) -> Gateway:
        raise AssertionError("a checkout called a gateway")

    config = Config(
        production=False,
        database_url=database_url,
        secret_key="x" * 40,
        encryption_keys=(parse_key(new_key()),),
        base_url="https://pay.example.com",
        mail_url="file:unused",
    )
    return Parts(config, database, make_vault(), no_gateway)


@pytest.fixture
def desk(database_url: str, clinic: Database) -> Desk:
    with clinic.transaction() as session:
        cast = make_cast(session)
        massage = make_service(session)
        cushion = make_service(session, "Lumbar support cushion", 4_800, (GST, PST), is_product=True)
    slot = Slot(cast.location.id, cast.practitioner.id, DAY, 9 * 60)
    visit = book(clinic, Wish(uuid4().hex, cast.maya.id, massage.id, slot), cast.clerk.id)
    return Desk(_parts(database_url, clinic), cast, massage, cushion, visit)


# --- prices and taxes -----------------------------------------------------------------------------------------------


@pytest.mark.promise("O7")
def test_each_line_bears_its_own_taxes(desk: Desk) -> None:
    bill = desk.bill(Item(desk.massage.id), Item(desk.cushion.id, 2))
    assert [(tax.name, tax.amount_cents) for tax in bill.taxes] == [("GST", 10_80), ("PST", 6_72)]
    assert (bill.net_cents, bill.total_cents) == (216_00, 233_52)


def test_taxes_keep_their_order_and_compound_on_those_before(desk: Desk) -> None:
    qst = TaxRate("QST", 9_500, compound=True)
    item = desk.change(lambda s: make_service(s, "Brace", 100_00, (GST, qst), is_product=True))
    assert [tax.amount_cents for tax in desk.bill(Item(item.id)).taxes] == [5_00, 9_98]  # 9.5% of 105.00
    desk.sql("UPDATE taxes SET position = -1 WHERE name = 'QST'")  # first now: it has nothing before it
    assert [(t.name, t.amount_cents) for t in desk.bill(Item(item.id)).taxes] == [("QST", 9_50), ("GST", 5_00)]


def test_a_tax_that_is_switched_off_is_not_taken(desk: Desk) -> None:
    desk.sql("UPDATE taxes SET active = false WHERE name = 'GST'")
    assert desk.bill(Item(desk.cushion.id)).total_cents == 51_36


def test_a_changed_price_is_taxed_as_it_stands_and_told_in_the_audit_log(desk: Desk) -> None:
    desk.press(desk.order(Item(desk.massage.id, 1, 100_00)))
    assert desk.invoices()[0].owed_cents == 105_00
    told = desk.change(
        lambda s: s.scalars(select(AuditEntry.after).where(AuditEntry.action == "invoice.issued")).one()
    )
    assert told == "$105.00 in all; Massage therapy, 60 minutes at $100.00 instead of $120.00"


# --- the press ------------------------------------------------------------------------------------------------------


@pytest.mark.promise("O7")
def test_complete_and_invoice_is_one_transaction(desk: Desk) -> None:
    made = desk.press(desk.order(completes=True, note="Exchange within 14 days.", email_wanted=True))
    [invoice] = desk.invoices()
    assert made == CheckedOut(invoice.number, is_new=True)
    assert desk.status() == COMPLETED
    assert (invoice.appointment_id, invoice.patient_id) == (desk.visit.id, desk.cast.maya.id)
    assert (invoice.practitioner_id, invoice.service_on) == (desk.cast.practitioner.id, DAY)
    assert (invoice.created_by, invoice.email_wanted) == (desk.cast.clerk.id, True)
    assert broken_invariants(desk.database) == []


@pytest.mark.promise("O7")
def test_invoice_appointment_leaves_the_visit_booked(desk: Desk) -> None:
    assert desk.press(desk.order()).is_new
    assert desk.status() == BOOKED


def test_when_nothing_can_be_issued_the_visit_is_not_completed(desk: Desk) -> None:
    with pytest.raises(TotalChanged):
        desk.press(desk.order(completes=True, shown_cents=1))
    with pytest.raises(NothingToInvoice):
        desk.press(replace(desk.order(completes=True), items=(), shown_cents=0))
    assert desk.status() == BOOKED
    assert desk.invoices() == []


@pytest.mark.promise("O7")
def test_a_price_that_changed_is_shown_before_anything_is_issued(desk: Desk) -> None:
    order = desk.order()
    desk.sql("UPDATE services SET price_cents = 13000 WHERE is_product = false")
    with pytest.raises(TotalChanged) as refused:
        desk.press(order)
    assert refused.value.text.startswith("It is $136.50 now; this page showed $126.00. Nothing was issued yet.")
    assert desk.press(replace(order, shown_cents=136_50)).is_new


@pytest.mark.promise("O7")
def test_one_press_sent_many_times_is_one_invoice(desk: Desk) -> None:
    order = desk.order(completes=True)
    answers = at_once([partial(desk.press, order)] * 10)
    assert sorted(answer.is_new for answer in answers) == [False] * 9 + [True]
    assert {answer.number for answer in answers} == {invoice.number for invoice in desk.invoices()}
    assert len(desk.invoices()) == 1


@pytest.mark.promise("O7")
def test_many_clerks_at_once_make_one_invoice_and_all_are_led_to_it(desk: Desk) -> None:
    orders = [desk.order(completes=bool(turn % 2)) for turn in range(10)]
    answers = at_once([partial(desk.press, order) for order in orders])
    assert sorted(answer.is_new for answer in answers) == [False] * 9 + [True]
    [invoice] = desk.invoices()
    assert {answer.number for answer in answers} == {invoice.number}
    following = desk.change(lambda s: s.get_one(type(desk.cast.location), desk.cast.location.id).next_invoice_number)
    assert following == int(invoice.number) + 1, "a number was lost"


@pytest.mark.promise("O7")
def test_the_database_itself_refuses_a_second_invoice_of_a_visit(desk: Desk) -> None:
    desk.press(desk.order())
    with pytest.raises(IntegrityError), desk.database.transaction() as session:
        issue_invoice(
            session,
            location=desk.cast.location,
            patient_id=desk.cast.maya.id,
            practitioner_id=None,
            service_on=DAY,
            lines=desk.bill(Item(desk.massage.id)).lines,
            appointment_id=desk.visit.id,
        )


def test_sales_without_a_visit_sent_many_times_are_one_invoice(desk: Desk) -> None:
    """Nothing but the request's own key can tell them apart."""
    order = desk.order(
        Item(desk.cushion.id), visit_key=None, patient_id=desk.cast.maya.id, location_id=desk.cast.location.id
    )
    answers = at_once([partial(desk.press, order)] * 10)
    assert sorted(answer.is_new for answer in answers) == [False] * 9 + [True]
    [invoice] = desk.invoices()
    assert (invoice.appointment_id, invoice.practitioner_id, invoice.owed_cents) == (None, None, 53_76)
    assert desk.press(replace(order, request_id=uuid4())).is_new  # a second sale is a second invoice


def test_a_visit_whose_invoice_is_void_is_invoiced_again(desk: Desk) -> None:
    first = desk.press(desk.order())
    desk.change(lambda session: void_invoice(session, desk.invoices()[0].id, "Wrong lines."))
    second = desk.press(desk.order())
    assert second.is_new and second.number != first.number


def test_who_and_what_is_not_there(desk: Desk) -> None:
    sale = desk.order(Item(desk.cushion.id), visit_key=None, patient_id=999, location_id=desk.cast.location.id)
    with pytest.raises(PatientNotFound):
        desk.press(sale)
    with pytest.raises(NoSuchLocation):
        desk.press(replace(sale, patient_id=desk.cast.maya.id, location_id=999))
    with pytest.raises(VisitNotFound):
        desk.press(desk.order(visit_key="0" * 32))
    with pytest.raises(NotSold):
        desk.press(replace(desk.order(), items=(Item(999),)))
    both = desk.order(Item(desk.massage.id), Item(desk.cushion.id))
    desk.sql("UPDATE services SET active = false")
    with pytest.raises(NotSold) as refused:
        desk.press(both)
    assert refused.value.text == "Lumbar support cushion is not for sale any more. Please remove the line."
    cancel(desk.database, desk.visit.public_id, desk.visit.version, desk.cast.clerk.id)
    with pytest.raises(VisitIsOver):
        desk.press(Order(uuid4(), (Item(desk.massage.id),), 126_00, visit_key=desk.visit.public_id))
    assert desk.change(lambda session: count_of(session, Invoice)) == 0


def test_a_service_that_is_no_longer_offered_is_still_invoiced_for_its_visit(desk: Desk) -> None:
    order = desk.order()
    desk.sql("UPDATE services SET active = false")
    assert desk.press(order).is_new


@pytest.mark.promise("O7")
def test_what_was_worked_out_is_written_down(desk: Desk) -> None:
    desk.press(desk.order(Item(desk.massage.id), Item(desk.cushion.id)))
    rows = desk.change(
        lambda s: s.execute(select(LineTax.name, LineTax.amount_cents).order_by(LineTax.line_id)).all()
    )
    assert sorted(map(tuple, rows)) == [("GST", 2_40), ("GST", 6_00), ("PST", 3_36)]
    assert desk.invoices()[0].owed_cents == 179_76


# --- a request to pay with it ---------------------------------------------------------------------------------------


def takes_online_payments(desk: Desk) -> None:
    def switch_on(session: Session) -> None:
        make_gateway(session, desk.parts.vault)
        for key in ("module_payment_gateways", "accept_payments_in_portal", "email_pay_online_request"):
            change_setting(session, key, "yes")

    desk.change(switch_on)


def queued(desk: Desk) -> list[str]:
    found: list[str] = desk.change(lambda session: list(session.scalars(select(OutboxMessage.kind))))
    return found


@pytest.mark.promise("E1")
def test_a_request_that_is_ticked_goes_with_the_invoice_once(desk: Desk) -> None:
    takes_online_payments(desk)
    order = desk.order(request_wanted=True)
    made, again = desk.press(order), desk.press(order)
    assert made.requested == Requested("maya@example.com", is_new=True)
    assert again.number == made.number and again.requested is None
    assert queued(desk) == ["pay_request"]


@pytest.mark.promise("E1")
def test_a_request_that_cannot_be_sent_keeps_no_invoice_from_being_issued(desk: Desk) -> None:
    takes_online_payments(desk)
    desk.change(lambda session: change_setting(session, "accept_payments_in_portal", "no"))
    made = desk.press(desk.order(request_wanted=True))
    assert isinstance(made.requested, CannotBePaidOnline) and len(desk.invoices()) == 1
    assert queued(desk) == []


def test_an_invoice_that_is_emailed_itself_has_no_request_beside_it(desk: Desk) -> None:
    takes_online_payments(desk)
    assert desk.press(desk.order(request_wanted=True, email_wanted=True)).requested is None
    assert "pay_request" not in queued(desk)
