"""Who pays for whom, and whether they see what each invoice is for (P9).

A payer sees amounts. Lines are the patient's own to show: they switch them on for each payer in the portal. For a
minor the clinic's staff may, and that holds until the patient is of age.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from flask_babel import lazy_gettext as _l
from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from portal.audit import record
from portal.clock import now
from portal.db import Database, insert_ignoring_duplicates
from portal.errors import Refusal
from portal.patients.finding import number_of
from portal.people import Patient, PayerLink, is_minor, lines_shown

LONGEST_RELATION = 40


class NotOneself(Refusal):
    """Everybody pays for themselves already."""

    status = 422
    message = _l("Everybody pays for themselves already. Choose another person.")


class PaysAlready(Refusal):
    """The link is there."""

    message = _l("{name} pays for this person already.")


class NobodyThere(Refusal):
    """No such person, or no such link (any more)."""

    status = 404
    title = _l("We can't find that person")
    message = _l("They may have been taken off meanwhile. Open the file again to see how it stands.")


class OnlyThePatientMay(Refusal):
    """Lines of somebody who is of age, or whose birth date nobody knows, are theirs alone to show."""

    status = 403
    title = _l("Only the patient can allow that. Nothing was changed.")
    message = _l(
        "What the invoices of an adult are for, they show to a payer themselves, in the portal under “Who pays for "
        "you”. Staff can allow it for somebody under 18 whose birth date is on file."
    )


@dataclass(frozen=True)
class Linked:
    """One end of a link: the payer of a patient, or somebody whom a payer pays for."""

    id: int
    name: str
    relation: str
    sees_lines: bool

    @property
    def number(self) -> str:
        return number_of(self.id)


_links, _people = PayerLink.__table__.c, Patient.__table__.c
_LINK = (_people.id, _people.given_name, _people.family_name, _links.relation, _links.sees_lines,
         _links.allowed_by_staff)  # fmt: skip


def payers_of(connection: Connection, patient_id: int, birth_date: date | None, today: date) -> Sequence[Linked]:
    """Who pays for this patient."""
    rows = connection.execute(
        select(*_LINK).join_from(PayerLink.__table__, Patient.__table__, _people.id == _links.payer_id)
        .where(_links.patient_id == patient_id).order_by(_people.search_key, _people.id)
    )  # fmt: skip
    return [
        Linked(row[0], f"{row[1]} {row[2]}", row[3], lines_shown(row[4], row[5], birth_date, today)) for row in rows
    ]


def payees_of(connection: Connection, payer_id: int, today: date) -> Sequence[Linked]:
    """Whom this person pays for."""
    rows = connection.execute(
        select(*_LINK, _people.birth_date)
        .join_from(PayerLink.__table__, Patient.__table__, _people.id == _links.patient_id)
        .where(_links.payer_id == payer_id).order_by(_people.search_key, _people.id)
    )  # fmt: skip
    return [Linked(row[0], f"{row[1]} {row[2]}", row[3], lines_shown(row[4], row[5], row[6], today)) for row in rows]


def link_payer(
    database: Database, *, patient_id: int, payer_id: int, relation: str, sees_lines: bool, today: date, by: int
) -> None:
    """From now on this payer sees and pays this patient's invoices.

    Raises NotOneself, NobodyThere, PaysAlready; OnlyThePatientMay for lines of somebody who is of age.
    """
    if payer_id == patient_id:
        raise NotOneself
    with database.transaction() as session:
        patient, payer = session.get(Patient, patient_id), session.get(Patient, payer_id)
        if patient is None or payer is None:
            raise NobodyThere
        if sees_lines and not is_minor(patient.birth_date, today):
            raise OnlyThePatientMay
        made = insert_ignoring_duplicates(
            session, PayerLink, payer_id=payer_id, patient_id=patient_id, relation=relation, sees_lines=sees_lines,
            allowed_by_staff=sees_lines, created_at=now(),
        )  # fmt: skip
        if not made:
            raise PaysAlready(name=payer.name)
        record(
            session, "payer.linked", _subject(payer, patient), by=by,
            after=_words(relation, sees_lines), patient_id=patient_id,
        )  # fmt: skip


def unlink_payer(database: Database, *, patient_id: int, payer_id: int, by: int) -> None:
    """From now on this payer sees nothing of this patient any more. Raises NobodyThere."""
    with database.transaction() as session:
        link, payer, patient = _locked(session, patient_id, payer_id)
        session.delete(link)
        record(
            session, "payer.unlinked", _subject(payer, patient), by=by,
            before=_words(link.relation, link.sees_lines), patient_id=patient_id,
        )  # fmt: skip


def show_lines(database: Database, *, patient_id: int, payer_id: int, on: bool, by: int, today: date | None) -> None:
    """Show this payer what the patient's invoices are for, or stop it.

    `today`: staff ask, on that day of the clinic's; None: the patient themselves. Anybody of the two may stop it.
    Raises NobodyThere, OnlyThePatientMay.
    """
    with database.transaction() as session:
        link, payer, patient = _locked(session, patient_id, payer_id)
        if on and today is not None and not is_minor(patient.birth_date, today):
            raise OnlyThePatientMay
        before = link.sees_lines, link.allowed_by_staff
        link.sees_lines, link.allowed_by_staff = on, on and today is not None
        if before != (link.sees_lines, link.allowed_by_staff):
            record(
                session, "payer.lines", _subject(payer, patient), by=by,
                before=_words("", before[0]), after=_words("", on), patient_id=patient_id,
            )  # fmt: skip


def _locked(session: Session, patient_id: int, payer_id: int) -> tuple[PayerLink, Patient, Patient]:
    found = session.scalars(
        select(PayerLink).where(PayerLink.patient_id == patient_id, PayerLink.payer_id == payer_id).with_for_update()
    ).first()
    if found is None:
        raise NobodyThere
    return found, session.get_one(Patient, payer_id), session.get_one(Patient, patient_id)


def _subject(payer: Patient, patient: Patient) -> str:
    return f"{payer.name}, {number_of(payer.id)}, pays for {patient.name}, {number_of(patient.id)}"


def _words(relation: str, sees_lines: bool) -> str:
    return ", ".join(filter(None, [relation, "sees lines" if sees_lines else "sees amounts only"]))
