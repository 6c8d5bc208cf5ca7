"""Cards that the desk saves and charges: with the spoken consent of the one whose they are."""

import pytest

from portal.cards import CONSENT_VERSION, SPOKEN_CONSENT_VERSION, CardNotFound, make_usual, remove_card
from portal.payments import staff_words, words
from portal.payments.outcomes import Declined, NeedsAction, Paid
from portal.payments.pay import PayerRef, pay
from portal.payments.settle import settle
from portal.payments.tables import DESK
from tests.payments.desk import Desk, entries, kept_cards
from tests.payments.stage import RETURN_URL, Stage


@pytest.mark.promise("O9")
def test_a_card_saved_at_the_desk_is_its_payers_with_the_spoken_consent(desk: Desk, stage: Stage) -> None:
    assert SPOKEN_CONSENT_VERSION != CONSENT_VERSION
    desk.charge(desk.form(50_00, saves=True), stage.cast.second_payer.id)
    (card,) = kept_cards(stage)
    assert card.payer_id == stage.cast.second_payer.id
    assert (card.consent_version, card.consented_by) == (SPOKEN_CONSENT_VERSION, desk.dana)
    (entry,) = entries(stage, "card.saved")
    assert (entry.user_id, entry.patient_id, entry.after) == (desk.dana, card.payer_id, "consent 2026-11 spoken")
    assert isinstance(desk.charge(desk.form(50_00, saved_card=card.public_id), stage.cast.second_payer.id), Paid)
    with pytest.raises(words.CardDetailsLost):
        desk.charge(desk.form(26_00, saved_card=card.public_id), desk.maya)
    stage.check_books()


@pytest.mark.promise("O9")
def test_no_card_is_saved_for_a_payer_without_a_name(desk: Desk, stage: Stage) -> None:
    nobody = PayerRef(None, desk.dana, DESK)
    with pytest.raises(words.CardDetailsLost):
        pay(stage.parts, stage.invoice_id, desk.form(50_00, saves=True), nobody, RETURN_URL)
    assert isinstance(pay(stage.parts, stage.invoice_id, desk.form(50_00), nobody, RETURN_URL), Paid)
    assert [one.payer_id for one in stage.payments()] == [None]
    assert kept_cards(stage) == []
    stage.check_books()


@pytest.mark.promise("O8")
def test_while_the_payer_is_away_their_bank_is_not_asked(desk: Desk, stage: Stage) -> None:
    outcome = desk.charge(desk.form(50_00, "authenticationRequired", saves=True))
    assert isinstance(outcome, NeedsAction)
    stage.sandbox.authenticate(str(stage.attempt().intent_id))
    assert isinstance(settle(stage.parts, outcome.attempt_id), Paid)
    (card,) = kept_cards(stage)
    declined = desk.charge(desk.form(76_00, saved_card=card.public_id, payer_absent=True))
    assert isinstance(declined, Declined)
    assert declined.reason == "authentication_required"
    heading, text = staff_words.why_declined(declined.reason)
    assert heading == "The bank wants the payer to confirm this payment. Nothing was charged."
    assert "portal" in text
    assert stage.invoice().balance_cents == 76_00
    stage.check_books()


@pytest.mark.promise("O8")
def test_a_new_card_needs_its_payer(desk: Desk, stage: Stage) -> None:
    with pytest.raises(words.PayerIsNeeded):
        desk.charge(desk.form(50_00, payer_absent=True))
    stage.check_nothing_charged()


@pytest.mark.promise("O9")
def test_another_card_is_made_the_usual_one(desk: Desk, stage: Stage) -> None:
    for card in ("visa", "amex"):
        desk.charge(desk.form(10_00, card, saves=True))
    first, second = kept_cards(stage)
    assert (first.is_usual, second.is_usual) == (True, False)
    make_usual(stage.parts, desk.maya, second.public_id, by=desk.dana)
    make_usual(stage.parts, desk.maya, second.public_id, by=desk.dana)
    assert [one.is_usual for one in kept_cards(stage)] == [False, True]
    (entry,) = entries(stage, "card.made_usual")
    assert (entry.subject, entry.user_id, entry.patient_id) == ("American Express ending 0005", desk.dana, desk.maya)
    with pytest.raises(CardNotFound):
        make_usual(stage.parts, stage.cast.second_payer.id, first.public_id, by=desk.dana)
    remove_card(stage.parts, desk.maya, second.public_id, by=desk.dana)
    assert [one.is_usual for one in kept_cards(stage)] == [True]
    assert [one.user_id for one in entries(stage, "card.removed")] == [desk.dana]
    with pytest.raises(CardNotFound):
        make_usual(stage.parts, desk.maya, second.public_id, by=desk.dana)
