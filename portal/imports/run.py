"""One import: look the file through, and write it all or not at all."""

from pathlib import Path

from flask_babel import lazy_gettext as _l
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal.audit import record
from portal.db import Database
from portal.errors import Refusal
from portal.imports.files import lines_of
from portal.imports.invoices import Invoices
from portal.imports.lists import Practitioners, Services
from portal.imports.patients import Patients
from portal.imports.report import Plan, Progress, Report
from portal.setup.kinds import one_at_a_time

PLANS: dict[str, type[Plan]] = {
    "patients": Patients,
    "practitioners": Practitioners,
    "services": Services,
    "invoices": Invoices,
}
TELL_EVERY = 500


class ChangedMeanwhile(Refusal):
    """Somebody added one of these things at the same moment; the database let only one of the two through."""

    title = _l("Nothing was written")
    message = _l("Somebody else was adding some of this at the same moment. Run it once more.")


def run_import(database: Database, kind: str, path: Path, *, write: bool, progress: Progress | None = None) -> Report:
    """Look a file through, and with `write`, write it if nothing is wrong with it.

    Raises UnusableFile for what is no CSV file of this kind, ChangedMeanwhile when somebody else was faster.
    """
    if not write:
        with Session(database.reading) as session:
            return _look(session, kind, path, progress)[0]
    try:
        with database.transaction() as session:
            one_at_a_time(session)
            report, plan = _look(session, kind, path, progress)
            if not report.problems and report.new:
                plan.write(session)
                after = f"lines: {report.lines}; new: {report.new}; there already: {report.there}"
                record(session, f"import.{kind}", f"file {path.name}"[:200], by=None, after=after)
                report.written = True
    except IntegrityError:
        raise ChangedMeanwhile from None
    return report


def _look(session: Session, kind: str, path: Path, progress: Progress | None) -> tuple[Report, Plan]:
    report = Report()
    plan = PLANS[kind](session, report)
    for line in lines_of(path, plan.columns, plan.required):
        plan.take(line)
        report.lines += 1
        if progress and report.lines % TELL_EVERY == 0:
            progress(report.lines)
    plan.end()
    report.problems.sort()
    return report, plan
