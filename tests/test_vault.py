"""The vault: what is sealed opens in its place alone, with a key of the ring; and everything can be sealed anew."""

import base64
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.cards import seal_cards_again
from portal.gateway.configured import keys_of, seal_credentials_again, signing_secrets, store_credentials
from portal.invoices.books import locked_invoice
from portal.outbox import claim_letter, seal_mail_again
from portal.paylinks import PAPER, make_link, paper_token, seal_links_again
from portal.payments.orders import customer_of, seal_customers_again
from portal.payments.outcomes import Paid
from portal.settings import read_settings
from portal.vault import CannotOpen, Vault, new_key, parse_key
from tests.payments.stage import HOOK_SECRET, Stage, staged
from tests.payments.test_paying import kept_cards

PLACE = "gateway_credentials.secret_sealed:1/test"


@pytest.fixture
def stage(database_url: str) -> Iterator[Stage]:
    with staged(database_url) as opened:
        yield opened


@pytest.fixture
def vault() -> Vault:
    return Vault([parse_key(new_key())])


@given(plain=st.text(max_size=200), place=st.text(max_size=60))
def test_what_is_sealed_opens_in_its_place(plain: str, place: str) -> None:
    vault = Vault([parse_key(new_key())])
    sealed = vault.seal(plain, place)
    assert vault.open(sealed, place) == plain
    with pytest.raises(CannotOpen):
        vault.open(sealed, place + "x")


@pytest.mark.promise("O3")
def test_sealed_text_is_bound_to_its_place(vault: Vault) -> None:
    sealed = vault.seal("sk_test_x", PLACE)
    assert "sk_test_x" not in sealed
    for other in (
        PLACE.replace(":1/", ":2/"),
        PLACE.replace("test", "production"),
        PLACE.replace("secret", "other"),
        "",
    ):
        with pytest.raises(CannotOpen):
            vault.open(sealed, other)


def test_the_same_text_sealed_twice_looks_different(vault: Vault) -> None:
    assert vault.seal("x", PLACE) != vault.seal("x", PLACE)


def test_a_key_that_is_not_on_the_ring_opens_nothing(vault: Vault) -> None:
    sealed = vault.seal("x", PLACE)
    with pytest.raises(CannotOpen):
        Vault([parse_key(new_key())]).open(sealed, PLACE)
    name = sealed.partition(".")[0]
    another_key_of_that_name = (name, parse_key(new_key())[1])
    with pytest.raises(CannotOpen):
        Vault([another_key_of_that_name]).open(sealed, PLACE)


@pytest.mark.parametrize("broken", ["", ".", "k.", "nonsense", "k1.####", "k1." + "A" * 40, "k1.\N{SNOWMAN}"])
def test_what_was_never_sealed_does_not_open(broken: str) -> None:
    with pytest.raises(CannotOpen):
        Vault([("k1", bytes(range(32)))]).open(broken, PLACE)


def test_a_changed_byte_does_not_open(vault: Vault) -> None:
    sealed = vault.seal("sk_test_x", PLACE)
    name, _, encoded = sealed.partition(".")
    raw = base64.urlsafe_b64decode(encoded)
    for at in range(len(raw)):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        with pytest.raises(CannotOpen):
            vault.open(f"{name}.{base64.urlsafe_b64encode(changed).decode()}", PLACE)


def test_look_up_hashes_are_keyed_and_found_while_keys_change() -> None:
    old, new = parse_key(new_key()), parse_key(new_key())
    before, during = Vault([old]), Vault([new, old])
    assert before.look_up_hash("pm_1") != during.look_up_hash("pm_1")
    assert before.look_up_hash("pm_1") in during.look_up_hashes("pm_1")
    assert before.look_up_hash("pm_1") != before.look_up_hash("pm_2")


@pytest.mark.parametrize("text", ["", "k1", "k1:", "k1:!!", "k1:AAAA", "k-1:" + "A" * 44, ":" + "A" * 44])
def test_a_key_that_cannot_be_read_is_named_but_never_shown(text: str) -> None:
    with pytest.raises(ValueError) as error:
        parse_key(text)
    assert "AAAA" not in str(error.value)


@pytest.mark.promise("O3", "O9")
def test_everything_is_sealed_anew_and_the_old_key_can_go(stage: Stage) -> None:
    with stage.database.transaction() as session:
        store_credentials(
            session,
            stage.parts.vault,
            stage.gateway_id,
            "test",
            "pk_test_sandbox",
            stage.sandbox.secret_key,
            "whsec_new",
        )
    stage.press(stage.form("visa", saves=True))
    with stage.database.transaction() as session:
        invoice = locked_invoice(session, stage.invoice_id)
        link = make_link(session, stage.parts.vault, read_settings(session), invoice, PAPER, by=None)
    newest = parse_key(new_key())
    ring, alone = Vault([newest, stage.key]), Vault([newest])
    with stage.database.transaction() as session:
        count = (
            seal_credentials_again(session, ring)
            + seal_cards_again(session, ring)
            + seal_customers_again(session, ring)
            + seal_mail_again(session, ring)
            + seal_links_again(session, ring)
        )
    assert count == 3 + 1 + 1 + 1 + 1
    with stage.database.transaction() as session:
        assert seal_credentials_again(session, ring) + seal_cards_again(session, ring) == 0
        assert seal_customers_again(session, ring) + seal_mail_again(session, ring) == 0
        assert seal_links_again(session, ring) == 0
        assert paper_token(session, alone, stage.invoice_id) == link.token
    stage.parts = replace(stage.parts, vault=alone)
    with stage.database.read() as connection:
        assert keys_of(connection, stage.gateway_id).secret(alone) == stage.sandbox.secret_key
        secrets = signing_secrets(connection, alone, stage.gateway_public_id)
    assert secrets is not None
    assert secrets.by_mode["test"] == ["whsec_new", HOOK_SECRET]
    assert customer_of(stage.parts, stage.attempt())
    with stage.database.transaction() as session:
        letter = claim_letter(session, alone)
        assert letter is not None
    assert letter.words["number"] == stage.invoice().number
    (card,) = kept_cards(stage)
    stage.invoice_id = stage.new_invoice()
    assert isinstance(stage.press(stage.form(saved_card=card.public_id)), Paid)
    stage.check_books()


def test_a_card_saved_again_while_keys_change_is_known_by_its_old_hash(stage: Stage) -> None:
    stage.press(stage.form("visa", saves=True))
    stage.parts = replace(stage.parts, vault=Vault([parse_key(new_key()), stage.key]))
    stage.invoice_id = stage.new_invoice()
    stage.press(stage.form("visa", saves=True))
    assert len(kept_cards(stage)) == 1
    stage.check_books()
