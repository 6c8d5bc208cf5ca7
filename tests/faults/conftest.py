"""The same stage as the payment stories have."""

from collections.abc import Iterator

import pytest

from tests.payments.stage import Stage, staged


@pytest.fixture
def stage(database_url: str) -> Iterator[Stage]:
    with staged(database_url) as opened:
        yield opened
