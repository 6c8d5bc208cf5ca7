"""A search in words, for the caption of its table."""

from babel.numbers import format_decimal
from flask_babel import gettext as _
from flask_babel import ngettext

from portal.invoices.reading.words import LANGUAGE, days_words, full_day
from portal.invoices.search.narrowing import FIRST_DAY, LAST_DAY, Narrowing


def caption(search: Narrowing, count: int) -> str:
    """ "9 invoices, 1 to 24 November 2026" """
    if not count:
        number = _("No invoices")
    else:
        written = format_decimal(count, locale=LANGUAGE)
        number = ngettext("%(count)s invoice", "%(count)s invoices", count, count=written)
    return f"{number}, {_days(search)}"


def days_of_a_file(search: Narrowing) -> str:
    """The days of a search for the name of a file: "-2026-11-01-to-2026-11-30", "-from-2026-11-01", or nothing."""
    if search.since == FIRST_DAY:
        return "" if search.until == LAST_DAY else f"-until-{search.until}"
    return f"-from-{search.since}" if search.until == LAST_DAY else f"-{search.since}-to-{search.until}"


def _days(search: Narrowing) -> str:
    if search.number:
        return str(_("number %(number)s, whatever the date", number=search.number))
    if search.since == FIRST_DAY and search.until == LAST_DAY:
        return str(_("whatever the date"))
    if search.since == FIRST_DAY:
        return str(_("until %(day)s", day=full_day(search.until)))
    if search.until == LAST_DAY:
        return str(_("from %(day)s on", day=full_day(search.since)))
    if search.since > search.until:
        return str(_("from %(first)s to %(last)s", first=full_day(search.since), last=full_day(search.until)))
    return days_words(search.since, search.until)
