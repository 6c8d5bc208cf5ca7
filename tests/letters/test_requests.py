"""Asking for a payment by mail."""

import re
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import delete, select

from portal.clock import now
from portal.db import Database
from portal.letters.addressing import addressee, email_columns, email_in_row
from portal.letters.requests import CannotBePaidOnline, NoAddress, RequestsOff, request_payment
from portal.mail import deliver_waiting_mail
from portal.outbox import OutboxMessage, claim_letter
from portal.paylinks import PayLink, hash_of
from portal.people import Patient, PayerLink
from tests.makers import make_patient, make_payer_link, make_user
from tests.payments.stage import Stage


def queued(stage: Stage, kind: str) -> list[OutboxMessage]:
    with stage.database.transaction() as session:
        return list(session.scalars(select(OutboxMessage).where(OutboxMessage.kind == kind)))


def links(stage: Stage) -> list[PayLink]:
    with stage.database.transaction() as session:
        return list(session.scalars(select(PayLink).order_by(PayLink.id)))


@pytest.mark.promise("E1", "E2")
def test_a_request_is_queued_with_a_link_of_which_a_hash_is_kept(stage: Stage) -> None:
    press = uuid4()
    assert request_payment(stage.parts, stage.invoice_id, press, by=None).is_new
    assert not request_payment(stage.parts, stage.invoice_id, press, by=None).is_new
    assert [mail.invoice_id for mail in queued(stage, "pay_request")] == [stage.invoice_id]
    with stage.database.transaction() as session:
        letter = claim_letter(session, stage.parts.vault)
    assert letter is not None
    token = re.fullmatch(re.escape(stage.parts.config.base_url) + r"/pay/([\w-]{43})", letter.words["link"])
    assert token is not None
    (link,) = links(stage)
    assert (link.token_hash, link.token_sealed) == (hash_of(token[1]), None)


@pytest.mark.promise("E2")
def test_a_second_request_replaces_the_link_of_the_first(stage: Stage) -> None:
    for _ in range(2):
        request_payment(stage.parts, stage.invoice_id, uuid4(), by=None)
    assert [link.replaced_at is not None for link in links(stage)] == [True, False]


@pytest.mark.promise("E1")
def test_nothing_is_sent_that_would_lead_nowhere(stage: Stage) -> None:
    stage.set("accept_payments_in_portal", "no")
    with pytest.raises(CannotBePaidOnline):
        request_payment(stage.parts, stage.invoice_id, uuid4(), by=None)
    stage.set("accept_payments_in_portal", "yes")
    with stage.database.transaction() as session:
        session.execute(delete(PayerLink))
    with pytest.raises(NoAddress):
        request_payment(stage.parts, stage.invoice_id, uuid4(), by=None)
    stage.set("email_pay_online_request", "no")
    with pytest.raises(RequestsOff):
        request_payment(stage.parts, stage.invoice_id, uuid4(), by=None)
    assert queued(stage, "pay_request") == [] and links(stage) == []


@pytest.mark.promise("E3")
def test_whoever_settles_a_payment_queues_its_receipt_once(stage: Stage, tmp_path: Path) -> None:
    stage.press(stage.form("visa"))
    stage.sweep()
    assert len(queued(stage, "receipt")) == 1
    config = replace(stage.parts.config, mail_url=f"file:{tmp_path}")
    assert deliver_waiting_mail(replace(stage.parts, config=config)) == 1


@pytest.mark.parametrize("born", [date(1980, 1, 1), date(2020, 1, 1), None])
@pytest.mark.parametrize("own", ["", "own@example.com"])
@pytest.mark.parametrize("account", ["", "account@example.com"])
@pytest.mark.parametrize("payers", [(), ("",), ("first@example.com",), ("", "second@example.com")])
def test_a_list_names_the_same_address_as_the_mail(
    database_url: str, born: date | None, own: str, account: str, payers: tuple[str, ...]
) -> None:
    database = Database(database_url)
    with database.transaction() as session:
        patient = make_patient(session, "Rosa", "Delgado", email=own, birth_date=born)
        if account:
            make_user(session, account, patient=patient)
        for days_ago, email in enumerate(payers):
            link = make_payer_link(session, make_patient(session, email=email), patient)
            link.created_at = now() - timedelta(days=9 - days_ago)
        patient_id = patient.id
    with database.read() as connection:
        row = connection.execute(
            select(Patient.birth_date, *email_columns(Patient.__table__.c.id)).where(Patient.id == patient_id)
        ).one()
        found = addressee(connection, patient_id)
    assert email_in_row(row, now().date()) == (found.email if found else "")
    database.close()
