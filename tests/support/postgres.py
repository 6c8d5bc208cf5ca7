"""A throw-away PostgreSQL for one test run.

`PORTAL_TEST_POSTGRESQL_URL` names a server to use; else the newest of the machine's own is started; else the
one that the `pgserver` wheel carries.
"""

import contextlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
from psycopg import sql
from sqlalchemy import make_url

from tests.support.run_folder import locked, run_folder

OLDEST = 15
URL_VARIABLE = "PORTAL_TEST_POSTGRESQL_URL"

# Nothing here has to survive a power cut. Autovacuum could hold the template open just when it is copied.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "jit": "off",
    "max_connections": "200",
    "timezone": "UTC",
}


class NoPostgreSQL(Exception):
    """There is no server to test on, and why."""


@contextmanager
def postgresql() -> Iterator[str]:
    """The base URL of a server that lives as long as the block does."""
    with run_folder(before_removal=stop) as folder:
        yield join(folder)


def join(folder: Path) -> str:
    """The base URL of the run's server; the first process to ask starts it. `stop` ends it."""
    if url := os.environ.get(URL_VARIABLE):
        return make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    with locked(folder / "postgresql.lock"):
        known = folder / "postgresql.url"
        if not known.exists():
            known.write_text(_start(folder))
        return known.read_text()


def stop(folder: Path) -> None:
    """End the server that was started in this folder, if any. Its data is not worth a clean shutdown."""
    data = folder / "data"
    try:
        server = psutil.Process(int((data / "postmaster.pid").read_text().split()[0]))
        # A number may have been given to another process since; only ours was started on this very folder.
        if str(data) in server.cmdline():
            server.send_signal(signal.SIGQUIT)
            _wait_until_gone(server)
    except (FileNotFoundError, psutil.NoSuchProcess):
        return


def create_database(base_url: str, name: str, template: str | None = None) -> str:
    """Make a database, empty or as a copy of another that nobody is connected to; its URL."""
    # Copying files is three times as fast as copying through the write-ahead log.
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
    _execute(base_url, statement.format(sql.Identifier(name), sql.Identifier(template or "template0")))
    return make_url(base_url).set(database=name).render_as_string(hide_password=False)


def drop_database(base_url: str, name: str) -> None:
    """Drop a database, and the connections that were left open to it."""
    # A drop that meets a connection, even one that is just ending, sleeps for a tenth of a second.
    disconnect_all(base_url, name)
    until = time.monotonic() + 1
    while _is_connected_to(base_url, name) and time.monotonic() < until:
        time.sleep(0.001)
    _execute(base_url, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def disconnect_all(base_url: str, name: str) -> None:
    """End every connection to a database, such as a pool's idle ones."""
    statement = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}"
    _execute(base_url, sql.SQL(statement).format(sql.Literal(name)))


def _is_connected_to(base_url: str, name: str) -> bool:
    statement = "SELECT FROM pg_stat_activity WHERE datname = {}"
    return _execute(base_url, sql.SQL(statement).format(sql.Literal(name))).rowcount > 0


_connections: dict[str, psycopg.Connection] = {}


def _execute(base_url: str, statement: sql.Composed) -> psycopg.Cursor:
    """By one connection for the whole process: opening one costs as much as dropping a database."""
    connection = _connections.get(base_url)
    if connection is None or connection.closed:
        url = make_url(base_url).set(drivername="postgresql").render_as_string(hide_password=False)
        connection = _connections[base_url] = psycopg.connect(url, autocommit=True)
    return connection.execute(statement)


@dataclass(frozen=True)
class _Binaries:
    folder: Path
    version: int


def _binaries_in(folder: Path) -> _Binaries | None:
    try:
        answer = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r"\) (\d+)", answer.stdout)
    return _Binaries(folder, int(version[1])) if version and (folder / "initdb").exists() else None


def _machines_own() -> list[Path]:
    on_path = shutil.which("postgres")
    return [
        *([Path(on_path).resolve().parent] if on_path else []),
        *Path("/usr/lib/postgresql").glob("*/bin"),  # Debian keeps the server off the PATH
    ]


