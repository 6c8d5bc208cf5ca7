"""The card policy (O10), which cards a payer keeps, and how they go again."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from time import sleep

import pytest
from sqlalchemy import update

from portal.cards import (
    BRANDS,
    BrandNotAccepted,
    CardNotAccepted,
    CardNotFound,
    CardPolicy,
    Consent,
    DebitCardNotAccepted,
    PrepaidCardNotAccepted,
    SavedCard,
    keep_card,
    let_go_of_removed_cards,
    remove_card,
)
from portal.clock import now
from portal.errors import Refusal
from portal.gateway import CardLook
from portal.payments import words
from portal.payments.outcomes import Declined, Paid
from portal.sandbox import Sandbox
from tests.makers import make_gateway
from tests.payments.stage import Person, Stage, staged
from tests.payments.test_paying import kept_cards, saved_cards

A_CARD = CardLook(type="card", brand="visa", funding="credit", last4="4242", exp_month=12, exp_year=2031)
FUNDINGS = ("credit", "debit", "prepaid", "unknown", "", None)
WALLETS = (None, "apple_pay", "google_pay", "link")


@pytest.fixture
def stage(database_url: str) -> Iterator[Stage]:
    with staged(database_url) as opened:
        yield opened


# --- the table ------------------------------------------------------------------------------------------------------


def verdict(card: CardLook | None, prepaid: bool = True) -> type[CardNotAccepted] | None:
    try:
        CardPolicy(prepaid=prepaid).check(card)
    except CardNotAccepted as refusal:
        assert "not been charged" in refusal.heading
        assert refusal.text
        return type(refusal)
    return None


def expected(
    brand: str | None, funding: str | None, wallet: str | None, prepaid: bool
) -> type[CardNotAccepted] | None:
    """The rule as the clinic says it, written down a second time."""
    if brand not in BRANDS or wallet == "link":
        return BrandNotAccepted
    if funding == "credit" or (funding == "debit" and brand == "visa"):
        return None
    if funding == "debit":
        return DebitCardNotAccepted
    if funding == "prepaid":
        return None if prepaid else PrepaidCardNotAccepted
    return CardNotAccepted


@pytest.mark.promise("O10")
@pytest.mark.parametrize(
    "brand", [*BRANDS, "link", "unknown", "eftpos_au", "interac", "cartes_bancaires", "Visa", "", None]
)
def test_the_policy_for_every_card(brand: str | None) -> None:
    for funding in FUNDINGS:
        for wallet in WALLETS:
            for prepaid in (True, False):
                card = CardLook(type="card", brand=brand, funding=funding, last4="0001", wallet=wallet)
                assert verdict(card, prepaid) is expected(brand, funding, wallet, prepaid), (funding, wallet, prepaid)


@pytest.mark.promise("O10")
def test_what_is_not_surely_a_card_is_refused() -> None:
    assert verdict(None) is BrandNotAccepted
    assert verdict(replace(A_CARD, type="link")) is BrandNotAccepted
    assert verdict(replace(A_CARD, type="")) is BrandNotAccepted
    assert verdict(replace(A_CARD, type="card_present")) is BrandNotAccepted


def test_a_missing_number_is_no_reason() -> None:
    assert verdict(replace(A_CARD, last4=None)) is None
    assert verdict(replace(A_CARD, last4=None, funding="debit", brand="mastercard")) is DebitCardNotAccepted


@pytest.mark.promise("O10")
def test_the_refusal_says_which_card_and_what_to_use_instead() -> None:
    with pytest.raises(DebitCardNotAccepted) as refusal:
        CardPolicy().check(CardLook(type="card", brand="mastercard", funding="debit", last4="8210"))
    assert "ending 8210 is a Debit Mastercard" in refusal.value.text
    assert "credit card or a Visa Debit card" in refusal.value.text


# --- end to end -----------------------------------------------------------------------------------------------------


def refusal_of(stage: Stage, card: str) -> Refusal:
    answer = stage.try_to_press(stage.form(card))
    assert isinstance(answer, Refusal), answer
    return answer


@pytest.mark.promise("O10")
@pytest.mark.parametrize(
    ("card", "refusal"),
    [
        ("mastercard_debit", DebitCardNotAccepted),
        ("discover_debit", DebitCardNotAccepted),
        ("sandbox_unknown_funding", CardNotAccepted),
        ("sandbox_unknown_brand", BrandNotAccepted),
        ("sandbox_link_brand", BrandNotAccepted),
        ("sandbox_link_wallet", BrandNotAccepted),
    ],
)
def test_a_card_against_the_policy_is_refused_before_any_intent(
    stage: Stage, card: str, refusal: type[CardNotAccepted]
) -> None:
    assert type(refusal_of(stage, card)) is refusal
    assert stage.sandbox.objects("payment_intent") == []
    stage.check_nothing_charged()
    assert isinstance(stage.press(stage.form("visa")), Paid)
    stage.check_paid_once()


@pytest.mark.promise("O10")
@pytest.mark.parametrize("card", ["visa_debit", "amex", "discover", "diners", "jcb", "unionpay", "mastercard"])
def test_a_card_within_the_policy_pays(stage: Stage, card: str) -> None:
    assert isinstance(stage.press(stage.form(card)), Paid)
    assert stage.cases() == []
    stage.check_paid_once()


@pytest.mark.promise("O10")
def test_prepaid_cards_follow_the_clinics_switch_at_once(stage: Stage) -> None:
    stage.set("accept_prepaid_cards", "no")
    assert isinstance(refusal_of(stage, "mastercard_prepaid"), PrepaidCardNotAccepted)
    stage.set("accept_prepaid_cards", "yes")
    assert isinstance(stage.press(stage.form("mastercard_prepaid")), Paid)
    stage.check_paid_once()


@pytest.mark.promise("O10")
def test_a_saved_card_is_held_against_the_policy_too(stage: Stage) -> None:
    stage.press(stage.form("mastercard_prepaid", saves=True))
    (card,) = kept_cards(stage)
    stage.set("accept_prepaid_cards", "no")
    stage.invoice_id = stage.new_invoice()
    answer = stage.try_to_press(stage.form(saved_card=card.public_id))
    assert isinstance(answer, PrepaidCardNotAccepted)
    assert len(stage.sandbox.objects("payment_intent")) == 1
    stage.check_books()


@pytest.mark.promise("O10")
def test_a_refused_card_after_a_decline_leaves_the_intent_unconfirmed(stage: Stage) -> None:
    form = stage.form("chargeDeclined")
    assert isinstance(stage.press(form), Declined)
    answer = stage.try_to_press(stage.form("mastercard_debit", attempt_id=form.attempt_id))
    assert isinstance(answer, DebitCardNotAccepted)
    assert len(stage.sandbox.charges()) == 1  # the declined one
    assert isinstance(stage.press(stage.form("visa", attempt_id=form.attempt_id)), Paid)
    stage.check_paid_once()


@pytest.mark.promise("O10")
def test_a_card_that_turns_out_otherwise_when_charged_opens_a_refund_case(stage: Stage) -> None:
    assert isinstance(stage.press(stage.form("sandbox_turns_into_debit")), Paid)
    (case,) = stage.cases()
    (payment,) = stage.payments()
    assert (case.kind, case.payment_id, case.amount_cents) == ("refund_due", payment.id, payment.amount_cents)
    assert (payment.brand, payment.funding) == ("mastercard", "debit")
    stage.check_paid_once()


# --- saved cards: whose, and where ----------------------------------------------------------------------------------


@pytest.fixture
def card(stage: Stage) -> SavedCard:
    """Maya's saved card; the invoice on the stage is a new one."""
    stage.press(stage.form("visa", saves=True))
    (kept,) = kept_cards(stage)
    stage.invoice_id = stage.new_invoice()
    return kept


