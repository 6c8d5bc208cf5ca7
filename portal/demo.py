"""`make demo`: a whole clinic on one machine, with the Stripe sandbox in Stripe's place. No keys, no other server.

Everything is kept in one folder that git ignores: the database, the sandbox's state, the keys made for this machine.
"""

import ctypes
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import FrameType

import click
from sqlalchemy import select

from portal.config import from_environment
from portal.db import Database, upgrade
from portal.demo_data import DemoClinic, make_demo_clinic
from portal.gateway import Gateway
from portal.gateway.configured import ConfiguredGateway
from portal.parts import Parts
from portal.people import Patient, User
from portal.vault import Vault, new_key

ROOT = Path(__file__).resolve().parent.parent
PASSWORD = "alder lane demo"  # noqa: S105  the demo's sign-ins are printed; production refuses to make them
SANDBOX_TOKEN = "pk_test_sandbox"  # noqa: S105  the sandbox's own publishable key
SANDBOX_SECRET = "sk_test_sandbox"  # noqa: S105  the sandbox answers to it, and nobody else does
READY_WITHIN_S = 60
STOP_WITHIN_S = 8

CARDS = (
    ("4242 4242 4242 4242", "Visa credit, goes through"),
    ("4000 0000 0000 9995", "Visa credit, declined: not enough money"),
    ("4000 0027 6000 3184", "Visa credit, asks for 3-D Secure"),
    ("4000 0566 5566 5556", "Visa Debit, goes through"),
    ("5200 8282 8282 8210", "Debit Mastercard, refused by the clinic's card policy"),
)


def make_demo(parts: Parts, *, token: str, secret: str, webhook_secret: str, more: bool) -> DemoClinic | None:
    """Fill an empty database; None where `more` invoices are wanted and a clinic is there already."""
    from portal.passwords import hashed

    with parts.database.read() as connection:
        if more and connection.scalar(select(Patient.id).limit(1)) is not None:
            return None
    keys = {"token": token, "secret": secret, "webhook_secret": webhook_secret} if token and secret else None
    return make_demo_clinic(
        parts.database, parts.vault, sandbox_gateway=keys, hash_password=hashed, password=PASSWORD
    )


def say_sign_ins(clinic: DemoClinic) -> None:
    """Print who can sign in."""
    click.echo("Sign-ins (password for all: “" + PASSWORD + "”):")
    for sign_in in clinic.sign_ins:
        click.echo(f"  {sign_in.email:<24} {sign_in.who}, {sign_in.role}")


# --- running it -----------------------------------------------------------------------------------------------------


def run_demo(port: int, folder: str) -> int:
    """Set up what is missing, start the sandbox, the web server and the worker, and end all of them together."""
    home = (Path.cwd() / folder).resolve()
    home.mkdir(parents=True, exist_ok=True)
    if not _is_free(port):
        click.echo(f"Port {port} is in use on this machine. Choose another one: make demo PORT={port + 10}", err=True)
        return 1
    sandbox_port = port + 1 if port < 65535 and _is_free(port + 1) else _free_port()
    environ = demo_environment(home, port, sandbox_port)
    os.environ.update(environ)
    (home / "ports.json").write_text(json.dumps({"port": port, "sandbox_port": sandbox_port}))
    gateway, sign_ins = _set_up(environ)
    return _Servers(environ, home, port, sandbox_port, gateway).run(sign_ins)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def demo_environment(home: Path, port: int, sandbox_port: int) -> dict[str, str]:
    """This machine's demo: keys are made once, so that sign-ins and saved cards survive a restart."""
    kept = home / "keys.json"
    if not kept.exists():
        made = {
            "PORTAL_SECRET_KEY": secrets.token_urlsafe(48),
            "PORTAL_ENCRYPTION_KEYS": new_key(),
            "webhook_secret": f"whsec_{secrets.token_hex(24)}",
        }
        kept.touch(mode=0o600)
        kept.write_text(json.dumps(made))
    keys = json.loads(kept.read_text())
    sandbox = f"http://127.0.0.1:{sandbox_port}"
    return {
        "PORTAL_ENV": "development",
        "PORTAL_DATABASE_URL": f"sqlite:///{home / 'portal.db'}",
        "PORTAL_BASE_URL": f"http://127.0.0.1:{port}",
        "PORTAL_MAIL_URL": f"file:{home / 'mail'}",
        "PORTAL_REDIS_URL": "",
        "PORTAL_TRUSTED_PROXIES": "",
        "STRIPE_API_BASE": sandbox,
        "STRIPE_JS_URL": f"{sandbox}/endive/stripe.js",
        "DEMO_WEBHOOK_SECRET": keys["webhook_secret"],
        **{name: value for name, value in keys.items() if name.startswith("PORTAL_")},
    }


