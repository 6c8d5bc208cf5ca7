"""Reminders: when they are due, and when never."""

from datetime import UTC, date, datetime, timedelta
from email import message_from_bytes
from email.policy import SMTP
from uuid import uuid4

import pytest
from sqlalchemy import select, update

from portal.clinic import Location
from portal.clock import now, shifted
from portal.invoices.books import adjust
from portal.invoices.reading import local_day
from portal.invoices.tables import Invoice
from portal.letters.choices import choose_reminders, unsubscribe_url, whose
from portal.letters.reminders import Plan, Reminded, next_reminder, queue_reminders
from portal.mail import deliver_waiting_mail, written
from portal.outbox import Letter, MailState, OutboxMessage, claim_letter, state_of, waiting_mail, why_in_words
from portal.paylinks import PayLink
from portal.payments.tables import Case
from portal.people import Patient, PayerLink
from portal.refunds.voiding import void
from portal.settings import read_settings
from tests.makers import make_payment
from tests.payments.stage import Stage

PLAN = Plan(before=3, after=3, every=7, most=3)
DUE = date(2026, 12, 15)


@pytest.mark.promise("E3")
@pytest.mark.parametrize(
    ("today", "had_before", "had_after", "last", "expected"),
    [
        (11, False, 0, None, None),
        (12, False, 0, None, "before"),
        (15, False, 0, None, "before"),
        (13, True, 0, 12, None),
        (16, True, 0, 12, None),
        (17, True, 0, 12, None),
        (18, True, 0, 12, "after:1"),
        (20, False, 0, None, "after:1"),
        (24, True, 1, 18, None),
        (25, True, 1, 18, "after:2"),
        (30, True, 3, 29, None),
    ],
)
def test_which_reminder_is_due(
    today: int, had_before: bool, had_after: int, last: int | None, expected: str | None
) -> None:
    last_on = None if last is None else date(2026, 12, last)
    one = Reminded(1, date(2026, 12, 1), DUE, had_before, had_after, last_on)
    assert next_reminder(one, PLAN, date(2026, 12, today)) == expected


def test_who_has_just_got_the_invoice_is_not_reminded_before_it_is_due() -> None:
    one = Reminded(1, date(2026, 12, 13), DUE, False, 0, None)
    assert next_reminder(one, PLAN, date(2026, 12, 14)) is None
    assert next_reminder(one, PLAN, date(2026, 12, 18)) == "after:1"


@pytest.mark.parametrize(("plan", "day"), [(Plan(0, 3, 7, 3), 13), (Plan(3, 0, 7, 3), 25), (Plan(3, 3, 7, 0), 25)])
def test_a_clinic_may_leave_any_of_them_out(plan: Plan, day: int) -> None:
    assert next_reminder(Reminded(1, date(2026, 12, 1), DUE, False, 0, None), plan, date(2026, 12, day)) is None
    assert (
        next_reminder(Reminded(1, date(2026, 12, 1), DUE, True, 1, DUE), Plan(3, 3, 0, 3), date(2027, 1, 5)) is None
    )


# --- on a clinic ----------------------------------------------------------------------------------------------------


@pytest.fixture
def late(stage: Stage) -> Stage:
    """An invoice that was due four days ago, at noon in Vancouver."""
    stage.set("email_reminders", "yes")
    due_in(stage, -4)
    return stage


def due_in(stage: Stage, days: int) -> None:
    today = local_day(noon(), "America/Vancouver")
    with stage.database.transaction() as session:
        moment = noon() - timedelta(days=40)
        changes = {"due_on": today + timedelta(days=days), "issued_at": moment}
        session.execute(update(Invoice).values(**changes))


def noon(hour: int = 12) -> datetime:
    """An hour of today in Vancouver, close enough: eight hours behind UTC or seven."""
    return datetime.now(UTC).replace(hour=(hour + 8) % 24, minute=0)


def at(hour: int, days: int = 0) -> timedelta:
    return noon(hour) - datetime.now(UTC) + timedelta(days=days)


