"""What time does to places: held and offered ones lapse, free ones are offered, and money that is due goes back."""

import logging

from sqlalchemy import func, select

from portal.clock import now
from portal.db import Utc
from portal.parts import Parts
from portal.programs.ending import lapse
from portal.programs.giving_back import give_back_due
from portal.programs.seats import locked_program, offer_next
from portal.programs.tables import Program, ProgramSession, Registration
from portal.settings import read_settings

log = logging.getLogger(__name__)


def sweep_places(parts: Parts, most: int = 200) -> int:
    """One round; gives how much was done. Several may run at once; one that fails does not stop those behind it."""
    return _lapse_due(parts, most) + _offer_free(parts, most) + give_back_due(parts, most)


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
    """Places that are free while somebody waits: the capacity was raised, or offers were off for a while. (Of groups
    that take people still; those of the past keep their waitlists, and must not come first for ever.)"""
    first = (
        select(func.min(ProgramSession.starts_at)).where(ProgramSession.program_id == Program.id).scalar_subquery()
    )
    free = (
        select(Program.id)
        .where(
            Program.waiting > 0,
            Program.taken < Program.capacity,
            func.coalesce(Program.closes_at, first.scalar_subquery(), type_=Utc()) > now(),
        )
        .limit(most)
    )
    with parts.database.read() as connection:
        if not read_settings(connection).yes("module_programs"):
            return 0
        found = connection.scalars(free).all()
    done = 0
    for program_id in found:
        try:
            with parts.database.transaction() as session:
                done += offer_next(session, locked_program(session, program_id))
        except Exception:  # one program that fails must not keep the others
            log.exception("the places of program id %s could not be offered", program_id)
    return done
