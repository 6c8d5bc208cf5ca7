"""Programs are set up, changed and copied in a form that goes round; nothing that was typed is lost on the way."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from werkzeug.test import TestResponse

from portal.audit import AuditEntry
from portal.clinic import Tax
from portal.clock import now
from portal.programs.states import Place
from portal.programs.tables import Attendance, Program, ProgramQuestion, ProgramSession, ProgramTax, Registration
from tests.makers import GST, count_of, make_location, make_program, make_tax
from tests.web.conftest import Site, Visitor, words
from tests.web.office.mails.conftest import mails
from tests.web.office.programs.conftest import PROGRAMS, sent_as_it_stands

Sent = dict[str, Any]
EVENINGS: Sent = {
    "add_first": "2083-03-02", "add_from": "17:30", "add_to": "18:30", "add_room": "Studio 2", "add_times": "6",
}  # fmt: skip


def filled_in(marc: Visitor, **changes: Any) -> Sent:
    """The form of a new program, with what it can't do without."""
    return {
        **sent_as_it_stands(marc.get(f"{PROGRAMS}/new")),
        "name": "Back in motion",
        "price": "200",
        "visible": "on",
        **EVENINGS,
        **changes,
    }


def press(visitor: Visitor, sent: Sent, do: str = "save", path: str = f"{PROGRAMS}/new") -> TestResponse:
    return visitor.post(path, data={**sent, "do": do})


def programs(site: Site) -> list[Program]:
    return list(site.change(lambda session: session.scalars(select(Program).order_by(Program.id)).all()))


def sessions(site: Site, program: Program) -> list[ProgramSession]:
    found = select(ProgramSession).filter_by(program_id=program.id).order_by(ProgramSession.starts_at)
    return list(site.change(lambda session: session.scalars(found).all()))


def questions(site: Site, program: Program) -> list[ProgramQuestion]:
    found = select(ProgramQuestion).filter_by(program_id=program.id, active=True).order_by(ProgramQuestion.position)
    return list(site.change(lambda session: session.scalars(found).all()))


def changes(site: Site) -> list[tuple[str, str, str]]:
    rows = site.change(lambda session: session.scalars(select(AuditEntry).order_by(AuditEntry.id)).all())
    return [(row.subject, row.before, row.after) for row in rows if row.action == "program.changed"]


# --- setting one up -------------------------------------------------------------------------------------------------


def test_a_program_is_set_up_with_all_that_was_typed(site: Site, marc: Visitor) -> None:
    gst = site.change(lambda session: make_tax(session, GST))
    sent = filled_in(
        marc, taxes=[str(gst.id)], description="Six evenings.\n\nMats are here.",
        practitioner=str(site.cast.practitioner.id), early_price="180.50", early_until="2083-02-01",
        capacity="12", waitlist_size="4",
        opens="2083-01-05T09:00", closes="2083-03-01T12:00", refund_days="3", late_share="50",
    )  # fmt: skip
    answer = press(marc, sent)
    (made,) = programs(site)
    assert answer.status_code == 303 and answer.location == f"{PROGRAMS}/{made.public_id}"
    assert (made.name, made.description) == ("Back in motion", "Six evenings.\n\nMats are here.")
    assert (made.price_cents, made.early_price_cents, made.early_until) == (200_00, 180_50, date(2083, 2, 1))
    assert (made.capacity, made.waitlist_size, made.visible) == (12, 4, True)
    assert (made.refund_days, made.late_share_percent) == (3, 50)
    assert made.opens_at == datetime(2083, 1, 5, 17, 0, tzinfo=UTC), "nine in the morning in Vancouver"
    assert made.practitioner_id == site.cast.practitioner.id and made.created_by == site.cast.administrator.id
    assert site.change(lambda s: s.scalars(select(ProgramTax.tax_id)).all()) == [gst.id]
    evenings = sessions(site, made)
    assert len(evenings) == 6 and {each.room for each in evenings} == {"Studio 2"}
    assert evenings[0].starts_at == datetime(2083, 3, 3, 1, 30, tzinfo=UTC)
    assert evenings[1].starts_at - evenings[0].starts_at == timedelta(days=7)
    entry = site.change(lambda s: s.scalars(select(AuditEntry).where(AuditEntry.action == "program.added")).one())
    assert entry.user_id == site.cast.administrator.id and "Price: $200.00" in entry.after
    page = words(marc.get(PROGRAMS))
    assert "Back in motion" in page and "0 of 12" in page and "6 sessions from Tue 2 Mar 2083, 5:30 pm" in page


