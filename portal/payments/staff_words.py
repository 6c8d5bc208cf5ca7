"""The same things, said to the member of staff who takes the payment: the card is somebody else's.

Every sentence says first whether money moved, as those for patients do (`words.py`).
"""

from flask_babel import lazy_gettext as _l
from flask_babel.speaklater import LazyString

from portal.cards import BrandNotAccepted, CardNotAccepted, DebitCardNotAccepted, PrepaidCardNotAccepted
from portal.errors import Refusal
from portal.payments import words
from portal.programs.refusals import PlaceGone

_BANK_SAID_NO = _l("The bank said no to this card. Nothing was charged.")
_OTHER_WAY = _l("Use another card or another way to pay, or leave the invoice receivable.")

_REASONS: dict[str, tuple[LazyString, LazyString]] = {
    "insufficient_funds": (_BANK_SAID_NO, _l("There was not enough money or credit on it. Use another way to pay.")),
    "expired_card": (_l("This card has expired. Nothing was charged."), _l("Check the expiry date, or use another.")),
    "incorrect_cvc": (
        _l("The security code is not right. Nothing was charged."),
        _l("It is the three digits on the back of the card, four on the front of an American Express. Try again."),
    ),
    "incorrect_number": (
        _l("The card number is not right. Nothing was charged."),
        _l("Check the number and try again."),
    ),
    "processing_error": (
        _l("The bank could not look at this card just now. Nothing was charged."),
        _l("Try again in a minute, or use another card."),
    ),
    "card_velocity_exceeded": (
        _BANK_SAID_NO,
        _l("The card has reached a limit that the bank set. Use another card."),
    ),
    "card_not_supported": (_BANK_SAID_NO, _l("The card does not allow this kind of purchase. Use another card.")),
    "currency_not_supported": (_BANK_SAID_NO, _l("The card can't pay in this currency. Use another card.")),
    "payment_intent_authentication_failure": (
        _l("The bank could not confirm the payer. Nothing was charged."),
        _l("Try again and follow the bank's steps with the payer, or use another card."),
    ),
    "authentication_required": (
        _l("The bank wants the payer to confirm this payment. Nothing was charged."),
        _l(
            "That can't be done while the payer is away. Take the payment when they are here, use another way, "
            "or leave the invoice receivable: they can pay it in the portal."
        ),
    ),
    "card_details": (
        _l("Those card details could not be used. Nothing was charged."),
        _l("Enter the card again, or choose another one."),
    ),
    "card_policy": (
        _l("This kind of card is not accepted. Nothing was charged."),
        _l("Use a credit card or a Visa Debit card."),
    ),
    "gateway": (
        _l("The card processor could not be reached. Nothing was charged."),
        _l("Try again in a few minutes."),
    ),
    "canceled": (_l("This payment did not go through. Nothing was charged."), _l("You can try again now.")),
}

_REFUSALS: dict[type[Refusal], tuple[LazyString, LazyString]] = {
    words.OnlinePaymentOff: (
        _l("No card can be charged for this invoice just now. Nothing was charged."),
        _l("Take another way to pay, or ask an administrator to look at Settings, Payment Gateways."),
    ),
    words.InvoiceIsVoid: (_l("This invoice is void. Nothing was charged."), _l("There is nothing to pay on it.")),
    PlaceGone: (
        _l("The place is not held any more. Nothing was charged."),
        _l("Its time ran out, or it was let go. If a place is left, register them again."),
    ),
    words.NothingToPay: (
        _l("This invoice is paid. Nothing was charged just now."),
        _l("There is nothing left to pay on it."),
    ),
    words.PaymentDisputed: (
        _l("An earlier payment of this invoice is disputed. Nothing was charged."),
        _l("The cardholder's bank is deciding about it. Wait for that, or look under View Payments."),
    ),
    words.AmountChanged: (
        _l("The invoice has changed since this page was opened. Nothing was charged."),
        _l("There is now {amount} left to pay. Check the amount, then press again."),
    ),
    words.TooSmallForCards: (
        _l("This amount is too small for a card. Nothing was charged."),
        _l("Cards can be charged from {smallest}. Take {amount} another way."),
    ),
    words.TooLargeForCards: (
        _l("This amount is too large for one card payment. Nothing was charged."),
        _l("Take {amount} in parts, or another way."),
    ),
    words.TooFineForCards: (
        _l("Cards can't be charged this exact amount. Nothing was charged."),
        _l("The card processor takes no third decimal. Change {amount}, or take it another way."),
    ),
    words.FormOutdated: (
        _l("This form is out of date. Nothing was charged."),
        _l("Here is a new one. Please enter the card again."),
    ),
    words.FormUsedUp: (
        _l("This form has been used. Nothing was charged just now."),
        _l("Here is a new one. Please enter the payment again."),
    ),
    words.CardDetailsLost: (
        _l("Those card details could not be used. Nothing was charged."),
        _l("Enter the card again, or choose another one."),
    ),
    words.SavedCardGone: (
        _l("This payer no longer has that card on file. Nothing was charged."),
        _l("Choose another card, or enter it as a new one."),
    ),
    words.GatewayDown: (
        _l("The card processor can't be reached just now. Nothing was charged."),
        _l("Try again in a few minutes, take another way to pay, or leave the invoice receivable."),
    ),
    DebitCardNotAccepted: (
        _l("This debit card is not accepted. Nothing was charged."),
        _l(
            "The card ending {last4} is a Debit {brand}; the only debit card that the gateway takes is Visa Debit. "
            "Use a credit card or a Visa Debit card, or take it on your terminal and record it as Debit."
        ),
    ),
    PrepaidCardNotAccepted: (
        _l("This prepaid card is not accepted. Nothing was charged."),
        _l("The card ending {last4} is a prepaid card, and the clinic does not take those. Use another card."),
    ),
    BrandNotAccepted: (
        _l("This kind of card is not accepted. Nothing was charged."),
        _l(
            "Use a Visa, Mastercard, American Express, Discover, Diners Club, JCB or UnionPay credit card, "
            "or a Visa Debit card."
        ),
    ),
    CardNotAccepted: (
        _l("This card is not accepted. Nothing was charged."),
        _l("What kind of card the one ending {last4} is can't be told. Use a credit card or a Visa Debit card."),
    ),
}


def why_declined(reason: str | None) -> tuple[str, str]:
    """Heading and sentence for a reason kept with an attempt."""
    heading, sentence = _REASONS.get(reason or "", (_BANK_SAID_NO, _OTHER_WAY))
    return str(heading), str(sentence)


def refused(refusal: Refusal) -> tuple[str, str]:
    """Heading and sentence for a refusal; its own words where nobody is addressed as the payer."""
    found = _REFUSALS.get(type(refusal))
    if found is None:
        return refusal.heading, refusal.text
    return str(found[0]).format(**refusal.words), str(found[1]).format(**refusal.words)
