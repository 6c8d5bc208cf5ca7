"""Mails about places: written when they are sent, from what is true then; and not sent where it is true no more."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import select, update

from portal.clinic import Location
from portal.clock import now, shifted
from portal.mail import deliver_waiting_mail
from portal.outbox import MailState, OutboxMessage, state_of
from portal.payments.settle import look_up
from portal.payments.tables import DESK
from portal.people import Patient
from portal.programs.cancelling import cancel
from portal.programs.desk.moving import Move, move
from portal.programs.ending import let_place_go
from portal.programs.registering import Details, Holder, confirm_unpaid, hold, register
from portal.programs.seats import give_up, tell
from portal.programs.setup.sessions import moved
from portal.programs.setup.setting_up import change
from portal.programs.setup.wanted import standing
from portal.programs.states import Place, Why
from portal.programs.tables import Program, ProgramQuestion, ProgramSession, Registration, RegistrationAnswer
from portal.programs.words import moment_in_full, span_words
from portal.settings import PROGRAM_LETTERS
from tests.makers import make_program
from tests.programs.stage import ProgramStage, program_staged

pytestmark = pytest.mark.promise("E3")

HEALTH = "Chlamydia"


@pytest.fixture
def stage(database_url: str) -> Iterator[ProgramStage]:
    with program_staged(database_url, name="Back in motion", refund_days=7, late_share_percent=50) as opened:
        yield opened


def sent(stage: ProgramStage, folder: Path) -> dict[str, EmailMessage]:
    """Send what waits; gives a mail of each kind."""
    parts = replace(stage.parts, config=replace(stage.parts.config, mail_url=f"file:{folder}"))
    before = set(folder.iterdir()) if folder.exists() else set()
    deliver_waiting_mail(parts)
    found = {}
    with stage.database.transaction() as session:
        kinds = dict(session.execute(select(OutboxMessage.message_id, OutboxMessage.kind)).all())
    for file in sorted(set(folder.iterdir()) - before):
        mail = message_from_bytes(file.read_bytes(), policy=policy.default)
        found[kinds[mail["Message-ID"]]] = mail
    return found


def text_of(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body is not None
    return " ".join(f"{mail['Subject']} {body.get_content()}".split())


def rows(stage: ProgramStage, kind: str) -> list[OutboxMessage]:
    with stage.database.transaction() as session:
        return list(
            session.scalars(select(OutboxMessage).where(OutboxMessage.kind == kind).order_by(OutboxMessage.id))
        )


def full(stage: ProgramStage) -> tuple[str, str]:
    """Both places are paid for, by Maya and by Sven; gives their registrations."""
    return stage.confirmed(stage.maya).public_id, stage.confirmed(stage.sven).public_id


# --- confirmed ------------------------------------------------------------------------------------------------------


def test_a_confirmation_says_when_where_and_what_was_paid_and_brings_the_dates(
    stage: ProgramStage, tmp_path: Path
) -> None:
    registration = stage.confirmed(stage.maya)
    mail = sent(stage, tmp_path)["registration"]
    text = text_of(mail)
    assert mail["Subject"] == "Your place is confirmed: Back in motion"
    assert "Hello Maya, You have a place in Back in motion. We received CA$210.00." in text
    assert len(re.findall(r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) \d+ \w+ 20\d\d", text)) == 6
    assert len(re.findall(r"\d:30 (?:[ap]m )?to \d+:30 [ap]m", text)) == 1 and text.count("Studio 2") == 1
    assert f"/registrations/{registration.public_id}" in text
    assert re.search(r"Until \d+ \w+ 20\d\d all of the price goes back\. After that, 50% of it goes back\.", text)
    (file,) = mail.iter_attachments()
    assert (file.get_content_type(), file.get_filename()) == ("text/calendar", "sessions.ics")
    # A file to keep, not an invitation to answer: those name a method, in here and in the file (RFC 5546).
    assert file.get_param("charset") == "utf-8" and file.get_param("method") is None
    calendar = file.get_payload(decode=True)
    assert isinstance(calendar, bytes) and calendar.count(b"BEGIN:VEVENT\r\n") == 6
    assert "The dates are attached" in text


def test_a_confirmation_at_the_desk_says_what_is_still_to_pay(stage: ProgramStage, tmp_path: Path) -> None:
    maya = stage.cast.maya.id
    place = hold(stage.parts, stage.program_public_id, uuid4(), Holder(stage.cast.clerk.id, maya, channel=DESK))
    register(stage.parts, place, Details(maya, {}), stage.cast.clerk.id)
    confirm_unpaid(stage.parts, place, stage.cast.clerk.id)
    text = text_of(sent(stage, tmp_path)["registration"])
    assert "Nothing was charged yet. CA$210.00 is still to pay" in text


def test_a_free_place_says_that_there_is_nothing_to_pay(database_url: str, tmp_path: Path) -> None:
    with program_staged(database_url, price_cents=0) as stage:
        stage.register(stage.maya)
        text = text_of(sent(stage, tmp_path)["registration"])
    assert "There is nothing to pay." in text and "goes back" not in text


def test_whoever_registers_a_child_reads_whose_place_it_is(stage: ProgramStage, tmp_path: Path) -> None:
    place = stage.hold(stage.maya)
    register(stage.parts, place, Details(stage.cast.theo.id, {}), stage.maya.user_id)
    stage.pay_for(stage.maya, stage.registration(place))
    text = text_of(sent(stage, tmp_path)["registration"])
    assert "Hello Maya, Theo has a place in Back in motion." in text


def test_whoever_was_moved_reads_what_the_new_place_takes_the_place_of(stage: ProgramStage, tmp_path: Path) -> None:
    place = stage.confirmed(stage.maya)
    first = text_of(sent(stage, tmp_path)["registration"])
    with stage.database.transaction() as session:
        other = make_program(session, "Strong hips").public_id
    move(stage.parts, place.public_id, Move(other, keeps_price=True), stage.cast.clerk.id)
    text = text_of(sent(stage, tmp_path)["registration"])
    assert "You have a place in Strong hips. It takes the place of the one in Back in motion. What was" in text
    assert "CA$210.00, counts for it." in text
    assert "takes the place" not in first


def test_one_session_is_said_in_one_line(database_url: str, tmp_path: Path) -> None:
    with program_staged(database_url, sessions=1, first=datetime(2027, 1, 13, 1, 30, tzinfo=UTC)) as stage:
        stage.confirmed(stage.maya)
        with shifted(datetime(2026, 12, 1, tzinfo=UTC) - now()):
            text = text_of(sent(stage, tmp_path)["registration"])
    assert "When: Tue 12 Jan 2027, 5:30 to 6:30 pm Where: Alder Lane Studio 2" in text


def test_a_program_without_dates_yet_attaches_none(stage: ProgramStage, tmp_path: Path) -> None:
    stage.confirmed(stage.maya)
    with stage.database.transaction() as session:
        session.execute(ProgramSession.__table__.delete())  # type: ignore[attr-defined]  # a table
    mail = sent(stage, tmp_path)["registration"]
    assert list(mail.iter_attachments()) == [] and "attached" not in text_of(mail)


def test_a_place_cancelled_before_its_mail_went_out_is_told_once(stage: ProgramStage, tmp_path: Path) -> None:
    registration = stage.confirmed(stage.maya)
    cancel(stage.parts, registration.public_id, stage.maya.user_id)
    assert sent(stage, tmp_path).keys() == {"receipt", "refund", "registration_cancelled"}
    (row,) = rows(stage, "registration")
    assert state_of(row) is MailState.DROPPED and row.words_sealed is None


# --- new dates ------------------------------------------------------------------------------------------------------


def meets_later(stage: ProgramStage) -> None:
    """Staff take the first session out, put the others a week later, and tell who has a place."""
    with stage.database.read() as connection:
        found = standing(connection, stage.program_public_id)
    _first, *others = moved(found.wanted.meetings, 7)
    wanted = replace(found.wanted, meetings=tuple(others))
    change(stage.database, found.public_id, found.version, wanted, stage.cast.clerk.id, tells=True)


def events_in(mail: EmailMessage) -> dict[str, str]:
    """Each event's SEQUENCE, by its UID."""
    (file,) = mail.iter_attachments()
    calendar = file.get_payload(decode=True)
    assert isinstance(calendar, bytes)
    return dict(re.findall(r"UID:(.*?)\r\n.*?SEQUENCE:(\d+)", calendar.decode(), re.DOTALL))


