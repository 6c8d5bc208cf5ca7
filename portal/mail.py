"""Sends what waits in the outbox: writes each mail as text and HTML, and hands it to the mail server.

A mail is leased, sent, then marked, and keeps its Message-ID, so that one which is sent again after a crash between
the last two is shown once by the reader's mail program.
"""

import logging
import os
import smtplib
import ssl
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from portal import ROOT
from portal.clock import now
from portal.config import Config
from portal.letters.receipts import attached_receipt
from portal.outbox import Letter, claim_letter, mark_failed, mark_sent
from portal.parts import Parts
from portal.settings import LETTERS, Settings, read_settings

TIMEOUT_S = 20

log = logging.getLogger(__name__)


class BadMail(Exception):
    """The mail can't be written: a kind without a template, a word that is missing, an address that is none."""


def deliver_waiting_mail(parts: Parts, most: int = 50) -> int:
    """Send what waits, oldest first; gives how many were sent. One that fails waits longer each time."""
    with parts.database.transaction() as session:
        letter = claim_letter(session, parts.vault)
    if letter is None:
        return 0
    with parts.database.read() as connection:
        settings = read_settings(connection)
    sent = 0
    with _Post(parts.config) as post:
        for _ in range(most):
            sent += _deliver(parts, settings, letter, post)
            with parts.database.transaction() as session:
                letter = claim_letter(session, parts.vault)
            if letter is None:
                break
    return sent


def _deliver(parts: Parts, settings: Settings, letter: Letter, post: "_Post") -> bool:
    try:
        post.send(_message(parts, settings, letter))
    except (OSError, smtplib.SMTPException, BadMail) as error:
        why = _why(error)
        log.warning("mail %s (%s) was not sent: %s", letter.id, letter.kind, why)
        with parts.database.transaction() as session:
            mark_failed(session, letter.id, why)
        return False
    with parts.database.transaction() as session:
        mark_sent(session, letter.id)
    return True


def _message(parts: Parts, settings: Settings, letter: Letter) -> EmailMessage:
    pdf = attached_receipt(parts, settings, letter.words) if letter.kind == "receipt" else None
    message = written(letter, settings, parts.config.mail_url, parts.config.base_url, has_pdf=pdf is not None)
    if pdf is not None:
        name = f"receipt-{letter.words['receipt']}.pdf"
        message.add_attachment(pdf, maintype="application", subtype="pdf", filename=name)
    return message


def _why(error: Exception) -> str:
    """For the office to read: the kind of failure and the server's number, never an address or a text of the mail."""
    code = getattr(error, "smtp_code", None)
    return f"{type(error).__name__} {code}" if code else type(error).__name__


# --- writing --------------------------------------------------------------------------------------------------------


@lru_cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(ROOT / "templates"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_null_translations(newstyle=True)  # type: ignore[attr-defined]  # the i18n extension adds it
    return environment


def written(
    letter: Letter, settings: Settings, mail_url: str, base_url: str, *, has_pdf: bool = False
) -> EmailMessage:
    """The mail as it goes out, from templates/email/<kind>. Raises BadMail."""
    words = {
        **letter.words,
        "clinic_name": settings.clinic_name,
        "clinic_address": settings.text("clinic_address"),
        "clinic_phone": settings.text("clinic_phone"),
        "clinic_email": settings.text("clinic_email"),
        "clinic_hue": settings.text("clinic_hue"),
        "own_note": settings.text(f"email_note_{letter.kind}") if letter.kind in LETTERS else "",
        "base_url": base_url,
        "has_pdf": has_pdf,
    }
    try:
        subject, body, html = (
            _templates().get_template(f"email/{letter.kind}/{part}").render(words)
            for part in ("subject.txt", "body.txt", "body.html")
        )
        message = EmailMessage()
        message["Subject"] = " ".join(subject.split())
        message["From"] = Address(settings.clinic_name, addr_spec=_sender(settings, mail_url, base_url))
        message["To"] = Address(addr_spec=letter.recipient)
        if settings.text("clinic_email"):
            message["Reply-To"] = settings.text("clinic_email")
        message["Date"] = format_datetime(now())
        message["Message-ID"] = letter.message_id
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(body.strip() + "\n")
        message.add_alternative(html, subtype="html")
    except Exception as error:  # whatever a template or an address trips over, the letters behind it still go
        raise BadMail(type(error).__name__) from error
    return message


def _sender(settings: Settings, mail_url: str, base_url: str) -> str:
    """`?from=` of the mail URL, for servers that insist on one; else the clinic's own address."""
    asked = parse_qs(urlsplit(mail_url).query).get("from", [""])[0]
    return asked or settings.text("clinic_email") or f"no-reply@{urlsplit(base_url).hostname}"


# --- sending --------------------------------------------------------------------------------------------------------


class _Post:
    """A way to send, opened with the first mail and kept for those after it."""

    def __init__(self, config: Config) -> None:
        self._url = config.mail_url
        self._own_name = urlsplit(config.base_url).hostname
        self._server: smtplib.SMTP | None = None

    def __enter__(self) -> "_Post":
        return self

    def __exit__(self, *_exception: Any) -> None:
        self._hang_up()

    def send(self, message: EmailMessage) -> None:
        if self._url.startswith("file:"):
            _file(message, Path(self._url.removeprefix("file:").removeprefix("//")))
            return
        try:
            if self._server is None:
                self._server = _connected(self._url, self._own_name)
            self._server.send_message(message)
        except (OSError, smtplib.SMTPException):
            self._hang_up()
            raise

    def _hang_up(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            try:
                server.quit()
            except (OSError, smtplib.SMTPException):
                server.close()


def _connected(url: str, own_name: str | None) -> smtplib.SMTP:
    """smtps: is TLS from the first byte; smtp: turns to TLS first, and this machine alone may do without."""
    parts = urlsplit(url)
    host = parts.hostname or "localhost"
    if parts.scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(
            host, parts.port or 465, own_name, timeout=TIMEOUT_S, context=ssl.create_default_context()
        )
    else:
        server = smtplib.SMTP(host, parts.port or 587, own_name, timeout=TIMEOUT_S)
    try:
        server.ehlo()
        if parts.scheme == "smtp" and (server.has_extn("starttls") or host not in ("localhost", "127.0.0.1", "::1")):
            server.starttls(context=ssl.create_default_context())
            server.ehlo()
        if parts.username:
            server.login(unquote(parts.username), unquote(parts.password or ""))
    except (OSError, smtplib.SMTPException):
        server.close()
        raise
    return server


def _file(message: EmailMessage, folder: Path) -> None:
    """For development: one file per mail, named by its Message-ID, so that a mail sent again is still one file."""
    folder.mkdir(parents=True, exist_ok=True)
    name = sha256(str(message["Message-ID"]).encode()).hexdigest()[:16]
    unfinished = folder / f".{name}.{os.getpid()}"
    unfinished.write_bytes(bytes(message))
    unfinished.replace(folder / f"{now():%Y%m%d}-{name}.eml")
