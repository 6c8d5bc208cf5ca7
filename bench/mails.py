"""How many mails one worker sends a second into a mail server on this machine, beside bare smtplib."""

import os
import smtplib
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from bench.clinics import Clinic
from bench.served import ROOT
from portal.db import Database
from portal.outbox import queue_mail
from portal.vault import Vault
from tests.support.mail_server import MailServer, serving

MAILS = 600
WITHIN_S = 120


class Timed(MailServer):
    """Notes when each mail came."""

    def __init__(self) -> None:
        super().__init__()
        self.moments: list[float] = []
        self.meanwhile = lambda: self.moments.append(time.perf_counter())

    def per_s(self) -> float:
        """Mails a second, from the first to the last."""
        return (len(self.moments) - 1) / (self.moments[-1] - self.moments[0])


def mails_per_s(clinic: Clinic) -> tuple[float, float]:
    """What one `portal work` sends a second, and its ratio to the same mails over one bare connection."""
    _queue(clinic)
    ours, bare = Timed(), Timed()
    with serving(ours) as url, _worker(clinic, url):
        until = time.monotonic() + WITHIN_S
        while len(ours.got) < MAILS:
            assert time.monotonic() < until, "the worker does not send"
            time.sleep(0.02)
    with serving(bare) as url:
        _send_bare(url, ours.got)
    return ours.per_s(), ours.per_s() / bare.per_s()


def _queue(clinic: Clinic) -> None:
    database, vault = Database(clinic.url), Vault(clinic.config.encryption_keys)
    run = time.time_ns()
    with database.transaction() as session:
        for number in range(MAILS):
            queue_mail(
                session, vault, "receipt", f"bench:{run}:{number}", f"p{number}@example.com",
                name="Maya", number="10482", due="1 December 2026", balance="CA$0.00", receipt=f"R-{number}",
                amount="CA$139.76", paid_on="24 November 2026", card="Visa 4242", is_settled=True,
                own_patient_id=None,
            )  # fmt: skip
    database.close()


@contextmanager
def _worker(clinic: Clinic, mail_url: str) -> Iterator[None]:
    worker = subprocess.Popen(
        [sys.executable, "-c", "from portal.cli import main; main()", "work"],
        cwd=ROOT,
        env={**os.environ, **clinic.environ, "PORTAL_MAIL_URL": mail_url},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        worker.terminate()
        worker.wait(20)


def _send_bare(url: str, mails: list[bytes]) -> None:
    parts = urlsplit(url)
    with smtplib.SMTP(parts.hostname or "", parts.port or 0) as server:
        for number, mail in enumerate(mails):
            server.sendmail("frontdesk@example.com", [f"p{number}@example.com"], mail)
