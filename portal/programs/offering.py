"""Until when an offered place is kept. Nights don't count: nobody loses a place in their sleep (pure)."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

MORNING, EVENING = 8, 21
"""Between these hours, by the location's clock, an offer's time runs (as reminders are sent)."""


def offer_until(moment: datetime, hours: int, zone: str) -> datetime:
    """When so many hours of daytime, counted from this moment, are over. UTC."""
    left = timedelta(hours=hours)
    local = moment.astimezone(ZoneInfo(zone))
    day = local.date()
    while True:
        opens, closes = _at(day, MORNING, zone), _at(day, EVENING, zone)
        runs_from = max(opens, moment)
        there = max(closes - runs_from, timedelta())
        if left <= there:
            return runs_from + left
        left -= there
        day += timedelta(days=1)


def _at(day: date, hour: int, zone: str) -> datetime:
    """That hour of a day there, as UTC, so that spans are real hours also where clocks change."""
    return datetime.combine(day, time(hour), ZoneInfo(zone)).astimezone(UTC)
