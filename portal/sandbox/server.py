"""The sandbox as a small server on this machine's loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from portal.sandbox.sandbox import Sandbox
from portal.sandbox.webhooks import is_loopback


class _Quiet(WSGIRequestHandler):
    """Writes no access log: an address may hold a client secret. The sandbox's own log is at `/`."""

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: object) -> None:
        if type == "error":
            super().log(type, "%s", "a request failed")


def listen(sandbox: Sandbox, host: str, port: int) -> BaseWSGIServer:
    """A server, not yet serving. Raises ValueError for any host but loopback."""
    if not is_loopback(host):
        raise ValueError(f"the sandbox listens on loopback only, not on {host}")
    server = make_server(host, port, sandbox.wsgi_app, threaded=True, request_handler=_Quiet)
    sandbox.base_url = f"http://{host}:{server.server_port}"
    return server


@contextmanager
def serve(sandbox: Sandbox, *, port: int = 0) -> Iterator[str]:
    """Serve from a thread, on a free port unless told; gives the base URL."""
    server = listen(sandbox, "127.0.0.1", port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield sandbox.base_url
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
