"""What time does to places: held and offered ones lapse, free ones are offered, and money that is due goes back."""

import logging

from sqlalchemy import select

from portal.clock import now
from portal.parts import Parts
from portal.programs.cancelling import give_back
from portal.programs.ending import lapse
from portal.programs.seats import locked_program, offer_next
from portal.programs.tables import Program, Registration

log = logging.getLogger(__name__)


def sweep_places(parts: Parts, most: int = 200) -> int:
    """One round; gives how much was done. Several may run at once; one that fails does not stop those behind it."""
    return _lapse_due(parts, most) + _offer_free(parts, most) + _give_back_due(parts, most)


def _lapse_due(parts: Parts, most: int) -> int:
    due = (
        select(Registration.public_id)
        .where(Registration.held_until <= now())
        .order_by(Registration.held_until)
        .limit(most)
    )
    with parts.database.read() as connection:
        found = connection.scalars(due).all()
    done = 0
    for public_id in found:
        try:
            done += lapse(parts, public_id)
        except Exception:  # one place that can't be taken back must not keep the others
            log.exception("registration %s could not be ended", public_id)
    return done


def _offer_free(parts: Parts, most: int) -> int:
    """Places that are free while somebody waits: the capacity was raised, or offers were off for a while."""
    free = select(Program.id).where(Program.waiting > 0, Program.taken < Program.capacity).limit(most)
    with parts.database.read() as connection:
        found = connection.scalars(free).all()
    done = 0
    for program_id in found:
        with parts.database.transaction() as session:
            done += offer_next(session, locked_program(session, program_id))
    return done


def _give_back_due(parts: Parts, most: int) -> int:
    due = (
        select(Registration.id)
        .where(Registration.give_back_cents > 0, Registration.give_back_asked_at.is_(None))
        .limit(most)
    )
    with parts.database.read() as connection:
        found = connection.scalars(due).all()
    for registration_id in found:
        try:
            give_back(parts, registration_id)
        except Exception:  # as above
            log.exception("registration %s: its refund could not be asked for", registration_id)
    return len(found)
