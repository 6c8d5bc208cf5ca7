"""Programs at the desk: who registered, rosters, who came; register, cancel and move people."""

from portal.web.office.program_desk import cancelling, moving, registering, registrations, roster
from portal.web.office.program_desk.room import bp

__all__ = ["bp", "cancelling", "moving", "registering", "registrations", "roster"]
