"""The invoice of a held place: payable on every path while the place is held, on none afterwards; nobody is asked or
reminded to pay it before it has its number (P7)."""

from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import select

from portal.clock import now, shifted
from portal.errors import Refusal
from portal.invoices.books import locked_invoice
from portal.letters.reminders import queue_reminders
from portal.letters.requests import CannotBePaidOnline, request_payment
from portal.outbox import OutboxMessage
from portal.paylinks import MAIL, PayLink, make_link
from portal.payments.desk import PAID_BY, DeskPayment, record_payment
from portal.payments.outcomes import Paid
from portal.payments.pay import PayerRef, pay
from portal.payments.tables import DESK, LINK
from portal.programs.refusals import PlaceGone
from portal.programs.states import Place
from portal.programs.tables import Registration
from portal.settings import read_settings
from tests.payments.stage import RETURN_URL
from tests.programs.stage import ProgramStage

pytestmark = pytest.mark.promise("P7")

Press = Callable[[ProgramStage, int], object]


def in_the_portal(stage: ProgramStage, invoice_id: int) -> object:
    return stage.press(stage.form(invoice_id=invoice_id), stage.maya, invoice_id)


def by_a_link(stage: ProgramStage, invoice_id: int) -> object:
    """None is made for such an invoice; this one came about all the same."""
    with stage.database.transaction() as session:
        invoice = locked_invoice(session, invoice_id)
        make_link(session, stage.parts.vault, read_settings(session), invoice, MAIL, by=None)
        link_id = session.scalars(select(PayLink.id).order_by(PayLink.id.desc())).first()
    holder = PayerRef(None, None, LINK, pay_link_id=link_id)
    return pay(stage.parts, invoice_id, stage.form(invoice_id=invoice_id), holder, RETURN_URL)


def by_card_at_the_desk(stage: ProgramStage, invoice_id: int) -> object:
    invoice = stage.invoice(invoice_id)
    form = stage.form(invoice_id=invoice_id, asked_cents=invoice.balance_cents, shown_version=invoice.version)
    payer = PayerRef(stage.maya.payer_id, stage.cast.clerk.id, DESK)
    return pay(stage.parts, invoice_id, form, payer, RETURN_URL)


def in_cash(stage: ProgramStage, invoice_id: int) -> object:
    invoice = stage.invoice(invoice_id)
    cents = invoice.balance_cents
    received = DeskPayment(
        uuid4(), PAID_BY["cash"], cents, cents, invoice.currency, invoice.version, stage.maya.payer_id
    )
    return record_payment(stage.parts, invoice_id, received, stage.cast.clerk.id)


PATHS = pytest.mark.parametrize("press", [in_the_portal, by_a_link, by_card_at_the_desk, in_cash])


@PATHS
def test_every_path_takes_the_money_while_the_place_is_held(stage: ProgramStage, press: Press) -> None:
    registration = stage.register(stage.maya)
    assert isinstance(press(stage, registration.invoice_id or 0), Paid)
    assert stage.registration(registration.public_id).state == Place.CONFIRMED
    stage.check_books()


@PATHS
@pytest.mark.parametrize("is_swept", [True, False])
def test_no_path_takes_money_once_its_time_is_over(stage: ProgramStage, press: Press, is_swept: bool) -> None:
    registration = stage.register(stage.maya)
    with shifted(timedelta(minutes=16)):
        if is_swept:
            stage.sweep()
        with pytest.raises(PlaceGone):
            press(stage, registration.invoice_id or 0)
    stage.check_nothing_charged()


@pytest.mark.parametrize("press", [in_the_portal, by_a_link, by_card_at_the_desk])
def test_the_last_look_sees_that_the_place_is_gone(stage: ProgramStage, press: Press) -> None:
    """Between begin and the last look the place was taken away, by whatever means."""
    registration = stage.register(stage.maya)

    def take_away() -> None:
        with stage.database.transaction() as session:
            found = session.get_one(Registration, registration.id)
            found.state, found.held_until = Place.RELEASED, None

    stage.during("create_intent", take_away)
    with pytest.raises(PlaceGone):
        press(stage, registration.invoice_id or 0)
    stage.check_nothing_charged()
    assert [one.state for one in stage.attempts()] == ["canceled"]


def test_nobody_is_asked_or_reminded_to_pay_for_a_place_that_is_only_held(stage: ProgramStage) -> None:
    for key in ("email_pay_online_request", "email_reminders"):
        stage.set(key, "yes")
    held = stage.register(stage.maya)
    lapsed = stage.register(stage.sven)
    for registration in (held, lapsed):
        with pytest.raises(CannotBePaidOnline):
            request_payment(stage.parts, registration.invoice_id or 0, uuid4(), by=stage.cast.clerk.id)
    with stage.database.transaction() as session:
        session.get_one(Registration, lapsed.id).held_until = now() - timedelta(minutes=1)
    stage.sweep()
    for hours in range(0, 24 * 40, 6):
        with shifted(timedelta(hours=hours)):
            queue_reminders(stage.parts)
    with stage.database.read() as connection:
        about = connection.scalars(select(OutboxMessage.invoice_id).where(OutboxMessage.kind == "reminder")).all()
    ours = {held.invoice_id, lapsed.invoice_id}
    assert about, "Theo's own invoice is reminded of"
    assert not ours & set(about)


def test_the_request_says_why_it_can_not_be_sent(stage: ProgramStage) -> None:
    stage.set("email_pay_online_request", "yes")
    registration = stage.register(stage.maya)
    with pytest.raises(Refusal) as refused:
        request_payment(stage.parts, registration.invoice_id or 0, uuid4(), by=None)
    assert "is not confirmed yet" in refused.value.text
    assert "~" not in refused.value.heading
