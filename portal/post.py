"""Hands a written mail to the mail server, and says in our words how that ended."""

import os
import re
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parseaddr
from hashlib import sha256
from pathlib import Path
from typing import Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from portal.clock import now
from portal.config import Config
from portal.outbox import SENDING_S, Mishap, Trouble

STEP_S = 20
"""How long one step of talking to the mail server may take."""

THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
SERVICE_CLOSES = 421


class NotSent(Exception):
    """The mail did not go; `mishap` says why."""

    def __init__(self, mishap: Mishap) -> None:
        super().__init__(str(mishap))
        self.mishap = mishap


class Post(Protocol):
    """A way to send mails."""

    @property
    def is_open(self) -> bool:
        """Whether a mail can be handed over right away."""

    def open(self) -> None:
        """Get ready to send. Raises NotSent: then no mail can be sent."""

    def send(self, message: EmailMessage) -> None:
        """Hand one mail over. Raises NotSent."""

    def close(self) -> None:
        """Say goodbye."""


def post_of(config: Config) -> Post:
    """The way to send that PORTAL_MAIL_URL names."""
    if config.mail_url.startswith("file:"):
        return FolderPost(mail_folder(config.mail_url))
    return SmtpPost(config.mail_url, urlsplit(config.base_url).hostname)


# --- a folder -------------------------------------------------------------------------------------------------------


def mail_folder(mail_url: str) -> Path:
    """Where a file: address keeps the mails."""
    return Path(mail_url.removeprefix("file:").removeprefix("//"))


class FolderPost:
    """For development: one file per mail, named by its Message-ID, so that a mail sent again is still one file."""

    is_open = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self) -> None:
        pass

    def send(self, message: EmailMessage) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            name = sha256(str(message["Message-ID"]).encode()).hexdigest()[:16]
            unfinished = self._folder / f".{name}.{os.getpid()}"
            unfinished.write_bytes(bytes(message))
            unfinished.replace(self._folder / f"{now():%Y%m%d}-{name}.eml")
        except OSError as error:
            raise NotSent(Mishap(Trouble.BROKEN_OFF, type(error).__name__)) from error

    def close(self) -> None:
        pass


# --- a mail server --------------------------------------------------------------------------------------------------


class SmtpPost:
    """One connection to the mail server, kept from mail to mail."""

    def __init__(self, url: str, own_name: str | None) -> None:
        self._url = urlsplit(url)
        self._own_name = own_name
        self._server: smtplib.SMTP | None = None

    @property
    def is_open(self) -> bool:
        return self._server is not None

    def open(self) -> None:
        if self._server is None:
            try:
                self._server = _connected(self._url, self._own_name)
            except (OSError, smtplib.SMTPException, UnicodeError) as error:
                raise NotSent(_why_not_connected(error)) from error

    def send(self, message: EmailMessage) -> None:
        assert self._server is not None, "open it first"
        handing = _Handing(self._server, message)
        try:
            with _cut_off_after(SENDING_S, self._server):
                handing.over()
        except smtplib.SMTPResponseException as refusal:
            self._begin_anew(refusal.smtp_code)
            raise NotSent(_why_refused(handing.step, refusal.smtp_code, refusal.smtp_error)) from refusal
        except (OSError, smtplib.SMTPException, ValueError) as error:  # ValueError: the line was cut under our hands
            self._hang_up()
            detail = f"{type(error).__name__} at {handing.step}"
            raise NotSent(Mishap(Trouble.BROKEN_OFF, detail, unanswered=handing.is_out)) from error

    def close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            try:
                server.quit()
            except (OSError, smtplib.SMTPException):
                server.close()

    def _begin_anew(self, code: int) -> None:
        """After a no, the next mail begins afresh; where the server is going away, on a new connection."""
        if self._server is not None and code != SERVICE_CLOSES:
            try:
                if self._server.rset()[0] == 250:
                    return
            except (OSError, smtplib.SMTPException):
                pass
        self._hang_up()

    def _hang_up(self) -> None:
        """Without a goodbye: the other side may no longer be listening."""
        server, self._server = self._server, None
        if server is not None:
            server.close()


