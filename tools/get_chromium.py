"""Finds a Chromium for the browser tests, and installs one where there is none.

`python -m tools.get_chromium` is run by `make test`; the tests themselves call `find` only.
"""

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class NoChromium(Exception):
    """There is no browser, and why."""


@functools.cache
def version(program: str) -> str | None:
    """What the browser calls itself ("Chromium 140.0.1"), or None when it doesn't start.

    Being on the PATH is not enough: Ubuntu's `chromium-browser` only tells to install a snap.
    """
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


def find() -> str | None:
    """The machine's own Chromium: $CHROMIUM, or the first on the PATH that starts; None without one.

    Raises NoChromium when $CHROMIUM names something that doesn't start.
    """
    if named := os.environ.get("CHROMIUM"):
        if version(named) is None:
            raise NoChromium(f"CHROMIUM={named} is not a browser that starts.")
        return named
    on_path = (shutil.which(name) for name in NAMES)
    return next((program for program in on_path if program and version(program)), None)


def _install_with_apt() -> bool:
    """Debian's own package; it needs root."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None or not Path("/etc/debian_version").exists():
        return False
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-qq", "-y", "chromium"]):
        if subprocess.run(command, check=False, env=environment, stdout=sys.stderr).returncode != 0:
            return False
    return True


def _install_with_playwright() -> bool:
    """Playwright's own build, kept in the user's cache; its system libraries must be there."""
    command = [sys.executable, "-m", "playwright", "install", "chromium"]
    return subprocess.run(command, check=False, stdout=sys.stderr).returncode == 0


def ensure() -> str:
    """Says which browser the tests will drive, after installing one if need be. Raises NoChromium."""
    if program := find():
        return f"{program} ({version(program)})"
    print("No Chromium on this machine: installing one.", file=sys.stderr)
    if _install_with_apt() and (program := find()):
        return f"{program} ({version(program)})"
    if _install_with_playwright():
        return "Playwright's own Chromium"
    raise NoChromium(
        "The browser tests need Chromium, and it could not be installed. Install it (Debian: apt-get install "
        "chromium), or name one: make test CHROMIUM=/path/to/chromium"
    )


def main() -> int:
    try:
        print(f"Browser: {ensure()}")
    except NoChromium as missing:
        print(missing, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
