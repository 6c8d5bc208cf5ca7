"""The time. Everything inside is UTC; pages show the clinic's zone."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

_shift = timedelta()


def now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC) + _shift


@contextmanager
def shifted(by: timedelta) -> Iterator[None]:
    """For tests and simulations: the process lives `by` later (or earlier) meanwhile."""
    global _shift  # noqa: PLW0603  one clock per process is the point of it
    before = _shift
    _shift = before + by
    try:
        yield
    finally:
        _shift = before
