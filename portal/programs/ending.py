"""Ending a place while somebody may be paying for it: the payment is cancelled at the gateway first, then the place
goes. No transaction is open across a call to the gateway.
"""

import logging
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.clock import now
from portal.parts import Parts
from portal.payments.settle import end
from portal.payments.states import LIVE
from portal.payments.steps import live_attempt, load
from portal.programs.refusals import PlaceIsBeingPaid, RegistrationNotFound
from portal.programs.registering import let_go, locked_with_invoice
from portal.programs.seats import LAPSED, give_up, tell
from portal.programs.states import ON_A_CLOCK, PRESS_TAKES, Place, Why
from portal.programs.tables import Registration

TRIES = 3

log = logging.getLogger(__name__)


def end_attempt(parts: Parts, public_id: str) -> bool:
    """End the payment that is under way for this registration, at the gateway. False where it can't be ended now: it
    may still go through."""
    attempt_id = _live_attempt(parts, public_id)
    if attempt_id is None:
        return True
    end(parts, attempt_id, is_shown=True)
    return load(parts, attempt_id).state not in LIVE


def _live_attempt(parts: Parts, public_id: str) -> UUID | None:
    with Session(parts.database.reading) as session:
        invoice_id = session.scalar(select(Registration.invoice_id).where(Registration.public_id == public_id))
        live = live_attempt(session, invoice_id) if invoice_id is not None else None
        return live.id if live else None


def let_place_go(parts: Parts, public_id: str, by: int | None, *, by_staff: bool = False) -> bool:
    """Give up a held or offered place, or one's turn in line. What is being paid for it is cancelled first; if that
    turns out to be paid, the place is confirmed and stays. False where nothing was given up. Raises
    RegistrationNotFound or PlaceIsBeingPaid.
    """
    for _try in range(TRIES):
        if not end_attempt(parts, public_id):
            raise PlaceIsBeingPaid
        try:
            return let_go(parts, public_id, by, by_staff=by_staff)
        except PlaceIsBeingPaid:
            continue  # somebody began to pay just now
    raise PlaceIsBeingPaid


def lapse(parts: Parts, public_id: str) -> bool:
    """Take back a place whose time has run out; False where it has not, or somebody's payment for it is still open:
    then it is kept until that has ended."""
    if not _is_due(parts, public_id):
        return False
    if not end_attempt(parts, public_id):
        _look_again(parts, public_id)
        return False
    with parts.database.transaction() as session:
        registration = locked_with_invoice(session, public_id)
        if registration.state not in ON_A_CLOCK or registration.held_until is None or registration.held_until > now():
            return False
        if registration.invoice_id is not None and live_attempt(session, registration.invoice_id) is not None:
            return False  # a press that was in time; the next round sees how it ends
        was_offered = registration.state == Place.OFFERED
        given_up = give_up(session, registration, Place.LAPSED, Why.TIME)
        if given_up and was_offered:
            tell(session, registration, LAPSED)
        return given_up


def _is_due(parts: Parts, public_id: str) -> bool:
    with parts.database.read() as connection:
        until = connection.scalar(select(Registration.held_until).where(Registration.public_id == public_id))
    return until is not None and until <= now()


def _look_again(parts: Parts, public_id: str) -> None:
    """A payment that can't be ended keeps its place; its own sweep looks after it meanwhile."""
    log.warning("registration %s keeps its place: its payment can't be ended yet", public_id)
    with parts.database.transaction() as session:
        try:
            registration = locked_with_invoice(session, public_id)
        except RegistrationNotFound:
            return
        if registration.state in ON_A_CLOCK:
            registration.held_until = now() + PRESS_TAKES / 10
