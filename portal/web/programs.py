"""Group programs as anybody sees them, signed in or not: what there is, one of them, its dates to take along."""

import re
from uuid import uuid4

from flask import Blueprint, Response, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal.parts import parts
from portal.permissions import May
from portal.programs.calendar import MEDIA_TYPE, calendar_of_program
from portal.programs.reading import ProgramPage, program_page, programs_to_come
from portal.programs.refusals import ProgramNotFound
from portal.web.access import public
from portal.web.places import check_programs, viewer
from portal.web.scope import payment_modes, person, reading, settings
from portal.web.typed import words

bp = Blueprint("programs", __name__)

_PUBLIC_ID = re.compile(r"[\w-]{1,24}", re.ASCII)


def _program(public_id: str) -> ProgramPage:
    """The program, where it may be seen: one that is not shown yet, by whoever sets programs up. Raises
    ProgramNotFound.
    """
    check_programs()
    found, someone = program_page(reading(), public_id, viewer()), person()
    sets_up = someone is not None and someone.factor_at is not None and someone.may(May.PROGRAMS)
    if found is None or not (found.visible or sets_up):
        raise ProgramNotFound
    return found


@bp.get("/programs")
@public
def browse() -> ResponseReturnValue:
    """What there is to take part in."""
    check_programs()
    after = request.args.get("after", "")
    if not _PUBLIC_ID.fullmatch(after):
        after = ""
    return render_template("programs/list.html", page=programs_to_come(reading(), viewer(), after), first=not after)


@bp.get("/programs/<public_id>")
@public
def one(public_id: str) -> ResponseReturnValue:
    """One program: what, when, where, for how much, and the way to a place in it."""
    program, someone = _program(public_id), person()
    return render_template(
        "programs/one.html",
        program=program,
        is_staff=someone is not None and someone.is_staff,
        may_add=not program.own or bool(someone and someone.payees),
        is_open_online=settings().yes("portal_enabled") and program.can_be_paid_online(payment_modes()),
        hold_minutes=settings().number("program_hold_minutes"),
        offer_hours=settings().number("program_offer_hours"),
        request_id=uuid4(),
        takes_codes=settings().yes("portal_enabled"),
        bad_code=words(request.args.get("code"), 60),
        share=parts().config.base_url + url_for("programs.one", public_id=public_id),
    )


@bp.get("/programs/<public_id>/calendar.ics")
@public
def calendar(public_id: str) -> ResponseReturnValue:
    """The dates of a program, for anybody's calendar."""
    program = _program(public_id)
    return calendar_answer(calendar_of_program(reading(), program.id, parts().config.base_url), program.name)


def calendar_answer(file: bytes, name: str) -> Response:
    """A calendar file, to be opened by what keeps the reader's calendar."""
    answer = Response(file, content_type=f"{MEDIA_TYPE}; charset=utf-8")
    answer.headers.set("Content-Disposition", "attachment", filename=file_name(name))
    return answer


def file_name(name: str) -> str:
    """A program's name as a file's: "back-in-motion.ics"."""
    words = "".join(sign if sign.isascii() and sign.isalnum() else " " for sign in name.lower()).split()
    return f"{'-'.join(words)[:60] or 'program'}.ics"