def test_the_same_press_twice_sets_up_one_program(site: Site, marc: Visitor) -> None:
    sent = filled_in(marc)
    assert [press(marc, sent).status_code for _press in range(2)] == [303, 303]
    assert len(programs(site)) == 1


def test_the_form_goes_round_and_keeps_what_was_typed(site: Site, marc: Visitor) -> None:
    gst = site.change(lambda session: make_tax(session, GST))
    sent = filled_in(
        marc, name='A "fine" <b>name</b> & more', description="Zwölf\nZeilen", price="nonsense", taxes=[str(gst.id)]
    )
    answer = press(marc, sent, "add-sessions")
    assert answer.status_code == 200 and not programs(site)
    back = sent_as_it_stands(answer)
    assert back["name"] == 'A "fine" <b>name</b> & more' and back["description"] == "Zwölf\nZeilen"
    assert back["price"] == "nonsense" and back["taxes"] == [str(gst.id)]
    assert (back["session-0-day"], back["session-5-day"]) == ("2083-03-02", "2083-04-06")
    assert back["add_first"] == "" and back["add_room"] == "Studio 2", "the next ones are often in the same room"
    answer = press(marc, back, "remove-session:1")
    back = sent_as_it_stands(answer)
    assert (back["session-1-day"], "session-5-day" in back) == ("2083-03-16", False)
    back = sent_as_it_stands(press(marc, {**back, "first_on": "2083-03-04"}, "move"))
    assert (back["session-0-day"], back["session-4-day"]) == ("2083-03-04", "2083-04-08")
    answer = press(marc, back)
    assert answer.status_code == 422 and "Price: an amount such as 120.00" in words(answer)
    assert press(marc, {**sent_as_it_stands(answer), "price": "0"}).status_code == 303
    (made,) = programs(site)
    assert len(sessions(site, made)) == 5 and made.price_cents == 0


def test_every_second_week_on_two_weekdays_until_a_day(site: Site, marc: Visitor) -> None:
    rule = {"add_every": "2", "add_times": "", "add_until": "2083-03-31", "add_weekdays": ["1", "3"]}
    back = sent_as_it_stands(press(marc, filled_in(marc, **rule), "add-sessions"))
    days = [back[f"session-{place}-day"] for place in range(6) if f"session-{place}-day" in back]
    assert days == ["2083-03-02", "2083-03-04", "2083-03-16", "2083-03-18", "2083-03-30"]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"name": " "}, "Name: please fill this in."),
        ({"location": "99"}, "Location: please choose one from the list."),
        ({"practitioner": "99"}, "Led by: please choose one from the list."),
        ({"taxes": ["99"]}, "Taxes: please choose from the list."),
        ({"price": "0.20"}, "No card can be charged that"),
        ({"price": "-5"}, "Price: an amount"),
        ({"early_price": "10"}, "Until when is the early price?"),
        ({"early_price": "200", "early_until": "2083-01-01"}, "The early price is lower than the price."),
        ({"capacity": "0"}, "Places: a whole number from 1 to 10000."),
        ({"waitlist_size": "x"}, "Places on the waitlist: a whole number"),
        ({"opens": "2083-02-01T10:00", "closes": "2083-02-01T10:00"}, "Registration closes after it opens."),
        ({"opens": "2083-03-02T17:30"}, "Registration opens before the first session begins"),
        ({"opens": "soon"}, "Registration opens: choose a day and a time"),
        ({"refund_days": "366"}, "a whole number from 0 to 365."),
        ({"late_share": "101"}, "a whole number from 0 to 100."),
        ({"add_to": "17:00"}, "When does it end, on the same day?"),
        ({"add_first": "2083-02-30"}, "Choose the first day."),
        ({"add_times": "999"}, "So many times: a whole number from 1 to 150."),
        ({"add_first": ""}, "Add a session before patients can see the program."),
        ({"add_first": "2083-03-14", "add_from": "02:30", "add_to": "03:30"}, "doesn't exist on 14 March 2083"),
        ({"session-0-day": "2083-03-02", "session-0-starts": "18:00", "session-0-ends": "19:00"},
         "Two sessions are at the same time."),
        ({"session-0-day": "", "session-0-starts": "18:00"}, "Give each session a day, a beginning and an end."),
        ({"session-0-day": "2083-05-01", "session-0-starts": "18:00", "session-0-ends": "17:00"},
         "A session ends after it begins, on the same day."),
        ({"question-0-text": " ", "question-0-kind": "text"}, "Write the question, or remove it."),
        ({"question-0-text": "Size?", "question-0-kind": "choice", "question-0-choices": "S\nS"},
         "A choice needs two answers or more"),
        ({"question-0-text": "Size?", "question-0-kind": "essay"}, "Choose how the question is answered."),
    ],
)  # fmt: skip
def test_what_can_not_be_is_told_at_its_field_and_kept(
    site: Site, marc: Visitor, changed: Sent, sentence: str
) -> None:
    answer = press(marc, filled_in(marc, **changed))
    assert answer.status_code == 422 and sentence in words(answer), words(answer)
    assert 'aria-invalid="true"' in answer.text or 'class="wrong"' in answer.text
    assert programs(site) == []
    back = sent_as_it_stands(answer)
    assert back["name"] == changed.get("name", "Back in motion").strip()


