"""A clinic that takes payments online, for the mails about its invoices."""

from collections.abc import Iterator

import pytest

from tests.payments.stage import Stage


@pytest.fixture
def stage(database_url: str) -> Iterator[Stage]:
    stage = Stage(database_url)
    stage.set("email_pay_online_request", "yes")
    yield stage
    stage.close()
