"""The test cards: what each number is, and how it behaves.

The first part of the table is Stripe's published list. The second part is the sandbox's own: cards that exist to try
the rules of a clinic's card policy, which Stripe's list has no number for. Their numbers pass the Luhn check and
begin with 4000 0077, which the published list does not use.

A number is looked at once, when it is typed in. What is kept is the name of the card here, its last four digits and a
fingerprint; a number that is not in the table is refused, as Stripe does in test mode, so that nobody's real card can
ever do something here. In the sandbox's live mode the same cards work as in its test mode: it is there to rehearse.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from portal.sandbox.problems import CardError, Json

Authentication = Literal["never", "unless set up", "always", "on session"]


@dataclass(frozen=True, slots=True)
class Card:
    name: str
    """Also its id for tests: `pm_card_<name>`."""
    number: str
    brand: str = "visa"
    funding: str = "credit"
    country: str = "US"
    authentication: Authentication = "never"
    declines: str | None = None
    """The decline of every charge: a decline code, or one of the CODES that stand by themselves."""
    declines_attach: bool = True
    disputed: str | None = None
    """The reason of the dispute that follows each charge."""
    inquiry: bool = False
    refund: Literal["succeeds", "fails later", "pending"] = "succeeds"
    display_brand: str | None = None
    wallet: str | None = None
    charged_as: tuple[str, str] | None = None
    """Brand and funding on the charge, where they differ from what the preview said."""
    stays_processing: bool = False

    @property
    def last4(self) -> str:
        return self.number[-4:]

    @property
    def fingerprint(self) -> str:
        """The same for the same card. Made from the published name, so it tells nothing of any number."""
        return hashlib.sha256(f"sandbox card {self.name}".encode()).hexdigest()[:16]


CODES = frozenset({"expired_card", "incorrect_cvc", "processing_error", "incorrect_number"})
"""Declines that are a `code` of their own, rather than a `decline_code` of `card_declined`."""

_STRIPES = (
    Card("visa", "4242424242424242"),
    Card("visa_debit", "4000056655665556", funding="debit"),
    Card("mastercard", "5555555555554444", "mastercard"),
    Card("mastercard_debit", "5200828282828210", "mastercard", "debit"),
    Card("mastercard_prepaid", "5105105105105100", "mastercard", "prepaid"),
    Card("amex", "378282246310005", "amex"),
    Card("discover", "6011111111111117", "discover"),
    Card("discover_debit", "6011981111111113", "discover", "debit"),
    Card("diners", "3056930009020004", "diners"),
    Card("jcb", "3566002020360505", "jcb", country="JP"),
    Card("unionpay", "6200000000000005", "unionpay", country="CN"),
    Card("ca", "4000001240000000", country="CA"),
    Card("chargeDeclined", "4000000000000002", declines="generic_decline"),
    Card("chargeDeclinedInsufficientFunds", "4000000000009995", declines="insufficient_funds"),
    Card("chargeDeclinedLostCard", "4000000000009987", declines="lost_card"),
    Card("chargeDeclinedStolenCard", "4000000000009979", declines="stolen_card"),
    Card("chargeDeclinedExpiredCard", "4000000000000069", declines="expired_card"),
    Card("chargeDeclinedIncorrectCvc", "4000000000000127", declines="incorrect_cvc"),
    Card("chargeDeclinedProcessingError", "4000000000000119", declines="processing_error"),
    Card("chargeDeclinedFraudulent", "4100000000000019", declines="fraudulent"),
    Card("chargeCustomerFail", "4000000000000341", declines="generic_decline", declines_attach=False),
    Card("authenticationRequiredOnSetup", "4000002500003155", authentication="unless set up"),
    Card("authenticationRequired", "4000002760003184", authentication="always"),
    Card("authenticationRequiredSetupForOffSession", "4000003800000446", authentication="on session"),
    Card("threeDSecure2Required", "4000000000003220", authentication="always"),
    Card(
        "threeDSecureRequiredChargeDeclined",
        "4000008400001629",
        authentication="always",
        declines="generic_decline",
        declines_attach=False,
    ),
    Card(
        "authenticationRequiredChargeDeclinedInsufficientFunds",
        "4000008260003178",
        authentication="always",
        declines="insufficient_funds",
        declines_attach=False,
    ),
    Card("createDispute", "4000000000000259", disputed="fraudulent"),
    Card("createDisputeProductNotReceived", "4000000000002685", disputed="product_not_received"),
    Card("createDisputeInquiry", "4000000000001976", disputed="fraudulent", inquiry=True),
    Card("pendingRefund", "4000000000007726", refund="pending"),
    Card("refundFail", "4000000000005126", refund="fails later"),
)

_SANDBOXS_OWN = (
    Card("sandbox_visa_prepaid", "4000007700000018", funding="prepaid"),
    Card("sandbox_unknown_funding", "4000007700000026", funding="unknown"),
    Card("sandbox_unknown_brand", "4000007700000034", brand="unknown"),
    Card("sandbox_link_brand", "4000007700000042", brand="link", funding="unknown", display_brand="link"),
    Card("sandbox_link_wallet", "4000007700000059", wallet="link"),
    # Previewed as a credit card, charged as a debit Mastercard: the policy must look again after the charge.
    Card("sandbox_turns_into_debit", "4000007700000067", charged_as=("mastercard", "debit")),
    # The intent stays `processing` until Sandbox.finish_processing decides how it ends.
    Card("sandbox_processing", "4000007700000075", stays_processing=True),
)

CARDS = {card.name: card for card in (*_STRIPES, *_SANDBOXS_OWN)}
_BY_NUMBER = {card.number: card for card in CARDS.values()}
_ALIASES = {
    "visa_chargeDeclined": "chargeDeclined",
    "visa_chargeDeclinedInsufficientFunds": "chargeDeclinedInsufficientFunds",
    "visa_chargeDeclinedLostCard": "chargeDeclinedLostCard",
    "visa_chargeDeclinedStolenCard": "chargeDeclinedStolenCard",
    "us": "visa",
}

TEST_ID_PREFIX = "pm_card_"


def card_of_test_id(payment_method_id: str) -> Card | None:
    """The card that an id such as `pm_card_visa` stands for."""
    name = payment_method_id.removeprefix(TEST_ID_PREFIX)
    return CARDS.get(_ALIASES.get(name, name))


def card_of_number(typed: str, *, param: str) -> Card:
    """The card with this number. Raises CardError for a number that is wrong, and for one that is not a test card."""
    number = "".join(character for character in typed if character not in " -")
    if not number.isdecimal() or not passes_luhn(number) or not 12 <= len(number) <= 19:
        raise CardError("Your card number is incorrect.", code="incorrect_number", param=param)
    if number not in _BY_NUMBER:
        raise CardError(
            "Your card was declined. Your request was in test mode, but used a non test card. For a list of valid "
            "test cards, visit: https://stripe.com/docs/testing.",
            code="card_declined",
            decline_code="test_mode_live_card",
            param=param,
        )
    return _BY_NUMBER[number]


def passes_luhn(number: str) -> bool:
    digits = [int(digit) for digit in reversed(number)]
    return (sum(digits[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])) % 10 == 0


_MESSAGES = {
    "expired_card": "Your card has expired.",
    "incorrect_cvc": "Your card's security code is incorrect.",
    "processing_error": "An error occurred while processing your card. Try again in a little bit.",
    "insufficient_funds": "Your card has insufficient funds.",
    "authentication_required": "Your card was declined. This transaction requires authentication.",
}
_ADVICE = {"generic_decline": "try_again_later", "insufficient_funds": "try_again_later"}


def decline_of(reason: str) -> Json:
    """The fields of an error, or of a charge's failure, for one reason."""
    if reason in CODES:
        return {"code": reason, "message": _MESSAGES[reason]}
    if reason == "authentication_required":
        return {"code": reason, "decline_code": reason, "message": _MESSAGES[reason]}
    fields = {"code": "card_declined", "decline_code": reason, "message": "Your card was declined."}
    fields["message"] = _MESSAGES.get(reason, fields["message"])
    fields["advice_code"] = _ADVICE.get(reason, "do_not_try_again")
    return fields
