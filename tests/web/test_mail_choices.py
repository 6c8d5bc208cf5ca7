"""Which mails a patient wants."""

import pytest

from portal.letters.choices import choices_of, unsubscribe_url
from tests.web.conftest import Site, words


def chosen(site: Site) -> tuple[bool, bool]:
    with site.parts.database.read() as connection:
        return choices_of(connection, site.cast.maya.id)


@pytest.mark.promise("E3", "P4")
def test_a_patient_chooses_reminders_and_the_pdf(site: Site) -> None:
    site.setting("email_receipt_pdf", "yes")
    maya = site.visitor("maya@example.com")
    assert chosen(site) == (True, False)
    assert maya.send("/me/emails", {"receipt_pdf": "yes"}).status_code == 303
    assert chosen(site) == (False, True)
    assert "Your choices are saved." in words(maya.get("/me/emails"))
    maya.send("/me/emails", {"reminders": "yes"})
    assert chosen(site) == (True, False)


@pytest.mark.promise("P4")
def test_consent_to_the_pdf_is_asked_for_only_where_the_clinic_sends_it(site: Site) -> None:
    maya = site.visitor("maya@example.com")
    assert "Receipts as a PDF" not in words(maya.get("/me/emails"))
    maya.send("/me/emails", {"receipt_pdf": "yes", "reminders": "yes"})
    assert chosen(site) == (True, False)


@pytest.mark.promise("E3")
def test_the_link_in_a_reminder_changes_nothing_until_its_button_is_pressed(site: Site) -> None:
    path = unsubscribe_url(site.config, site.cast.maya.id).removeprefix(site.config.base_url)
    stranger = site.visitor()
    for _ in range(2):
        assert "Stop reminders?" in words(stranger.get(path))
        stranger.head(path)
    assert chosen(site)[0]
    # As mail programs do (RFC 8058): no form of ours, no cookie.
    answer = site.visitor().post(path, data={"List-Unsubscribe": "One-Click"})
    assert answer.status_code == 200 and "You get no more reminders" in words(answer)
    assert not chosen(site)[0]
    assert site.visitor().post(path).status_code == 200


@pytest.mark.parametrize("token", ["x", "1.abc", "MQ.AAAAAAAAAAAAAAAAAAAAAAAAAAA", "%00", "a" * 300])
def test_a_broken_link_says_so(site: Site, token: str) -> None:
    for answer in (site.visitor().get(f"/no-reminders/{token}"), site.visitor().post(f"/no-reminders/{token}")):
        assert answer.status_code in (200, 404, 405)
    assert chosen(site)[0]
