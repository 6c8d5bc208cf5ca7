"""What create_app wires together and every verb needs: one object, handed on instead of looked up in globals."""

from collections.abc import Callable
from dataclasses import dataclass, field

from flask import current_app

from portal.config import Config
from portal.db import Database
from portal.gateway import Gateway
from portal.vault import Vault

Connect = Callable[[str], Gateway]
"""Gives the gateway that belongs to a secret key."""


@dataclass(frozen=True)
class Parts:
    """The parts of one running application."""

    config: Config
    database: Database
    vault: Vault = field(repr=False)
    connect: Connect = field(repr=False)


def parts() -> Parts:
    """The current application's parts."""
    found = current_app.extensions["portal"]
    assert isinstance(found, Parts)
    return found
