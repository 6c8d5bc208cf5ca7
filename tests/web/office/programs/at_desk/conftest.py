"""A small group, for the stories of the desk."""

import pytest

from portal.programs.tables import Program
from tests.makers import make_program
from tests.web.conftest import Site


@pytest.fixture
def program(site: Site) -> Program:
    """A group of two, two more may wait; the module is on."""
    site.setting("module_programs", "yes")
    made = site.change(
        lambda session: make_program(session, capacity=2, waitlist_size=2, location=site.cast.location)
    )
    assert isinstance(made, Program)
    return made
