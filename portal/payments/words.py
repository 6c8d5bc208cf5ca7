"""What a person is told about a payment. Every sentence says first whether money moved, then what to do."""

from flask_babel import lazy_gettext as _l
from flask_babel.speaklater import LazyString

from portal.errors import Refusal
from portal.gateway import Decline


class OnlinePaymentOff(Refusal):
    """A switch is off, or no gateway stands ready (O4). The route refuses, not only the button."""

    title = _l("The clinic isn't taking payments online at the moment")
    message = _l("You have not been charged, and the invoice stays open. Pay at the front desk, or call {phone}.")
    without_phone = _l("You have not been charged, and the invoice stays open. Please pay at the front desk.")

    def __init__(self, *, phone: str) -> None:
        super().__init__(phone=phone)
        if not phone:
            self.message = self.without_phone


class InvoiceIsVoid(Refusal):
    """Nothing is owed on a void invoice."""

    title = _l("This invoice is void. You have not been charged.")
    message = _l("The clinic has cancelled it, so there is nothing to pay.")


class NothingToPay(Refusal):
    """The balance is zero or less."""

    title = _l("This invoice is paid. You have not been charged again.")
    message = _l("There is nothing left to pay on it.")


class PaymentDisputed(Refusal):
    """A bank is still looking into an earlier payment of the invoice: its money may come back (F13)."""

    title = _l("An earlier payment of this invoice is being looked into. You have not been charged.")
    message = _l("The cardholder's bank is deciding about it. Please call the front desk before paying again.")


class AmountChanged(Refusal):
    """The amount shown is not the balance any more. A charge that was not shown is never made (P3)."""

    title = _l("The amount has changed. You have not been charged.")
    message = _l("There is now {amount} left to pay on this invoice. Check the new amount, then press Pay again.")


class MoreThanIsLeft(Refusal):
    """At most the balance can be paid: what is too much would only have to go back."""

    status = 422
    title = _l("That is more than is left to pay. Nothing was charged.")
    message = _l("There is {balance} left to pay on this invoice. Enter that, or less.")


class SomebodyIsPaying(Refusal):
    """The desk ends another's payment knowingly, or not at all."""

    status = 422
    title = _l("Somebody is paying this invoice right now. Nothing was done.")
    message = _l("Wait until they are done, or tick that you take the payment here all the same.")


class PayerIsNeeded(Refusal):
    """Only a saved card can be charged while its payer is away."""

    status = 422
    title = _l("A new card needs its payer here. Nothing was charged.")
    message = _l("Choose a saved card, or take the payment when the payer is here.")


class TooSmallForCards(Refusal):
    """Below what a card can be charged at the gateway."""

    title = _l("This amount is too small for a card payment. You have not been charged.")
    message = _l("Cards can be charged from {smallest}. Please pay {amount} at the front desk.")


class TooLargeForCards(Refusal):
    """Above what a card can be charged at the gateway."""

    title = _l("This amount is too large for one card payment. You have not been charged.")
    message = _l("Please call the front desk to pay {amount}.")


class TooFineForCards(Refusal):
    """A three-decimal currency, of which the gateway takes no last digit but 0."""

    title = _l("Cards can't be charged this exact amount. You have not been charged.")
    message = _l("The card processor takes no third decimal. Please pay {amount} at the front desk.")


class FormUsedUp(Refusal):
    """The form's attempt has ended; a new form is needed. Nothing was charged by this press."""

    title = _l("This payment form has been used. Nothing was charged just now.")
    message = _l("We have made a new one for you. Please enter the card again.")


class FormOutdated(FormUsedUp):
    """The form was made for another gateway, or too long ago. Nothing was charged by this press."""

    title = _l("This payment form is out of date. You have not been charged.")
    message = _l("We have made a new one for you. Please enter the card again.")


class CardDetailsLost(Refusal):
    """The browser's card token, or the saved card, is gone or does not fit."""

    status = 422
    title = _l("We couldn't use those card details. You have not been charged.")
    message = _l("Please enter the card again, or choose another one.")


class SavedCardGone(CardDetailsLost):
    """The saved card is not, or no longer, one that this payer keeps with this gateway."""

    title = _l("That card is no longer saved. You have not been charged.")
    message = _l("Choose another card, or enter it as a new one.")


