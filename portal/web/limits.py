"""How often something may be tried, by account and by network. Only what is tried counts: looking is free.

The counts stand in Redis where there is one, else in the clinic database, so that they hold for every process.
"""

import ipaddress
import logging
from contextlib import suppress
from hashlib import sha256

from flask import Flask, current_app, request
from flask_babel import gettext as _
from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

from portal.clock import now
from portal.db import Database
from portal.errors import Refusal
from portal.limits import count_try, forget_tries, tries_of
from portal.parts import Parts, parts

SCHEME = "portal-db"

log = logging.getLogger(__name__)

SIGN_IN_BY_ACCOUNT = parse("10 per 15 minutes")
SIGN_IN_BY_NETWORK = parse("100 per 15 minutes")
RESET_BY_ACCOUNT = parse("4 per hour")
RESET_BY_NETWORK = parse("30 per hour")
SIGN_UP_BY_ACCOUNT = parse("4 per hour")
SIGN_UP_BY_NETWORK = parse("20 per hour")
# A code has a million values and three of them count at a time: sixty guesses a day find one in fifteen years.
FACTOR_BY_ACCOUNT = parse("10 per 15 minutes")
FACTOR_BY_ACCOUNT_AND_DAY = parse("60 per day")
FACTOR_BY_NETWORK = parse("100 per 15 minutes")
# Links that we never gave out. Who holds a real one is let in all the same: a waiting room may share one address.
UNKNOWN_LINK_BY_ADDRESS = parse("20 per 15 minutes")
UNKNOWN_LINK_BY_NETWORK = parse("200 per 15 minutes")
# So that nobody tries out stolen cards with one link.
PRESS_BY_LINK = parse("30 per hour")
NEW_LINK_BY_INVOICE = parse("3 per day")
NEW_LINK_BY_NETWORK = parse("20 per hour")

# Places held before anybody signs in. Who is beyond that signs in first.
HOLD_BY_NETWORK = parse("300 per hour")
HOLD_BY_NETWORK_AND_PROGRAM = parse("120 per 15 minutes")


class DatabaseStorage(Storage):
    """A storage of the limits library over the clinic database."""

    STORAGE_SCHEME = [SCHEME]  # noqa: RUF012  as the library declares it

    def __init__(self, uri: str, database: Database, **_options: str) -> None:
        super().__init__(uri)
        self._database = database

    @property
    def base_exceptions(self) -> type[Exception]:
        return ConnectionError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        return count_try(self._database, _kept(key), expiry, amount)

    def get(self, key: str) -> int:
        return tries_of(self._database, _kept(key))[0]

    def get_expiry(self, key: str) -> float:
        until = tries_of(self._database, _kept(key))[1]
        return (until or now()).timestamp()

    def check(self) -> bool:
        return True

    def reset(self) -> int | None:
        return forget_tries(self._database)

    def clear(self, key: str) -> None:
        forget_tries(self._database, _kept(key))


def _kept(key: str) -> str:
    return sha256(key.encode()).hexdigest()


class TooManyTries(Refusal):
    """Tried too often; `wait_s` says for how long to wait."""

    status = 429

    def __init__(self, wait_s: int) -> None:
        super().__init__()
        self.wait_s = max(wait_s, 1)

    @property
    def heading(self) -> str:
        return _("That was tried too often")

    @property
    def text(self) -> str:
        minutes = -(-self.wait_s // 60)
        if minutes == 1:
            return _("To keep accounts safe, we stop after a number of tries. Please try again in a minute.")
        return _(
            "To keep accounts safe, we stop after a number of tries. Please try again in %(minutes)s minutes.",
            minutes=minutes,
        )


class Limits:
    """Counts tries in Redis, or in the clinic database, which also steps in while Redis does not answer."""

    def __init__(self, wired: Parts) -> None:
        own = DatabaseStorage(f"{SCHEME}://", database=wired.database)
        uri = wired.config.redis_url
        self._own = FixedWindowRateLimiter(own)
        self._first = FixedWindowRateLimiter(storage_from_string(uri, wrap_exceptions=True)) if uri else self._own

    def hit(self, item: RateLimitItem, *whom: str) -> float | None:
        """Count one try; gives the moment until which no more are let through, None while it is within the limit."""
        try:
            return self._hit(self._first, item, whom)
        except StorageError as error:
            log.warning("the counts in Redis can't be reached: %s", type(error).__name__)
            return self._hit(self._own, item, whom)

    def _hit(self, limiter: FixedWindowRateLimiter, item: RateLimitItem, whom: tuple[str, ...]) -> float | None:
        return None if limiter.hit(item, *whom) else limiter.get_window_stats(item, *whom).reset_time

    def clear(self, item: RateLimitItem, *whom: str) -> None:
        """Forget the tries in the window that is open."""
        with suppress(StorageError):
            self._first.clear(item, *whom)


def init(app: Flask, wired: Parts) -> None:
    """Give the application its counts. No request passes them unless its view counts something."""
    app.extensions["portal-limits"] = Limits(wired)


def _limits() -> Limits:
    found = current_app.extensions["portal-limits"]
    assert isinstance(found, Limits)
    return found


def network() -> str:
    """The network that a request comes from: an IPv4 address, or the /64 that one IPv6 subscriber has."""
    try:
        address = ipaddress.ip_address(request.remote_addr or "")
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))


def wider_network() -> str:
    """The network around it: what one organisation often has, an IPv4 /24 or an IPv6 /48."""
    try:
        around = ipaddress.ip_network(network())
    except ValueError:
        return "unknown"
    return str(around.supernet(new_prefix=24 if around.version == 4 else 48))


def count(item: RateLimitItem, what: str, whom: str) -> None:
    """Count one try of `what` by `whom`. Raises TooManyTries beyond the limit."""
    until = _limits().hit(item, what, whom)
    if until is not None:
        raise TooManyTries(round(until - now().timestamp()))


def forget(item: RateLimitItem, what: str, whom: str) -> None:
    """A try that succeeded: those before it no longer count."""
    _limits().clear(item, what, whom)


def account_key(email: str) -> str:
    """An account in the counts: a keyed hash, so that the counts name nobody."""
    return parts().vault.look_up_hash(email.strip().lower())
