"""CSV files as people save them: UTF-8 with or without its mark, commas, quotes, blank lines."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flask_babel import lazy_gettext as _l

from portal.errors import Refusal

MOST_IN_A_FIELD = 20_000


class UnusableFile(Refusal):
    """The file as a whole is none that can be read; the sentence says why."""

    status = 422
    message = _l("{why}")


@dataclass(frozen=True)
class Line:
    """One record of the file: the number of its first line, and its fields by the names of the columns."""

    number: int
    fields: Mapping[str, str]


def lines_of(path: Path, columns: Sequence[str], required: Sequence[str]) -> Iterator[Line]:
    """The records of a file. Raises UnusableFile: not UTF-8, no CSV, a column missing, unknown or given twice."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            csv.field_size_limit(MOST_IN_A_FIELD)
            reader = csv.reader(file, strict=True)
            names = _header(next(reader, []), columns, required)
            before = reader.line_num
            for record in reader:
                number, before = before + 1, reader.line_num
                if not any(field.strip() for field in record):
                    continue
                if len(record) != len(names):
                    raise UnusableFile(
                        why=_l("Line %(line)s has %(count)s fields, but the first line names %(wanted)s. "
                               "A comma inside a field needs quotes around the field.",
                               line=number, count=len(record), wanted=len(names))
                    )  # fmt: skip
                yield Line(number, dict(zip(names, (field.strip() for field in record), strict=True)))
    except UnicodeDecodeError:
        raise UnusableFile(why=_l("The file is not in UTF-8. Save it as “CSV UTF-8” and try again.")) from None
    except csv.Error as error:
        line = reader.line_num
        raise UnusableFile(why=_l("Line %(line)s is no CSV: %(error)s.", line=line, error=str(error))) from None
    except OSError as error:
        raise UnusableFile(why=_l("The file can't be read: %(error)s.", error=error.strerror or "")) from None


def _header(record: list[str], columns: Sequence[str], required: Sequence[str]) -> list[str]:
    names = [name.strip().lower().replace(" ", "_") for name in record]
    missing = [name for name in required if name not in names]
    unknown = [name for name in names if name not in columns]
    if missing:
        raise UnusableFile(why=_l("The first line names the columns; it lacks: %(names)s.", names=", ".join(missing)))
    if unknown:
        raise UnusableFile(
            why=_l("Unknown columns: %(names)s. There can be: %(known)s.",
                   names=", ".join(unknown), known=", ".join(columns))
        )  # fmt: skip
    if len(set(names)) < len(names):
        raise UnusableFile(why=_l("A column stands twice in the first line."))
    return names
