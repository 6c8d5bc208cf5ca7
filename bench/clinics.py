"""Clinics to measure: a database with so many invoices, and a patient who has signed in."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import bindparam, text

from portal import create_app
from portal.clock import now
from portal.config import Config
from portal.db import REVISION, Database, Utc, upgrade
from portal.demo_data import make_demo_clinic, make_many_invoices
from portal.passwords import hashed
from portal.vault import Vault, parse_key

BUILD = Path(__file__).resolve().parent.parent / "build" / "bench"
PASSWORD = "measuring, not secret"
SECRET = "a key for measuring only, nothing hangs on it"
KEYS = "bench:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


@dataclass(frozen=True)
class Clinic:
    """One database, ready to be served."""

    url: str

    @property
    def environ(self) -> dict[str, str]:
        """What `wsgi:app` reads."""
        return {
            "PORTAL_ENV": "development",
            "PORTAL_DATABASE_URL": self.url,
            "PORTAL_SECRET_KEY": SECRET,
            "PORTAL_ENCRYPTION_KEYS": KEYS,
            "PORTAL_BASE_URL": "http://127.0.0.1:8000",
            "PORTAL_MAIL_URL": f"file:{BUILD / 'mail'}",
            "PORTAL_REDIS_URL": "",
            "PORTAL_TRUSTED_PROXIES": "",
            "PYTHONWARNINGS": "ignore",
        }

    @property
    def config(self) -> Config:
        """The same for an application in this process."""
        return Config(
            production=False,
            database_url=self.url,
            secret_key=SECRET,
            encryption_keys=(parse_key(KEYS),),
            base_url="http://127.0.0.1:8000",
            mail_url=f"file:{BUILD / 'mail'}",
        )

    def sign_in(self, email: str = "maya@example.com") -> str:
        """Sign in through the form; gives the cookie. Staff have then given their second factor."""
        app = create_app(self.config)
        app.config["WTF_CSRF_ENABLED"] = False
        client = app.test_client()
        answer = client.post("/login", data={"email": email, "password": PASSWORD})
        assert answer.status_code == 303 or answer.status_code == 302, answer.status_code
        with app.extensions["portal"].database.transaction() as session:
            session.execute(
                text(
                    "UPDATE sign_ins SET factor_at = :now WHERE factor_at IS NULL AND user_id IN "
                    "(SELECT id FROM users WHERE email = :email AND role <> 'patient')"
                ).bindparams(bindparam("now", now(), type_=Utc()), email=email)
            )
        cookies = [line.split(";")[0] for line in answer.headers.getlist("Set-Cookie")]
        return "; ".join(cookies)


def fill(url: str, invoices: int) -> Clinic:
    """A demo clinic with this many more invoices. Maya has enough open ones to fill a page of 20."""
    upgrade(url)
    database = Database(url)
    keys = {"token": "pk_test_bench", "secret": "sk_test_bench", "webhook_secret": "whsec_bench"}
    vault = Vault((parse_key(KEYS),))
    make_demo_clinic(database, vault, password=PASSWORD, hash_password=hashed, sandbox_gateway=keys)
    _give_maya_a_full_page(database)
    make_many_invoices(database, invoices, progress=lambda done: _say(done, invoices))
    with database.engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE")
        connection.commit()
    database.close()
    return Clinic(url)


def _give_maya_a_full_page(database: Database) -> None:
    """Move open invoices of others to her, so that her list is as long in every clinic."""
    with database.transaction() as session:
        maya = session.scalar(text("SELECT patient_id FROM users WHERE email = 'maya@example.com'"))
        session.execute(
            text(
                "UPDATE invoices SET patient_id = :maya WHERE id IN "
                "(SELECT id FROM invoices WHERE balance_cents > 0 AND voided_at IS NULL ORDER BY id LIMIT 40)"
            ),
            {"maya": maya},
        )


def _say(done: int, of: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{done:>9} of {of} invoices")
        sys.stderr.flush()


def sqlite_clinic(invoices: int) -> Clinic:
    """A clinic on SQLite, kept for the next run: making a million invoices takes minutes."""
    BUILD.mkdir(parents=True, exist_ok=True)
    path = BUILD / f"{REVISION}-{invoices}.db"
    url = f"sqlite:///{path}"
    if not path.exists():
        making = path.with_suffix(".making")
        for left in BUILD.glob(f"{making.name}*"):
            left.unlink()
        fill(f"sqlite:///{making}", invoices)
        shutil.move(making, path)
    return Clinic(url)


@contextmanager
def postgresql_server() -> Iterator[str]:
    """A throw-away PostgreSQL server; gives its address."""
    from tests.support.postgres import postgresql

    with postgresql() as base_url:
        yield base_url


@contextmanager
def postgresql_database(base_url: str, name: str) -> Iterator[str]:
    """An empty database of that server; gives its address."""
    from tests.support.postgres import create_database, drop_database

    url = create_database(base_url, name)
    try:
        yield url
    finally:
        drop_database(base_url, name)


@contextmanager
def postgresql_clinic(base_url: str, invoices: int) -> Iterator[Clinic]:
    """A clinic on a throw-away PostgreSQL server."""
    with postgresql_database(base_url, f"bench_{invoices}") as url:
        yield fill(url, invoices)
