"""A roster as CSV or as a workbook. Whatever people typed is written as text, never as a formula."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date

import xlsxwriter
from flask_babel import gettext as _

from portal.invoices.search.export import harmless
from portal.programs.desk.rosters import Entry, Meeting

Cell = str | date | None
Came = Mapping[tuple[int, int], bool]


def _rows(people: Sequence[Entry], meetings: Sequence[Meeting], came: Came) -> Iterator[list[Cell]]:
    """A head, then a line for each person: their questions have a column each, and so have the sessions."""
    asked = list(dict.fromkeys(question for one in people for question, _answer in one.answers))
    days: list[Cell] = [f"{meeting.day.isoformat()} {meeting.span}" for meeting in meetings]
    yield [_("Name"), _("Born"), _("Phone"), _("Email"), _("Since"), _("Money"), *asked, *days]
    noted = {True: _("came"), False: _("did not come")}
    for one in people:
        answers = dict(one.answers)
        yield [
            one.name,
            one.birth_date,
            one.phone,
            one.email,
            one.day,
            one.money_words,
            *(answers.get(question, "") for question in asked),
            *(
                noted.get(came[meeting.id, one.id], "") if (meeting.id, one.id) in came else ""
                for meeting in meetings
            ),
        ]


def as_csv(people: Sequence[Entry], meetings: Sequence[Meeting], came: Came) -> bytes:
    """With a byte order mark, without which Excel spoils every accent."""
    written = io.StringIO()
    written.write("\ufeff")
    writer = csv.writer(written)
    for row in _rows(people, meetings, came):
        writer.writerow(_plain(row))
    return written.getvalue().encode()


def _plain(row: Iterable[Cell]) -> list[str]:
    return [cell.isoformat() if isinstance(cell, date) else harmless(cell or "") for cell in row]


def as_workbook(people: Sequence[Entry], meetings: Sequence[Meeting], came: Came) -> bytes:
    """One sheet; days are days."""
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file, {"in_memory": True})
    sheet = book.add_worksheet()
    bold, day = book.add_format({"bold": True}), book.add_format({"num_format": "yyyy-mm-dd"})
    sheet.freeze_panes(1, 1)
    sheet.set_column(0, 0, 24)
    sheet.set_column(1, 60, 16)
    for place, row in enumerate(_rows(people, meetings, came)):
        for column, cell in enumerate(row):
            if isinstance(cell, date):
                sheet.write_datetime(place, column, cell, day)
            elif cell:
                sheet.write_string(place, column, cell, bold if place == 0 else None)
    book.close()
    return file.getvalue()
