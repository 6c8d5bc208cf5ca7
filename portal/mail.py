"""Sends what waits in the outbox: writes each mail as text and HTML, and hands it to the mail server.

A mail is leased, sent, then marked, and keeps its Message-ID, so that one which is sent again after a crash between
the last two is shown once by the reader's mail program.
"""

import logging
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import Policy
from email.utils import format_datetime
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from portal.clock import now
from portal.letters.receipts import attached_receipt
from portal.letters.registrations import words_of
from portal.letters.reminders import why_not_now
from portal.letters.writing import one_line, write
from portal.outbox import (
    Letter,
    Mishap,
    Trouble,
    claim_letter,
    is_mail_due,
    mark_failed,
    mark_sent,
    put_off_due_mail,
)
from portal.parts import Parts
from portal.post import NotSent, Post, post_of
from portal.programs.calendar import calendar_of_registration
from portal.programs.refusals import RegistrationNotFound
from portal.programs.seats import CHANGED, CONFIRMED
from portal.settings import Settings, read_settings

ROUND_S = 30
"""A round ends after so long, however slow the mail server is; the next one reads the settings again."""

BROKEN_LINES = 2
"""After so many broken connections in a row it is the server, not the mail."""

MARKING_PAUSES_S = (0.2, 1, 3, 10)

Done = TypeVar("Done")

log = logging.getLogger(__name__)


class BadMail(Exception):
    """The mail can't be written: a kind without a template, a word that is missing."""


class BadAddress(BadMail):
    """What is on file is no address."""


def deliver_waiting_mail(parts: Parts, most: int = 50, is_stopping: Callable[[], bool] = lambda: False) -> int:
    """Send what waits, oldest first; gives how many were sent. One that fails waits longer each time.

    Where no connection can be had, none is claimed and all that are due rest together: a mail server in trouble is
    asked once, not once for each mail.
    """
    with parts.database.read() as connection:
        if not is_mail_due(connection):
            return 0
        settings = read_settings(connection)
    with closing(post_of(parts.config)) as post:
        return _Round(parts, settings, post, is_stopping).send_up_to(most)


class _Round:
    """Some mails over one connection. How one ended is written down with the claim of the next: one commit a mail."""

    def __init__(self, parts: Parts, settings: Settings, post: Post, is_stopping: Callable[[], bool]) -> None:
        self._parts = parts
        self._settings = settings
        self._post = post
        self._is_stopping = is_stopping
        self._host = urlsplit(parts.config.base_url).hostname or "localhost"
        self._broken_lines = 0

    def send_up_to(self, most: int) -> int:
        until = time.monotonic() + ROUND_S
        letter = self._first()
        sent = 0
        for turn in range(1, most + 1):
            if letter is None:
                break
            mishap = self._mishap_of(letter)
            sent += mishap is None
            may_go_on = turn < most and time.monotonic() < until and not self._is_stopping()
            letter = self._noted(letter, mishap, may_go_on)
        return sent

    def _first(self) -> Letter | None:
        if not self._can_send():
            return None
        with self._parts.database.transaction() as session:
            return claim_letter(session, self._parts.vault, self._host)

    def _can_send(self) -> bool:
        """Connect before any mail is leased, so that a slow connection uses up no lease."""
        try:
            self._post.open()
        except NotSent as error:
            self._put_off(error.mishap)
            return False
        return True

    def _put_off(self, mishap: Mishap) -> None:
        with self._parts.database.transaction() as session:
            count = put_off_due_mail(session, mishap)
        log.warning("no mail can be sent just now, and %s wait: %s", count, mishap)

    def _mishap_of(self, letter: Letter) -> Mishap | None:
        """Send it; what went wrong, if anything did."""
        try:
            if letter.kind == "reminder" and (held := why_not_now(self._parts, letter.id)) is not None:
                return held
            if letter.registration_id is not None:
                words = self._words_about(letter, letter.registration_id)
                if words is None:
                    return Mishap(Trouble.NOT_NEEDED, for_good=True)
                letter = replace(letter, words=words)
            self._post.send(_message(self._parts, self._settings, letter))
        except BadAddress:
            mishap = Mishap(Trouble.NOT_AN_ADDRESS, for_good=True)
        except BadMail as error:
            mishap = Mishap(Trouble.NOT_WRITTEN, str(error))
        except NotSent as error:
            mishap = error.mishap
        except Exception as error:  # whatever it trips over, the mails behind it still go
            log.exception("mail %s (%s) could not be made", letter.id, letter.kind)
            mishap = Mishap(Trouble.NOT_WRITTEN, type(error).__name__)
        else:
            self._broken_lines = 0
            return None
        self._broken_lines = self._broken_lines + 1 if mishap.trouble is Trouble.BROKEN_OFF else 0
        log.warning("mail %s (%s) was not sent: %s", letter.id, letter.kind, mishap)
        return mishap

    def _words_about(self, letter: Letter, registration_id: int) -> dict[str, Any] | None:
        """The words of a mail about a registration, written now; None where what it tells is not so any more."""
        with self._parts.database.read() as connection:
            return words_of(connection, self._settings, letter.kind, registration_id)

    def _noted(self, letter: Letter, mishap: Mishap | None, may_go_on: bool) -> Letter | None:
        """Write down how it ended; gives the next one, if there is to be one."""

        def note(session: Session) -> Letter | None:
            if mishap is None:
                mark_sent(session, letter)
            else:
                mark_failed(session, letter, mishap)
            if not (may_go_on and self._post.is_open):
                return None
            return claim_letter(session, self._parts.vault, self._host)

        try:
            following = self._persistently(note)
        except Exception:  # whatever trips the claim, how this one ended is written down
            may_go_on = False
            self._persistently(note)
            raise
        if following is not None or self._post.is_open or not may_go_on:
            return following
        if mishap is not None and self._broken_lines >= BROKEN_LINES:
            self._put_off(mishap)
            return None
        return self._first()

    def _persistently(self, work: Callable[[Session], Done]) -> Done:
        """What the mail server took must be written down: a database that is away for a moment is asked again."""
        for pause_s in MARKING_PAUSES_S:
            try:
                with self._parts.database.transaction() as session:
                    return work(session)
            except OperationalError as error:
                log.warning("the database does not answer after a mail: %s", type(error).__name__)
                time.sleep(pause_s)
        with self._parts.database.transaction() as session:
            return work(session)