def _set_up(environ: dict[str, str]) -> tuple[str, list[tuple[str, str]]]:
    """Tables and the demo clinic, if they are not there yet; gives the gateway's address part and the sign-ins."""
    config = from_environment(environ)
    upgrade(config.database_url)
    database = Database(config.database_url)
    parts = Parts(config=config, database=database, vault=Vault(config.encryption_keys), connect=_no_gateway)
    with database.read() as connection:
        empty = connection.scalar(select(Patient.id).limit(1)) is None
    if empty:
        make_demo(
            parts,
            token=SANDBOX_TOKEN,
            secret=SANDBOX_SECRET,
            webhook_secret=environ["DEMO_WEBHOOK_SECRET"],
            more=False,
        )
    with database.read() as connection:
        gateway = connection.scalar(select(ConfiguredGateway.public_id).order_by(ConfiguredGateway.id).limit(1))
        users = connection.execute(select(User.email, User.name, User.role).order_by(User.id)).all()
    database.close()
    return gateway or "", [(row.email, f"{row.name}, {row.role.replace('_', ' ')}") for row in users]


def _no_gateway(_secret: str) -> Gateway:
    raise AssertionError("setting the demo up calls no gateway")


class _Servers:
    """The three processes of the demo, which live and end together."""

    def __init__(self, environ: dict[str, str], home: Path, port: int, sandbox_port: int, gateway: str) -> None:
        self.environ = {**os.environ, **environ}
        self.home = home
        self.port, self.sandbox_port = port, sandbox_port
        self.gateway = gateway
        self.stopping = threading.Event()
        self.children: list[tuple[str, subprocess.Popen[bytes]]] = []

    def run(self, sign_ins: list[tuple[str, str]]) -> int:
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, self._stop)
        try:
            self._start()
            if not self._wait_until_ready():
                return 0 if self.stopping.is_set() else 1
            self._say_hello(sign_ins)
            while not self.stopping.wait(0.3):
                dead = self._first_dead()
                if dead:
                    click.echo(f"The {dead} ended by itself; see {self.home / 'log'}. Ending the rest.", err=True)
                    return 1
            return 0
        finally:
            self._end_all()

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self.stopping.set()

    def _start(self) -> None:
        hook = f"http://127.0.0.1:{self.port}/webhooks/stripe/{self.gateway}"
        self._spawn(
            "sandbox",
            "-m", "portal.sandbox", "--port", str(self.sandbox_port), "--state", str(self.home / "sandbox.json"),
            "--webhook-url", hook, "--webhook-secret", self.environ["DEMO_WEBHOOK_SECRET"],
        )  # fmt: skip
        self._spawn(
            "web server",
            "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(self.port),
            "--workers", "1", "--blocking-threads", "4", "--no-ws", "wsgi:app",
        )  # fmt: skip
        self._spawn("worker", "-c", "from portal.cli import main; main()", "work")

    def _spawn(self, name: str, *arguments: str) -> None:
        log = (self.home / "log").open("ab")
        child = subprocess.Popen(  # noqa: S603  our own interpreter and modules
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509  this process has no threads yet
        )
        self.children.append((name, child))

    def _wait_until_ready(self) -> bool:
        for name, url in (("sandbox", f":{self.sandbox_port}/"), ("web server", f":{self.port}/readyz")):
            until = time.monotonic() + READY_WITHIN_S
            while not _answers(f"http://127.0.0.1{url}"):
                dead = self._first_dead()
                if self.stopping.is_set():
                    return False
                if dead or time.monotonic() > until:
                    click.echo(f"The {dead or name} did not start; see {self.home / 'log'}", err=True)
                    return False
                time.sleep(0.1)
        return True

    def _first_dead(self) -> str | None:
        return next((name for name, child in self.children if child.poll() is not None), None)

    def _say_hello(self, sign_ins: list[tuple[str, str]]) -> None:
        lines = [
            "",
            f"The portal is at      http://127.0.0.1:{self.port}/",
            f"The sandbox shows     http://127.0.0.1:{self.sandbox_port}/   (stands in for Stripe; no real money)",
            f"Mails are shown at    http://127.0.0.1:{self.port}/demo/mails   (none is sent to anybody)",
            "",
            f"Sign-ins, password for all: {PASSWORD}",
            *(f"  {email:<24} {who}" for email, who in sign_ins),
            "The staff are asked for a code as well: the page that asks shows it, in the demo only.",
            "",
            "Test cards, any future date and any code:",
            *(f"  {number}   {what}" for number, what in CARDS),
            "",
            "Ctrl-C ends all of it.",
        ]
        click.echo("\n".join(lines))
        sys.stdout.flush()

    def _end_all(self) -> None:
        for _, child in reversed(self.children):
            if child.poll() is None:
                child.terminate()
        until = time.monotonic() + STOP_WITHIN_S
        for _, child in reversed(self.children):
            try:
                child.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            # A server that was stopped while it started may leave a child behind: the whole session goes.
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310  our own loopback address
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError, TimeoutError):
        return False


def _die_with_parent() -> None:
    """On Linux, a demo whose parent is killed outright leaves no server behind (prctl PR_SET_PDEATHSIG)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
