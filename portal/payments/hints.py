"""What a webhook's hint leads to: the attempt that it is about is looked up at the gateway."""

from sqlalchemy import select

from portal.parts import Parts
from portal.payments.settle import look_up
from portal.payments.tables import PaymentAttempt
from portal.webhooks import Hint


def follow_hint(parts: Parts, hint: Hint) -> str:
    """Fetch what the event is about and let the books follow; gives a word for the inbox.

    Raises GatewayError where the gateway can't be asked: then the hint is kept and followed later. For an attempt
    that has ended, nobody else would look again.
    """
    if hint.intent_id is None:
        return "not about a payment"
    with parts.database.read() as connection:
        attempt_id = connection.scalar(
            select(PaymentAttempt.id).where(
                PaymentAttempt.gateway_id == hint.gateway_id,
                PaymentAttempt.intent_id == hint.intent_id,
                PaymentAttempt.mode == hint.mode,
            )
        )
    if attempt_id is None:
        return "not a payment of ours"
    return type(look_up(parts, attempt_id)).__name__
