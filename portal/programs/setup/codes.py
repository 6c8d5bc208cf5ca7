"""Promo codes: an amount or a share off the price, for a while, so many times, for one program or for all."""

import hashlib
import re
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, NamedTuple

from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_babel.speaklater import LazyString
from sqlalchemy import Connection, func, select
from sqlalchemy.orm import Session

from portal.audit import record
from portal.clinic import Location
from portal.clock import now
from portal.db import Database
from portal.errors import Refusal
from portal.invoices.reading.words import Tag
from portal.money import format_money
from portal.programs.refusals import NotSaved
from portal.programs.tables import Program, ProgramSession, PromoCode

SHORTEST, LONGEST = 3, 30
_FORM = re.compile(r"[A-Z0-9]+(?:-[A-Z0-9]+)*", re.ASCII)

Wrong = dict[str, LazyString | str]


@dataclass(frozen=True)
class CodeWanted:
    """A promo code as the clinic wants it: a share in percent, or an amount in a currency.

    It counts from `starts_at` until just before `ends_at`. `uses` None: as often as you like.
    """

    code: str
    percent: int | None = None
    amount_cents: int | None = None
    currency: str | None = None
    program_id: int | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    uses: int | None = None
    active: bool = True

    @property
    def stamp(self) -> str:
        """What stands for all of it in a form: another one means that somebody has changed it."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


class CodeNotFound(Refusal):
    """No such promo code."""

    status = 404
    title = _l("We can't find that promo code")
    message = _l("All codes are in the list of promo codes.")


class CodeNotSaved(NotSaved):
    """The code can't be kept like that. `wrong` has a sentence for each field, by its name in `CodeWanted`."""


class CodeChanged(Refusal):
    """Somebody else saved the code after this form was opened."""

    title = _l("Somebody else has changed this code meanwhile")
    message = _l("Nothing of yours was saved.")


# --- the verbs ------------------------------------------------------------------------------------------------------


def add_code(database: Database, wanted: CodeWanted, by: int | None) -> PromoCode:
    """Make a promo code; the same press twice makes one. Raises CodeNotSaved."""
    return database.looking_again(lambda session: _add(session, wanted, by))


def change_code(database: Database, code_id: int, stamp: str, wanted: CodeWanted, by: int | None) -> PromoCode:
    """Change a promo code; `stamp` is that of what the form showed. Who has taken it up keeps what it took off then.

    Raises CodeNotFound, CodeChanged or CodeNotSaved.
    """
    return database.looking_again(lambda session: _change(session, code_id, stamp, wanted, by))


def _add(session: Session, wanted: CodeWanted, by: int | None) -> PromoCode:
    there = session.scalars(select(PromoCode).where(PromoCode.code == wanted.code)).first()
    if there is not None and as_wanted(there) == wanted and there.created_by == by:
        return there
    _check(session, wanted, None)
    made = PromoCode(**_values(wanted), created_at=now(), created_by=by)
    session.add(made)
    session.flush()
    after = "; ".join(f"{what}: {value}" for what, value in _in_words(session, made).items() if value)
    record(session, "promo_code.added", f"promo code {made.code}", by=by, after=after)
    return made


def _change(session: Session, code_id: int, stamp: str, wanted: CodeWanted, by: int | None) -> PromoCode:
    if wanted.program_id is not None:
        # Before the code: whoever registers holds the program when they take up a code.
        session.get(Program, wanted.program_id, with_for_update=True)
    code = session.get(PromoCode, code_id, with_for_update=True, populate_existing=True)
    if code is None:
        raise CodeNotFound
    stands = as_wanted(code)
    if stands == wanted:
        return code
    if stands.stamp != stamp:
        raise CodeChanged
    _check(session, wanted, code)
    before = _in_words(session, code)
    for name, value in _values(wanted).items():
        setattr(code, name, value)
    session.flush()
    after = _in_words(session, code)
    for what in after:
        if before[what] != after[what]:
            subject = f"promo code {code.code}, {what.lower()}"
            record(session, "promo_code.changed", subject, by=by, before=before[what], after=after[what])
    return code


def _values(wanted: CodeWanted) -> dict[str, Any]:
    return {each.name: getattr(wanted, each.name) for each in fields(wanted)}


def as_wanted(row: Any) -> CodeWanted:
    """A promo code as it stands."""
    return CodeWanted(**{each.name: getattr(row, each.name) for each in fields(CodeWanted)})


