"""What one request works with, made when it is first asked for and given back at its end.

A page reads through one connection in autocommit: each statement sees the newest committed state, none holds a lock.
"""

from flask import Flask, g, session
from sqlalchemy import Connection

from portal.accounts import RequestSession
from portal.clock import now
from portal.gateway.configured import PRODUCTION, TEST
from portal.parts import parts
from portal.settings import Settings, read_settings
from portal.sign_ins import Person, find_signed_in

REFRESH_S = 60  # a cookie's time of last use is this exact, so that it is not signed again at each request


def reading() -> Connection:
    """The request's connection for looking only."""
    connection: Connection | None = g.get("reading")
    if connection is None:
        connection = g.reading = parts().database.reading.connect()
    return connection


def done_reading() -> None:
    """Give the connection back early: a call to a gateway takes long, and others need connections meanwhile."""
    connection: Connection | None = g.pop("reading", None)
    if connection is not None:
        connection.close()


def settings() -> Settings:
    """The clinic's settings as this request found them; read once, in one statement."""
    found: Settings | None = g.get("settings")
    if found is None:
        found = g.settings = read_settings(reading())
    return found


def payment_modes() -> tuple[str, ...]:
    """The modes of gateways that may take payments in the portal now; none while the clinic has it off.

    In production a Test-mode gateway takes no payment on real invoices (O3).
    """
    if not settings().portal_takes_payments:
        return ()
    return (PRODUCTION,) if parts().config.production else (PRODUCTION, TEST)


def person() -> Person | None:
    """Who is signed in, or None. (Flask-Login's `current_user` gives the same, at several times the cost.)"""
    if "person" not in g:
        g.person = _signed_in()
    found: Person | None = g.person
    return found


def _signed_in() -> Person | None:
    """The person whom the cookie signs in, unless they were away for too long."""
    token, uniquifier, seen = session.get("sign_in"), session.get("_user_id"), session.get("seen")
    if not (isinstance(token, str) and isinstance(uniquifier, str) and isinstance(seen, int)):
        return None
    someone = find_signed_in(reading(), token, uniquifier)
    if someone is None:
        return None
    moment, idle_s = int(now().timestamp()), settings().number("idle_minutes") * 60
    if moment - seen > idle_s:
        g.was_idle = True
        return None
    if moment - seen >= min(REFRESH_S, idle_s // 4):
        session["seen"] = moment
    return someone


def accounts_session() -> RequestSession:
    """The session that Flask-Security's own views read and write accounts through."""
    accounts: RequestSession | None = g.get("accounts_session")
    if accounts is None:
        accounts = g.accounts_session = RequestSession(parts().database)
    return accounts


def _give_back(_error: BaseException | None) -> None:
    for name in ("accounts_session", "reading"):
        thing = g.pop(name, None)
        if thing is not None:
            thing.close()


def init(app: Flask) -> None:
    """Give connections back when a request ends."""
    app.teardown_appcontext(_give_back)
