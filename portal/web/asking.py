"""What a request asks for."""

from flask import request
from werkzeug.routing import UnicodeConverter, ValidationError


class Readable(UnicodeConverter):
    """A part of an address that can be read: no number or name of ours has a control character in it.

    Such an address leads nowhere, before any view or database (PostgreSQL refuses a NUL in a text) sees it.
    """

    def to_python(self, value: str) -> str:
        if not value.isprintable():
            raise ValidationError
        return value


def wants_json() -> bool:
    """Whether a script asks, which reads JSON, rather than a person, who reads a page."""
    accepted = request.headers.get("Accept", "")
    return "application/json" in accepted and "text/html" not in accepted
