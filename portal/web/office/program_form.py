"""The form of a program: what it sends, what is wrong with it, and what its buttons add and take away.

The form goes round: every button sends all of it, and what comes back has everything that was typed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from werkzeug.datastructures import MultiDict

from portal.money import parse_amount
from portal.programs.setup.sessions import MOST, Meeting, Repeat, Wall
from portal.programs.setup.wanted import Question, Wanted
from portal.programs.tables import CHOICE, QUESTION_KINDS, TEXT
from portal.schedule.reading import Place
from portal.schedule.times import DAY_MINUTES
from portal.setup.entry import BadEntry, Entry
from portal.setup.services import plain_amount
from portal.web import typed

MOST_QUESTIONS = 20
MOST_WEEKS = 52
LARGEST_PRICE = 9_999_999
WORDS = {
    "name": _l("Name"),
    "description": _l("Description"),
    "location": _l("Location"),
    "practitioner": _l("Led by"),
    "price": _l("Price"),
    "taxes": _l("Taxes"),
    "early_price": _l("Early price"),
    "early_until": _l("Until the end of"),
    "capacity": _l("Places"),
    "waitlist_size": _l("Places on the waitlist"),
    "opens": _l("Registration opens"),
    "closes": _l("Registration closes"),
    "refund_days": _l("Days before the first session"),
    "late_share": _l("Percent back after that"),
    "add_every": _l("Every so many weeks"),
    "add_times": _l("So many times"),
    "add_room": _l("Room"),
}
LABELS = {
    **WORDS,
    "location_id": WORDS["location"],
    "practitioner_id": WORDS["practitioner"],
    "price_cents": WORDS["price"],
    "tax_ids": WORDS["taxes"],
    "early_price_cents": WORDS["early_price"],
    "visible": _l("Seen by patients"),
    "late_share_percent": WORDS["late_share"],
    "meetings": _l("Sessions"),
    "questions": _l("Questions"),
}
"""What each field of `Wanted` is called on the page."""
FIELDS = (
    "name", "description", "location", "practitioner", "price", "early_price", "early_until", "capacity", "waitlist",
    "waitlist_size", "opens", "closes", "visible", "refund_days", "late_share", "request", "version", "first_on",
    "add_first", "add_from", "add_to", "add_room", "add_every", "add_times", "add_until", "tells",
)  # fmt: skip
Wrong = dict[str, str]


@dataclass(frozen=True)
class SessionRow:
    """A session as it was typed."""

    id: str = ""
    day: str = ""
    starts: str = ""
    ends: str = ""
    room: str = ""


@dataclass(frozen=True)
class QuestionRow:
    """A question as it was typed."""

    id: str = ""
    kind: str = TEXT
    text: str = ""
    choices: str = ""
    required: bool = True


@dataclass(frozen=True)
class Form:
    """The whole form as it was typed: its single fields by name, and its rows."""

    fields: dict[str, str]
    taxes: list[str] = field(default_factory=list)
    weekdays: list[str] = field(default_factory=list)
    sessions: list[SessionRow] = field(default_factory=list)
    questions: list[QuestionRow] = field(default_factory=list)

    def __getitem__(self, name: str) -> str:
        return self.fields.get(name, "")

    def having(self, **fields: str) -> "Form":
        """The same with other values in some fields."""
        return replace(self, fields={**self.fields, **fields})


# --- what was typed -------------------------------------------------------------------------------------------------


def form_sent(sent: MultiDict[str, str]) -> Form:
    """What a browser sent, fit to stand in the form again."""
    return Form(
        fields={name: typed.words(sent.get(name), 4000 if name == "description" else 200) for name in FIELDS},
        taxes=[typed.words(each, 12) for each in sent.getlist("taxes")[:50]],
        weekdays=[typed.words(each, 1) for each in sent.getlist("add_weekdays")[:7]],
        sessions=[
            SessionRow(
                *(typed.words(sent.get(f"{row}-{part}"), 80) for part in ("id", "day", "starts", "ends", "room"))
            )
            for row in _rows(sent, "session", "day", MOST)
        ],
        questions=[
            QuestionRow(
                id=typed.words(sent.get(f"{row}-id"), 12),
                kind=typed.words(sent.get(f"{row}-kind"), 10),
                text=typed.words(sent.get(f"{row}-text"), 500),
                choices=typed.words(sent.get(f"{row}-choices"), 1000),
                required=f"{row}-required" in sent,
            )
            for row in _rows(sent, "question", "text", MOST_QUESTIONS)
        ],
    )


def _rows(sent: MultiDict[str, str], what: str, part: str, most: int) -> Iterator[str]:
    """ "session-0", "session-1", … as long as there are any."""
    for place in range(most):
        if f"{what}-{place}-{part}" not in sent:
            return
        yield f"{what}-{place}"


def blank(request_id: str, places: list[Place]) -> Form:
    """The form of a new program."""
    return Form(
        fields={
            "location": str(places[0].id),
            "capacity": "10",
            "waitlist": "yes",
            "waitlist_size": "5",
            "refund_days": "7",
            "late_share": "0",
            "add_every": "1",
            "request": request_id,
        },
    )


def form_of(wanted: Wanted, currency: str) -> Form:
    """A program as its form shows it."""
    early = wanted.early_price_cents
    return Form(
        fields={
            "name": wanted.name,
            "description": wanted.description,
            "location": str(wanted.location_id),
            "practitioner": str(wanted.practitioner_id or ""),
            "price": plain_amount(wanted.price_cents, currency),
            "early_price": "" if early is None else plain_amount(early, currency),
            "early_until": wanted.early_until.isoformat() if wanted.early_until else "",
            "capacity": str(wanted.capacity),
            "waitlist": "yes" if wanted.waitlist_size else "",
            "waitlist_size": str(wanted.waitlist_size or 5),
            "opens": wall_text(wanted.opens),
            "closes": wall_text(wanted.closes),
            "visible": "yes" if wanted.visible else "",
            "refund_days": str(wanted.refund_days),
            "late_share": str(wanted.late_share_percent),
            "add_every": "1",
        },
        taxes=[str(tax_id) for tax_id in sorted(wanted.tax_ids)],
        sessions=[session_row(meeting) for meeting in wanted.meetings],
        questions=[
            QuestionRow(str(each.id or ""), each.kind, each.text, "\n".join(each.choices), each.required)
            for each in wanted.questions
        ],
    )


def session_row(meeting: Meeting) -> SessionRow:
    """A session as its row shows it."""
    return SessionRow(
        str(meeting.id or ""),
        meeting.day.isoformat(),
        minute_text(meeting.from_minute),
        minute_text(meeting.to_minute),
        meeting.room,
    )


def minute_text(minute: int) -> str:
    """ "17:30", as a field for times has it; midnight at the end of a day is "00:00"."""
    return f"{minute // 60 % 24:02}:{minute % 60:02}"


def wall_text(wall: Wall | None) -> str:
    """ "2027-01-05T09:00", as a field for a day and a time has it."""
    return f"{wall.day.isoformat()}T{minute_text(wall.minute)}" if wall else ""


# --- what it means --------------------------------------------------------------------------------------------------


def read(form: Form, places: list[Place]) -> Wanted:
    """The form in the clinic's words. Raises BadEntry with a sentence for each field that is to be mended."""
    entry = Entry({**form.fields, "taxes": form.taxes}, WORDS)
    place = place_of(form, places)
    early_price, early_until = _early(entry, place.currency)
    wanted = Wanted(
        name=entry.line("name", 120, required=True),
        description=entry.lines("description", 4000),
        location_id=typed.number(form["location"]) or 0,
        practitioner_id=(typed.number(form["practitioner"]) or 0) if form["practitioner"] else None,
        price_cents=_amount(entry, "price", place.currency),
        tax_ids=frozenset(typed.number(each) or 0 for each in form.taxes),
        early_price_cents=early_price,
        early_until=early_until,
        capacity=entry.whole("capacity", 1, 10_000),
        waitlist_size=entry.whole("waitlist_size", 1, 1000) if form["waitlist"] else 0,
        opens=_wall(entry, "opens"),
        closes=_wall(entry, "closes"),
        visible=entry.yes("visible"),
        refund_days=entry.whole("refund_days", 0, 365),
        late_share_percent=entry.whole("late_share", 0, 100),
        meetings=tuple(_meetings(entry, form.sessions)),
        questions=tuple(_questions(entry, form.questions)),
    )
    entry.check()
    return wanted


