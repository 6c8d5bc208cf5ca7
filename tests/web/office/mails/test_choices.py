"""What a patient says at the desk about emails."""

import pytest
from sqlalchemy import select
from werkzeug.test import TestResponse

from portal.audit import AuditEntry
from portal.letters.choices import choices_of
from tests.web.conftest import Site, Visitor, words


def choose(visitor: Visitor, patient_id: int, **fields: str) -> TestResponse:
    """What a press on the Emails tab sends."""
    return visitor.send(f"/office/patients/{patient_id}/emails", fields)


@pytest.mark.promise("E3", "P4")
def test_the_desk_keeps_what_a_patient_says_about_emails(site: Site, dana: Visitor) -> None:
    maya = site.cast.maya
    path = f"/office/patients/{maya.id}/emails"

    def wants() -> tuple[bool, bool]:
        with site.parts.database.read() as connection:
            return choices_of(connection, maya.id)

    assert "Reminders" in words(dana.get(path)) and "Receipts as a PDF" not in words(dana.get(path))
    site.setting("email_receipt_pdf", "yes")
    shown = words(dana.get(path))
    assert wants() == (True, False) and "Not agreed" in shown and "Stop (Reminders)" in shown
    for _ in range(2):  # the same press again turns nothing around
        answer = choose(dana, maya.id, choice="receipt_pdf", on="yes")
        assert (answer.status_code, answer.location) == (303, path)
        choose(dana, maya.id, choice="reminders", on="no")
    assert wants() == (False, True)
    assert "gets no more reminders." in words(dana.get(path))
    kept = select(AuditEntry.action, AuditEntry.after, AuditEntry.user_id, AuditEntry.patient_id).where(
        AuditEntry.action.in_(("patient.reminders", "patient.receipt_pdf"))
    )
    found = site.change(lambda session: [tuple(row) for row in session.execute(kept.order_by(AuditEntry.id))])
    assert found == [
        ("patient.receipt_pdf", "agreed", site.cast.clerk.id, maya.id),
        ("patient.reminders", "off", site.cast.clerk.id, maya.id),
    ]
    choose(dana, maya.id, choice="receipt_pdf", on="no")
    choose(dana, maya.id, choice="reminders", on="yes")
    assert wants() == (True, False)


def test_what_no_button_of_the_tab_sends_changes_nothing(site: Site, dana: Visitor) -> None:
    maya = site.cast.maya.id
    for fields in ({}, {"choice": "reminders"}, {"choice": "name", "on": "yes"}, {"choice": "\0", "on": "\0"}):
        assert choose(dana, maya, **fields).status_code == 400
    assert choose(dana, maya, choice="reminders", on="maybe").status_code == 400
    assert choose(dana, 999_999, choice="reminders", on="no").status_code == 404
    patient = site.visitor("maya@example.com")
    assert choose(patient, maya, choice="receipt_pdf", on="yes").status_code in (403, 404)
    with site.parts.database.read() as connection:
        assert choices_of(connection, maya) == (True, False)