def _from_the_wheel() -> list[Path]:
    package = importlib.util.find_spec("pgserver")
    return [Path(package.origin).parent / "pginstall" / "bin"] if package and package.origin else []


def find_binaries() -> Path:
    """The folder of the newest `postgres` that is new enough: the machine's own, else the wheel's."""
    for folders in (_machines_own(), _from_the_wheel()):
        found = [binaries for folder in folders if (binaries := _binaries_in(folder)) and binaries.version >= OLDEST]
        if found:
            return max(found, key=lambda binaries: binaries.version).folder
    raise NoPostgreSQL(
        f"The tests need PostgreSQL {OLDEST} or newer: install it, or set {URL_VARIABLE} to one where "
        "they may create databases. (The pgserver wheel, which would carry one, is not made for this "
        "Python.) SQLite alone: --database sqlite"
    )


@dataclass(frozen=True)
class _Account:
    """Who runs the server: it refuses to run as root."""

    uid: int
    gid: int

    def run(self, command: Sequence[object], folder: Path) -> None:
        """Run one of PostgreSQL's programs, in a folder that this account may enter."""
        as_another = os.geteuid() != self.uid
        completed = subprocess.run(
            [str(part) for part in command],
            check=False,
            cwd=folder,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            user=self.uid if as_another else None,
            group=self.gid if as_another else None,
            extra_groups=[] if as_another else None,
        )
        if completed.returncode != 0:
            raise NoPostgreSQL(f"{command[0]} failed:\n{completed.stdout}")


def _account() -> _Account:
    if os.geteuid() != 0:
        return _Account(os.geteuid(), os.getegid())
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return _Account(entry.pw_uid, entry.pw_gid)
    raise NoPostgreSQL("PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody` to run it as.")


def _within_reach(binaries: Path, account: _Account, folder: Path) -> Path:
    """The binaries, or a copy of them where this account can't reach them (a checkout below /root)."""
    try:
        account.run([binaries / "postgres", "--version"], folder)
    except PermissionError:
        site_packages = folder / "site-packages"
        shutil.copytree(binaries.parent, site_packages / "pgserver" / "pginstall", symlinks=True)
        if (libraries := binaries.parents[2] / "pgserver.libs").exists():  # found by their place in the wheel
            shutil.copytree(libraries, site_packages / libraries.name)
        return site_packages / "pgserver" / "pginstall" / "bin"
    return binaries


def _start(folder: Path) -> str:
    account, data = _account(), folder / "data"
    folder.chmod(0o711)
    binaries = _within_reach(find_binaries(), account, folder)
    data.mkdir(mode=0o700, exist_ok=True)
    os.chown(data, account.uid, account.gid)
    locale = "C.UTF-8" if sys.platform == "linux" else "en_US.UTF-8"
    options = ["-D", data, "-U", "portal", "-A", "trust", "-E", "UTF8", "--locale", locale, "--no-sync"]
    account.run([binaries / "initdb", *options], folder)
    with (data / "postgresql.conf").open("a") as configuration:
        configuration.writelines(f"{name} = '{value}'\n" for name, value in SETTINGS.items())
    port = _start_on_a_free_port(binaries, account, data)
    return f"postgresql+psycopg://portal@127.0.0.1:{port}/postgres"


def _start_on_a_free_port(binaries: Path, account: _Account, data: Path, tries: int = 5) -> int:
    """Another may take a port between our finding it free and the server's opening it: then try again."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        options = ["-D", data, "-l", data / "log", "-o", f"-p {port}"]
        try:
            account.run([binaries / "pg_ctl", "start", "-w", *options], data.parent)
        except NoPostgreSQL as failure:
            tries -= 1
            if tries == 0:
                raise NoPostgreSQL(f"{failure}\n{(data / 'log').read_text()}") from failure
        else:
            return port


def _wait_until_gone(process: psutil.Process, timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    # A zombie is gone too: in a container there may be nobody to collect it.
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            process.kill()
            return
        time.sleep(0.02)
