"""What every story about programs starts from."""

from collections.abc import Iterator

import pytest

from tests.programs.stage import ProgramStage, program_staged


@pytest.fixture
def stage(database_url: str) -> Iterator[ProgramStage]:
    with program_staged(database_url) as opened:
        yield opened
