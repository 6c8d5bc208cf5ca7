"""An address with the name of an unnumbered invoice in it goes on leading there once the invoice has its number."""

from typing import Any

from flask import Flask

from portal.invoices.tables import UNNUMBERED
from portal.programs.naming import number_now
from portal.web.scope import reading


def _by_its_number(_endpoint: str | None, values: dict[str, Any] | None) -> None:
    name = (values or {}).get("number")
    if values is not None and isinstance(name, str) and name.startswith(UNNUMBERED):
        values["number"] = number_now(reading(), name)


def init(app: Flask) -> None:
    """Look such names up before any view sees them."""
    app.url_value_preprocessor(_by_its_number)