@pytest.mark.parametrize("bad", ["", "\0", "x" * 5000, "-1", "٣", "<b>&", "9" * 30])
def test_garbage_never_breaks_the_form(site: Site, marc: Visitor, program: Program, bad: str) -> None:
    whole = filled_in(marc)
    names = [name for name in [*whole, "session-0-day", "session-0-id", "question-0-kind"] if name != "csrf_token"]
    for name in names:
        assert press(marc, {**whole, name: bad}).status_code in (303, 422)
    everywhere = dict.fromkeys([*names, "question-0-text", "question-0-id"], bad[:999])
    garbage = {**everywhere, "csrf_token": whole["csrf_token"]}
    assert press(marc, garbage, path=edit_path(program)).status_code == 422
    for do in (bad, f"remove-session:{bad}", f"remove-question:{bad}", "move", "add-question", "add-sessions"):
        assert press(marc, garbage, do, edit_path(program)).status_code in (200, 422)
    sessions = {"add_first": "2027-03-08", "add_from": "17:30", "add_to": "18:30", "add_weekdays": bad}
    assert press(marc, {**whole, **sessions}, "add-sessions").status_code == 200  # such a weekday is none


def test_nothing_is_nowhere(marc: Visitor) -> None:
    whole = filled_in(marc)
    assert press(marc, {"csrf_token": whole["csrf_token"]}).status_code == 422
    for nowhere in ("edit", "copy"):
        assert marc.get(f"{PROGRAMS}/nothing/{nowhere}").status_code == 404
    assert press(marc, whole, path=f"{PROGRAMS}/nothing/edit").status_code == 404


# --- changing one ---------------------------------------------------------------------------------------------------


def edit_path(program: Program) -> str:
    return f"{PROGRAMS}/{program.public_id}/edit"


def test_a_form_saved_as_it_stands_changes_nothing(site: Site, marc: Visitor, program: Program) -> None:
    before = [(each.id, each.starts_at, each.ends_at, each.room) for each in sessions(site, program)]
    sent = sent_as_it_stands(marc.get(edit_path(program)))
    assert press(marc, sent, path=edit_path(program)).status_code == 303
    assert [(each.id, each.starts_at, each.ends_at, each.room) for each in sessions(site, program)] == before
    assert changes(site) == [] and programs(site)[0].version == program.version


def test_each_change_is_in_the_audit_log(site: Site, marc: Visitor, program: Program) -> None:
    sent = sent_as_it_stands(marc.get(edit_path(program)))
    first, second = sessions(site, program)[:2]
    sent |= {"name": "Back at it", "price": "210", "session-1-room": "Pool"}
    assert press(marc, sent, path=edit_path(program)).status_code == 303
    told = changes(site)
    assert ("program Back at it, name", "Back in motion", "Back at it") in told
    assert ("program Back at it, price", "$200.00", "$210.00") in told
    assert [subject for subject, _before, _after in told][2:] == ["program Back at it, sessions"]
    kept = sessions(site, program)
    assert (kept[0].id, kept[1].id) == (first.id, second.id) and kept[1].room == "Pool"
    assert programs(site)[0].version == program.version + 1


