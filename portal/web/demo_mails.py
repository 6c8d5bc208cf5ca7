"""The mails of the demo, on a page: what the worker wrote into its folder. On one's own machine, never in production.

A mail is shown in a frame without scripts or a site of its own; its links open in the whole window.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from flask import Blueprint, Flask, Response, abort, make_response, render_template, request
from flask.typing import ResponseReturnValue

from portal.config import Config
from portal.parts import parts
from portal.post import THIS_MACHINE, mail_folder
from portal.web import headers
from portal.web.access import public

NEWEST = 100
NAME = re.compile(r"\d{8}-[0-9a-f]{16}")
MAIL = (
    "sandbox allow-top-navigation-by-user-activation; default-src 'none'; style-src 'unsafe-inline'; img-src data:;"
    " form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)

bp = Blueprint("demo_mails", __name__, url_prefix="/demo/mails")


def init(app: Flask, config: Config) -> None:
    """Show them where mails go into a folder and the portal is on this machine alone; else there is no such page."""
    is_here = urlsplit(config.base_url).hostname in THIS_MACHINE
    if is_here and config.mail_url.startswith("file:") and not config.production:
        app.register_blueprint(bp)


@dataclass(frozen=True)
class Line:
    """One mail of the list."""

    name: str
    subject: str
    to: str
    written_at: datetime


@bp.before_request
def _check_that_it_is_this_machine() -> None:
    if not ip_address(request.remote_addr or "0.0.0.0").is_loopback:  # noqa: S104  an address that is not ours
        abort(404)


@bp.get("")
@public
def newest() -> ResponseReturnValue:
    """The newest mails."""
    folder = mail_folder(parts().config.mail_url)
    files = sorted(folder.glob("*.eml"), key=lambda file: file.stat().st_mtime, reverse=True)
    mails = [_line(file) for file in files[:NEWEST] if NAME.fullmatch(file.stem)]
    return render_template("demo_mails/list.html", mails=mails, folder=folder)


@bp.get("/<name>")
@public
def one(name: str) -> ResponseReturnValue:
    """One mail: its head, its HTML in a frame, its text, and what is attached."""
    mail, file = _mail(name), _file(name)
    text = mail.get_body(("plain",))
    headers.answer_with(headers.framing_itself())
    return render_template(
        "demo_mails/one.html",
        name=name,
        line=_line(file),
        sender=str(mail["From"]),
        text=text.get_content() if text is not None else "",
        attached=[part.get_filename() or "" for part in mail.iter_attachments()],
    )


@bp.get("/<name>/html")
@public
def html(name: str) -> ResponseReturnValue:
    """The HTML of a mail, as it stands; only its links open in the whole window."""
    found = _mail(name).get_body(("html",))
    content = found.get_content() if found is not None else ""
    headers.answer_with(MAIL, is_framed=True)
    return make_response(content.replace("<head>", '<head><base target="_top">', 1))


@bp.get("/<name>/attached/<int:number>")
@public
def attached(name: str, number: int) -> ResponseReturnValue:
    """One attachment, to be saved."""
    found = list(_mail(name).iter_attachments())
    if number >= len(found):
        abort(404)
    answer = Response(found[number].get_content(), mimetype=found[number].get_content_type())
    answer.headers.set("Content-Disposition", "attachment", filename=found[number].get_filename() or "attachment")
    return answer


def _file(name: str) -> Path:
    file = mail_folder(parts().config.mail_url) / f"{name}.eml"
    if not NAME.fullmatch(name) or not file.is_file():
        abort(404)
    return file


def _mail(name: str) -> EmailMessage:
    return message_from_bytes(_file(name).read_bytes(), policy=policy.default)


def _line(file: Path) -> Line:
    with file.open("rb") as opened:
        head = BytesHeaderParser(policy=policy.default).parse(opened)
    written_at = datetime.fromtimestamp(file.stat().st_mtime, UTC).astimezone()
    return Line(file.stem, str(head["Subject"]), str(head["To"]), written_at)