def assert_unusable(stage: Stage, card: SavedCard, by: Person | None = None) -> None:
    charges = len(stage.sandbox.charges())
    answer = stage.try_to_press(stage.form(saved_card=card.public_id), by)
    assert isinstance(answer, words.CardDetailsLost), answer
    assert len(stage.sandbox.charges()) == charges
    stage.check_books()


@pytest.mark.promise("O9")
def test_somebody_elses_saved_card_is_refused(stage: Stage, card: SavedCard) -> None:
    stage.calls.clear()
    assert_unusable(stage, card, stage.sven)
    assert_unusable(stage, card, Person(None, None))
    assert stage.calls == []  # the gateway is not even asked about it


@pytest.mark.promise("O9")
def test_a_saved_card_that_is_somebody_elses_at_the_gateway_is_refused(stage: Stage, card: SavedCard) -> None:
    """Even if our own rows were mixed up."""
    with stage.database.transaction() as session:
        session.get_one(SavedCard, card.id).payer_id = stage.cast.second_payer.id
    stage.press(stage.form("mastercard", saves=True), stage.sven)
    stage.invoice_id = stage.new_invoice()
    assert_unusable(stage, card, stage.sven)


@pytest.mark.promise("G6")
def test_a_card_saved_with_another_gateway_is_refused(stage: Stage, card: SavedCard) -> None:
    other = stage.sandbox.add_account()
    with stage.database.transaction() as session:
        make_gateway(session, stage.parts.vault, name="Another", secret=other.test_secret_key)
    assert_unusable(stage, card)