def test_nobody_overwrites_unseen_what_somebody_else_saved(site: Site, marc: Visitor, program: Program) -> None:
    mine = sent_as_it_stands(marc.get(edit_path(program)))
    press(marc, {**mine, "price": "300"}, path=edit_path(program))
    assert press(marc, {**mine, "price": "300"}, path=edit_path(program)).status_code == 303, "pressed twice"
    answer = press(marc, {**mine, "name": "Mine"}, path=edit_path(program))
    assert answer.status_code == 422
    assert "Somebody else has saved this program meanwhile. What you have here differs in: Name, Price." in words(
        answer
    )
    assert programs(site)[0].price_cents == 300_00
    assert press(marc, sent_as_it_stands(answer), path=edit_path(program)).status_code == 303
    assert (programs(site)[0].name, programs(site)[0].price_cents) == ("Mine", 200_00)


def has_place(site: Site, program: Program, state: Place = Place.CONFIRMED) -> int:
    """Somebody is registered."""

    def work(session: Any) -> int:
        moment = now()
        row = Registration(
            public_id=f"r{count_of(session, Registration)}", program_id=program.id, channel="portal", state=state,
            patient_id=(site.cast.maya.id, site.cast.theo.id)[count_of(session, Registration)], price_cents=200_00,
            user_id=site.cast.maya_user.id, created_at=moment,
            waiting_since=moment if state == Place.WAITING else None,
        )  # fmt: skip
        session.add(row)
        session.flush()
        return row.id

    return int(site.change(work))


def test_places_that_are_taken_stay(site: Site, marc: Visitor, program: Program) -> None:
    has_place(site, program)
    has_place(site, program)
    sent = sent_as_it_stands(marc.get(edit_path(program)))
    answer = press(marc, {**sent, "capacity": "1"}, path=edit_path(program))
    assert answer.status_code == 422 and "2 places are taken. The group can't be smaller." in words(answer)


def test_a_larger_group_is_offered_to_who_waits(site: Site, marc: Visitor) -> None:
    program = site.change(lambda session: make_program(session, capacity=1, waitlist_size=3))
    has_place(site, program)
    waiting = has_place(site, program, Place.WAITING)
    sent = sent_as_it_stands(marc.get(edit_path(program)))
    assert press(marc, {**sent, "capacity": "2"}, path=edit_path(program)).status_code == 303
    assert "1 place is offered" in words(marc.get(PROGRAMS))
    assert site.change(lambda session: session.get_one(Registration, waiting).state) == Place.OFFERED


def test_whoever_has_a_place_is_told_of_new_dates(site: Site, marc: Visitor, program: Program) -> None:
    has_place(site, program)
    has_place(site, program, Place.WAITING)
    page = marc.get(edit_path(program))
    assert "One place is taken." in words(page) and "Tell the person who has a place" in words(page)
    moved = {**sent_as_it_stands(page), "first_on": "2083-03-04"}
    press(marc, sent_as_it_stands(press(marc, moved, "move", path=edit_path(program))), path=edit_path(program))
    assert "1 person is told. Each gets an email with the dates as they are now." in words(marc.get(PROGRAMS))
    (mail,) = mails(site, "program_changed")
    assert (mail.recipient, mail.queued_by) == ("maya@example.com", site.cast.administrator.id)
    emails = words(site.visitor("dana@example.com").get(f"/office/patients/{site.cast.maya.id}/emails"))
    assert "Program changed Queued" in emails and "Marc" in emails


def test_who_is_not_told_is_to_be_called(site: Site, marc: Visitor, program: Program) -> None:
    has_place(site, program)
    untold = {**sent_as_it_stands(marc.get(edit_path(program))), "first_on": "2083-03-04"}
    del untold["tells"]
    sent = sent_as_it_stands(press(marc, untold, "move", path=edit_path(program)))
    assert "tells" not in sent, "what was unticked stays so while the form goes round"
    press(marc, sent, path=edit_path(program))
    assert "1 person gets no email. They have a place. Please call them" in words(marc.get(PROGRAMS))
    assert not mails(site, "program_changed")


