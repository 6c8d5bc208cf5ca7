"""What became of a file: how many are new, how many were there already, and each line that can't be taken."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from flask_babel.speaklater import LazyString
from sqlalchemy.orm import Session

from portal.imports.files import Line


class Problem(NamedTuple):
    """A line that can't be taken, and why."""

    line: int
    reason: str


@dataclass
class Report:
    """Grows while a file is looked through."""

    lines: int = 0
    new: int = 0
    there: int = 0
    problems: list[Problem] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    written: bool = False

    def refuse(self, line: int, reason: LazyString | str) -> None:
        """Note a line that can't be taken."""
        self.problems.append(Problem(line, str(reason)))


Progress = Callable[[int], None]
"""Told how many lines are done."""


class Plan(Protocol):
    """One kind of file: what its columns are, what to make of its lines, and how to write that."""

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def required(self) -> tuple[str, ...]: ...

    def __init__(self, session: Session, report: Report) -> None: ...

    def take(self, line: Line) -> None:
        """Look at one line: plan what it adds, or refuse it."""

    def end(self) -> None:
        """All lines were seen: look at what only shows then."""

    def write(self, session: Session) -> None:
        """Write what was planned. The report has no problem then."""
