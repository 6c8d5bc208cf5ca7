"""What staff are told when a correction can't be made. Each sentence says first that nothing was done."""

from flask_babel import lazy_gettext as _l

from portal.errors import Refusal

NOTHING_DONE = _l("Nothing was recorded, and no money moved")


class NotCorrected(Refusal):
    """A correction that can't be made."""

    title = NOTHING_DONE


class AmountNotNegative(NotCorrected):
    """A reversal takes a payment out of the books."""

    status = 422
    message = _l("A reversal takes a negative amount, such as −{amount}.")


class MoreThanIsLeft(NotCorrected):
    """More than what is left of the payment, counting refunds and earlier reversals."""

    status = 422
    message = _l("This reverses more than what is left of payment {payment}. The most it can be is −{most}.")


class NothingIsLeft(NotCorrected):
    """All of it was reversed or refunded before."""

    message = _l("Nothing is left of payment {payment}: it was reversed or refunded before.")


class NotThisInvoice(NotCorrected):
    """A payment of another invoice, or none at all."""

    status = 422
    message = _l("That payment does not stand on invoice {number}. Choose one that does.")


class NotAPayment(NotCorrected):
    """A reversal or refund can't itself be reversed or refunded."""

    status = 422
    message = _l("{payment} is itself a correction. Only a payment that came in can be reversed or refunded.")


class PaidByAnother(NotCorrected):
    """The form says another means than the payment it reverses."""

    status = 422
    message = _l(
        "Payment {payment} was paid by {means}. Choose that under Paid by, so that the day's totals stay right."
    )


class OnlyBooks(NotCorrected):
    """A negative amount over a gateway: that would be a refund."""

    status = 422
    message = _l(
        "A negative amount corrects the books only: choose the gateway Do not process. "
        "To give money back to a card, refund the payment instead."
    )


class InvoiceIsVoid(NotCorrected):
    """What is left on a void invoice goes back; nothing on it is reversed, credited or received."""

    message = _l("Invoice {number} is void. What was paid on it goes back as a refund; it can't be reversed.")


class BeingDisputed(NotCorrected):
    """A bank is looking into the payment (F13)."""

    message = _l(
        "A cardholder's bank is disputing payment {payment}, and decides where its money goes. "
        "Answer it in Stripe's dashboard, and come back when it is decided."
    )


class RefundTooLarge(NotCorrected):
    """More than can still go back of the payment."""

    status = 422
    message = _l("At most {most} of payment {payment} can still go back.")


class NothingToRefund(NotCorrected):
    """Everything has gone back, or is on its way."""

    message = _l("All of payment {payment} has been given back, or is on its way.")


class RefundNotPossible(NotCorrected):
    """The gateway says no to a refund."""

    title = _l("Stripe did not take the refund, and no money moved")
    message = _l("{why}")


class RefundInDashboard(NotCorrected):
    """Money of a card goes back to that card."""

    status = 422
    message = _l("Payment {payment} was paid through Stripe, so it goes back to the card there.")


class MoreThanFailed(NotCorrected):
    """Only what the card company sent back is given back another way."""

    status = 422
    message = _l(
        "{most} of payment {payment} did not reach the card. At most that can be given back another way; the rest "
        "goes back to the card, through Stripe."
    )


class SayHow(NotCorrected):
    """A refund to the card has failed, so there are two ways now."""

    status = 422
    message = _l("Choose how the money goes back.")


class JustPaid(NotCorrected):
    """The payment that was under way has just succeeded; so the void is off."""

    title = _l("The invoice was not voided: it has just been paid")
    message = _l(
        "Somebody was paying invoice {number} while you pressed Void, and the payment of {paid} went through. "
        "Look at the payment, then decide anew."
    )


class StillChecking(NotCorrected):
    """A payment is under way whose outcome nobody knows yet."""

    title = _l("The invoice was not voided: we are checking a payment")
    message = _l(
        "A payment of invoice {number} is under way, and Stripe has not said yet how it ended. Try again in a minute."
    )


class HowGivenBack(NotCorrected):
    """Voiding an invoice that was paid in cash or the like: somebody must say how that goes back."""

    status = 422
    message = _l("Say how each payment is given back; a void invoice keeps no money.")
