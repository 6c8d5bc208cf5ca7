"""What a request asks for."""

from flask import Blueprint, Flask, abort, request
from werkzeug.routing import UnicodeConverter, ValidationError

_FORMS = frozenset({"", "application/x-www-form-urlencoded", "multipart/form-data"})


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


def init(app: Flask, but: Blueprint) -> None:
    """Let forms in and nothing else, `but` where machines knock. Comes before whatever looks at a form.

    The forms' library would read JSON and files too: values that are no text break its checks, and fields that do not
    stand in the form pass by what counts tries by them.
    """

    def take_forms_only() -> None:
        is_post = request.endpoint is not None and request.method == "POST" and request.blueprint != but.name
        if is_post and (request.mimetype not in _FORMS or request.files):
            abort(415)

    app.before_request(take_forms_only)
