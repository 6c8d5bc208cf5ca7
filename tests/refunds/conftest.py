"""The same stage as the payment stories have, with what staff do to correct the books."""

from collections.abc import Iterator

import pytest

from tests.payments.stage import Stage, staged
from tests.refunds.desk import Desk


@pytest.fixture
def stage(database_url: str) -> Iterator[Stage]:
    with staged(database_url) as opened:
        yield opened


@pytest.fixture
def desk(stage: Stage) -> Iterator[Desk]:
    """After every story the books hold, and they are Stripe's to the cent once everything was looked up."""
    opened = Desk(stage)
    yield opened
    opened.check()