def test_new_dates_come_with_all_of_them_and_the_same_events_changed(stage: ProgramStage, tmp_path: Path) -> None:
    place = stage.confirmed(stage.maya)
    first = sent(stage, tmp_path)["registration"]
    meets_later(stage)
    mail = sent(stage, tmp_path)["program_changed"]
    text = text_of(mail)
    assert mail["Subject"] == "New dates or location: Back in motion"
    assert "You still have your place; this is how it is now." in text
    assert len(re.findall(r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) \d+ \w+ 20\d\d", text)) == 5
    assert "One that is not in the list any more stays there: please delete it." in text
    assert re.search(r"Until \d+ \w+ 20\d\d all of the price goes back\. After that, 50% of it goes back\.", text)
    assert f"/registrations/{place.public_id}" in text
    before, after = events_in(first), events_in(mail)
    assert len(after) == 5 and after.keys() < before.keys()
    assert set(before.values()) == {"0"} and set(after.values()) == {"1"}


def test_new_dates_of_a_place_that_is_gone_by_then_are_not_sent(stage: ProgramStage, tmp_path: Path) -> None:
    place = stage.confirmed(stage.maya)
    meets_later(stage)
    cancel(stage.parts, place.public_id, stage.maya.user_id)
    assert "program_changed" not in sent(stage, tmp_path)
    (row,) = rows(stage, "program_changed")
    assert state_of(row) is MailState.DROPPED


# --- the waitlist ---------------------------------------------------------------------------------------------------


def test_who_waits_is_told_their_turn_then_offered_the_place_with_its_end(
    stage: ProgramStage, tmp_path: Path
) -> None:
    maya, _sven = full(stage)
    nadia, jonas = stage.wait(stage.newcomer("Nadia")), stage.wait(stage.jonas)
    sent(stage, tmp_path)
    assert [row.recipient for row in rows(stage, "waitlisted")] == ["nadia@example.com", "jonas@example.com"]
    cancel(stage.parts, maya, stage.maya.user_id)
    offer = sent(stage, tmp_path)["place_offered"]
    until = stage.registration(nadia).held_until
    assert until is not None and offer["To"] == "nadia@example.com"
    zone = stage.cast.location.timezone
    text = text_of(offer)
    assert f"We keep it until {moment_in_full(until, zone)}." in text
    assert "It costs CA$210.00. Nothing is charged until you pay." in text
    assert f"/registrations/{nadia}" in text and f"/registrations/{jonas}" not in text


def test_the_position_is_said_as_it_is_when_the_mail_goes_out(stage: ProgramStage, tmp_path: Path) -> None:
    full(stage)
    nadia = stage.wait(stage.newcomer("Nadia"))
    stage.wait(stage.jonas)
    let_place_go(stage.parts, nadia, None)
    mails = sent(stage, tmp_path)
    assert "You are next in line." in text_of(mails["waitlisted"])
    assert [state_of(row) for row in rows(stage, "waitlisted")] == [MailState.DROPPED, MailState.SENT]


def test_an_offer_that_is_over_or_taken_is_not_sent(stage: ProgramStage, tmp_path: Path) -> None:
    maya, sven = full(stage)
    nadia = stage.newcomer("Nadia")
    places = stage.wait(nadia), stage.wait(stage.jonas)
    cancel(stage.parts, maya, None)
    cancel(stage.parts, sven, None)
    stage.register(nadia, public_id=places[0])  # she looked at her programs, and took it
    let_place_go(stage.parts, places[1], None)
    assert "place_offered" not in sent(stage, tmp_path)
    assert {state_of(row) for row in rows(stage, "place_offered")} == {MailState.DROPPED}


def test_an_offer_that_lapsed_says_so_and_that_nothing_was_charged(stage: ProgramStage, tmp_path: Path) -> None:
    maya, _sven = full(stage)
    stage.wait(stage.jonas)
    cancel(stage.parts, maya, None)
    sent(stage, tmp_path)
    with shifted(timedelta(days=5)):
        stage.sweep()
        text = text_of(sent(stage, tmp_path)["place_lapsed"])
    assert "is over. Nothing was charged." in text and f"/programs/{stage.program_public_id}" in text


# --- what goes back -------------------------------------------------------------------------------------------------


def test_a_cancellation_says_first_what_goes_back_and_how(stage: ProgramStage, tmp_path: Path) -> None:
    registration = stage.confirmed(stage.maya)
    sent(stage, tmp_path)
    cancel(stage.parts, registration.public_id, stage.maya.user_id, percent=50)
    text = text_of(sent(stage, tmp_path)["registration_cancelled"])
    assert "CA$105.00 goes back to the card that paid." in text and "The clinic keeps CA$105.00." in text


def test_a_cancellation_of_what_was_never_paid_says_that(stage: ProgramStage, tmp_path: Path) -> None:
    place = stage.register(stage.maya).public_id
    confirm_unpaid(stage.parts, place, stage.cast.clerk.id)
    cancel(stage.parts, place, stage.cast.clerk.id, by_staff=True)
    text = text_of(sent(stage, tmp_path)["registration_cancelled"])
    assert "Nothing was paid, so nothing goes back." in text and "still to pay" not in text


def test_a_share_that_was_never_paid_is_still_to_pay(stage: ProgramStage, tmp_path: Path) -> None:
    place = stage.register(stage.maya).public_id
    confirm_unpaid(stage.parts, place, stage.cast.clerk.id)
    cancel(stage.parts, place, stage.cast.clerk.id, by_staff=True, percent=50)
    assert "CA$105.00 is still to pay." in text_of(sent(stage, tmp_path)["registration_cancelled"])


@pytest.mark.parametrize(
    ("why", "said"),
    [
        (Why.DISPUTE, "The bank took back what was paid for it."),
        (Why.REFUNDED, "CA$210.00 has gone back to you."),
        (Why.VOID, "CA$210.00 goes back to the card that paid."),
    ],
)
def test_a_place_that_followed_its_invoice_says_what_became_of_the_money(
    stage: ProgramStage, tmp_path: Path, why: Why, said: str
) -> None:
    place = stage.confirmed(stage.maya)
    sent(stage, tmp_path)
    with stage.database.transaction() as session:
        registration = session.get_one(Registration, place.id)
        give_up(session, registration, Place.CANCELLED, why)
        tell(session, registration, "registration_cancelled")
    text = text_of(sent(stage, tmp_path)["registration_cancelled"])
    assert f"is cancelled. {said}" in text and "keeps" not in text


def test_money_that_found_no_place_goes_back_and_the_mail_says_that_first(database_url: str, tmp_path: Path) -> None:
    with program_staged(database_url, capacity=1) as stage:
        registration = stage.register(stage.maya)

        def lapses_and_goes_to_sven() -> None:
            lost = update(Registration).where(Registration.id == registration.id)
            with stage.database.transaction() as session:
                session.execute(lost.values(state=Place.LAPSED, held_until=None, why=Why.TIME))
            stage.hold(stage.sven)

        stage.during("confirm", lapses_and_goes_to_sven)
        stage.pay_for(stage.maya, registration)
        mails = sent(stage, tmp_path)
        text = text_of(mails["no_place"])
    assert "Hello Maya, CA$210.00 goes back to the card that paid." in text
    assert "no place was left in Back in motion" in text and "registration" not in mails


# --- no health detail, nothing injected -----------------------------------------------------------------------------


def test_what_somebody_answered_and_what_a_program_is_about_show_up_in_no_mail(
    stage: ProgramStage, tmp_path: Path
) -> None:
    maya, _sven = full(stage)
    stage.wait(stage.jonas)
    registration_id = stage.registration(maya).id
    with stage.database.transaction() as session:
        session.execute(update(Program).values(description=HEALTH))
        question = ProgramQuestion(
            program_id=stage.program_id, position=1, kind="text", text=HEALTH, choices=HEALTH, required=False
        )
        session.add(question)
        session.flush()
        answer = RegistrationAnswer(
            registration_id=registration_id, question_id=question.id, question=HEALTH, answer=HEALTH,
            answered_at=now(),
        )  # fmt: skip
        session.add(answer)
        session.execute(update(Patient).values(family_name=HEALTH, search_key=HEALTH.lower()))
    mails = sent(stage, tmp_path)
    cancel(stage.parts, maya, None)
    mails |= sent(stage, tmp_path)
    assert mails.keys() >= {"registration", "waitlisted", "place_offered", "registration_cancelled"}
    for mail in mails.values():
        raw = bytes(mail)
        decoded = " ".join(
            part.get_content() for part in mail.walk() if part.get_content_type() in ("text/plain", "text/html")
        )
        assert HEALTH.lower() not in (decoded + raw.decode()).lower()


def test_a_programs_name_breaks_out_of_no_line_and_no_tag(stage: ProgramStage, tmp_path: Path) -> None:
    name = "Back\r\nBcc: all@example.com\r\n\r\n<script>alert(1)</script>\u202e"
    with stage.database.transaction() as session:
        session.execute(update(Program).values(name=name))
        session.execute(update(ProgramSession).values(room=name[:80]))
        session.execute(update(Location).values(address=name))
    stage.confirmed(stage.maya)
    mail = sent(stage, tmp_path)["registration"]
    assert mail["Bcc"] is None
    html = mail.get_body(("html",))
    assert html is not None and "<script" not in html.get_content() and "\u202e" not in html.get_content()


def test_every_kind_has_its_words(stage: ProgramStage) -> None:
    """The kinds that the domain queues are those that can be written, shown, and given a paragraph."""
    from portal.letters.registrations import _IS_SO, _OWN

    assert PROGRAM_LETTERS.keys() == _OWN.keys() == _IS_SO.keys()


# --- times ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("starts", "said"),
    [
        (datetime(2027, 1, 13, 1, 30, tzinfo=UTC), "5:30 to 6:30 pm"),
        (datetime(2027, 7, 13, 0, 30, tzinfo=UTC), "5:30 to 6:30 pm"),
        (datetime(2027, 1, 12, 19, 30, tzinfo=UTC), "11:30 am to 12:30 pm"),
        (datetime(2027, 1, 13, 7, 30, tzinfo=UTC), "11:30 pm to Wed 13 Jan 2027, 12:30 am"),
        (datetime(2027, 3, 14, 9, 30, tzinfo=UTC), "1:30 to 3:30 am"),
    ],
    ids=["winter", "summer", "noon", "midnight", "the night the clock jumps"],
)
def test_a_session_is_said_by_the_clock_of_its_place(starts: datetime, said: str) -> None:
    assert span_words(starts, starts + timedelta(hours=1), "America/Vancouver") == said