def place_of(form: Form, places: list[Place]) -> Place:
    """The location that is chosen; the first one where none is."""
    return next((place for place in places if str(place.id) == form["location"]), places[0])


def _amount(entry: Entry, name: str, currency: str) -> int:
    try:
        cents = int(parse_amount(entry.raw(name), currency))
    except ValueError:
        cents = -1
    if not 0 <= cents <= LARGEST_PRICE:
        sentence = _l("%(what)s: an amount such as 120.00, at most %(most)s; 0 for what is free.",
                      what=WORDS[name], most=plain_amount(LARGEST_PRICE, currency))  # fmt: skip
        entry.refuse(name, sentence)
    return max(cents, 0)


def _early(entry: Entry, currency: str) -> tuple[int | None, date | None]:
    """An early price and its last day: both, or neither."""
    if not entry.raw("early_price") and not entry.raw("early_until"):
        return None, None
    until = typed.day(entry.raw("early_until"))
    if until is None:
        entry.refuse("early_until", _l("Until when is the early price? Choose a day, or leave both empty."))
    return _amount(entry, "early_price", currency), until


def _wall(entry: Entry, name: str) -> Wall | None:
    text = entry.raw(name)
    if not text:
        return None
    day, minute = typed.day(text[:10]), minute_of(text[11:16])
    if day is None or minute is None or text[10] not in "T ":
        entry.refuse(name, _l("%(what)s: choose a day and a time, or leave it empty.", what=WORDS[name]))
        return None
    return Wall(day, minute)


