"""Invoice Search, what it finds as a file, and one invoice."""

from uuid import uuid4

from babel.numbers import format_decimal
from flask import Blueprint, Response, abort, render_template, request
from flask.typing import ResponseReturnValue

from portal.audit import note_view, record
from portal.invoices.reading import invoice_for_staff, paper_for, read_key
from portal.invoices.search import (
    STATUSES,
    Narrowing,
    caption,
    choices,
    days_of_a_file,
    found_by,
    narrowed,
    page_of,
    story_of,
)  # fmt: skip
from portal.invoices.search import export as exporting
from portal.invoices.search.export import MOST_IN_A_WORKBOOK, TooManyForAWorkbook
from portal.letters.reading import links_of
from portal.parts import parts
from portal.permissions import May
from portal.web.access import staff_may, who
from portal.web.office.mails import ask_for, may_ask, pay_code, sent_about
from portal.web.scope import reading

bp = Blueprint("search", __name__, url_prefix="/office/invoices")

KINDS = {"csv": "text/csv", "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}


@bp.get("")
@staff_may(May.INVOICES)
def invoices() -> ResponseReturnValue:
    """One page of what the address is narrowed to, and what all of it comes to."""
    known = choices(reading())
    search = narrowed(reading(), request.args, known)
    after = read_key(request.args.get("after", ""))
    found = found_by(reading(), search)
    asks, can_mail = may_ask(), who().may(May.RECEIVE)
    page = page_of(reading(), search, after, emails=can_mail)
    return render_template(
        "office/search/list.html",
        search=search,
        known=known,
        statuses=STATUSES,
        page=page,
        found=found,
        caption=caption(search, found.number),
        first=after is None,
        can_void=who().may(May.CORRECT),
        can_receive=who().may(May.RECEIVE),
        asks=asks,
        asks_any=asks and any(row.email and row.balance_cents > 0 for row in page.rows),
        mails_any=can_mail and any(row.email for row in page.rows),
        request_id=uuid4(),
        here=request.full_path,
    )


@bp.get("/export.csv", defaults={"kind": "csv"})
@bp.get("/export.xlsx", defaults={"kind": "xlsx"})
@staff_may(May.EXPORT, fresh=True)
def export(kind: str) -> ResponseReturnValue:
    """Everything that the address is narrowed to, as a file. Who took what along stands in the audit log."""
    search = narrowed(reading(), request.args, choices(reading()))
    found = found_by(reading(), search).number
    if kind == "xlsx" and found > MOST_IN_A_WORKBOOK:
        raise TooManyForAWorkbook(most=format_decimal(MOST_IN_A_WORKBOOK), found=format_decimal(found))
    _note_export(kind, search, found)
    name = f"invoices{days_of_a_file(search)}.{kind}"
    names, words = exporting.header(), exporting.status_words()
    write = exporting.as_csv if kind == "csv" else exporting.as_workbook
    pieces = write(parts().database, search, names, words)
    return Response(pieces, mimetype=KINDS[kind], headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _note_export(kind: str, search: Narrowing, found: int) -> None:
    narrowed_to = ", ".join(f"{name} {text}" for name, text in search.typed.items() if text)
    with parts().database.transaction() as session:
        record(
            session, "invoices.exported", f"invoices as {kind.upper()}", by=who().id,
            after=f"{found} invoices: {narrowed_to}",
        )  # fmt: skip


@bp.get("/<number>")
@staff_may(May.INVOICES)
def invoice(number: str) -> ResponseReturnValue:
    """One invoice as it is printed, what is to be done about it, and how it came about."""
    head = invoice_for_staff(reading(), number) or abort(404)
    paper = paper_for(reading(), head)
    story = story_of(reading(), head.id, head.currency, head.zone)
    can_receive = who().may(May.RECEIVE) and head.balance_cents > 0 and not head.voided and not head.is_checked
    note_view(parts().database, who().id, head.patient_id, "invoice")
    return render_template(
        "office/search/invoice.html",
        head=head,
        paper=paper,
        story=story,
        ask=None if head.voided else ask_for(head.patient_id),
        mails=sent_about(head),
        links=links_of(reading(), head.id),
        code=pay_code(head.id, head.gateway_mode, is_open=can_receive),
        request_id=uuid4(),
        can_void=who().may(May.CORRECT) and not head.voided,
        can_receive=can_receive,
    )
