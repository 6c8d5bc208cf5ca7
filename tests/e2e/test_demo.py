"""`make demo` as a newcomer meets it: real processes, a real browser, Ctrl-C."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import VISA
from tests.support.axe import assert_accessible
from tests.support.browser import Pages

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parent.parent.parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(port: int, folder: Path) -> "subprocess.Popen[str]":
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("PORTAL_", "STRIPE_"))}
    return subprocess.Popen(
        [sys.executable, "-c", "from portal.cli import main; main()", "demo", "--port", str(port),
         "--folder", str(folder)],
        cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


@contextmanager
def demo(port: int, folder: Path) -> Iterator[str]:
    """The demo, up and running; gives what it printed. Afterwards Ctrl-C must end all of it."""
    process = start(port, folder)
    assert process.stdout is not None
    printed = ""
    try:
        for line in process.stdout:
            printed += line
            if "Ctrl-C" in line:
                break
        assert "Ctrl-C" in printed, printed
        yield printed
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        process.stdout.close()
    until = time.monotonic() + 5
    while _listens(port) and time.monotonic() < until:
        time.sleep(0.1)
    assert not _listens(port), "a server was left behind"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.promise("P2", "P3", "G2", "E3")
def test_the_demo_shows_the_main_job_and_keeps_what_happened(new_page: Pages, tmp_path: Path) -> None:
    port = free_port()
    page = new_page()
    with demo(port, tmp_path) as printed:
        password = re.search(r"password for all: (.+)", printed)
        assert password is not None
        assert "maya@example.com" in printed
        page.goto(f"http://127.0.0.1:{port}/")
        page.get_by_label("Email").fill("maya@example.com")
        page.get_by_label("Password").fill(password[1])
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("link", name=re.compile("^Pay")).first.click()
        page.wait_for_selector("#card-fields:not([aria-busy])", state="attached")
        fields = page.frame_locator("iframe[title='Secure card payment input frame']")
        fields.get_by_label("Card number").press_sequentially(VISA)
        fields.get_by_label("Expiration date").fill("12 / 34")
        fields.get_by_label("Security code").fill("123")
        page.get_by_role("button", name="Pay CA$").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("Receipt R-")
        receipt = page.url

        assert f"http://127.0.0.1:{port}/demo/mails" in printed
        until = time.monotonic() + 20
        page.goto(f"http://127.0.0.1:{port}/demo/mails")
        while not page.get_by_role("link", name=re.compile("^Receipt R-")).count() and time.monotonic() < until:
            time.sleep(0.3)
            page.reload()
        assert_accessible(page)
        page.get_by_role("link", name=re.compile("^Receipt R-")).click()
        assert_accessible(page)
        page.set_viewport_size({"width": 320, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        page.set_viewport_size({"width": 1280, "height": 900})
        page.frame_locator("iframe").get_by_role("link").first.click()
        expect(page).to_have_url(receipt)  # a link of the mail opens in the whole window

        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("Email").fill("dana@example.com")
        page.get_by_label("Password").fill(password[1])
        page.get_by_role("button", name="Sign in").click()
        note = page.get_by_text("This is a demo account.").inner_text()
        code = re.search(r"Its code just now is (\d{3} \d{3})\.", note)
        assert code is not None and "asks shows it" in printed
        page.get_by_label("Code", exact=True).fill(code[1])
        page.get_by_role("button", name="Continue").click()
        expect(page.get_by_text("Dana Whitlock").first).to_be_visible()
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("Email").fill("maya@example.com")
        page.get_by_label("Password").fill(password[1])
        page.get_by_role("button", name="Sign in").click()
        expect(page).to_have_url(re.compile("/invoices$"))

        busy = start(port, tmp_path / "other")
        said, _ = busy.communicate(timeout=30)
        assert busy.returncode == 1
        assert f"Port {port} is in use on this machine. Choose another one: make demo PORT=" in said

        sandbox = re.search(r"The sandbox shows\s+(\S+)", printed)
        assert sandbox is not None
        page.goto(sandbox[1])
        expect(page.locator("body")).to_contain_text("succeeded")

    with demo(port, tmp_path):
        page.goto(receipt)
        expect(page.get_by_role("heading", level=1)).to_contain_text("Receipt R-")


@pytest.mark.parametrize("after_s", [0.3, 1.5, 2.2, 3.0])
def test_ctrl_c_while_the_demo_starts_leaves_nothing_behind(tmp_path: Path, after_s: float) -> None:
    port = free_port()
    process = start(port, tmp_path)
    time.sleep(after_s)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    until = time.monotonic() + 5
    while _listens(port) and time.monotonic() < until:
        time.sleep(0.1)
    assert not _listens(port), "a server was left behind"
    left = [
        one.info["cmdline"] for one in psutil.process_iter(["cmdline"]) if str(port) in (one.info["cmdline"] or [])
    ]
    assert left == []