@pytest.mark.promise("G6")
def test_a_card_saved_in_the_other_mode_is_refused(stage: Stage, card: SavedCard) -> None:
    with stage.database.transaction() as session:
        session.get_one(SavedCard, card.id).mode = "production"
    assert_unusable(stage, card)


@pytest.mark.promise("P8")
def test_a_removed_card_is_gone_at_once_and_detached_at_the_gateway(stage: Stage, card: SavedCard) -> None:
    assert stage.cast.maya.id == card.payer_id
    remove_card(stage.parts, card.payer_id, card.public_id)
    assert kept_cards(stage) == []
    (removed,) = saved_cards(stage)
    assert removed.detached_at is not None
    assert all(method["customer"] is None for method in stage.sandbox.objects("payment_method"))
    assert_unusable(stage, card)


@pytest.mark.promise("P8")
def test_a_card_removed_while_the_gateway_is_away_is_detached_later(stage: Stage, card: SavedCard) -> None:
    stage.sandbox.fault("payment_methods.detach", "lost_before")
    remove_card(stage.parts, card.payer_id, card.public_id)
    assert kept_cards(stage) == []
    assert saved_cards(stage)[0].detached_at is None
    assert_unusable(stage, card)
    assert let_go_of_removed_cards(stage.parts) == 1
    assert saved_cards(stage)[0].detached_at is not None
    assert let_go_of_removed_cards(stage.parts) == 0


@pytest.mark.promise("P8")
def test_a_lost_answer_to_a_removal_ends_well(stage: Stage, card: SavedCard) -> None:
    stage.sandbox.fault("payment_methods.detach", "lost_after")
    remove_card(stage.parts, card.payer_id, card.public_id)
    assert let_go_of_removed_cards(stage.parts) == 1  # it is not attached any more, says the gateway


def test_a_bad_key_does_not_count_as_detached(stage: Stage, card: SavedCard) -> None:
    stage.sandbox.revoke_key(stage.sandbox.secret_key)
    remove_card(stage.parts, card.payer_id, card.public_id)
    assert let_go_of_removed_cards(stage.parts) == 0
    assert saved_cards(stage)[0].detached_at is None


def test_a_gateway_that_is_away_does_not_keep_anothers_cards(stage: Stage, card: SavedCard) -> None:
    other = stage.sandbox.add_account()
    with stage.database.transaction() as session:
        second = make_gateway(session, stage.parts.vault, name="Another", secret=other.test_secret_key)
        assert second.id != card.gateway_id
    form = stage.form(None, token=stage.token("visa", saves=True, key=other.test_publishable_key), save_card=True)
    assert isinstance(stage.press(form), Paid)
    first, newer = saved_cards(stage)
    stage.sandbox.fault("payment_methods.detach", "lost_before", times=3)
    remove_card(stage.parts, first.payer_id, first.public_id)
    remove_card(stage.parts, newer.payer_id, newer.public_id)
    assert let_go_of_removed_cards(stage.parts) == 1
    assert [card.detached_at is not None for card in saved_cards(stage)] == [False, True]


