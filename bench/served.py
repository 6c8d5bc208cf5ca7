"""A WSGI application on Granian, as in production, and what a request to it costs in CPU, the database's included."""

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
CLIENTS = 2


@dataclass
class Served:
    """One running server, and the processes whose CPU counts as its own."""

    port: int
    process: psutil.Process
    also: list[psutil.Process] = field(default_factory=list)

    def cpu_s(self) -> float:
        """CPU seconds used so far by the server, its workers, and the database behind it."""
        return sum(_tree_cpu(process) for process in [self.process, *self.also])

    def get(self, path: str, cookie: str = "", times: int = 1) -> bytes:
        """Fetch a page over one kept-alive connection; every answer must be 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        headers = {"Cookie": cookie} if cookie else {}
        body = b""
        for _ in range(times):
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == 200, f"{path}: {answer.status}"
        connection.close()
        return body

    def cost_s(self, path: str, cookie: str = "", times: int = 400) -> float:
        """CPU seconds that one request costs, over `times` of them."""
        before = self.cpu_s()
        self.get(path, cookie, times)
        return (self.cpu_s() - before) / times

    def workers_pss_mib(self) -> float:
        """The proportional memory of the largest worker, in MiB."""
        children = self.process.children(recursive=True) or [self.process]
        return max(child.memory_full_info().pss for child in children) / 2**20


def _tree_cpu(process: psutil.Process) -> float:
    total = 0.0
    for one in [process, *process.children(recursive=True)]:
        try:
            used = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += used.user + used.system
        if one == process:
            total += used.children_user + used.children_system
    return total


@contextmanager
def served(
    target: str, environ: dict[str, str], also: Sequence[psutil.Process] = (), workers: int = 1, threads: int = 1
) -> Iterator[Served]:
    """Serve `module:app` as the demo and the operations guide do; with one worker, where CPU is measured."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port),
        "--workers", str(workers), "--blocking-threads", str(threads), "--no-ws", target,
    ]  # fmt: skip
    child = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **environ}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(port, child)
        yield Served(port, psutil.Process(child.pid), list(also))
    finally:
        child.terminate()
        child.wait(20)


def _wait_for(port: int, child: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert child.poll() is None, "the server ended at once"
        try:
            with socket.create_connection(("127.0.0.1", port), 0.5):
                return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError("the server does not listen")
