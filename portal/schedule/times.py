"""Clinic time: quarter hours, opening hours, and the two nights a year when the clock jumps (pure)."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from flask_babel import lazy_gettext as _l

from portal.errors import Refusal

MINUTES = 15
DAY_MINUTES = 24 * 60


class TimeDoesNotExist(Refusal):
    """The hour that the clocks skip in spring."""

    status = 422
    message = _l("The clocks go forward that night, so {time} doesn't exist on {day}. Please choose another time.")


class NotOnAQuarter(Refusal):
    """A visit begins on a whole quarter hour."""

    status = 422
    message = _l("A visit begins on a quarter hour, such as 9:00 or 9:15.")


def moment_at(day: date, minute: int, zone: str) -> datetime:
    """The moment (UTC) of a minute since midnight on a day, where the clinic is.

    An hour that happens twice means its first time. Raises NotOnAQuarter, and TimeDoesNotExist for a skipped one.
    """
    if minute % MINUTES or not 0 <= minute < DAY_MINUTES:
        raise NotOnAQuarter
    moment = edge_at(day, minute, zone)
    if minute_of(moment, zone) != minute:
        raise TimeDoesNotExist(time=clock(minute), day=f"{day:%-d %B %Y}")
    return moment


def edge_at(day: date, minute: int, zone: str) -> datetime:
    """As `moment_at`, for the edge of a day or of its opening hours: also midnight at its end, and where the clock
    skips that minute, the moment when it jumps past it."""
    day, minute = (day + timedelta(days=1), 0) if minute == DAY_MINUTES else (day, minute)
    return datetime.combine(day, time(minute // 60, minute % 60), ZoneInfo(zone)).astimezone(UTC)


def day_of(moment: datetime, zone: str) -> date:
    """The day on which a moment falls there."""
    return moment.astimezone(ZoneInfo(zone)).date()


def minute_of(moment: datetime, zone: str) -> int:
    """The minute since midnight that the clock shows there."""
    local = moment.astimezone(ZoneInfo(zone))
    return local.hour * 60 + local.minute


def quarters(starts_at: datetime, ends_at: datetime) -> range:
    """The quarter hours since 1970 that a visit touches."""
    seconds = MINUTES * 60
    return range(int(starts_at.timestamp()) // seconds, -(-int(ends_at.timestamp()) // seconds))


def clock(minute: int, *, half: bool = True) -> str:
    """A minute since midnight as people say it: "1:15 pm"; "1:15" without the `half` of the day."""
    hour, rest = divmod(minute % DAY_MINUTES, 60)
    shown = f"{hour % 12 or 12}:{rest:02}"
    return f"{shown} {'am' if hour < 12 else 'pm'}" if half else shown


def span(from_minute: int, to_minute: int) -> str:
    """ "9:00 to 10:00 am", "11:30 am to 12:15 pm" """
    same_half = from_minute % DAY_MINUTES // 720 == to_minute % DAY_MINUTES // 720
    return f"{clock(from_minute, half=not same_half)} to {clock(to_minute)}"


def week_of(day: date) -> date:
    """The Monday of a day's week."""
    return day - timedelta(days=day.weekday())


def days_from(first: date, count: int) -> Iterator[date]:
    """So many days in a row."""
    return (first + timedelta(days=place) for place in range(count))
