"""Settings of the machine, from the environment. (The clinic's own switches are in `settings.py`.)

Every value is checked at the start, and everything that is wrong is named at once. Production refuses to start with
anything unsafe or missing; development fills the gaps with things that are safe on one's own machine. No secret has a
default: development without PORTAL_SECRET_KEY makes a random one that ends with the process.
"""

import ipaddress
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from portal.vault import new_key, parse_key

STRIPE_API = "https://api.stripe.com"
STRIPE_JS = "https://js.stripe.com/endive/stripe.js"
MIN_SECRET = 32

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class BadConfiguration(Exception):
    """The environment is missing something or holds something unsafe; `problems` names all of it."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("The portal can't start:\n" + "\n".join(f"  - {problem}" for problem in problems))
        self.problems = problems


@dataclass(frozen=True)
class Config:
    """What the environment says, checked."""

    production: bool
    database_url: str
    secret_key: str = field(repr=False)
    encryption_keys: tuple[tuple[str, bytes], ...] = field(repr=False)
    base_url: str
    mail_url: str = field(repr=False)
    redis_url: str = field(default="", repr=False)
    trusted_proxies: tuple[Network, ...] = ()
    proxy_hops: int = 0
    stripe_api_base: str = STRIPE_API
    stripe_js_url: str = STRIPE_JS

    @property
    def over_https(self) -> bool:
        """Whether people reach the portal over TLS: decides the cookie prefix and HSTS."""
        return self.base_url.startswith("https://")


def from_environment(environ: Mapping[str, str] | None = None) -> Config:
    """Read and check the environment. Raises BadConfiguration with every problem found."""
    return _Reader(os.environ if environ is None else environ).read()


class _Reader:
    """Reads one environment, gathering problems instead of stopping at the first."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: list[str] = []
        self.production = True

    def read(self) -> Config:
        self.production = self._environment() == "production"
        proxies, hops = self._proxies()
        config = Config(
            production=self.production,
            database_url=self._database_url(),
            secret_key=self._secret_key(),
            encryption_keys=self._encryption_keys(),
            base_url=self._base_url(),
            mail_url=self._mail_url(),
            redis_url=self._redis_url(),
            trusted_proxies=proxies,
            proxy_hops=hops,
            stripe_api_base=self._stripe_url("STRIPE_API_BASE", STRIPE_API),
            stripe_js_url=self._stripe_url("STRIPE_JS_URL", STRIPE_JS),
        )
        self._check_that_nothing_is_written_down()
        if self.problems:
            raise BadConfiguration(self.problems)
        return config

    def _wrong(self, name: str, why: str) -> None:
        self.problems.append(f"{name} {why}")

    def _check_that_nothing_is_written_down(self) -> None:
        """With this the stripe library writes whole answers to the error stream, a webhook's secret among them."""
        if self._get("STRIPE_LOG") and self.production:
            self._wrong("STRIPE_LOG", "is set: Stripe's library would write secrets into the log")

    def _get(self, name: str) -> str:
        return self.environ.get(name, "").strip()

    def _required(self, name: str, what: str) -> str:
        value = self._get(name)
        if not value and self.production:
            self._wrong(name, f"is missing: {what}")
        return value

    def _environment(self) -> str:
        value = self._get("PORTAL_ENV") or "production"
        if value not in ("production", "development"):
            self._wrong("PORTAL_ENV", f"is {value!r}; it is production or development")
        return value

    def _database_url(self) -> str:
        value = self._required("PORTAL_DATABASE_URL", "sqlite:////path/portal.db or postgresql://user@host/name")
        if not value:
            return "sqlite:///" + str(Path.cwd() / "portal.db")
        scheme = value.partition(":")[0].partition("+")[0]
        if scheme not in ("sqlite", "postgresql", "postgres"):
            self._wrong("PORTAL_DATABASE_URL", "begins with neither sqlite: nor postgresql:")
        elif _split(value) is None:
            self._wrong("PORTAL_DATABASE_URL", "has a host or port that can't be read")
        if scheme == "sqlite" and self.production and _is_in_memory(value):
            self._wrong("PORTAL_DATABASE_URL", "names a database in memory, which forgets every payment")
        return value

    def _secret_key(self) -> str:
        value = self._required("PORTAL_SECRET_KEY", "at least 32 random characters that sign the session cookies")
        if not value:
            return secrets.token_urlsafe(48)
        if len(value) < MIN_SECRET or len(set(value)) < 8:
            self._wrong("PORTAL_SECRET_KEY", f"is too easy to guess: take {MIN_SECRET} random characters or more")
        return value

    def _encryption_keys(self) -> tuple[tuple[str, bytes], ...]:
        value = self._required("PORTAL_ENCRYPTION_KEYS", "one or more <id>:<base64 of 32 bytes>, the newest first")
        texts = [text for text in value.split(",") if text.strip()]
        if not texts and not self.production:
            texts = [new_key()]
        keys: list[tuple[str, bytes]] = []
        for text in texts:
            try:
                keys.append(parse_key(text))
            except ValueError as error:
                self._wrong("PORTAL_ENCRYPTION_KEYS", f"can't be read: {error}")
        if len({name for name, _ in keys}) < len(keys):
            self._wrong("PORTAL_ENCRYPTION_KEYS", "names the same key id twice")
        if any(len(set(key)) < 8 for _, key in keys):
            self._wrong("PORTAL_ENCRYPTION_KEYS", "holds a key that is not random")
        return tuple(keys)

    def _base_url(self) -> str:
        value = self._required("PORTAL_BASE_URL", "the address people type, such as https://pay.example.com")
        if not value:
            return "http://127.0.0.1:8000"
        value = value.rstrip("/")
        parts = _split(value)
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
            self._wrong("PORTAL_BASE_URL", "is not an address such as https://pay.example.com")
        elif parts.path or parts.query or parts.fragment or parts.username:
            self._wrong("PORTAL_BASE_URL", "holds more than scheme, host and port")
        elif self.production and parts.scheme != "https":
            self._wrong("PORTAL_BASE_URL", "is not https: sign-ins and payments need TLS")
        return value

    def _mail_url(self) -> str:
        value = self._required("PORTAL_MAIL_URL", "smtp://user:password@host:587 (STARTTLS) or smtps://…")
        if not value:
            return "file:build/mail"
        parts = _split(value)
        if parts is None or parts.scheme not in ("smtp", "smtps", "file"):
            self._wrong("PORTAL_MAIL_URL", "is neither smtp:, smtps: nor (in development) file:")
        elif parts.scheme == "file" and self.production:
            self._wrong("PORTAL_MAIL_URL", "writes mails to a folder; production sends them over smtp: or smtps:")
        elif parts.scheme != "file" and not parts.hostname:
            self._wrong("PORTAL_MAIL_URL", "names no mail server")
        return value

    def _redis_url(self) -> str:
        value = self._get("PORTAL_REDIS_URL")
        if value and value.partition("://")[0] not in ("redis", "rediss", "unix"):
            self._wrong("PORTAL_REDIS_URL", "begins with neither redis:// nor rediss://")
        return value

    def _proxies(self) -> tuple[tuple[Network, ...], int]:
        value = self._get("PORTAL_TRUSTED_PROXIES")
        if value.isdecimal() and value.isascii():
            if int(value) > 9:
                self._wrong("PORTAL_TRUSTED_PROXIES", "counts more than 9 proxies")
            return (), int(value)
        networks: list[Network] = []
        for text in value.replace(",", " ").split():
            try:
                networks.append(ipaddress.ip_network(text, strict=False))
            except ValueError:
                self._wrong("PORTAL_TRUSTED_PROXIES", f"holds {text!r}, which is no address, network or count")
        if self.production and any(network.prefixlen == 0 for network in networks):
            self._wrong("PORTAL_TRUSTED_PROXIES", "trusts the whole internet")
        return tuple(networks), 0

    def _stripe_url(self, name: str, default: str) -> str:
        value = self._get(name) or default
        if name == "STRIPE_API_BASE":
            value = value.rstrip("/").removesuffix("/v1")  # the stripe library adds it
        parts = _split(value)
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
            self._wrong(name, f"is not an address such as {default}")
        elif self.production and value != default:
            self._wrong(name, f"is not Stripe's own {default}: production talks to Stripe alone")
        elif any(mark in value for mark in " ;,'\""):
            self._wrong(name, "holds a character that does not belong in an address")
        return value


def _is_in_memory(url: str) -> bool:
    """Whether a SQLite address names no file, in any of its spellings."""
    file = url.partition(":")[2].partition("?")[0].strip("/")
    return not file or ":memory:" in url or "mode=memory" in url


def _split(value: str) -> SplitResult | None:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return None
    return parts
