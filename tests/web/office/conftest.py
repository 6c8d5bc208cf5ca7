"""Who works in the office."""

import pytest

from tests.web.conftest import Site, Visitor


@pytest.fixture
def dana(site: Site) -> Visitor:
    """At the front desk."""
    return site.visitor("dana@example.com")


@pytest.fixture
def marc(site: Site) -> Visitor:
    """The administrator."""
    return site.visitor("marc@example.com")
