"""Several people at several desks press at the same moment: each press is one mail, and one link stands."""

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select

from portal.letters.again import email_invoice
from portal.letters.on_paper import make_code
from portal.letters.requests import request_payment
from portal.letters.several import request_payments
from portal.outbox import OutboxMessage
from portal.paylinks import PayLink
from tests.makers import count_of
from tests.payments.stage import Stage
from tests.support.at_once import at_once

Press = Callable[[Stage, UUID], object]
PRESSES: list[Press] = [
    lambda stage, press: request_payment(stage.parts, stage.invoice_id, press, by=None),
    lambda stage, press: email_invoice(stage.parts, stage.invoice_id, press, by=None),
    lambda stage, press: request_payments(stage.parts, ["10001"], press, by=None),
]


def standing(stage: Stage) -> int:
    with stage.database.read() as connection:
        found = connection.scalar(
            select(func.count()).where(PayLink.replaced_at.is_(None), PayLink.revoked_at.is_(None))
        )
    return found or 0


def mails(stage: Stage) -> int:
    with stage.database.transaction() as session:
        return count_of(session, OutboxMessage)


@pytest.mark.promise("E1", "E2")
@pytest.mark.parametrize("pressed", PRESSES)
def test_one_press_sent_six_times_at_once_is_one_mail_with_a_link_that_stands(stage: Stage, pressed: Press) -> None:
    press = uuid4()
    at_once([lambda: pressed(stage, press)] * 6)
    assert (mails(stage), standing(stage)) == (1, 1)


@pytest.mark.promise("E1", "E2")
@pytest.mark.parametrize("pressed", PRESSES)
def test_six_presses_at_once_are_six_mails_and_the_last_link_stands(stage: Stage, pressed: Press) -> None:
    at_once([lambda: pressed(stage, uuid4())] * 6)
    assert (mails(stage), standing(stage)) == (6, 1)


@pytest.mark.promise("E2")
def test_six_desks_that_make_a_code_at_once_have_the_same_one(stage: Stage) -> None:
    at_once([lambda: make_code(stage.parts, stage.invoice_id, by=None)] * 6)
    with stage.database.transaction() as session:
        assert count_of(session, PayLink) == 1