def minute_of(text: str) -> int | None:
    """A minute since midnight, as a field for times sends it."""
    hours, _sep, minutes = text.partition(":")
    if not (len(hours) == len(minutes) == 2 and (hours + minutes).isascii() and (hours + minutes).isdigit()):
        return None
    found = int(hours) * 60 + int(minutes)
    return found if int(minutes) < 60 and found < DAY_MINUTES else None


def _meetings(entry: Entry, rows: list[SessionRow]) -> Iterator[Meeting]:
    for place, row in enumerate(rows):
        meeting = meeting_of_row(row)
        if meeting is None:
            entry.refuse(f"session-{place}", _l("Give each session a day, a beginning and an end."))
        else:
            yield meeting


def meeting_of_row(row: SessionRow) -> Meeting | None:
    """A row as a session; None where its day or a time can't be read."""
    day, starts, ends = typed.day(row.day), minute_of(row.starts), minute_of(row.ends)
    if day is None or starts is None or ends is None:
        return None
    return Meeting(day, starts, ends or DAY_MINUTES, " ".join(row.room.split())[:80], typed.number(row.id) or None)


def _questions(entry: Entry, rows: list[QuestionRow]) -> Iterator[Question]:
    for place, row in enumerate(rows):
        if row.kind not in QUESTION_KINDS:
            entry.refuse(f"question-{place}", _l("Choose how the question is answered."))
        choices = tuple(" ".join(line.split()) for line in row.choices.splitlines() if line.strip())
        yield Question(
            row.kind,
            " ".join(row.text.split()),
            choices if row.kind == CHOICE else (),
            row.required,
            typed.number(row.id) or None,
        )


