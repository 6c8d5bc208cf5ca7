"""Mails about places in programs, as the office sees them: on the person's page and the invoice's, and sent again."""

from uuid import uuid4

import pytest
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from portal.audit import AuditEntry
from portal.clock import now
from portal.invoices.tables import Invoice
from portal.outbox import OutboxMessage
from portal.payments.tables import DESK
from portal.programs.registering import Details, Holder, confirm_unpaid, hold, register
from portal.programs.tables import Program, Registration
from portal.programs.waiting import join
from tests.makers import make_program
from tests.web.conftest import Site, Visitor, words
from tests.web.office.mails.conftest import mail_of, mails, send_again

pytestmark = pytest.mark.promise("E3", "E4")


@pytest.fixture
def program(site: Site) -> Program:
    site.setting("module_programs", "yes")
    made: Program = site.change(lambda session: make_program(session, capacity=1, waitlist_size=3))
    return made


def confirmed(site: Site, program: Program) -> str:
    """The desk registered Maya, who is to pay later; gives her registration."""
    maya, clerk = site.cast.maya.id, site.cast.clerk.id
    place = hold(site.parts, program.public_id, uuid4(), Holder(clerk, maya, channel=DESK))
    register(site.parts, place, Details(maya, {}), clerk)
    confirm_unpaid(site.parts, place, clerk)
    return place


def waits(site: Site, program: Program) -> str:
    confirmed(site, program)
    stranger = site.cast.stranger.id
    return join(site.parts, program.public_id, uuid4(), Holder(site.cast.clerk.id, stranger, channel=DESK))


def page_of(site: Site, patient_id: int) -> str:
    return f"/office/patients/{patient_id}/emails"


def again(visitor: Visitor, path: str, mail_id: int, request: str = "") -> TestResponse:
    data = {"csrf_token": visitor.token(path), "request": request or str(uuid4())}
    return visitor.post(f"{path}/{mail_id}/again", data=data, follow_redirects=True)


def test_an_invoice_and_its_patient_show_the_mails_of_the_place(site: Site, dana: Visitor, program: Program) -> None:
    confirmed(site, program)
    (mail,) = mails(site, "registration")
    number = site.change(lambda session: session.get_one(Invoice, mail.invoice_id).number)
    assert "Place confirmed Queued" in words(dana.get(f"/office/invoices/{number}"))
    assert f"Place confirmed Queued {number}" in words(dana.get(page_of(site, site.cast.maya.id)))


def test_the_name_of_an_invoice_without_a_number_is_shown_nowhere(
    site: Site, dana: Visitor, program: Program
) -> None:
    maya = site.cast.maya.id
    place = hold(site.parts, program.public_id, uuid4(), Holder(site.cast.clerk.id, maya, channel=DESK))
    register(site.parts, place, Details(maya, {}), site.cast.clerk.id)
    with site.parts.database.transaction() as session:
        registration = session.scalars(select(Registration).where(Registration.public_id == place)).one()
        session.add(
            OutboxMessage(
                event_key="x", kind="payment_failed", recipient="maya@example.com", words_sealed="", message_id="x",
                queued_at=now(), next_try_at=now(), invoice_id=registration.invoice_id, patient_id=maya,
            )
        )  # fmt: skip
    page = dana.get(page_of(site, maya))
    assert "Payment failed" in page.text and "~" not in page.text


def test_the_mail_of_a_place_goes_again_from_its_invoice(site: Site, dana: Visitor, program: Program) -> None:
    confirmed(site, program)
    mail_of(site, sent_at=now(), words_sealed=None)
    (mail,) = mails(site, "registration")
    number = site.change(lambda session: session.get_one(Invoice, mail.invoice_id).number)
    press = str(uuid4())
    for _twice in range(2):
        assert "It goes to maya@example.com." in words(send_again(dana, number, mail.id, press))
    first, second = mails(site, "registration")
    assert (second.registration_id, second.queued_by) == (first.registration_id, site.cast.clerk.id)


def test_the_mail_of_somebody_who_waits_goes_again_from_their_page(
    site: Site, dana: Visitor, program: Program
) -> None:
    waits(site, program)
    path = page_of(site, site.cast.stranger.id)
    assert "Send again" not in words(dana.get(path))  # it has not gone yet
    mail_of(site, sent_at=now(), words_sealed=None)
    assert "Send again" in words(dana.get(path))
    (mail,) = mails(site, "waitlisted")
    press = str(uuid4())
    for _twice in range(2):
        assert "It goes to jonas@example.com." in words(again(dana, path, mail.id, press))
    assert [one.queued_by for one in mails(site, "waitlisted")] == [None, site.cast.clerk.id]
    asked = select(AuditEntry.after).where(AuditEntry.action == "mail.asked_for")
    assert site.change(lambda session: session.scalars(asked).all()) == ["waitlisted to jonas@example.com"]


def test_what_is_not_so_any_more_is_not_sent_again(site: Site, dana: Visitor, program: Program) -> None:
    waits(site, program)
    mail_of(site, sent_at=now(), words_sealed=None)
    (mail,) = mails(site, "waitlisted")
    site.change(lambda session: session.execute(update(Registration).values(state="released")))
    path = page_of(site, site.cast.stranger.id)
    assert "Send again" not in words(dana.get(path))
    assert "Nothing was sent." in words(again(dana, path, mail.id))
    assert len(mails(site, "waitlisted")) == 1


def test_it_goes_to_nobody_elses_page_and_needs_the_desk(site: Site, dana: Visitor, program: Program) -> None:
    waits(site, program)
    mail_of(site, sent_at=now(), words_sealed=None)
    (mail,) = mails(site, "waitlisted")
    maya, jonas = page_of(site, site.cast.maya.id), page_of(site, site.cast.stranger.id)
    assert again(dana, maya, mail.id).status_code == 404
    (of_invoice,) = mails(site, "registration")
    assert again(dana, jonas, of_invoice.id).status_code == 404
    assert again(dana, jonas, 10**30).status_code == 404
    token = {"csrf_token": dana.token(jonas)}
    assert dana.post(f"{jonas}/{mail.id}/again", data=token).status_code == 400
    liam = site.visitor("liam@example.com")
    data = {"csrf_token": liam.token("/office/patients"), "request": str(uuid4())}
    assert liam.post(f"{jonas}/{mail.id}/again", data=data).status_code == 403
    assert len(mails(site, "waitlisted")) == 1
