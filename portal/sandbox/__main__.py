"""`python -m portal.sandbox`: run the stand-in for Stripe on this machine."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from types import FrameType

from portal.sandbox.sandbox import Sandbox
from portal.sandbox.server import listen


def main() -> int:
    options = _options()
    if os.environ.get("PORTAL_ENV") == "production":
        print("The Stripe sandbox is a test double; it does not start in production.", file=sys.stderr)  # noqa: T201  a program speaks to its terminal
        return 2
    sandbox = Sandbox(state=options.state)
    try:
        server = listen(sandbox, options.host, options.port)
    except ValueError as refusal:
        print(refusal, file=sys.stderr)  # noqa: T201  a program speaks to its terminal
        return 2
    if options.webhook_url:
        sandbox.use_webhook_endpoint(options.webhook_url, secret=options.webhook_secret)
    sandbox.start()
    print(f"Stripe sandbox (a test double, not Stripe): {sandbox.base_url}", flush=True)  # noqa: T201  a program speaks to its terminal
    signal.signal(signal.SIGTERM, _leave)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        sandbox.stop()
        server.server_close()
    return 0


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m portal.sandbox", description="A local stand-in for Stripe.")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address")
    parser.add_argument("--port", type=int, default=12111)
    parser.add_argument("--state", help="a file to remember everything in; without it, nothing survives a restart")
    parser.add_argument("--webhook-url", help="where to send the default account's test events")
    parser.add_argument("--webhook-secret", help="whsec_…: what to sign them with")
    options = parser.parse_args()
    if options.webhook_url and not options.webhook_secret:
        parser.error("--webhook-url needs --webhook-secret")
    return options


if __name__ == "__main__":
    sys.exit(main())
