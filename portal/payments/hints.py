"""What a webhook's hint leads to: what it is about is looked up at the gateway, and the books follow that."""

from sqlalchemy import select

from portal.parts import Parts
from portal.payments.settle import look_up
from portal.payments.tables import Payment, PaymentAttempt
from portal.refunds.following import follow_charge
from portal.webhooks import Hint

ABOUT_MONEY_GOING_BACK = ("refund.", "charge.refund", "charge.dispute.")


def follow_hint(parts: Parts, hint: Hint) -> str:
    """Fetch what the event is about and let the books follow; gives a word for the inbox.

    Raises GatewayError where the gateway can't be asked: then the hint is kept and followed later. For an attempt
    that has ended, nobody else would look again. A refund may be told of before its payment (F6): then
    that is posted first.
    """
    if hint.intent_id is None:
        return "not about a payment"
    with parts.database.read() as connection:
        found = connection.execute(
            select(PaymentAttempt.id, Payment.id)
            .outerjoin(Payment, Payment.attempt_id == PaymentAttempt.id)
            .where(
                PaymentAttempt.gateway_id == hint.gateway_id,
                PaymentAttempt.intent_id == hint.intent_id,
                PaymentAttempt.mode == hint.mode,
            )
        ).first()
    if found is None:
        return "not a payment of ours"
    attempt_id, payment_id = found
    goes_back = hint.type.startswith(ABOUT_MONEY_GOING_BACK)
    outcome = "" if goes_back and payment_id else type(look_up(parts, attempt_id)).__name__
    if not goes_back:
        return outcome
    posted = payment_id or _posted(parts, attempt_id)
    if posted is None:
        return outcome
    follow_charge(parts, posted)
    return "Followed"


def _posted(parts: Parts, attempt_id: object) -> int | None:
    with parts.database.read() as connection:
        return connection.scalar(select(Payment.id).where(Payment.attempt_id == attempt_id))