class _Handing:
    """Handing one mail over, step by step; `is_out` once all of it has left and only the answer is missing."""

    def __init__(self, server: smtplib.SMTP, message: EmailMessage) -> None:
        self.step = "MAIL"
        self.is_out = False
        self._server = server
        self._message = message
        self._until = time.monotonic() + SENDING_S

    def over(self) -> None:
        sender, recipient = (parseaddr(str(self._message[who]))[1] for who in ("From", "To"))
        server = self._server
        self._check(server.mail(sender))
        self.step = "RCPT"
        self._check(server.rcpt(recipient))
        content = _content(self._message)
        self.step = "DATA"
        self._check(server.docmd("DATA"), 354)
        if time.monotonic() > self._until:  # this process was stopped for a while, and the lease may be another's
            raise TimeoutError
        server.send(content)
        self.is_out = True
        self._check(server.getreply())

    @staticmethod
    def _check(answer: tuple[int, bytes], *wanted: int) -> None:
        code, text = answer
        if not 200 <= code < 600:
            raise smtplib.SMTPServerDisconnected
        if code not in (wanted or (250, 251)):
            raise smtplib.SMTPResponseException(code, text)


def _content(message: EmailMessage) -> bytes:
    """The mail as it travels: seven bits, CRLF, lines that begin with a dot doubled, and the dot that ends it."""
    flat = message.as_bytes(policy=SMTP.clone(cte_type="7bit"))
    flat = re.sub(rb"(?m)^\.", b"..", flat)
    return flat + (b"" if flat.endswith(b"\r\n") else b"\r\n") + b".\r\n"


@contextmanager
def _cut_off_after(seconds: float, server: smtplib.SMTP) -> Iterator[None]:
    """Cut the line when the time is up: a server that answers a letter at a time would outlast every other limit."""

    def cut() -> None:
        line = server.sock
        if line is not None:
            with suppress(OSError):  # the plain shutdown: another thread is in the middle of TLS's own
                socket.socket.shutdown(line, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _connected(url: SplitResult, own_name: str | None) -> smtplib.SMTP:
    """smtps: is TLS from the first byte; smtp: turns to TLS first, and this machine alone may do without."""
    host = url.hostname or "localhost"
    if url.scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(
            host, url.port or 465, own_name, timeout=STEP_S, context=ssl.create_default_context()
        )
    else:
        server = smtplib.SMTP(host, url.port or 587, own_name, timeout=STEP_S)
    try:
        with _cut_off_after(SENDING_S, server):
            server.ehlo()
            if url.scheme == "smtp" and (server.has_extn("starttls") or host not in THIS_MACHINE):
                server.starttls(context=ssl.create_default_context())
                server.ehlo()
            if url.username:
                server.login(unquote(url.username), unquote(url.password or ""))
    except (OSError, smtplib.SMTPException, ValueError):
        server.close()
        raise
    return server


# --- how it ended ---------------------------------------------------------------------------------------------------


def _why_not_connected(error: Exception) -> Mishap:
    code = getattr(error, "smtp_code", None)
    detail = " ".join(str(part) for part in (type(error).__name__, code) if part)
    return Mishap(Trouble.NOT_LET_IN if _is_about_signing_in(error) else Trouble.UNREACHABLE, detail)


def _is_about_signing_in(error: Exception) -> bool:
    return isinstance(error, smtplib.SMTPAuthenticationError) and error.smtp_code >= 500


def _why_refused(step: str, code: int, text: bytes | str) -> Mishap:
    """What a no means. Given up at once is only what is surely about the address: a wrong setting of the mail server
    (5.7.x, sign-in wanted, relay denied) is mended within three days, and the mails then go."""
    said = text.decode("ascii", "replace") if isinstance(text, bytes) else text
    found = re.match(r"\s*([245]\.\d{1,3}\.\d{1,3})\b", said)
    status = found[1] if found else ""
    detail = f"{code} {status}".strip()
    if code < 500:
        return Mishap(Trouble.LATER, detail)
    if step == "MAIL" or status in ("5.1.7", "5.1.8"):  # RFC 3463: bad sender's address
        return Mishap(Trouble.SENDER_REFUSED, detail)
    if status == "5.2.2" or (step == "RCPT" and code == 552 and not status):
        return Mishap(Trouble.MAILBOX_FULL, detail, for_good=True)
    if status.startswith(("5.1.", "5.2.")) or (step == "RCPT" and _is_about_the_address(code, status)):
        return Mishap(Trouble.NO_SUCH_ADDRESS, detail, for_good=True)
    return Mishap(Trouble.MAIL_REFUSED, detail)


def _is_about_the_address(code: int, status: str) -> bool:
    return code not in (530, 535, 538, 554) and not status.startswith("5.7.")
