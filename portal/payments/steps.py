"""An attempt's row: how it is looked at, held, and moved from state to state."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from portal.clock import now
from portal.gateway import Gateway
from portal.gateway.configured import keys_of
from portal.parts import Parts
from portal.payments.states import COMES_FROM, DEADLINE, ENDED, FIRST_LOOK, LIVE, State
from portal.payments.tables import PaymentAttempt

# Longer than one call to the gateway can take: a request that is at work keeps its attempt to itself.
HOLD = timedelta(seconds=45)


def step(session: Session, attempt_id: UUID, to: State, **also: object) -> bool:
    """Take one legal step, by compare-and-set; False when it can't be taken from where the attempt stands."""
    moment = now()
    values: dict[str, object] = {"state": to, "held_until": None, "needs_person": None, **also}
    if to in ENDED:
        values |= {"ended_at": moment}
    else:
        values |= {"deadline_at": moment + DEADLINE[to], "next_look_at": moment + FIRST_LOOK[to]}
    taken = session.execute(
        update(PaymentAttempt)
        .where(PaymentAttempt.id == attempt_id, PaymentAttempt.state.in_(COMES_FROM[to]))
        .values(**values)
        .returning(PaymentAttempt.id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    session.expire_all()
    return taken is not None


def load(parts: Parts, attempt_id: UUID) -> PaymentAttempt:
    """The attempt as it stands. LookupError when there is none."""
    with Session(parts.database.reading, expire_on_commit=False) as session:
        attempt = session.get(PaymentAttempt, attempt_id)
        if attempt is None:
            raise LookupError(str(attempt_id))
        session.expunge(attempt)
        return attempt


def live_attempt(session: Session, invoice_id: int) -> PaymentAttempt | None:
    """The attempt under way on an invoice; there is never more than one."""
    return session.scalars(
        select(PaymentAttempt).where(PaymentAttempt.invoice_id == invoice_id, PaymentAttempt.state.in_(LIVE))
    ).first()


def gateway_of(parts: Parts, attempt: PaymentAttempt) -> Gateway:
    """The gateway that the attempt began with, in the mode that it began with (G6), with the newest key for it."""
    with parts.database.read() as connection:
        keys = keys_of(connection, attempt.gateway_id, attempt.mode)
    return parts.connect(keys.secret(parts.vault))


# --- holding --------------------------------------------------------------------------------------------------------


@dataclass
class Hold:
    """One request's hold on an attempt, renewed as it goes on. A crashed request's lapses by itself."""

    attempt_id: UUID
    until: datetime

    def renewed(self) -> datetime:
        """Until when it holds from now on; to be written down in the caller's transaction."""
        self.until = now() + HOLD
        return self.until

    def let_go(self, parts: Parts) -> None:
        """Let others at the attempt. Only this request's own hold ends: another's has another end."""
        with parts.database.transaction() as session:
            session.execute(
                update(PaymentAttempt)
                .where(PaymentAttempt.id == self.attempt_id, PaymentAttempt.held_until == self.until)
                .values(held_until=None)
            )


def is_held(attempt: PaymentAttempt) -> bool:
    """Whether a request is at work on the attempt at this moment."""
    return attempt.held_until is not None and attempt.held_until > now()


# --- writing down ---------------------------------------------------------------------------------------------------


def keep_intent(parts: Parts, attempt_id: UUID, intent_id: str) -> bool:
    """Write down which intent is the attempt's; False when the attempt has ended meanwhile."""
    with parts.database.transaction() as session:
        kept = session.execute(
            update(PaymentAttempt)
            .where(PaymentAttempt.id == attempt_id, PaymentAttempt.state == State.CREATED)
            .values(intent_id=intent_id)
            .returning(PaymentAttempt.id)
        ).one_or_none()
    return kept is not None


def fail(parts: Parts, attempt_id: UUID, reason: str) -> bool:
    """End an attempt of which no intent is known: whatever was made for it, nobody can ever have confirmed that."""
    with parts.database.transaction() as session:
        attempt = session.get_one(PaymentAttempt, attempt_id, with_for_update=True)
        if attempt.intent_id is not None:
            return False
        return step(session, attempt_id, State.FAILED, reason=attempt.reason or reason)
