"""When a program meets: days and times on the location's clock, a rule that repeats them, and the moments (pure)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from portal.schedule.times import DAY_MINUTES, TimeDoesNotExist, clock, day_of, edge_at, minute_of, week_of

MOST = 150
"""A program has at most so many sessions."""


class Wall(NamedTuple):
    """A day and a minute since midnight, as the clock on the wall shows them there."""

    day: date
    minute: int

    def moment(self, zone: str) -> datetime:
        """The moment. An hour that happens twice means its first time. Raises TimeDoesNotExist for a skipped one."""
        found = edge_at(self.day, self.minute, zone)
        if self.minute < DAY_MINUTES and minute_of(found, zone) != self.minute:
            raise TimeDoesNotExist(time=clock(self.minute), day=f"{self.day:%-d %B %Y}")
        return found


def wall_of(moment: datetime, zone: str) -> Wall:
    """What the clock on the wall shows at a moment there."""
    return Wall(day_of(moment, zone), minute_of(moment, zone))


@dataclass(frozen=True)
class Meeting:
    """One session: on which day, from which minute since midnight to which, in which room.

    `id` is that of a session that is there already. Midnight at the end of the day is minute 1440.
    """

    day: date
    from_minute: int
    to_minute: int
    room: str = ""
    id: int | None = None

    @property
    def starts(self) -> Wall:
        return Wall(self.day, self.from_minute)

    @property
    def ends(self) -> Wall:
        return Wall(self.day, self.to_minute)


def meeting_of(starts_at: datetime, ends_at: datetime, zone: str, room: str = "", id: int | None = None) -> Meeting:
    """A session as its location's clock shows it. One that ends at midnight ends at minute 1440 of its day."""
    start, end = wall_of(starts_at, zone), wall_of(ends_at, zone)
    return Meeting(start.day, start.minute, end.minute or DAY_MINUTES, room, id)


@dataclass(frozen=True)
class Repeat:
    """Every so many weeks on these weekdays (Monday is 0), so many times, or until a day, whichever comes first."""

    first: date
    weekdays: frozenset[int]
    every_weeks: int = 1
    times: int | None = None
    until: date | None = None

    def days(self) -> list[date]:
        """The days, in order; at most MOST. The week of the first day counts as the first, from Monday on."""
        found: list[date] = []
        most = min(MOST, self.times if self.times is not None else MOST)
        for day in self._all():
            if len(found) >= most or (self.until is not None and day > self.until):
                break
            found.append(day)
        return found

    def _all(self) -> Iterator[date]:
        week = week_of(self.first)
        while self.weekdays:
            yield from (day for each in sorted(self.weekdays) if (day := week + timedelta(days=each)) >= self.first)
            week += timedelta(weeks=self.every_weeks)


def in_order(meetings: Iterable[Meeting]) -> list[Meeting]:
    """The sessions as they come."""
    return sorted(meetings, key=lambda each: (each.starts, each.to_minute))


def overlap(meetings: Iterable[Meeting]) -> Meeting | None:
    """A session that begins before the one before it has ended, if there is one."""
    return next((later for before, later in pairwise(in_order(meetings)) if later.starts < before.ends), None)


def moved(meetings: Iterable[Meeting], days: int) -> list[Meeting]:
    """All of them so many days later, at the same time of day."""
    return [replace(each, day=each.day + timedelta(days=days)) for each in meetings]