def remind(stage: Stage, hour: int = 12, days: int = 0) -> int:
    with shifted(at(hour, days)):
        return queue_reminders(stage.parts)


def reminders(stage: Stage) -> list[OutboxMessage]:
    with stage.database.transaction() as session:
        return list(session.scalars(select(OutboxMessage).where(OutboxMessage.kind == "reminder")))


def claimed(stage: Stage) -> Letter:
    with shifted(at(12)), stage.database.transaction() as session:
        letter = claim_letter(session, stage.parts.vault)
    assert letter is not None
    return letter


@pytest.mark.promise("E3")
def test_a_late_invoice_is_reminded_of_every_so_often_and_then_no_more(late: Stage) -> None:
    assert [remind(late), remind(late)] == [1, 0]
    assert [remind(late, days=days) for days in range(1, 40)].count(1) == 2
    assert len(reminders(late)) == 3
    with late.database.transaction() as session:
        assert len(list(session.scalars(select(PayLink).where(PayLink.replaced_at.is_(None))))) == 1


@pytest.mark.promise("E3")
def test_one_that_is_due_soon_is_reminded_of_once(stage: Stage) -> None:
    stage.set("email_reminders", "yes")
    due_in(stage, 2)
    assert [remind(stage), remind(stage), remind(stage, days=1)] == [1, 0, 0]
    assert claimed(stage).words["is_overdue"] is False


@pytest.mark.promise("E3")
@pytest.mark.parametrize("hour", [0, 5, 20, 23])
def test_nobody_is_reminded_at_night(late: Stage, hour: int) -> None:
    assert remind(late, hour=hour) == 0


def test_night_is_where_the_location_is(late: Stage) -> None:
    with late.database.transaction() as session:
        session.execute(update(Location).values(timezone="Asia/Tokyo"))
    assert remind(late, hour=12) == 0  # five in the morning there
    assert remind(late, hour=17) == 1


@pytest.mark.promise("E3")
@pytest.mark.parametrize("why", ["paid", "void", "disputed", "lost", "being paid", "refund expected", "credited",
                                 "off", "unsubscribed", "no address"])  # fmt: skip
def test_never_for_what_is_not_owed_beyond_doubt_or_not_wanted(late: Stage, why: str) -> None:
    invoice = late.invoice()
    if why == "void":
        void(late.parts, late.invoice_id, "a reason", {}, None)
    if why == "being paid":
        late.press(late.form("authenticationRequired"))
    if why == "off":
        late.set("email_reminders", "no")
    if why == "unsubscribed":
        with late.database.read() as connection:
            payer = connection.scalar(select(PayerLink.payer_id).order_by(PayerLink.created_at).limit(1))
        choose_reminders(late.database, payer or 0, False, by=None)
        assert not choose_reminders(late.database, payer or 0, False, by=None)
    with late.database.transaction() as session:
        locked = session.get_one(Invoice, late.invoice_id)
        if why == "paid":
            make_payment(session, locked)
        if why == "credited":
            adjust(session, late.invoice_id, -invoice.balance_cents, "a reason", None)
        if why in ("disputed", "lost", "refund expected"):
            paid = make_payment(session, locked, 1_00)
            kind, stage = ("dispute", "open" if why == "disputed" else "lost")
            session.add(
                Case(
                    kind="refund_expected" if why == "refund expected" else kind,
                    invoice_id=late.invoice_id,
                    payment_id=paid.id,
                    amount_cents=1_00,
                    stage="" if why == "refund expected" else stage,
                    reason="",
                    opened_at=now(),
                    closed_at=now() if why == "lost" else None,
                )
            )
        if why == "no address":
            session.execute(update(Patient).values(email=""))
            session.execute(PayerLink.__table__.delete())  # type: ignore[attr-defined]  # a mapped class' table
    assert remind(late) == 0
    assert reminders(late) == []