# --- what its buttons do --------------------------------------------------------------------------------------------


def with_sessions(form: Form) -> Form:
    """The sessions of the rule that was filled in become rows. Raises BadEntry."""
    entry = Entry(form.fields, WORDS)
    first = typed.day(form["add_first"])
    if first is None:
        entry.refuse("add_first", _l("Choose the first day."))
    starts, ends = minute_of(form["add_from"]), minute_of(form["add_to"])
    if starts is None:
        entry.refuse("add_from", _l("When does it begin?"))
    if ends is None or (starts is not None and (ends or DAY_MINUTES) <= starts):
        entry.refuse("add_to", _l("When does it end, on the same day?"))
    every = entry.whole("add_every", 1, MOST_WEEKS)
    times = entry.whole("add_times", 1, MOST) if form["add_times"] else None
    until = typed.day(form["add_until"])
    if form["add_until"] and (until is None or (first and until < first)):
        entry.refuse("add_until", _l("Choose a day after the first one, or leave it empty."))
    weekdays = frozenset(int(each) for each in form.weekdays if each in tuple("0123456"))
    room = entry.line("add_room", 80)
    entry.check()
    assert first is not None and starts is not None and ends is not None, "checked above"
    if times is None and until is None:
        times = 1
    rule = Repeat(first, weekdays or frozenset({first.weekday()}), every, times, until)
    added = [SessionRow("", day.isoformat(), form["add_from"], form["add_to"], room) for day in rule.days()]
    if not added:
        raise BadEntry({"add_weekdays": _l("No such weekday comes before the last day.")})
    if len(form.sessions) + len(added) > MOST:
        raise BadEntry({"add_first": _l("A program has at most %(most)s sessions.", most=MOST)})
    rows = sorted([*form.sessions, *added], key=lambda row: (row.day, row.starts))
    cleared = form.having(add_first="", add_times="", add_until="", add_every="1")
    return replace(cleared, sessions=rows, weekdays=[])


def without_session(form: Form, place: int | None) -> Form:
    """One session less."""
    return replace(form, sessions=[row for number, row in enumerate(form.sessions) if number != place])


def with_sessions_moved(form: Form) -> Form:
    """All sessions later or earlier by as many days as the first one is. Raises BadEntry."""
    days = sorted(day for row in form.sessions if (day := typed.day(row.day)))
    wanted = typed.day(form["first_on"])
    if wanted is None or not days:
        at = "first_on" if len(form.sessions) > 1 else "sessions"
        raise BadEntry({at: _("Choose the day of the first session.")})
    by = (wanted - days[0]).days
    if days[-1] + timedelta(days=by) >= date(2100, 1, 1):
        raise BadEntry({"first_on": _("Choose an earlier day.")})
    rows = [replace(row, day=_moved(row.day, by)) for row in form.sessions]
    return replace(form.having(first_on=""), sessions=rows)


def _moved(text: str, days: int) -> str:
    day = typed.day(text)
    return (day + timedelta(days=days)).isoformat() if day else text


def with_question(form: Form) -> Form:
    """One more question. Raises BadEntry."""
    if len(form.questions) >= MOST_QUESTIONS:
        raise BadEntry({"questions": _("A program asks at most %(most)s questions.", most=MOST_QUESTIONS)})
    return replace(form, questions=[*form.questions, QuestionRow()])


def without_question(form: Form, place: int | None) -> Form:
    """One question less."""
    return replace(form, questions=[row for number, row in enumerate(form.questions) if number != place])


def targets(wrong: Mapping[str, str]) -> list[tuple[str, str]]:
    """What is wrong, each with the id of the control to mend, without saying the same of one twice."""
    return list(dict.fromkeys((_target(name), sentence) for name, sentence in wrong.items()))


def _target(name: str) -> str:
    what, _sep, place = name.partition("-")
    if what == "session" and place.isdigit():
        return f"{name}-day"
    return f"{name}-text" if what == "question" and place.isdigit() else name