class NoCardIsKept(Refusal):
    """Of who holds a pay link nobody knows whose cards they may keep or use."""

    status = 422
    title = _l("A payment link takes a card for one payment. You have not been charged.")
    message = _l("Enter the card below. To use a saved card, or to save one, sign in first.")


class GatewayDown(Refusal):
    """The gateway does not answer, or turns us away, before any money could move."""

    status = 503
    title = _l("We can't reach the card processor just now")
    message = _l(
        "You have not been charged. Your invoice stays open and nothing is late because of this. "
        "Try again in a few minutes."
    )


class AttemptNotFound(Refusal):
    """No such attempt on this invoice, or somebody else's."""

    status = 404
    title = _l("We can't find that payment")
    message = _l("Open the invoice again and start from there.")


BANK_SAID_NO = _l("Your bank said no to this card. You have not been charged.")
_CALL = _l("Try another card, or call the number on the back of this one.")

_REASONS: dict[str, tuple[LazyString, LazyString]] = {
    "insufficient_funds": (
        BANK_SAID_NO,
        _l(
            "There was not enough money or credit on the card. "
            "Try another card, or call the number on the back of this one and try it again."
        ),
    ),
    "expired_card": (
        _l("This card has expired. You have not been charged."),
        _l("Check the expiry date, or try another card."),
    ),
    "incorrect_cvc": (
        _l("The security code is not right. You have not been charged."),
        _l("It is the three digits on the back of the card, four on the front of an American Express. Try again."),
    ),
    "incorrect_number": (
        _l("The card number is not right. You have not been charged."),
        _l("Check the number and try again."),
    ),
    "processing_error": (
        _l("The bank could not look at this card just now. You have not been charged."),
        _l("Try again in a minute, or try another card."),
    ),
    "card_velocity_exceeded": (BANK_SAID_NO, _l("The card has reached a limit that the bank set. Try another card.")),
    "card_not_supported": (BANK_SAID_NO, _l("The card does not allow this kind of purchase. Try another card.")),
    "currency_not_supported": (BANK_SAID_NO, _l("The card can't pay in this currency. Try another card.")),
    "payment_intent_authentication_failure": (
        _l("Your bank could not confirm that it is you. You have not been charged."),
        _l("Try again and follow your bank's steps, or try another card."),
    ),
    # The bank asks for its customer, and nobody was there to be asked.
    "authentication_required": (
        _l("Your bank wants you to confirm this payment yourself. You have not been charged."),
        _l("Try again and follow your bank's steps, or use another card."),
    ),
    "card_details": (
        _l("We couldn't use those card details. You have not been charged."),
        _l("Please enter the card again, or choose another one."),
    ),
    "card_policy": (
        _l("We can't take this kind of card. You have not been charged."),
        _l("Please use a credit card or a Visa Debit card, or pay at the front desk."),
    ),
    "gateway": (
        _l("We couldn't reach the card processor. You have not been charged."),
        _l("Try again in a few minutes."),
    ),
    "canceled": (
        _l("This payment did not go through. You have not been charged."),
        _l("You can pay again now, with the same card or another one."),
    ),
}
# The same thing under the several names that card networks and Stripe give it (docs.stripe.com/declines/codes).
_SAME = {
    "invalid_cvc": "incorrect_cvc",
    "invalid_expiry_month": "expired_card",
    "invalid_expiry_year": "expired_card",
    "invalid_number": "incorrect_number",
    "withdrawal_count_limit_exceeded": "card_velocity_exceeded",
    "issuer_not_available": "processing_error",
    "try_again_later": "processing_error",
    "reenter_transaction": "processing_error",
    "authentication_not_handled": "payment_intent_authentication_failure",
}


def reason_of(decline: Decline | None) -> str:
    """The reason to keep with an attempt. Why a bank calls a card lost or stolen is not ours to tell: "declined"."""
    if decline is None:
        return "card_details"
    for code in (decline.decline_code or "", decline.code):
        reason = _SAME.get(code, code)
        if reason in _REASONS:
            return reason
    return "declined"


def why_declined(reason: str | None) -> tuple[str, str]:
    """Heading and sentence for a reason kept with an attempt."""
    heading, sentence = _REASONS.get(reason or "", (BANK_SAID_NO, _CALL))
    return str(heading), str(sentence)
