"""Everything that a search finds, as CSV or as a workbook: streamed, page by page, and safe to open.

A spreadsheet takes a cell that begins with =, +, - or @ for a formula. Whatever people typed is therefore written as
text: in CSV behind an apostrophe (owasp.org/www-community/attacks/CSV_Injection), in a workbook as a string cell.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from tempfile import TemporaryFile
from typing import IO, NamedTuple

import xlsxwriter
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import Connection

from portal.db import Database
from portal.errors import Refusal
from portal.invoices.books import Status
from portal.invoices.reading import Key
from portal.invoices.reading.columns import Found
from portal.invoices.search.narrowing import REFUND_PENDING, STATUSES, Narrowing
from portal.invoices.search.rows import list_name, rows_of
from portal.money import exponent

AT_ONCE = 2_000
PIECE = 2**16
MOST_IN_A_WORKBOOK = 100_000
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class TooManyForAWorkbook(Refusal):
    """A workbook is put together before it is sent, which takes long for very many rows."""

    status = 422
    title = _l("This is too much for one workbook")
    message = _l("A workbook takes at most {most} invoices, and this search finds {found}. Narrow it, or export CSV.")


class Line(NamedTuple):
    """One invoice of an export."""

    number: str
    service_on: date
    due_on: date
    patient: str
    payer: str
    practitioner: str
    location: str
    status: str
    currency: str
    total: Decimal
    paid: Decimal
    balance: Decimal


def header() -> list[str]:
    """The names of the columns."""
    return [
        _("Number"), _("Date"), _("Due"), _("Patient"), _("Payer"), _("Practitioner"), _("Location"), _("Status"),
        _("Currency"), _("Total"), _("Paid"), _("Balance"),
    ]  # fmt: skip


def status_words() -> dict[str, str]:
    """What each status is called, looked up while a request is there to say in which language."""
    return {value: str(words) for value, words in STATUSES}


def lines(connection: Connection, search: Narrowing, words: Mapping[str, str]) -> Iterator[Line]:
    """Every invoice of a search, the newest first; no more than a page of them is held at a time."""
    after: Key | None = None
    while rows := rows_of(connection, search, AT_ONCE, after):
        for row in rows:
            yield _line(row, words)
        after = Key(rows[-1].service_on, rows[-1].id)
        if len(rows) < AT_ONCE:
            return


def _line(row: Found, words: Mapping[str, str]) -> Line:
    pending = row.standing == Status.VOID and row.refund_pending
    return Line(
        row.number,
        row.service_on,
        row.due_on,
        list_name(row.given_name, row.family_name),
        list_name(row.payer_given_name, row.payer_family_name),
        row.practitioner or "",
        row.location,
        words[REFUND_PENDING if pending else row.standing],
        row.currency,
        _amount(row.owed_cents, row.currency),
        _amount(row.paid_cents, row.currency),
        _amount(row.balance_cents, row.currency),
    )


def _amount(cents: int, currency: str) -> Decimal:
    return Decimal(cents).scaleb(-exponent(currency))


# --- CSV ------------------------------------------------------------------------------------------------------------


def as_csv(database: Database, search: Narrowing, names: list[str], words: Mapping[str, str]) -> Iterator[bytes]:
    """The search as CSV, in pieces. It begins with a byte order mark, without which Excel spoils every accent."""
    with database.read() as connection:
        piece = io.StringIO()
        writer = csv.writer(piece)
        piece.write("\ufeff")
        writer.writerow(names)
        for count, line in enumerate(lines(connection, search, words), start=1):
            writer.writerow([_plain(value) for value in line])
            if count % AT_ONCE == 0:
                yield _taken(piece)
        yield _taken(piece)


def _plain(value: str | date | Decimal) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    return harmless(value) if isinstance(value, str) else value.isoformat()


def harmless(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULAS) else text


def _taken(piece: io.StringIO) -> bytes:
    written = piece.getvalue().encode()
    piece.seek(0)
    piece.truncate()
    return written


# --- a workbook -----------------------------------------------------------------------------------------------------


def as_workbook(database: Database, search: Narrowing, names: list[str], words: Mapping[str, str]) -> Iterator[bytes]:
    """The search as a workbook, in pieces. Rows go to the disk as they are written; nothing is left there."""
    with TemporaryFile() as file:
        with database.read() as connection:
            _write(file, names, lines(connection, search, words))
        file.seek(0)
        while piece := file.read(PIECE):
            yield piece


def _write(file: IO[bytes], names: list[str], rows: Iterable[Line]) -> None:
    book = xlsxwriter.Workbook(file, {"constant_memory": True})
    sheet = book.add_worksheet()
    bold, day = book.add_format({"bold": True}), book.add_format({"num_format": "yyyy-mm-dd"})
    amounts = {places: book.add_format({"num_format": f"0.{'0' * places}".rstrip(".")}) for places in (0, 2, 3)}
    sheet.freeze_panes(1, 0)
    for column, (name, width) in enumerate(zip(names, _WIDTHS, strict=True)):
        sheet.set_column(column, column, width)
        sheet.write_string(0, column, name, bold)
    for place, line in enumerate(rows, start=1):
        for column, value in enumerate(line):
            if isinstance(value, Decimal):
                sheet.write_number(place, column, value, amounts[exponent(line.currency)])
            elif isinstance(value, date):
                sheet.write_datetime(place, column, value, day)
            else:
                sheet.write_string(place, column, value)
    book.close()


_WIDTHS = (12, 11, 11, 24, 24, 24, 16, 20, 9, 11, 11, 11)
