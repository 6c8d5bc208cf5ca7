"""Whose request it is, where a proxy stands in front. A forwarded header is believed only from a proxy we trust."""

import ipaddress
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from werkzeug.middleware.proxy_fix import ProxyFix

from portal.config import Config, Network

Wsgi = Callable[..., Iterable[bytes]]


def behind_proxies(app: Wsgi, config: Config) -> Wsgi:
    """Wrap an application as the configuration says; without proxies, nothing is believed and nothing is wrapped."""
    if config.trusted_proxies:
        return TrustedProxies(app, config.trusted_proxies)
    if config.proxy_hops:
        return ProxyFix(app, x_for=config.proxy_hops, x_proto=config.proxy_hops)
    return app


class TrustedProxies:
    """Takes the nearest address that is not a trusted proxy's, reading X-Forwarded-For from the right.

    Whatever stands further left was written by the client and says nothing.
    """

    def __init__(self, app: Wsgi, networks: tuple[Network, ...]) -> None:
        self._app = app
        self._networks = networks
        self._is_trusted = lru_cache(maxsize=1024)(self._looks_trusted)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if self._is_trusted(environ.get("REMOTE_ADDR", "")):
            forwarded = environ.get("HTTP_X_FORWARDED_FOR", "")
            for address in reversed([part.strip() for part in forwarded.split(",") if part.strip()]):
                if not _is_address(address):
                    break
                environ["REMOTE_ADDR"] = address
                if not self._is_trusted(address):
                    break
            scheme = environ.get("HTTP_X_FORWARDED_PROTO", "").rpartition(",")[2].strip().lower()
            if scheme in ("http", "https"):
                environ["wsgi.url_scheme"] = scheme
        return self._app(environ, start_response)

    def _looks_trusted(self, text: str) -> bool:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
