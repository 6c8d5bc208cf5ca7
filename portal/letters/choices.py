"""Which mails somebody wants: reminders or none, and receipts as a PDF or not. Their own choice, and recorded."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from itsdangerous import BadSignature, URLSafeSerializer
from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from portal.audit import record
from portal.clock import now
from portal.config import Config
from portal.db import Database
from portal.people import Patient


def _signer(config: Config) -> URLSafeSerializer:
    return URLSafeSerializer(config.secret_key, salt="no more reminders")


def unsubscribe_url(config: Config, patient_id: int) -> str:
    """The address that ends reminders for one person, without signing in (RFC 8058). It opens nothing else."""
    return f"{config.base_url}/no-reminders/{_signer(config).dumps(patient_id)}"


def whose(config: Config, token: str) -> int | None:
    """The person whom such an address is for; None where we never made it."""
    try:
        found = _signer(config).loads(token)
    except BadSignature:
        return None
    return found if isinstance(found, int) else None


def choices_of(connection: Connection, patient_id: int) -> tuple[bool, bool]:
    """Whether somebody gets reminders, and whether they agreed to get receipts as a PDF."""
    row = connection.execute(
        select(Patient.reminders_off_at, Patient.receipt_pdf_allowed_at).where(Patient.id == patient_id)
    ).one()
    return row.reminders_off_at is None, row.receipt_pdf_allowed_at is not None


def choose_reminders(database: Database, patient_id: int, on: bool, *, by: int | None) -> bool:
    """Send somebody reminders, or none; False where it was so already. `by` None: from the link in a mail."""

    def change(patient: Patient, moment: datetime) -> bool:
        if (patient.reminders_off_at is None) == on:
            return False
        patient.reminders_off_at = None if on else moment
        return True

    return _changed(database, patient_id, change, "patient.reminders", "on" if on else "off", by)


def choose_receipt_pdf(database: Database, patient_id: int, on: bool, *, by: int | None) -> bool:
    """Record somebody's consent to receipts as a PDF by mail, or that they take it back; False where it was so."""

    def change(patient: Patient, moment: datetime) -> bool:
        if (patient.receipt_pdf_allowed_at is not None) == on:
            return False
        patient.receipt_pdf_allowed_at = moment if on else None
        return True

    return _changed(database, patient_id, change, "patient.receipt_pdf", "agreed" if on else "not agreed", by)


def _changed(
    database: Database,
    patient_id: int,
    change: Callable[[Patient, datetime], bool],
    event: str,
    after: str,
    by: int | None,
) -> bool:
    def work(session: Session) -> bool:
        patient: Any = session.get(Patient, patient_id, with_for_update=True)
        if patient is None or not change(patient, now()):
            return False
        record(session, event, patient.name, by=by, after=after, patient_id=patient_id)
        return True

    with database.transaction() as session:
        return work(session)
