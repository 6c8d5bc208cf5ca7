"""What every payment story starts from."""

from collections.abc import Iterator

import pytest

from tests.payments.desk import Desk
from tests.payments.stage import Stage, staged


@pytest.fixture
def stage(database_url: str) -> Iterator[Stage]:
    with staged(database_url) as opened:
        yield opened


@pytest.fixture
def desk(stage: Stage) -> Desk:
    """A desk in a clinic whose patients can not pay by themselves."""
    for key in ("accept_payments_in_portal", "portal_enabled"):
        stage.set(key, "no")  # at the desk they do not count
    return Desk(stage)