def test_nobody_is_asked_whom_to_tell_where_nobody_has_a_place(site: Site, marc: Visitor, program: Program) -> None:
    has_place(site, program, Place.WAITING)
    pages = [
        marc.get(path) for path in (edit_path(program), f"{PROGRAMS}/new", f"{PROGRAMS}/{program.public_id}/copy")
    ]
    assert not any('name="tells"' in page.text for page in pages)


def test_a_program_of_the_past_is_kept_with_a_warning(site: Site, marc: Visitor) -> None:
    assert press(marc, filled_in(marc, add_first="2020-03-03")).status_code == 303
    (made,) = programs(site)
    assert "Nobody can register any more." in words(marc.get(f"{PROGRAMS}/{made.public_id}"))


def test_a_session_whose_attendance_is_noted_stays(site: Site, marc: Visitor, program: Program) -> None:
    registration, first = has_place(site, program), sessions(site, program)[0]
    site.change(
        lambda session: session.add(
            Attendance(session_id=first.id, registration_id=registration, present=True, noted_at=now())
        )
    )
    sent = sent_as_it_stands(marc.get(edit_path(program)))
    less = sent_as_it_stands(press(marc, sent, "remove-session:0", path=edit_path(program)))
    answer = press(marc, less, path=edit_path(program))
    assert answer.status_code == 422 and "Somebody has noted who came on" in words(answer)
    assert press(marc, {**sent, "session-0-room": "Pool"}, path=edit_path(program)).status_code == 303
    assert sessions(site, program)[0].id == first.id


def test_the_currency_stays_once_people_have_registered(site: Site, marc: Visitor, program: Program) -> None:
    abroad = site.change(lambda session: make_location(session, "Seattle", prefix="S-", currency="USD"))
    sent = sent_as_it_stands(marc.get(edit_path(program))) | {"location": str(abroad.id)}
    has_place(site, program)
    answer = press(marc, sent, path=edit_path(program))
    assert answer.status_code == 422 and "People have registered in CAD." in words(answer)


def test_sessions_keep_their_hour_at_a_place_in_another_zone(site: Site, marc: Visitor, program: Program) -> None:
    east = site.change(lambda session: make_location(session, "Toronto", prefix="T-", timezone="America/Toronto"))
    before = sessions(site, program)[0].starts_at
    sent = sent_as_it_stands(marc.get(edit_path(program))) | {"location": str(east.id)}
    assert press(marc, sent, path=edit_path(program)).status_code == 303
    assert sessions(site, program)[0].starts_at == before - timedelta(hours=3)


def test_an_hour_that_comes_twice_is_not_moved_by_saving_the_form(site: Site, marc: Visitor) -> None:
    second = datetime(2083, 11, 7, 9, 30, tzinfo=UTC)  # 1:30 am in Vancouver for the second time
    quarter = timedelta(minutes=15)
    program = site.change(lambda session: make_program(session, first=second, sessions=1, opens_at=second - quarter))
    sent = sent_as_it_stands(marc.get(edit_path(program))) | {"price": "150"}
    assert (sent["session-0-starts"], sent["opens"]) == ("01:30", "2083-11-07T01:15")
    assert press(marc, sent, path=edit_path(program)).status_code == 303
    assert sessions(site, program)[0].starts_at == second and programs(site)[0].opens_at == second - quarter


