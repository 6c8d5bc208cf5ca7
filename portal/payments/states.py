"""The steps of a payment attempt, as a table. Taking one is compare-and-set, in `step`."""

from datetime import timedelta
from enum import StrEnum


class State(StrEnum):
    """Where an attempt stands. The first five are live: while one holds, no other attempt may begin."""

    CREATED = "created"  # the row exists; perhaps an intent too, but nothing has been confirmed
    CONFIRMING = "confirming"  # we are about to ask, are asking, or asked and lost the answer
    REQUIRES_ACTION = "requires_action"  # the payer's bank wants a word with them (3-D Secure)
    PROCESSING = "processing"  # the gateway itself does not know yet; never "paid"
    DECLINED = "declined"  # the bank said no; the same intent can be confirmed again with another card
    SUCCEEDED = "succeeded"
    CANCELED = "canceled"  # the intent is cancelled at the gateway: it can never take money
    FAILED = "failed"  # there never was an intent that could have taken money


LIVE = frozenset({State.CREATED, State.CONFIRMING, State.REQUIRES_ACTION, State.PROCESSING, State.DECLINED})
ENDED = frozenset(State) - LIVE

COMES_FROM: dict[State, frozenset[State]] = {
    State.CONFIRMING: frozenset({State.CREATED, State.DECLINED}),
    State.REQUIRES_ACTION: frozenset({State.CONFIRMING, State.PROCESSING}),
    State.PROCESSING: frozenset({State.CONFIRMING, State.REQUIRES_ACTION}),
    State.DECLINED: frozenset({State.CONFIRMING, State.REQUIRES_ACTION, State.PROCESSING}),
    State.CANCELED: LIVE,
    State.FAILED: frozenset({State.CREATED}),
    # Money that is there is posted, whatever we believed before; even for an attempt that had ended.
    State.SUCCEEDED: frozenset(State) - {State.SUCCEEDED},
}

# How long an attempt may stay in a state before the sweep ends it, and when the sweep first looks.
DEADLINE = {
    State.CREATED: timedelta(minutes=2),
    State.CONFIRMING: timedelta(minutes=2),
    State.REQUIRES_ACTION: timedelta(minutes=15),
    State.PROCESSING: timedelta(days=7),
    State.DECLINED: timedelta(minutes=15),
}
FIRST_LOOK = {
    State.CREATED: timedelta(minutes=2),
    State.CONFIRMING: timedelta(seconds=30),
    State.REQUIRES_ACTION: timedelta(minutes=15),
    State.PROCESSING: timedelta(seconds=30),
    State.DECLINED: timedelta(minutes=15),
}