def test_what_differs_from_session_to_session_is_said_with_each(stage: ProgramStage, tmp_path: Path) -> None:
    with stage.database.transaction() as session:
        first = session.scalars(select(ProgramSession).order_by(ProgramSession.starts_at)).first()
        assert first is not None
        first.room, first.ends_at = "Pool", first.ends_at + timedelta(minutes=30)
    stage.confirmed(stage.maya)
    text = text_of(sent(stage, tmp_path)["registration"])
    assert text.count(", Pool") == 1 and text.count(", Studio 2") == 5
    assert len(re.findall(r"\d:\d\d (?:[ap]m )?to \d+:\d\d [ap]m", text)) == 6


# --- a payment that failed unseen -----------------------------------------------------------------------------------


def test_a_payment_for_a_place_that_failed_unseen_names_the_program_and_no_invoice(
    stage: ProgramStage, tmp_path: Path
) -> None:
    registration = stage.register(stage.maya)
    stage.pay_for(stage.maya, registration, "sandbox_processing")
    attempt = stage.attempt()
    stage.sandbox.finish_processing(str(attempt.intent_id), succeed=False)
    look_up(stage.parts, attempt.id)
    text = text_of(sent(stage, tmp_path)["payment_failed"])
    assert "for a place in Back in motion" in text and "Nothing was charged." in text
    assert f"/registrations/{registration.public_id}" in text and "~" not in text