def test_questions_are_asked_changed_and_taken_out(site: Site, marc: Visitor, program: Program) -> None:
    sent = sent_as_it_stands(press(marc, sent_as_it_stands(marc.get(edit_path(program))), "add-question",
                                   edit_path(program)))  # fmt: skip
    sent |= {"question-0-text": "What size?", "question-0-kind": "choice", "question-0-choices": "S\n M \n\nL"}
    sent = sent_as_it_stands(press(marc, sent, "add-question", edit_path(program)))
    sent |= {"question-1-text": "I agree to be photographed", "question-1-kind": "consent"}
    sent.pop("question-1-required")
    assert press(marc, sent, path=edit_path(program)).status_code == 303
    size, consent = questions(site, program)
    assert (size.kind, size.choices, size.required) == ("choice", "S\nM\nL", True)
    assert (consent.kind, consent.required) == ("consent", False)
    sent = sent_as_it_stands(marc.get(edit_path(program)))
    sent = sent_as_it_stands(press(marc, sent, "remove-question:0", edit_path(program)))
    assert press(marc, {**sent, "question-0-text": "I agree"}, path=edit_path(program)).status_code == 303
    (kept,) = questions(site, program)
    assert (kept.id, kept.text, kept.position) == (consent.id, "I agree", 0)
    assert site.change(lambda session: count_of(session, ProgramQuestion)) == 2, "the other stays for its answers"


# --- a copy ---------------------------------------------------------------------------------------------------------


def test_a_copy_is_a_term_later_and_hidden(site: Site, marc: Visitor) -> None:
    first = datetime(2083, 1, 13, 1, 30, tzinfo=UTC)
    program = site.change(
        lambda session: make_program(session, first=first, closes_at=first - timedelta(days=1), early_price_cents=1,
                                     early_until=date(2082, 12, 31))
    )  # fmt: skip
    sent = sent_as_it_stands(marc.get(f"{PROGRAMS}/{program.public_id}/copy"))
    assert (sent["session-0-day"], sent["session-5-day"]) == ("2083-02-23", "2083-03-30"), (
        "the week after 16 February"
    )
    assert sent["closes"] == "2083-02-22T17:30" and sent["early_until"] == "2083-02-11"
    assert "visible" not in sent and sent["session-0-id"] == ""
    assert press(marc, {**sent, "early_price": "180"}).status_code == 303
    original, made = programs(site)
    assert made.name == original.name and made.taken == 0 and not made.visible
    assert sessions(site, made)[0].starts_at == first + timedelta(weeks=6)
    assert len(sessions(site, original)) == 6
    assert site.change(lambda session: session.scalar(select(Tax.name))) == "GST"


# --- the list, and who sees it --------------------------------------------------------------------------------------


def test_the_list_says_where_each_program_stands(site: Site, marc: Visitor, dana: Visitor) -> None:
    week = timedelta(weeks=1)

    def more(session: Any) -> None:
        make_program(session, "Open one")
        make_program(session, "Hidden one", visible=False)
        make_program(session, "Early bird", opens_at=now() + week, closes_at=now() + 2 * week)
        make_program(session, "Closed one", closes_at=now() - week)
        make_program(session, "Long over", first=now() - 20 * week, sessions=2)
        make_program(session, "Without dates", sessions=0, price_cents=0)

    site.change(more)
    page = words(marc.get(PROGRAMS))
    for name, state in (("Open one", "Open"), ("Hidden one", "Hidden"), ("Early bird", "Opens"),
                        ("Closed one", "Registration closed"), ("Without dates", "Registration closed")):  # fmt: skip
        assert f"{name} {state}" in page, page
    assert "Long over" not in page and "Running and coming 5 Over 1" in page
    assert "Long over Over" in words(marc.get(f"{PROGRAMS}?show=over"))
    seen = dana.get(PROGRAMS)
    assert "Open one" in words(seen) and "/new" not in seen.text and "/copy" not in seen.text


def test_the_list_takes_two_statements_however_long_it_is(site: Site, marc: Visitor) -> None:
    site.change(lambda session: [make_program(session, f"Number {number}") for number in range(30)])
    marc.get(PROGRAMS)
    with site.counting() as sent:
        marc.get(PROGRAMS)
    assert len([statement for statement in sent if "program" in statement]) == 2


def test_while_the_module_is_off_only_a_hint_is_there(site: Site, marc: Visitor, dana: Visitor) -> None:
    site.setting("module_programs", "no")
    assert "Programs are switched off" in words(marc.get(PROGRAMS))
    assert PROGRAMS in marc.get("/office/patients").text and PROGRAMS not in dana.get("/office/patients").text
    assert dana.get(PROGRAMS).status_code == 404
    assert "The clinic has no programs here at the moment" in words(marc.get(f"{PROGRAMS}/new"))
    site.setting("module_programs", "yes")
    assert PROGRAMS in dana.get("/office/patients").text
