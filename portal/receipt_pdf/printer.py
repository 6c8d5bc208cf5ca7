"""The way to the process that sets receipts: started with the first one, shared by the threads of this process."""

import json
import logging
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from flask_babel import lazy_gettext as _l

from portal.errors import Refusal

PRESS = Path(__file__).with_name("press.py")
PATIENCE_S = 15.0

log = logging.getLogger(__name__)


class CannotPrint(Refusal):
    """No PDF came of it: the press hangs, died, or trips over these words. The log says which, by its name alone."""

    status = 503
    title = _l("We can't make the PDF just now")
    message = _l("The receipt itself is safe. Print its page instead, or try again in a few minutes.")


class Printer:
    """One press, and a lock: a page takes some milliseconds, so threads wait for each other."""

    def __init__(self, command: list[str] | None = None, patience_s: float = PATIENCE_S) -> None:
        self._command = command or [sys.executable, "-I", str(PRESS)]
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._press: subprocess.Popen[bytes] | None = None

    def printed(self, words: Mapping[str, Any]) -> bytes:
        """The PDF. Raises CannotPrint. A press that has gone home meanwhile is started again."""
        body = json.dumps(words, ensure_ascii=False).encode(errors="replace")
        with self._lock:
            for is_last in (False, True):
                fresh = self._press is None
                try:
                    return self._asked(body)
                except OSError as error:
                    self.stop()
                    if fresh or is_last:
                        log.error("a receipt could not be set: %s", type(error).__name__)
                        raise CannotPrint from error
        raise AssertionError("the last try returns or raises")

    def _asked(self, body: bytes) -> bytes:
        press = self._started()
        assert press.stdin is not None and press.stdout is not None, "both are pipes"
        # A hanging press is ended from aside; the read below then comes back empty.
        alarm = threading.Timer(self._patience_s, press.kill)
        alarm.start()
        try:
            press.stdin.write(struct.pack(">I", len(body)) + body)
            press.stdin.flush()
            head = press.stdout.read(4)
            length = struct.unpack(">I", head)[0] if len(head) == 4 else 0
            answer = press.stdout.read(length)
        finally:
            alarm.cancel()
        if not answer or len(answer) < length:  # half a page is no receipt
            raise ConnectionError("the press hung up")
        if answer[:1] != b"\1":
            log.error("a receipt could not be set: %s", answer[1:].decode())
            raise CannotPrint
        return answer[1:]

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._press is None or self._press.poll() is not None:
            self.stop()
            self._press = subprocess.Popen(  # noqa: S603  our own script, with our own interpreter
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        return self._press

    def stop(self) -> None:
        """End the press, if there is one."""
        press, self._press = self._press, None
        if press is None:
            return
        press.kill()
        press.wait()
        for pipe in (press.stdin, press.stdout):
            if pipe is not None:
                with suppress(OSError):  # what it had not read yet can't be flushed any more
                    pipe.close()


_printer = Printer()


def printed(words: Mapping[str, Any]) -> bytes:
    """The PDF of a receipt's words, from this process's own press. Raises CannotPrint."""
    return _printer.printed(words)