def test_one_that_waited_is_not_sent_at_night_and_not_once_paid(late: Stage) -> None:
    """The mail server was away; what was so when it was queued is asked again before it goes out."""
    assert remind(late, 17) == 1

    def deliver(hour: int, days: int = 0) -> int:
        with shifted(at(hour, days)):
            return deliver_waiting_mail(late.parts)

    assert deliver(23) == 0
    (mail,) = reminders(late)
    assert (state_of(mail), mail.tries, mail.sent_at) == (MailState.TRYING_AGAIN, 1, None)
    assert "night" in str(why_in_words(mail))
    with late.database.transaction() as session:
        make_payment(session, session.scalars(select(Invoice)).one())
    assert deliver(10, 1) == 0
    (mail,) = reminders(late)
    assert (state_of(mail), mail.words_sealed) == (MailState.DROPPED, None)
    assert "not needed or not wanted any more" in str(why_in_words(mail))
    with late.database.read() as connection:
        assert waiting_mail(connection).failed_lately == 0


@pytest.mark.promise("E3")
def test_one_that_waited_for_the_morning_goes_out_then(late: Stage) -> None:
    assert remind(late, 17) == 1
    for hour, days, sent in ((22, 0, 0), (7, 1, 0), (12, 1, 1), (13, 1, 0)):
        with shifted(at(hour, days)):
            assert deliver_waiting_mail(late.parts) == sent, hour
    assert state_of(reminders(late)[0]) == MailState.SENT


@pytest.mark.promise("E3")
def test_one_that_waited_does_not_go_once_the_clinic_sends_none(late: Stage) -> None:
    assert remind(late) == 1
    late.set("email_reminders", "no")
    with shifted(at(13)):
        assert deliver_waiting_mail(late.parts) == 0
    assert state_of(reminders(late)[0]) == MailState.DROPPED


@pytest.mark.promise("E3")
def test_a_reminder_leads_to_sign_in_where_it_can_not_be_paid_online(late: Stage) -> None:
    late.set("accept_payments_in_portal", "no")
    assert remind(late) == 1
    letter = claimed(late)
    with late.database.read() as connection:
        message = written(letter, read_settings(connection), "file:x", late.parts.config.base_url)
    assert letter.words["link"] == "" and f"/invoices/{letter.words['number']}" in message.as_string()


@pytest.mark.promise("E3")
def test_a_reminder_can_be_ended_in_one_click(late: Stage) -> None:
    remind(late)
    letter = claimed(late)
    with late.database.read() as connection:
        message = written(letter, read_settings(connection), "file:x", late.parts.config.base_url)
    sent = message_from_bytes(bytes(message))
    address = str(sent["List-Unsubscribe"]).strip("<>")
    assert sent["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert whose(late.parts.config, address.rpartition("/")[2]) == late.cast.maya.id
    receipt = Letter(1, "receipt", "m@example.com", dict.fromkeys(("name", "number", "receipt", "amount", "paid_on",
                     "balance", "due", "card"), "x") | {"is_settled": True}, f"<{uuid4()}@x>", 1)  # fmt: skip
    with late.database.read() as connection:
        other = written(receipt, read_settings(connection), "file:x", late.parts.config.base_url)
    assert other["List-Unsubscribe"] is None


@pytest.mark.promise("E3")
def test_a_mail_program_finds_the_address_however_long_it_is(late: Stage) -> None:
    """RFC 2369, 2: between angle brackets, as it is. Folded into encoded words, no mail program would offer it."""
    remind(late)
    letter = claimed(late)
    address = f"https://portal.{'long' * 20}.example.com/no-reminders/{letter.words['unsubscribe'][-30:]}"
    letter.words["unsubscribe"] = address
    with late.database.read() as connection:
        message = written(letter, read_settings(connection), "file:x", late.parts.config.base_url)
    for sent in (message.as_bytes(policy=SMTP.clone(cte_type="7bit")), bytes(message)):
        assert f"\nList-Unsubscribe: <{address}>".encode() in sent


def test_an_address_that_we_never_made_ends_nothing(late: Stage) -> None:
    good = unsubscribe_url(late.parts.config, late.cast.maya.id).rpartition("/")[2]
    for bad in ("", "x", good[:-1], good + "x", "1." + good.partition(".")[2]):
        assert whose(late.parts.config, bad) is None