def _message(parts: Parts, settings: Settings, letter: Letter) -> EmailMessage:
    pdf = attached_receipt(parts, settings, letter.words) if letter.kind == "receipt" else None
    calendar = _calendar(parts, letter.registration_id) if letter.kind in (CONFIRMED, CHANGED) else None
    more = {"has_pdf": pdf is not None, "has_calendar": calendar is not None}
    letter = replace(letter, words={**letter.words, **more})
    message = written(letter, settings, parts.config.mail_url, parts.config.base_url)
    if pdf is not None:
        name = f"receipt-{letter.words['receipt']}.pdf"
        message.add_attachment(pdf, maintype="application", subtype="pdf", filename=name)
    if calendar is not None:
        name, told = "sessions.ics", {"charset": "utf-8"}
        message.add_attachment(calendar, maintype="text", subtype="calendar", filename=name, params=told)
    return message


def _calendar(parts: Parts, registration_id: int | None) -> bytes | None:
    """The sessions of a place, for calendars; None where there are none."""
    if registration_id is None:
        return None
    try:
        with parts.database.read() as connection:
            return calendar_of_registration(connection, registration_id, parts.config.base_url)
    except RegistrationNotFound:
        return None


# --- writing --------------------------------------------------------------------------------------------------------


def written(letter: Letter, settings: Settings, mail_url: str, base_url: str) -> EmailMessage:
    """The mail as it goes out, from templates/email/<kind>. Raises BadMail."""
    to = _address(letter.recipient)
    if to is None:
        raise BadAddress
    try:
        subject, body, html = write(
            letter.kind, {"has_pdf": False, "has_calendar": False, **letter.words}, settings, base_url
        )
        message = EmailMessage()
        message["Subject"] = subject
        message["From"] = _sender(settings, mail_url, base_url)
        message["To"] = to
        answers_to = _address(settings.text("clinic_email"))
        if answers_to is not None:
            message["Reply-To"] = answers_to
        message["Date"] = format_datetime(now())
        message["Message-ID"] = letter.message_id
        message["Auto-Submitted"] = "auto-generated"
        if "unsubscribe" in letter.words:
            message["List-Unsubscribe"] = _Unsubscribe(f"<{letter.words['unsubscribe']}>")
            message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        message.set_content(body)
        message.add_alternative(html, subtype="html")
    except Exception as error:  # whatever a template or an address trips over, the letters behind it still go
        raise BadMail(type(error).__name__) from error
    return message


class _Unsubscribe(str):
    """A header with an address that stays as it is (RFC 2369, 2). One longer than a line the library would fold into
    encoded words, which no mail program looks through for an address.
    """

    name = "List-Unsubscribe"

    def fold(self, *, policy: Policy) -> str:
        """The header's line, as the library asks for it."""
        return f"{self.name}: {self}{policy.linesep}"


def _sender(settings: Settings, mail_url: str, base_url: str) -> Address:
    """`?from=` of the mail URL, for servers that insist on one; else the clinic's own address."""
    asked = parse_qs(urlsplit(mail_url).query).get("from", [""])[0]
    own = f"no-reply@{urlsplit(base_url).hostname}"
    found = _address(asked) or _address(settings.text("clinic_email")) or Address(addr_spec=own)
    return Address(one_line(settings.clinic_name), found.username, found.domain)


def _address(text: str) -> Address | None:
    """One address and nothing else, its domain spelled as mail servers look it up; None where the text is none."""
    local, _, domain = text.rpartition("@")
    try:
        found = Address(addr_spec=f"{local}@{domain if domain.isascii() else domain.encode('idna').decode()}")
    except (ValueError, MessageError, IndexError):  # IndexError: what the library makes of some that are none
        return None
    return found if found.username and found.domain else None