def _check(session: Session, wanted: CodeWanted, own: PromoCode | None) -> None:
    wrong: Wrong = {}
    if not (_FORM.fullmatch(wanted.code) and SHORTEST <= len(wanted.code) <= LONGEST):
        wrong["code"] = _l("Code: %(least)s to %(most)s letters and digits, with hyphens between them if you like.",
                           least=SHORTEST, most=LONGEST)  # fmt: skip
    elif session.scalar(
        select(PromoCode.id).where(PromoCode.code == wanted.code, PromoCode.id != (own.id if own else 0))
    ):
        wrong["code"] = _l("There is a code %(code)s already.", code=wanted.code)
    if wanted.program_id is not None:
        program = session.get(Program, wanted.program_id)
        if program is None:
            wrong["program_id"] = _l("For: please choose one from the list.")
        elif wanted.currency not in (None, session.get_one(Location, program.location_id).currency):
            wrong["currency"] = _l("The price of %(name)s is in another currency.", name=program.name)
    if wanted.starts_at and wanted.ends_at and wanted.starts_at >= wanted.ends_at:
        wrong["ends_at"] = _l("It ends after it begins.")
    if own is not None and wanted.uses is not None and wanted.uses < own.used:
        wrong["uses"] = _l("Used so far: %(used)s. It can't be fewer.", used=own.used)
    if wrong:
        raise CodeNotSaved(wrong)


def _in_words(session: Session, code: PromoCode) -> dict[str, str]:
    """A code field by field, as the audit log keeps it."""
    program = session.get(Program, code.program_id) if code.program_id is not None else None
    return {
        "Code": code.code,
        "Takes off": off_words(code),
        "For": program.name if program else "all programs",
        "From": code.starts_at.isoformat() if code.starts_at else "",
        "Until": code.ends_at.isoformat() if code.ends_at else "",
        "Uses": str(code.uses) if code.uses is not None else "no end",
        "Active": "yes" if code.active else "no",
    }


def off_words(code: Any) -> str:
    """What a code takes off the price: "20%", "$15.00"."""
    if code.percent is not None:
        return f"{code.percent}%"
    return format_money(code.amount_cents, code.currency or "CAD")


# --- looking --------------------------------------------------------------------------------------------------------


class CodeShown(NamedTuple):
    """A promo code as it stands: the moments are to be shown in `zone`, that of its program, if it is for one."""

    id: int
    wanted: CodeWanted
    off: str
    program: str | None
    zone: str | None
    used: int
    tag: Tag


_SHOWN = (
    select(PromoCode, Program.name, Location.timezone)
    .outerjoin(Program, Program.id == PromoCode.program_id)
    .outerjoin(Location, Location.id == Program.location_id)
)


def codes(connection: Connection) -> list[CodeShown]:
    """All promo codes, those in use first, in one statement."""
    moment = now()
    rows = connection.execute(_SHOWN.order_by(PromoCode.active.desc(), PromoCode.code)).all()
    return [_shown(row, moment) for row in rows]


def code(connection: Connection, code_id: int) -> CodeShown:
    """One of them. Raises CodeNotFound."""
    row = connection.execute(_SHOWN.where(PromoCode.id == code_id)).first()
    if row is None:
        raise CodeNotFound
    return _shown(row, now())


def _shown(row: Any, moment: datetime) -> CodeShown:
    return CodeShown(row.id, as_wanted(row), off_words(row), row.name, row.timezone, row.used, _tag(row, moment))


def _tag(row: Any, moment: datetime) -> Tag:
    """Where a code stands: the first of these that holds."""
    if not row.active:
        return Tag("void", _("Off"))
    if row.ends_at is not None and row.ends_at <= moment:
        return Tag("void", _("Over"))
    if row.uses is not None and row.used >= row.uses:
        return Tag("part", _("Used up"))
    if row.starts_at is not None and row.starts_at > moment:
        return Tag("new", _("To come"))
    return Tag("paid", _("Works now"))


class Choice(NamedTuple):
    """A program that a code can be for, and when it begins: a copy has the name of the program it was made from."""

    id: int
    name: str
    zone: str
    currency: str
    begins: datetime | None


_BEGINS = (
    select(func.min(ProgramSession.starts_at))
    .where(ProgramSession.program_id == Program.id)
    .correlate(Program)
    .scalar_subquery()
)


def program_choices(connection: Connection) -> list[Choice]:
    """The programs that a code can be for, the newest first."""
    return [
        Choice(*row)
        for row in connection.execute(
            select(Program.id, Program.name, Location.timezone, Location.currency, _BEGINS)
            .join(Location, Location.id == Program.location_id)
            .order_by(Program.id.desc())
            .limit(200)
        )
    ]
