"""Every mail about an invoice or a person, and how it stands; and the pay links of an invoice. For staff to read."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from babel.dates import format_datetime
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import Connection, func, select

from portal.clinic import Location
from portal.clock import now
from portal.invoices.books import is_numbered
from portal.invoices.reading import full_day, local_day
from portal.invoices.tables import Invoice
from portal.letters.registrations import is_so
from portal.outbox import STATE_WORDS, MailState, OutboxMessage, may_have_gone_twice, state_of, why_in_words
from portal.paylinks import PAPER, PayLink
from portal.people import User
from portal.programs.tables import Registration
from portal.settings import LETTERS

PAGE = 20
MOST = 100

LOOKS = {
    MailState.QUEUED: "new",
    MailState.TRYING_AGAIN: "part",
    MailState.SENT: "paid",
    MailState.FAILED: "late",
    MailState.DROPPED: "void",
}
_OTHERS = {
    "invitation": _l("Invitation to the portal"),
    "sign_up_done": _l("The account is made"),
}


class Mail(NamedTuple):
    """One mail in words. `number` is its invoice's; `happened` says when it was sent, or why it was not."""

    id: int
    kind: str
    name: str
    number: str
    to: str
    queued: str
    state: MailState
    state_words: str
    look: str
    happened: str
    by: str
    event_key: str
    registration_id: int | None
    is_so: bool  # of one about a place: what it tells is so now

    @property
    def is_over(self) -> bool:
        """Whether nothing more becomes of it by itself."""
        return self.state in (MailState.SENT, MailState.FAILED, MailState.DROPPED)


class Page(NamedTuple):
    """One page of a list; `following` asks for the next one, and is empty on the last."""

    rows: Sequence[Mail]
    following: str


_outbox, _users = OutboxMessage.__table__.c, User.__table__.c
_FIRST_ZONE = select(Location.timezone).order_by(Location.id).limit(1).scalar_subquery()

_MAILS = (
    select(
        _outbox.id, _outbox.kind, _outbox.recipient, _outbox.queued_at, _outbox.sent_at, _outbox.failed_at,
        _outbox.tries, _outbox.last_error, _outbox.unanswered, _outbox.event_key, Invoice.number,
        _outbox.registration_id, Registration.state, Registration.why, Registration.held_until,
        _users.name.label("asked_by"), func.coalesce(Location.timezone, _FIRST_ZONE).label("zone"),
    )
    .select_from(OutboxMessage.__table__)
    .outerjoin(Invoice, Invoice.id == _outbox.invoice_id)
    .outerjoin(Location, Location.id == Invoice.location_id)
    .outerjoin(User.__table__, _users.id == _outbox.queued_by)
    .outerjoin(Registration, Registration.id == _outbox.registration_id)
    .order_by(_outbox.id.desc())
)  # fmt: skip


def mails_of_invoice(connection: Connection, invoice_id: int) -> Sequence[Mail]:
    """The mails about an invoice, the newest first; the last hundred of them."""
    return [_mail(row) for row in connection.execute(_MAILS.where(_outbox.invoice_id == invoice_id).limit(MOST))]


def mails_of_patient(connection: Connection, patient_id: int, before: int | None = None) -> Page:
    """A page of the mails about a person, the newest first; `before`: older than that one."""
    statement = _MAILS.where(_outbox.patient_id == patient_id).limit(PAGE + 1)
    rows = connection.execute(statement.where(_outbox.id < before) if before is not None else statement).all()
    following = str(rows[PAGE - 1].id) if len(rows) > PAGE else ""
    return Page([_mail(row) for row in rows[:PAGE]], following)


def _mail(row: Any) -> Mail:
    state = state_of(row)
    return Mail(
        id=row.id,
        kind=row.kind,
        name=kind_in_words(row.kind),
        number=row.number if row.number and is_numbered(row.number) else "",
        to=row.recipient,
        queued=moment_in_words(row.queued_at, row.zone),
        state=state,
        state_words=str(STATE_WORDS[state]),
        look=LOOKS[state],
        happened=_happened(row),
        by=row.asked_by or "",
        event_key=row.event_key,
        registration_id=row.registration_id,
        is_so=row.registration_id is not None and is_so(row.kind, row),
    )


def kind_in_words(kind: str) -> str:
    """What a mail is called on the pages."""
    return str(_(LETTERS[kind]) if kind in LETTERS else _OTHERS.get(kind, kind.replace("_", " ").capitalize()))


def _happened(row: Any) -> str:
    if row.sent_at is None:
        return str(why_in_words(row))
    sent = moment_in_words(row.sent_at, row.zone)
    return str(_("%(moment)s. It may have arrived twice.", moment=sent) if may_have_gone_twice(row) else sent)


def moment_in_words(moment: datetime, zone: str | None) -> str:
    """ "23 Nov 2026, 11:32", by the clock of that zone."""
    return format_datetime(moment.astimezone(ZoneInfo(zone or "UTC")), "d MMM y, HH:mm", locale="en")


# --- pay links ------------------------------------------------------------------------------------------------------


class Link(NamedTuple):
    """One pay link of an invoice. `stands`: it can be taken back."""

    id: int
    place: str
    made: str
    by: str
    until: str
    state: str
    look: str
    stands: bool


_LINKS = (
    select(
        PayLink.id, PayLink.medium, PayLink.made_at, PayLink.expires_at, PayLink.revoked_at, PayLink.replaced_at,
        _users.name.label("made_by"), Invoice.balance_cents, Invoice.voided_at, Location.timezone,
    )
    .join(Invoice, Invoice.id == PayLink.invoice_id)
    .join(Location, Location.id == Invoice.location_id)
    .outerjoin(User.__table__, _users.id == PayLink.made_by)
    .order_by(PayLink.id.desc())
    .limit(MOST)
)  # fmt: skip


def links_of(connection: Connection, invoice_id: int) -> Sequence[Link]:
    """The pay links of an invoice, the newest first."""
    return [_link(row) for row in connection.execute(_LINKS.where(PayLink.invoice_id == invoice_id))]


def _link(row: Any) -> Link:
    stands = row.revoked_at is None and row.replaced_at is None
    state, look = _link_state(row)
    return Link(
        id=row.id,
        place=_("QR code") if row.medium == PAPER else _("Email"),
        made=moment_in_words(row.made_at, row.timezone),
        by=row.made_by or "",
        until=full_day(local_day(row.expires_at, row.timezone)),
        state=state,
        look=look,
        stands=stands and row.expires_at > now(),
    )


def _link_state(row: Any) -> tuple[str, str]:
    """What its holder meets, in a word, and how that looks."""
    if row.revoked_at is not None:
        return _("Revoked"), "void"
    if row.replaced_at is not None:
        return _("Replaced by a newer one"), "void"
    if row.expires_at <= now():
        return _("Expired"), "void"
    if row.voided_at is not None or row.balance_cents <= 0:
        return _("Nothing left to pay"), "paid"
    return _("Works"), "new"
