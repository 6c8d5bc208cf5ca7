"""Patients, found again by their reference: the number that the clinic's former system gave them."""

from datetime import date

from flask_babel import lazy_gettext as _l
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.accounts import tidy_email
from portal.clock import now
from portal.imports.bulk import Row, insert_rows, reserve_ids
from portal.imports.files import Line
from portal.imports.report import Report
from portal.patients.file import is_phone
from portal.people import Patient, PatientWord, folded, word_rows
from portal.setup.entry import Entry

WORDS = {
    "reference": _l("Reference"),
    "given_name": _l("Given name"),
    "family_name": _l("Family name"),
    "email": _l("Email"),
    "phone": _l("Phone"),
    "birth_date": _l("Birth date"),
    "address": _l("Address"),
}
OLDEST = date(1900, 1, 1)


class Patients:
    """A file of patients."""

    columns = tuple(WORDS)
    required = ("reference", "given_name", "family_name")

    def __init__(self, session: Session, report: Report) -> None:
        self._report = report
        rows = session.execute(select(Patient.reference, Patient.search_key, Patient.birth_date)).all()
        self._there = {row.reference for row in rows if row.reference}
        self._by_hand = {(row.search_key, row.birth_date) for row in rows if not row.reference and row.birth_date}
        self._seen: dict[str, int] = {}
        self._new: list[Row] = []

    def take(self, line: Line) -> None:
        """One patient."""
        entry = Entry(line.fields, WORDS)
        row: Row = {
            "reference": entry.line("reference", 40, required=True),
            "given_name": entry.line("given_name", 80, required=True),
            "family_name": entry.line("family_name", 80, required=True),
            "email": _email(entry),
            "phone": _phone(entry),
            "birth_date": birth_date(entry),
            "address": entry.lines("address"),
        }
        row["search_key"] = folded(f"{row['family_name']} {row['given_name']}")[:170]
        first = self._seen.setdefault(row["reference"], line.number)
        if first != line.number:
            entry.refuse("reference", _l("Reference %(reference)s stands in line %(line)s already.",
                                         reference=row["reference"], line=first))  # fmt: skip
        is_there = row["reference"] in self._there
        if not is_there and (row["search_key"], row["birth_date"]) in self._by_hand:
            entry.refuse("family_name", _l("%(name)s, born on the same day, is on file already without a reference. "
                                           "Take the line out, so that nobody is on file twice.",
                                           name=f"{row['given_name']} {row['family_name']}"))  # fmt: skip
        for sentence in entry.wrong.values():
            self._report.refuse(line.number, sentence)
        if is_there:
            self._report.there += 1
        else:
            self._report.new += 1
            self._new.append(row)

    def end(self) -> None:
        """Each line stands for itself."""

    def write(self, session: Session) -> None:
        """Put them on file, with the words by which they are found."""
        moment, ids = now(), reserve_ids(session, Patient, len(self._new))
        rows = [{"id": number, "created_at": moment, **row} for number, row in zip(ids, self._new, strict=True)]
        insert_rows(session, Patient, rows)
        words = (
            word_rows(row["id"], row["given_name"], row["family_name"], row["email"], row["phone"], row["reference"])
            for row in rows
        )
        insert_rows(session, PatientWord, [word for each in words for word in each])


def _email(entry: Entry) -> str:
    text = entry.line("email", 254)
    if not text:
        return ""
    try:
        return tidy_email(text)
    except ValueError:
        entry.refuse("email", _l("Email: “%(email)s” is no address.", email=text[:60]))
        return ""


def _phone(entry: Entry) -> str:
    text = entry.line("phone", 40)
    if text and not is_phone(text):
        entry.refuse("phone", _l("Phone: “%(phone)s” is no telephone number.", phone=text[:40]))
    return text


def birth_date(entry: Entry) -> date | None:
    """A date of birth, or none."""
    text = entry.raw("birth_date")
    found = iso_date(text)
    if text and (found is None or not OLDEST <= found <= now().date()):
        entry.refuse("birth_date", _l("Birth date: “%(date)s” is no date like 1988-06-14.", date=text[:20]))
    return found


def iso_date(text: str) -> date | None:
    """ "2026-11-24" as a date; None for anything else."""
    try:
        return date.fromisoformat(text) if len(text) == 10 else None
    except ValueError:
        return None
