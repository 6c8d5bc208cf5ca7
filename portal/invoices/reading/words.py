"""Amounts, days and states in words: made here, because a template that formats is slow."""

from datetime import date, datetime
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote
from zoneinfo import ZoneInfo

from babel.dates import format_date
from flask_babel import gettext as _
from flask_babel import ngettext

from portal.clock import now
from portal.money import currency_mark, format_money
from portal.payments.kinds import KIND_NAMES
from portal.payments.states import State

LANGUAGE = "en"
BOUND = 100
"""Where counting stops."""

CHECKED = frozenset({State.CONFIRMING, State.PROCESSING})
"""While a live attempt is in one of these, nobody knows yet whether it took money: no second try is offered."""

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_BRANDS = {
    "visa": "Visa", "mastercard": "Mastercard", "amex": "American Express", "discover": "Discover",
    "diners": "Diners Club", "jcb": "JCB", "unionpay": "UnionPay",
}  # fmt: skip


# --- amounts and days -----------------------------------------------------------------------------------------------

money = lru_cache(maxsize=4096)(format_money)


@lru_cache(maxsize=4096)
def _day(day: date, pattern: str) -> str:
    return format_date(day, pattern, locale=LANGUAGE)


def weekday(day: date) -> str:
    """ "Tue 17 Nov 2026" """
    return _day(day, "EEE d MMM y")


def long_day(day: date) -> str:
    """ "Tuesday 17 November 2026" """
    return _day(day, "EEEE d MMMM y")


def short_day(day: date) -> str:
    """ "17 Nov" """
    return _day(day, "d MMM")


def plain_day(day: date) -> str:
    """ "17 Nov 2026" """
    return _day(day, "d MMM y")


def full_day(day: date) -> str:
    """ "17 November 2026" """
    return _day(day, "d MMMM y")


def days_words(since: date, until: date) -> str:
    """ "1 to 24 November 2026", "24 October to 3 November 2026", "24 November 2026" """
    if since == until:
        return full_day(until)
    if since.year != until.year:
        first = full_day(since)
    else:
        first = _day(since, "d") if since.month == until.month else _day(since, "d MMMM")
    return str(_("%(first)s to %(last)s", first=first, last=full_day(until)))


def local_day(moment: datetime, zone: str) -> date:
    """The calendar day of a moment where the clinic is."""
    return moment.astimezone(ZoneInfo(zone)).date()


class Sum(NamedTuple):
    """A large amount: the currency's unmistakable sign, and the digits."""

    mark: str
    digits: str

    @property
    def whole(self) -> str:
        return self.mark + self.digits


def large(amount_cents: int, currency: str) -> Sum:
    """An amount for the one big figure of a page."""
    mark = currency_mark(currency)
    return Sum(mark, format_money(amount_cents, currency, full=True).replace(mark, "", 1))


def bounded(count: int) -> str:
    return str(count) if count < BOUND else f"{BOUND - 1}+"


def percent(rate_per_100k: int) -> str:
    """9975 hundred-thousandths: "9.975%"."""
    whole, part = divmod(rate_per_100k, 1000)
    return f"{whole}.{part:03}".rstrip("0").rstrip(".") + "%"


# --- names and lists ------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def href(number: str) -> str:
    return "/invoices/" + quote(number, safe="")


def with_credentials(name: str, credentials: str | None) -> str:
    """ "Liam Tremblay, RMT" """
    return f"{name}, {credentials}" if credentials else name


def listed(words: list[str] | None) -> str:
    """ "GST and PST" """
    if not words:
        return ""
    *head, last = words
    return _("%(some)s and %(last)s", some=", ".join(head), last=last) if head else last


def means_words(kind: str, brand: str | None, last4: str | None) -> str:
    """How something was paid: "Visa ending 4242", "Cash"."""
    if kind == "card":
        name = _BRANDS.get(brand or "") or str(KIND_NAMES["card"])
        return _("%(brand)s ending %(last4)s", brand=name, last4=last4) if last4 else name
    return str(KIND_NAMES[kind])


# --- states ---------------------------------------------------------------------------------------------------------


class Tag(NamedTuple):
    """A state in a word, and the class that gives it its shape."""

    look: str
    text: str


class Phrases:
    """The words of a list's rows in one language, looked up once for all of them."""

    def __init__(self) -> None:
        self.payee = _("for %s")
        self.due = _("due %s")
        self.checking = Tag("new", _("Checking a payment"))
        self.part = Tag("part", _("Partly paid"))
        self.to_pay = Tag("due", _("To pay"))
        self.paid = _("Paid %s")
        self.settled = Tag("paid", _("Nothing to pay"))
        self.void = Tag("void", _("Void"))
        self.refunded = _("Void, refunded %s")
        self.pending = Tag("late", _("Void, refund pending"))
        self.too_much = Tag("late", _("Paid too much"))
        self.hello = (_("Good morning, %s"), _("Good afternoon, %s"), _("Good evening, %s"))
        self._late: dict[int, Tag] = {}
        self._openings: dict[int | None, str] = {}

    def late(self, days: int) -> Tag:
        """ "4 days overdue" """
        if days not in self._late:
            self._late[days] = Tag("late", ngettext("%(num)s day overdue", "%(num)s days overdue", days))
        return self._late[days]

    def opening(self, count: int | None) -> str:
        """ "You have three open invoices"; None for more than were counted."""
        if count not in self._openings:
            one, more = "You have %(word)s open invoice", "You have %(word)s open invoices"
            words = dict(enumerate(_NUMBERS)) | {None: bounded(BOUND)}
            self._openings[count] = ngettext(
                one, more, BOUND if count is None else count, word=words.get(count, count)
            )
        return self._openings[count]


@lru_cache(maxsize=1)
def phrases_here() -> Phrases:
    """There is one language so far; with a second one, these are kept by language."""
    return Phrases()


class Today:
    """The day it is now at each of the clinic's places."""

    def __init__(self) -> None:
        self._moment = now()
        self._days: dict[str, date] = {}

    def at(self, zone: str) -> date:
        if zone not in self._days:
            self._days[zone] = local_day(self._moment, zone)
        return self._days[zone]


def greeting(zone: str | None, given_name: str) -> str:
    """Good morning, by the clinic's clock."""
    hour = now().astimezone(ZoneInfo(zone)).hour if zone else 12
    morning, afternoon, evening = phrases_here().hello
    hello = morning if 5 <= hour < 12 else afternoon if 12 <= hour < 18 else evening
    return str(hello % given_name)


def open_tag(state: str | None, paid: int, due_on: date, zone: str, phrases: Phrases, today: Today) -> Tag:
    if state in CHECKED:
        return phrases.checking
    late = (today.at(zone) - due_on).days
    if late > 0:
        return phrases.late(late)
    return phrases.part if paid > 0 else phrases.to_pay


def closed_tag(voided: bool, paid_at: datetime | None, owed: int, paid: int, zone: str, phrases: Phrases) -> Tag:
    day = short_day(local_day(paid_at, zone)) if paid_at else ""
    if voided:
        if paid > 0:
            return phrases.pending
        return Tag("void", phrases.refunded % day) if day else phrases.void
    if paid > owed:
        return phrases.too_much
    return Tag("paid", phrases.paid % day) if day else phrases.settled
