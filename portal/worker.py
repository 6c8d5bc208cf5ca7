"""The worker: follows the hints that gateways sent, sends the mail that waits, and sweeps what nobody finished.

Several may run at once: each takes what no other has taken. Killed at any moment, it loses nothing: what was taken
and not finished is taken again after a while.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from sqlalchemy.exc import OperationalError

from portal.audit import chain_entries
from portal.cards import let_go_of_removed_cards
from portal.invoices.sums import fold_sums
from portal.letters.reminders import queue_reminders
from portal.limits import forget_tries
from portal.mail import deliver_waiting_mail
from portal.parts import Parts
from portal.payments.hints import follow_hint
from portal.payments.settle import sweep
from portal.programs.sweeping import sweep_places
from portal.refunds.sweeping import sweep_refunds
from portal.webhooks import handle_waiting_events

PAUSE_S = 1.0
SWEEP_EVERY_S = 15.0
TIDY_EVERY_S = 600.0

log = logging.getLogger(__name__)


def follow_hints(parts: Parts) -> int:
    """One round of the inbox; gives how many hints were followed."""
    return handle_waiting_events(parts.database, lambda hint: follow_hint(parts, hint))


def work_once(parts: Parts) -> int:
    """One round of hints, reminders and mail; gives how much was done."""
    return follow_hints(parts) + remind(parts) + deliver_waiting_mail(parts)


def sweep_once(parts: Parts) -> int:
    """One round of looking after what was left open, without any webhook; gives how much was looked at."""
    chain_audit(parts)
    add_up(parts)
    return sweep(parts) + sweep_places(parts) + sweep_refunds(parts) + let_go_of_removed_cards(parts)


def chain_audit(parts: Parts) -> int:
    """One round of chaining the audit log; gives how many entries were linked."""
    return chain_entries(parts.database)


def add_up(parts: Parts) -> int:
    """Bring the sums of Invoice Search up to date; gives how many invoices had changed."""
    return fold_sums(parts.database)


def remind(parts: Parts) -> int:
    """Queue the reminders that are due; gives how many."""
    return queue_reminders(parts)


def tidy(parts: Parts) -> None:
    """Throw away what is of no use any more."""
    forget_tries(parts.database)


class Worker:
    """Rounds of work until told to stop. Mail has a thread of its own: a slow mail server holds up no payment."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._stop = threading.Event()
        self._next_sweep = 0.0
        self._next_tidy = 0.0

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Finish the round and end."""
        self._stop.set()

    def run(self) -> None:
        """Work until stopped. A database that is away for a while is waited for."""
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self.stop)
        mail = threading.Thread(target=self._keep_sending, name="mail")
        mail.start()
        while not self._stop.is_set():
            if not self._round():
                self._stop.wait(PAUSE_S)
        mail.join()

    def _keep_sending(self) -> None:
        while not self._stop.is_set():
            if not self._did(self._send_mail):
                self._stop.wait(PAUSE_S)

    def _send_mail(self, parts: Parts) -> int:
        return deliver_waiting_mail(parts, is_stopping=self._stop.is_set)

    def _round(self) -> bool:
        """Every kind of work but mail once, the rarer ones when they are due; whether anything was done."""
        done = [self._did(follow_hints)]
        if time.monotonic() >= self._next_sweep:
            self._next_sweep = time.monotonic() + SWEEP_EVERY_S
            done += [
                self._did(sweep),
                self._did(sweep_places),
                self._did(sweep_refunds),
                self._did(let_go_of_removed_cards),
                self._did(chain_audit),
                self._did(add_up),
            ]
        if time.monotonic() >= self._next_tidy:
            self._next_tidy = time.monotonic() + TIDY_EVERY_S
            self._did(tidy)
            self._did(remind)
        return any(done)

    def _did(self, work: Callable[[Parts], int | None]) -> bool:
        """Do one kind of work. Where it fails, the others still get their turn: mail that can't be sent must not keep
        payments from being settled. What it was about stays claimable and is tried again."""
        if self._stop.is_set():
            return False
        try:
            return bool(work(self._parts))
        except OperationalError as error:
            log.warning("the database does not answer: %s", type(error).__name__)
        except Exception:  # what one round was about is taken again later; the worker itself must live
            log.exception("a round of work failed")
        return False
