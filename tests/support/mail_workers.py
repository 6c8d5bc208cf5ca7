"""Real worker processes that start in no time: one process imports the portal once, and forks a worker when asked.

`python -m tests.support.mail_workers` reads one JSON line with the address of the database, of the mail server, and
the key; then a number a line: fork a worker whose clock runs that many minutes ahead. It answers with the process id.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


class Workers:
    """Starts workers, and ends them all in the end."""

    def __init__(self, forking: "subprocess.Popen[str]") -> None:
        self._forking = forking
        self.running: list[int] = []

    def start(self, minutes_ahead: int = 0) -> int:
        """A new worker; gives its process id."""
        assert self._forking.stdin is not None and self._forking.stdout is not None
        self._forking.stdin.write(f"{minutes_ahead}\n")
        self._forking.stdin.flush()
        pid = int(self._forking.stdout.readline())
        self.running.append(pid)
        return pid

    def kill(self, pid: int) -> None:
        """At once, wherever it is."""
        self.running.remove(pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def kill_all(self) -> None:
        """Every one of them."""
        for pid in list(self.running):
            self.kill(pid)


@contextmanager
def mail_workers(database_url: str, mail_url: str, key: str) -> Iterator[Workers]:
    """Be ready to start workers for this clinic."""
    forking = subprocess.Popen(
        [sys.executable, "-m", "tests.support.mail_workers"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert forking.stdin is not None and forking.stdout is not None
    forking.stdin.write(json.dumps([database_url, mail_url, key]) + "\n")
    forking.stdin.flush()
    assert forking.stdout.readline() == "ready\n"
    workers = Workers(forking)
    try:
        yield workers
    finally:
        workers.kill_all()
        forking.stdin.close()
        forking.wait(10)
        forking.stdout.close()


def _work(database_url: str, mail_url: str, key: str, minutes_ahead: int) -> None:
    from portal.clock import shifted
    from portal.config import Config
    from portal.db import Database
    from portal.parts import Parts
    from portal.vault import Vault, parse_key
    from portal.worker import Worker

    keys = (parse_key(key),)
    config = Config(
        production=False, database_url=database_url, secret_key="", encryption_keys=keys,
        base_url="https://pay.example.com", mail_url=mail_url,
    )  # fmt: skip

    def no_gateway(_secret: str) -> None:
        raise AssertionError("no gateway is needed to send mail")

    parts = Parts(config, Database(database_url), Vault(keys), no_gateway)  # type: ignore[arg-type]  # it never returns
    with shifted(timedelta(minutes=minutes_ahead)):
        Worker(parts).run()


def _fork_when_asked() -> None:
    import portal.worker  # noqa: F401  once, for all of them

    database_url, mail_url, key = json.loads(sys.stdin.readline())
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                _work(database_url, mail_url, key, int(line))
            finally:
                os._exit(0)
        print(pid, flush=True)


if __name__ == "__main__":
    _fork_when_asked()
