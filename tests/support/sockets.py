"""No test talks to another machine: for the whole run, only loopback and Unix sockets are open.

An audit hook stands in the interpreter itself. It holds from the first test file to the last clean-up, in
every thread, for every way to connect, send or look up a name, and nothing can take it away again. (Replacing
`socket.socket.connect` would let `connect_ex` and `sendto` by.)
"""

import ipaddress
import os
import sys
from collections.abc import Iterator
from functools import cache
from urllib.parse import urlsplit

import pytest

refused: list[str] = []

_lent_server = urlsplit(os.environ.get("PORTAL_TEST_POSTGRESQL_URL", "")).hostname
_names_allowed = {"localhost", "", _lent_server} - {None}


class NetworkShut(RuntimeError):
    """Something tried to reach another machine."""


def _is_near(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode(errors="replace")
    if host is None or host in _names_allowed:
        return True
    try:
        return ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        return False


def _guard(event: str, arguments: tuple[object, ...]) -> None:
    match event, arguments:
        case (("socket.connect" | "socket.sendto" | "socket.sendmsg"), (_, (host, *_))):
            pass
        case (("socket.getaddrinfo" | "socket.gethostbyname"), (host, *_)):
            pass
        case _:
            return
    if not _is_near(host):
        refused.append(f"{event} {host!r}")
        raise NetworkShut(f"Tests may not reach other machines: {event} {host!r}")


@cache  # once: a pytest inside a test shares the interpreter
def _shut() -> None:
    sys.addaudithook(_guard)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--open-network",
        action="store_true",
        help="let tests reach other machines: for the gateway contract with Stripe itself",
    )


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("--open-network"):
        _shut()


@pytest.fixture(autouse=True)
def _nobody_called_out() -> Iterator[None]:
    """A refusal that the code under test swallowed, or that befell a thread, still fails the test."""
    yield
    attempts, refused[:] = refused[:], []
    assert not attempts, f"reached for other machines: {', '.join(attempts)}"
