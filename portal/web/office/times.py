"""Moments as the office reads them, in the clinic's zone."""

from datetime import datetime, tzinfo

from babel.dates import format_datetime

LANGUAGE = "en"


def when(moment: datetime | None, zone: tzinfo) -> str:
    """ "24 Nov 2026, 08:12"; a dash where there was none."""
    return format_datetime(moment.astimezone(zone), "d MMM y, HH:mm", locale=LANGUAGE) if moment else "–"
