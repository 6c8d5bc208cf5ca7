"""The schedule: visits, the quarter hours that they take, and the week as the office sees it."""

from portal.schedule.tables import BOOKED, CANCELLED, COMPLETED, Appointment, BookedQuarter

__all__ = ["BOOKED", "CANCELLED", "COMPLETED", "Appointment", "BookedQuarter"]
