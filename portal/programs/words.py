"""A program's dates and times in words, by its location's clock (pure)."""

from collections.abc import Sequence
from datetime import datetime

from babel.dates import format_date
from flask_babel import gettext as _
from flask_babel import ngettext

from portal.invoices.reading.words import LANGUAGE, full_day, local_day, plain_day, weekday
from portal.schedule.times import clock, minute_of, span


def dates_words(starts: Sequence[datetime], zone: str) -> str:
    """ "6 Tuesdays from 12 Jan 2027, 5:30 pm", "8 sessions from Tue 12 Jan 2027", "Sat 30 Jan 2027, 10:00 am" """
    if not starts:
        return str(_("Dates to come"))
    days = [local_day(moment, zone) for moment in starts]
    minutes = {minute_of(moment, zone) for moment in starts}
    at = f", {clock(minutes.pop())}" if len(minutes) == 1 else ""
    if len(days) == 1:
        return f"{weekday(days[0])}{at}"
    if len({day.weekday() for day in days}) == 1:
        name, first = format_date(days[0], "EEEE", locale=LANGUAGE), plain_day(days[0])
        words = _("%(count)s %(weekday)ss from %(first)s", count=len(days), weekday=name, first=first)
    else:
        words = _("%(count)s sessions from %(first)s", count=len(days), first=weekday(days[0]))
    return f"{words}{at}"


def meets_words(count: int, first: datetime | None, zone: str) -> str:
    """ "6 sessions from Tue 12 Jan 2027, 5:30 pm", in the list for staff."""
    if first is None:
        return str(_("No session yet"))
    when = moment_words(first, zone)
    if count == 1:
        return when
    return str(ngettext("%(num)s session from %(when)s", "%(num)s sessions from %(when)s", count, when=when))


def moment_words(moment: datetime, zone: str) -> str:
    """ "Tue 12 Jan 2027, 5:30 pm" """
    return f"{weekday(local_day(moment, zone))}, {clock_words(moment, zone)}"


def until_words(until: datetime, zone: str, moment: datetime) -> str:
    """Until when, as it is said at that moment: "9:52 am"; on another day "Tue 12 Jan 2027, 9:52 am"."""
    same_day = local_day(until, zone) == local_day(moment, zone)
    return clock_words(until, zone) if same_day else moment_words(until, zone)


def moment_in_full(moment: datetime, zone: str) -> str:
    """ "Tuesday 12 January 2027 at 5:30 pm" """
    day = local_day(moment, zone)
    name = format_date(day, "EEEE", locale=LANGUAGE)
    return str(_("%(weekday)s %(day)s at %(time)s", weekday=name, day=full_day(day), time=clock_words(moment, zone)))


def clock_words(moment: datetime, zone: str) -> str:
    """ "5:30 pm" """
    return clock(minute_of(moment, zone))


def span_words(starts_at: datetime, ends_at: datetime, zone: str) -> str:
    """ "5:30 to 6:30 pm"; with the day where it ends on another one."""
    first, last = local_day(starts_at, zone), local_day(ends_at, zone)
    if first == last or (minute_of(ends_at, zone) == 0 and (last - first).days == 1):
        return span(minute_of(starts_at, zone), minute_of(ends_at, zone))
    words = _("%(start)s to %(end)s", start=clock_words(starts_at, zone), end=moment_words(ends_at, zone))
    return str(words)