def test_many_cards_of_a_gateway_that_is_away_do_not_keep_anothers(stage: Stage, card: SavedCard) -> None:
    other = stage.sandbox.add_account()
    with stage.database.transaction() as session:
        make_gateway(session, stage.parts.vault, name="Another", secret=other.test_secret_key)
    stage.invoice_id = stage.new_invoice()
    token = stage.token("visa", saves=True, key=other.test_publishable_key)
    assert isinstance(stage.press(stage.form(None, token=token, save_card=True)), Paid)
    with stage.database.transaction() as session:
        session.execute(update(SavedCard).values(removed_at=now(), is_usual=False))
    stage.sandbox.revoke_key(stage.sandbox.secret_key)
    assert let_go_of_removed_cards(stage.parts, most=1) == 1
    assert [card.detached_at is not None for card in saved_cards(stage)] == [False, True]


def test_a_removed_card_whose_seal_does_not_open_does_not_keep_the_others(stage: Stage, card: SavedCard) -> None:
    stage.invoice_id = stage.new_invoice()
    form = stage.form(None, token=stage.token("mastercard", saves=True), save_card=True)
    assert isinstance(stage.press(form), Paid)
    with stage.database.transaction() as session:
        session.execute(update(SavedCard).values(removed_at=now(), is_usual=False))
        session.execute(update(SavedCard).where(SavedCard.id == card.id).values(method_sealed="gone.AAAA"))
    assert let_go_of_removed_cards(stage.parts) == 1


@pytest.mark.promise("P8")
def test_nobody_removes_somebody_elses_card(stage: Stage, card: SavedCard) -> None:
    with pytest.raises(CardNotFound):
        remove_card(stage.parts, stage.cast.second_payer.id, card.public_id)
    assert len(kept_cards(stage)) == 1


def test_the_usual_card_is_inherited(stage: Stage, card: SavedCard) -> None:
    stage.press(stage.form("mastercard", saves=True))
    first, second = kept_cards(stage)
    assert (first.is_usual, second.is_usual) == (True, False)
    remove_card(stage.parts, first.payer_id, first.public_id)
    (left,) = kept_cards(stage)
    assert (left.id, left.is_usual) == (second.id, True)


def test_of_two_cards_saved_at_the_same_moment_the_second_waits_for_the_first(stage: Stage, card: SavedCard) -> None:
    remove_card(stage.parts, card.payer_id, card.public_id)
    first_is_written = Event()

    def keep(method: str, last4: str, wait: bool) -> None:
        if wait:
            first_is_written.wait(5)
        with stage.database.transaction() as session:
            keep_card(
                session,
                stage.parts.vault,
                payer_id=card.payer_id,
                gateway_id=card.gateway_id,
                mode=card.mode,
                method_id=method,
                card=replace(A_CARD, last4=last4),
                consent=Consent("2026-11", now(), None),
            )
            first_is_written.set()
            sleep(0.0 if wait else 0.3)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(keep, ("pm_first", "pm_second"), ("0001", "0002"), (False, True)))
    assert [(kept.last4, kept.is_usual) for kept in kept_cards(stage)] == [("0001", True), ("0002", False)]


@pytest.mark.promise("O9")
def test_no_card_number_and_no_id_of_the_gateway_is_stored_in_the_clear(stage: Stage, card: SavedCard) -> None:
    (customer,) = stage.sandbox.objects("customer")
    methods = [one["id"] for one in stage.sandbox.objects("payment_method")]
    with stage.database.read() as connection:
        rows = [
            str(connection.exec_driver_sql(f"SELECT * FROM {table}").all())
            for table in ("saved_cards", "gateway_customers", "payments", "payment_attempts")
        ]
    everything = " ".join(rows)
    assert customer["id"] not in everything
    assert not [method for method in methods if method in everything]
    assert "4242424242424242" not in everything
    assert Sandbox.secret_key not in everything
