"""Signing in by the server's own code, without a walk through the sign-in page: that has tests of its own."""

from flask import Flask, make_response, session
from sqlalchemy import select

from portal.parts import Parts
from portal.people import User
from tests.makers import give_second_factor


def cookie_of(app: Flask, email: str) -> tuple[str, str]:
    """The name and value of the cookie of a browser in which this person has just signed in.

    Staff have given their second factor.
    """
    from portal.web.auth import sign_in_as

    parts: Parts = app.extensions["portal"]
    with parts.database.read() as reading:
        user_id = reading.scalar(select(User.id).where(User.email == email))
    assert user_id is not None, f"nobody has the address {email}"
    with app.test_request_context("/login"):
        answer = make_response(sign_in_as(user_id))
        app.session_interface.save_session(app, session, answer)
    with parts.database.transaction() as writing:
        give_second_factor(writing, email)
    name, _, rest = answer.headers["Set-Cookie"].partition("=")
    return name, rest.partition(";")[0]
