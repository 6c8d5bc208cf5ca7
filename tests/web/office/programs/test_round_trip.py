"""Whatever a program says, its form says the same: to open it and save it changes nothing."""

from datetime import date
from string import ascii_letters

from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from portal.programs.setup.sessions import Meeting, Wall
from portal.programs.setup.wanted import Question, Wanted
from portal.programs.tables import CHOICE, QUESTION_KINDS
from portal.schedule.reading import Place
from portal.web.office.program_form import Form, form_of, form_sent, read

CENTS = st.integers(0, 9_999_999)
NUMBERS = st.integers(1, 2**31 - 1)
DAYS = st.dates(date(2000, 1, 1), date(2099, 12, 31))
WORD = st.text(st.sampled_from(ascii_letters + "äé東&<>\"'"), min_size=1, max_size=8)
LINE = st.lists(WORD, min_size=1, max_size=4).map(" ".join)
TEXT = st.lists(LINE, max_size=4).map("\n".join)
WALLS = st.none() | st.builds(Wall, DAYS, st.integers(0, 1439))
MEETINGS = st.builds(
    Meeting, day=DAYS, from_minute=st.integers(0, 1439), to_minute=st.integers(1, 1440), room=LINE | st.just(""),
    id=st.none() | NUMBERS,
)  # fmt: skip
QUESTIONS = st.sampled_from(QUESTION_KINDS).flatmap(
    lambda kind: st.builds(
        Question, kind=st.just(kind), text=LINE, required=st.booleans(), id=st.none() | NUMBERS,
        choices=st.lists(LINE, max_size=4).map(tuple) if kind == CHOICE else st.just(()),
    )
)  # fmt: skip


@st.composite
def programs(draw: st.DrawFn) -> Wanted:
    has_early_price = draw(st.booleans())
    return Wanted(
        name=draw(LINE),
        description=draw(TEXT),
        location_id=7,
        practitioner_id=draw(st.none() | NUMBERS),
        price_cents=draw(CENTS),
        tax_ids=frozenset(draw(st.sets(NUMBERS, max_size=3))),
        early_price_cents=draw(CENTS) if has_early_price else None,
        early_until=draw(DAYS) if has_early_price else None,
        capacity=draw(st.integers(1, 10_000)),
        waitlist_size=draw(st.integers(0, 1000)),
        opens=draw(WALLS),
        closes=draw(WALLS),
        visible=draw(st.booleans()),
        refund_days=draw(st.integers(0, 365)),
        late_share_percent=draw(st.integers(0, 100)),
        meetings=tuple(draw(st.lists(MEETINGS, max_size=4))),
        questions=tuple(draw(st.lists(QUESTIONS, max_size=4))),
    )


def as_sent(form: Form) -> MultiDict[str, str]:
    """What a browser sends of it: a box that is not ticked sends nothing, a line ends in CR LF."""
    sent: MultiDict[str, str] = MultiDict(
        (name, value.replace("\n", "\r\n"))
        for name, value in form.fields.items()
        if value or name not in ("visible", "waitlist")
    )
    sent.setlist("taxes", form.taxes)
    for place, row in enumerate(form.sessions):
        for part in ("id", "day", "starts", "ends", "room"):
            sent[f"session-{place}-{part}"] = getattr(row, part)
    for place, asked in enumerate(form.questions):
        for part in ("id", "kind", "text"):
            sent[f"question-{place}-{part}"] = getattr(asked, part)
        sent[f"question-{place}-choices"] = asked.choices.replace("\n", "\r\n")
        if asked.required:
            sent[f"question-{place}-required"] = "on"
    return sent


@given(program=programs(), currency=st.sampled_from(["CAD", "JPY", "KWD"]))
def test_a_form_says_what_the_program_says(program: Wanted, currency: str) -> None:
    place = Place(7, "Alder Lane", "America/Vancouver", currency, 480, 1080)
    assert read(form_sent(as_sent(form_of(program, currency))), [place]) == program
