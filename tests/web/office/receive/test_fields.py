"""What is typed or tampered with on Receive Payment: refused at its field, kept as typed, recorded nowhere."""

import re

import pytest

from portal.cards import remove_card
from tests.web.conftest import words
from tests.web.office.receive.conftest import JSON, Desk


@pytest.mark.promise("O8")
@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "Enter an amount such as 126.00."),
        ("abc", "Enter an amount such as 126.00."),
        ("1,50", "Enter an amount such as 126.00."),
        ("12.345", "Enter an amount such as 126.00."),
        ("1e3", "Enter an amount such as 126.00."),
        ("NaN", "Enter an amount such as 126.00."),
        ("١٢", "Enter an amount such as 126.00."),
        ("9" * 400, "Enter an amount such as 126.00."),
        ("0", "Enter more than $0.00"),
        ("0.00", "Enter more than $0.00"),
        ("-5", "Enter what you receive."),
        ("−126.00", "Enter what you receive."),
        ("126.01", "That is more than is left to pay. Enter CA$126.00, or less."),
        ("12\0", "Enter an amount such as 126.00."),
    ],
)
def test_a_wrong_amount_is_refused_at_its_field_and_kept(desk: Desk, typed: str, said: str) -> None:
    page = desk.send(paid_by="cash", amount=typed)
    assert page.status_code == 422
    assert said in words(page)
    field = re.search(r'<input id="amount"[^>]*>', page.text)
    assert field is not None
    assert 'aria-invalid="true"' in field[0]
    kept = "".join(filter(str.isprintable, typed))[:300]
    assert f'value="{kept}"' in field[0]
    answer = desk.dana.post(desk.path(), data={**desk.form(), "paid_by": "visa", "amount": typed}, headers=JSON)
    assert answer.status_code == 422
    assert said in answer.get_json()["wrong"]["amount"]
    assert desk.payments() == []
    assert desk.attempts() == []


@pytest.mark.promise("O8")
def test_a_card_payment_below_the_least_is_refused_at_the_field(desk: Desk) -> None:
    page = desk.send(amount="0.49")
    assert page.status_code == 422
    assert "Cards can be charged from CA$0.50." in words(page)
    assert desk.send(paid_by="cash", amount="0.49").status_code == 303


@pytest.mark.promise("O8")
@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("shown", "1", 303),
        ("shown", "", 303),
        ("shown", "-1", 303),
        ("shown", "9" * 40, 303),
        ("version", "99", 303),
        ("version", "abc", 303),
        ("version", "9" * 40, 303),
        ("currency", "usd", 303),
        ("currency", "", 303),
        ("attempt", "", 303),
        ("attempt", "not-a-uuid", 303),
        ("attempt", "../../etc/passwd", 303),
        ("card", "", 303),
        ("card", "' OR 1=1 --", 303),
        ("confirmation_token", "x" * 5000, 303),
        ("payer", "", 422),
        ("payer", "999999999", 422),
        ("payer", "99999999999999999999", 422),
        ("payer", "-1", 422),
        ("payer", "1 OR 1=1", 422),
        ("payer", "\0", 422),
        ("payer", "٣", 422),
        ("paid_by", "", 422),
        ("paid_by", "bitcoin", 422),
        ("note", "x" * 201, 422),
        ("csrf_token", "forged", 400),
    ],
)
def test_a_tampered_field_records_nothing(desk: Desk, field: str, value: str, status: int) -> None:
    answer = desk.send(**{"paid_by": "cash", field: value})
    assert answer.status_code == status
    if status == 303:
        assert answer.location == desk.path()
        assert "Nothing was charged" in words(desk.dana.get(desk.path()))
    assert desk.payments() == []


@pytest.mark.promise("O8")
def test_everything_that_was_typed_is_kept(desk: Desk) -> None:
    page = desk.send(paid_by="insurance", amount="999", note="Claim 7 & co", payer="other", find="we%_\\ ber")
    assert page.status_code == 422
    for kept in ('value="999"', 'value="Claim 7 &amp; co"', 'value="we%_\\ ber"'):
        assert kept in page.text, kept
    assert re.search(r'<option value="insurance"[^>]* selected', page.text)
    assert re.search(r'<option value="other"[^>]* selected', page.text)
    assert "Find the person who pays, then choose them." in words(page)


def test_no_card_is_processed_without_one(desk: Desk) -> None:
    page = desk.send()
    assert page.status_code == 422
    assert "The card has not been entered. Nothing was charged." in words(page)
    assert desk.attempts() == []


@pytest.mark.promise("O9")
def test_a_card_that_was_removed_meanwhile_is_said_to_be_gone(desk: Desk) -> None:
    desk.press(save="y", amount="26.00")
    [card] = re.findall(
        r'class="saved" type="radio" name="card" id="card-1" value="(\w+)"', desk.dana.get(desk.path()).text
    )
    remove_card(desk.parts, desk.site.cast.maya.id, card, by=desk.site.cast.clerk.id)
    gone = words(desk.send(card=card, amount="10.00"))
    assert "This payer no longer has that card on file. Nothing was charged." in gone
    assert "Choose another card, or enter it as a new one." in gone
    assert desk.taken == 26_00


@pytest.mark.promise("O9")
def test_another_persons_saved_card_is_refused(desk: Desk) -> None:
    desk.press(save="y", amount="26.00")
    fields = desk.form()
    assert fields["payer"] == str(desk.site.cast.maya.id)
    card = re.search(
        r'class="saved" type="radio" name="card" id="card-1" value="(\w+)"', desk.dana.get(desk.path()).text
    )
    assert card is not None
    theirs = desk.send(card=card[1], payer=str(desk.site.cast.stranger.id), amount="10.00")
    assert theirs.status_code == 422
    assert "This payer no longer has that card on file. Nothing was charged." in words(theirs)
    assert desk.taken == 26_00
    assert desk.send(card=card[1], amount="10.00").status_code == 303
    assert desk.taken == 36_00
