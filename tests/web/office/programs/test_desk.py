"""Programs at the desk: register, pay, confirm, who came, rosters, cancel, move."""

import csv
import io
import re
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from portal.audit import AuditEntry
from portal.clock import now, shifted
from portal.invariants import broken_invariants
from portal.invoices.tables import Invoice
from portal.payments.tables import Payment
from portal.people import Patient
from portal.programs.registering import Details, Holder, hold
from portal.programs.registering import register as register_as
from portal.programs.states import Place
from portal.programs.tables import Attendance, Program, ProgramQuestion, ProgramSession, PromoCode, Registration
from portal.programs.waiting import join
from tests.makers import make_location, make_patient, make_program
from tests.web.conftest import Site, Visitor, words


@pytest.fixture
def program(site: Site) -> Program:
    """A group of two, two more may wait; the module is on."""
    site.setting("module_programs", "yes")
    made = site.change(
        lambda session: make_program(session, capacity=2, waitlist_size=2, location=site.cast.location)
    )
    assert isinstance(made, Program)
    return made


def path(program: Program, rest: str = "") -> str:
    return f"/office/programs/{program.public_id}{rest}"


def registrations(site: Site) -> list[Registration]:
    return list(site.change(lambda session: list(session.scalars(select(Registration).order_by(Registration.id)))))


def register(dana: Visitor, program: Program, patient_id: int, do: str = "unpaid", **fields: str) -> Any:
    fields = {"patient": str(patient_id), "do": do, "request": str(uuid4()), **fields}
    return dana.send(path(program, "/registrations/new"), fields)


def somebody(site: Site, name: str) -> int:
    return int(site.change(lambda session: make_patient(session, name, "Ferreira").id))


def held_online(site: Site, program: Program, patient_id: int) -> Registration:
    """A place that a patient holds in the portal, with its invoice."""
    parts = site.parts
    public_id = hold(parts, program.public_id, uuid4(), Holder(site.cast.maya_user.id, patient_id))
    return register_as(parts, public_id, Details(patient_id, {}), site.cast.maya_user.id)


# --- registering ----------------------------------------------------------------------------------------------------


def test_somebody_is_registered_and_pays_later(site: Site, dana: Visitor, program: Program) -> None:
    answer = register(dana, program, site.cast.maya.id)
    assert answer.status_code == 303
    page = words(dana.get(answer.location))
    assert "Maya Lindqvist is registered for Back in motion" in page and "$210.00 is still to pay." in page
    assert "Taking part, by name" in page and "$210.00 to pay" in page
    [registration] = registrations(site)
    assert (registration.state, registration.channel) == (Place.CONFIRMED, "desk")
    invoice = site.change(lambda session: session.get_one(Invoice, registration.invoice_id))
    assert invoice.number == "10001" and invoice.balance_cents == 210_00
    assert broken_invariants(site.parts.database) == []


def test_a_press_that_is_sent_twice_registers_once(site: Site, dana: Visitor, program: Program) -> None:
    again = {"request": str(uuid4())}
    register(dana, program, site.cast.maya.id, **again)
    assert register(dana, program, site.cast.maya.id, **again).status_code == 303
    assert len(registrations(site)) == 1


def test_a_place_is_held_for_the_payment_and_is_theirs_with_it(site: Site, dana: Visitor, program: Program) -> None:
    to_pay = register(dana, program, site.cast.maya.id, "pay").location
    assert re.fullmatch(r"/office/invoices/~[\w-]+/receive", to_pay)
    page = words(dana.get(to_pay))
    assert "A place in Back in motion for Maya Lindqvist" in page and "The place is held until" in page
    assert "~" not in page
    received = pay_cash(dana, to_pay)
    assert "/office/invoices/10001/received/" in received.location
    assert "Back to Back in motion" in words(dana.get(received.location))
    [registration] = registrations(site)
    assert registration.state == Place.CONFIRMED
    assert "$210.00 paid" in words(dana.get(path(program)))
    assert broken_invariants(site.parts.database) == []


def pay_cash(dana: Visitor, to_pay: str) -> Any:
    """Receive the whole balance in cash, on the page as it stands."""
    text = dana.get(to_pay).text
    form = dict(re.findall(r'name="(attempt|shown|version|currency|csrf_token)" value="([^"]*)"', text))
    fields = {"payer": "nobody", "paid_by": "cash", "amount": "210.00", "card": "new", "gateway": "none"}
    return dana.post(to_pay, data={**form, **fields})


def test_the_name_of_a_held_place_leads_to_its_invoice_afterwards(
    site: Site, dana: Visitor, program: Program
) -> None:
    to_pay = register(dana, program, site.cast.maya.id, "pay").location
    pay_cash(dana, to_pay)
    name = to_pay.split("/")[3]
    assert "Invoice 10001" in words(dana.get(f"/office/invoices/{name}"))
    assert "This invoice is paid" in words(dana.get(to_pay))
    maya, jonas = site.visitor("maya@example.com"), site.visitor("jonas@example.com")
    assert "10001" in words(maya.get(f"/invoices/{name}"))
    assert jonas.get(f"/invoices/{name}").status_code == 404
    assert maya.get("/invoices/~" + "x" * 23, follow_redirects=True).status_code == 404


@pytest.mark.parametrize("room", ["", "/payments", "/void", "/adjust"])
def test_a_held_place_is_in_no_room_of_the_books(site: Site, dana: Visitor, program: Program, room: str) -> None:
    """Its invoice has no number yet: nobody voids or credits it, or reads the name that it has meanwhile."""
    to_pay = register(dana, program, site.cast.maya.id, "pay").location
    there = to_pay.removesuffix("/receive")
    assert dana.get(there + room).status_code == 404
    if room:
        token = dana.token(path(program, "/registrations/new"))
        sent = {"csrf_token": token, "request_id": str(uuid4()), "reason": "Wrong person", "kind": "credit",
                "paid_by": "visa", "gateway": "none", "amount": "-5.00", "reverses": "0"}  # fmt: skip
        assert dana.post(there + room, data=sent).status_code == 404
    [registration] = registrations(site)
    assert registration.state == Place.HELD
    pay_cash(dana, to_pay)
    assert dana.get(there + room).status_code == 200


def test_a_place_whose_time_ran_out_takes_no_payment(site: Site, dana: Visitor, program: Program) -> None:
    to_pay = register(dana, program, site.cast.maya.id, "pay").location
    text = dana.get(to_pay).text
    with shifted(timedelta(minutes=16)):
        page = words(dana.get(to_pay))
        assert "The place is not held any more. Nothing was charged." in page and "~" not in page
        form = dict(re.findall(r'name="(attempt|shown|version|currency|csrf_token)" value="([^"]*)"', text))
        sent = dana.post(to_pay, data={**form, "payer": "nobody", "paid_by": "cash", "amount": "210.00",
                                       "card": "new", "gateway": "none"})  # fmt: skip
        assert sent.status_code == 409 and "not held any more" in words(sent)


def test_the_desk_registers_also_after_closing(site: Site, dana: Visitor, program: Program) -> None:
    def close(session: Session) -> None:
        session.get_one(Program, program.id).closes_at = now() - timedelta(days=1)

    site.change(close)
    assert "Registration is closed for everybody else" in words(dana.get(path(program, "/registrations/new")))
    register(dana, program, site.cast.maya.id)
    assert registrations(site)[0].state == Place.CONFIRMED


def test_answers_and_a_code_are_kept(site: Site, dana: Visitor, program: Program) -> None:
    def ask(session: Session) -> list[int]:
        questions = [
            ProgramQuestion(program_id=program.id, position=1, kind="text", text="Anything that hurts?"),
            ProgramQuestion(program_id=program.id, position=2, kind="choice", text="Level", choices="New\nOld hand"),
            ProgramQuestion(program_id=program.id, position=3, kind="consent", text="I may take part in exercise."),
        ]
        session.add_all(questions)
        session.flush()
        return [question.id for question in questions]

    text, choice, consent = site.change(ask)
    fields = {f"answer-{text}": "<b>=knee</b>", f"answer-{choice}": "Martian", f"answer-{consent}": "y"}
    wrong = register(dana, program, site.cast.maya.id, code="NOPE", **fields)
    assert wrong.status_code == 422 and "That code can't be used here" in words(wrong)
    assert "&lt;b&gt;=knee&lt;/b&gt;" in wrong.text and 'value="NOPE"' in wrong.text
    register(dana, program, site.cast.maya.id, **fields)
    page = words(dana.get(path(program)))
    assert "Anything that hurts? <b>=knee</b>" in page and "I may take part in exercise. Yes" in page
    assert "Martian" not in page


def test_whoever_finds_it_full_can_wait_in_line(site: Site, dana: Visitor, program: Program) -> None:
    for name in ("Ana", "Bea"):
        register(dana, program, somebody(site, name))
    page = words(dana.get(path(program, "/registrations/new")))
    assert "Every place is taken or held." in page and "Put on the waitlist" in page
    refused = register(dana, program, site.cast.maya.id)
    assert refused.status_code == 409 and "You can put them on the waitlist." in words(refused)
    register(dana, program, site.cast.maya.id, "wait")
    page = words(dana.get(path(program)))
    assert "On the waitlist, the next one first" in page and "Waiting, number 1" in page
    again = register(dana, program, site.cast.maya.id)
    assert again.status_code == 409 and "Maya Lindqvist is on the waitlist of Back in motion already" in words(again)
    assert len(registrations(site)) == 3


def test_whoever_holds_a_place_is_not_said_to_wait(site: Site, dana: Visitor, program: Program) -> None:
    held_online(site, program, site.cast.maya.id)
    register(dana, program, somebody(site, "Ana"))
    told = words(dana.get(register(dana, program, site.cast.maya.id, "wait").location))
    assert "A place is held for Maya Lindqvist until" in told and "is on the waitlist" not in told
    assert [one.state for one in registrations(site)] == [Place.HELD, Place.CONFIRMED]


def test_somebody_who_is_registered_already_is_not_registered_again(
    site: Site, dana: Visitor, program: Program
) -> None:
    register(dana, program, site.cast.maya.id)
    again = register(dana, program, site.cast.maya.id)
    assert again.status_code == 409 and "is registered for Back in motion already" in words(again)


def test_a_place_held_in_the_portal_is_confirmed_at_the_desk(site: Site, dana: Visitor, program: Program) -> None:
    held = held_online(site, program, site.cast.maya.id)
    page = words(dana.get(path(program)))
    assert "Held until" in page and "Confirm unpaid" in page and "$210.00 to pay" in page
    dana.send(path(program, f"/registrations/{held.public_id}/confirm"), page=path(program))
    assert registrations(site)[0].state == Place.CONFIRMED
    assert "The place of Maya Lindqvist is confirmed. $210.00 is still to pay." in words(dana.get(path(program)))


def test_an_offered_place_is_taken_up_at_the_desk_and_costs_its_price(
    site: Site, dana: Visitor, program: Program
) -> None:
    for name in ("Ana", "Bea"):
        register(dana, program, somebody(site, name))
    join(site.parts, program.public_id, uuid4(), Holder(site.cast.maya_user.id, site.cast.maya.id))
    first = registrations(site)[0]
    cancel(dana, program, first)
    offered = registrations(site)[2]
    assert offered.state == Place.OFFERED
    take_up = "Take up the place that is held for them"
    assert take_up in words(dana.get(path(program, f"/registrations/new?patient={site.cast.maya.id}")))
    assert take_up not in words(dana.get(path(program, f"/registrations/new?patient={site.cast.theo.id}")))
    dana.send(path(program, f"/registrations/{offered.public_id}/confirm"), page=path(program, "/registrations/new"))
    offered = registrations(site)[2]
    assert offered.state == Place.CONFIRMED and offered.invoice_id is not None
    assert broken_invariants(site.parts.database) == []


def test_a_place_that_was_held_at_another_price_and_with_a_code_is_taken_up_at_that(
    site: Site, dana: Visitor, program: Program
) -> None:
    code = PromoCode(code="FRIENDS", percent=50, created_at=now())
    site.change(lambda session: session.add(code))
    held = held_online(site, program, site.cast.maya.id)
    register_as(site.parts, held.public_id, Details(site.cast.maya.id, {}, "friends"), site.cast.maya_user.id)
    site.change(lambda session: session.execute(update(Program).values(price_cents=300_00)))
    first = register(dana, program, site.cast.maya.id, "pay", shown="31500")
    assert first.status_code == 422 and "They hold a place with this code" in words(first)
    assert 'name="shown" value="21000"' in first.text and 'value="FRIENDS"' in first.text
    fields = {"shown": "21000", "seen_code": "FRIENDS", "code": "FRIENDS"}
    taken = register(dana, program, site.cast.maya.id, "pay", **fields)
    assert "$105.00" in words(dana.get(taken.location))
    without = {"shown": "21000", "seen_code": "FRIENDS", "code": ""}
    full_price = register(dana, program, site.cast.maya.id, "unpaid", **without)
    assert "$210.00 is still to pay" in words(dana.get(full_price.location))
    assert broken_invariants(site.parts.database) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"patient": "999999"},
        {"patient": "x\x00"},
        {"patient": "-1"},
        {"patient": "9" * 40},
        {"patient": "", "patient_q": "\x00" * 10},
    ],
)
def test_garbage_registers_nobody(site: Site, dana: Visitor, program: Program, fields: dict[str, str]) -> None:
    answer = dana.send(path(program, "/registrations/new"), {"do": "unpaid", **fields})
    assert answer.status_code == 422 and "Find and choose a patient" in words(answer)
    assert registrations(site) == []


def test_strange_addresses_lead_nowhere(site: Site, dana: Visitor, program: Program) -> None:
    for rest in ("/registrations/nope/cancel", "/registrations/nope/move", "/sessions/999", "/sessions/999999999999"):
        assert dana.get(path(program, rest)).status_code == 404, rest
    assert dana.get("/office/programs/nope-nope").status_code == 404
    other = site.change(lambda session: make_program(session, "Another", location=site.cast.location))
    register(dana, program, site.cast.maya.id)
    key = registrations(site)[0].public_id
    assert dana.get(path(other, f"/registrations/{key}/cancel")).status_code == 404


def test_while_the_module_is_off_nothing_opens(site: Site, dana: Visitor, program: Program) -> None:
    site.setting("module_programs", "no")
    closed = dana.get(path(program))
    assert closed.status_code == 404 and "no programs here" in words(closed)


def test_a_practitioner_sees_the_roster_and_no_money(site: Site, dana: Visitor, program: Program) -> None:
    register(dana, program, site.cast.maya.id)
    liam = site.visitor("liam@example.com")
    page = words(liam.get(path(program)))
    assert "Maya Lindqvist" in page and "$210.00" not in page and "Register somebody" not in page
    assert liam.get(path(program, "/roster")).status_code == 200
    assert liam.get(path(program, "/registrations/new")).status_code == 403
    assert liam.get(path(program, "/roster.csv")).status_code == 403


# --- the roster, and who came ---------------------------------------------------------------------------------------


def sessions_of(site: Site, program: Program) -> list[int]:
    ids = select(ProgramSession.id).where(ProgramSession.program_id == program.id).order_by(ProgramSession.starts_at)
    return list(site.change(lambda session: list(session.scalars(ids))))


def shown(visitor: Visitor, page: str) -> dict[str, Any]:
    """The form as it stands, with the boxes that are ticked."""
    text = visitor.get(page).text
    fields: dict[str, Any] = {"shown": re.findall(r'name="shown" value="([^"]+)"', text)}
    fields["csrf_token"] = re.findall(r'name="csrf_token" value="([^"]+)"', text)[0]
    return fields


def test_who_came_is_noted_and_shown_on_the_roster(site: Site, dana: Visitor, program: Program) -> None:
    ana = somebody(site, "Ana")
    register(dana, program, ana)
    register(dana, program, site.cast.maya.id)
    first, second = registrations(site)
    meeting = sessions_of(site, program)[0]
    page = path(program, f"/sessions/{meeting}")
    sent = dana.post(page, data={**shown(dana, page), "came": [first.public_id]})
    assert sent.status_code == 303
    assert "1 of 2 came" in words(dana.get(path(program)))
    roster = dana.get(path(program, "/roster"))
    assert roster.text.count('aria-label="came"') == 1 and roster.text.count('aria-label="did not come"') == 1
    assert roster.text.count('aria-label="not noted"') == 10
    entry = site.change(lambda session: session.scalars(select(AuditEntry).order_by(AuditEntry.id.desc())).first())
    assert (entry.action, entry.after) == ("attendance.marked", "1 came, 1 did not")
    assert second.public_id not in sent.text


def test_two_who_mark_at_once_do_not_undo_each_other(site: Site, dana: Visitor, program: Program) -> None:
    register(dana, program, somebody(site, "Ana"))
    register(dana, program, site.cast.maya.id)
    first, second = registrations(site)
    page = path(program, f"/sessions/{sessions_of(site, program)[0]}")
    dana.post(page, data=shown(dana, page))  # nobody came
    stale, liam = shown(dana, page), site.visitor("liam@example.com")
    liam.post(page, data={**shown(liam, page), "came": [second.public_id]})
    dana.post(page, data={**stale, "came": [first.public_id]})
    came = site.change(lambda session: list(session.scalars(select(Attendance.present))))
    assert came == [True, True]


def test_a_list_that_was_opened_before_anybody_noted_takes_no_tick_away(
    site: Site, dana: Visitor, program: Program
) -> None:
    register(dana, program, somebody(site, "Ana"))
    register(dana, program, site.cast.maya.id)
    first, second = registrations(site)
    page = path(program, f"/sessions/{sessions_of(site, program)[0]}")
    early, liam = shown(dana, page), site.visitor("liam@example.com")
    liam.post(page, data={**shown(liam, page), "came": [second.public_id]})
    dana.post(page, data=early)
    came = select(Attendance.registration_id).where(Attendance.present)
    assert site.change(lambda session: list(session.scalars(came))) == [second.id]
    dana.post(page, data={**early, "came": [first.public_id]})
    assert site.change(lambda session: sorted(session.scalars(came))) == [first.id, second.id]


def test_garbage_marks_nobody(site: Site, dana: Visitor, program: Program) -> None:
    register(dana, program, site.cast.maya.id)
    page = path(program, f"/sessions/{sessions_of(site, program)[0]}")
    bad = {**shown(dana, page), "shown": ["\x00:no", "nope:-", ":", "x" * 500], "came": ["\x00", "nope"]}
    assert dana.post(page, data=bad).status_code == 303
    assert site.change(lambda session: session.scalar(select(func.count()).select_from(Attendance))) == 0


def test_the_roster_is_exported_without_formulas(site: Site, dana: Visitor, program: Program) -> None:
    def odd(session: Session) -> int:
        return make_patient(session, "=cmd()", "Åkesson", email="odd@example.com").id

    register(dana, program, site.change(odd))
    file = dana.get(path(program, "/roster.csv"))
    head, row = list(csv.reader(io.StringIO(file.data.decode("utf-8-sig"))))
    assert head[:6] == ["Name", "Born", "Phone", "Email", "Since", "Money"] and len(head) == 12
    assert row[0] == "'=cmd() Åkesson" and row[5] == "$210.00 to pay"
    book = openpyxl.load_workbook(io.BytesIO(dana.get(path(program, "/roster.xlsx")).data))
    cell = book.worksheets[0]["A2"]
    assert (cell.value, cell.data_type) == ("=cmd() Åkesson", "s")
    entry = site.change(lambda session: session.scalars(select(AuditEntry).order_by(AuditEntry.id.desc())).first())
    assert (entry.action, entry.after) == ("roster.exported", "1 people")


# --- cancelling -----------------------------------------------------------------------------------------------------


def cancel(visitor: Visitor, program: Program, registration: Registration, **fields: str) -> Any:
    page = path(program, f"/registrations/{registration.public_id}/cancel")
    rule = re.search(r'name="shown" value="(\d+)"', visitor.get(page).text)
    return visitor.send(page, {"shown": rule[1] if rule else "", **fields})


def test_a_place_that_was_not_paid_is_cancelled_and_owed_no_more(site: Site, dana: Visitor, program: Program) -> None:
    register(dana, program, site.cast.maya.id)
    [registration] = registrations(site)
    page = words(dana.get(path(program, f"/registrations/{registration.public_id}/cancel")))
    assert "Until the end of" in page and "all of it goes back, later nothing of it." in page
    assert cancel(dana, program, registration).status_code == 303
    assert registrations(site)[0].state == Place.CANCELLED
    invoice = site.change(lambda session: session.get_one(Invoice, registration.invoice_id))
    assert invoice.voided_at is not None
    page = words(dana.get(path(program)))
    assert "Maya Lindqvist is taken off Back in motion. No money goes back." in page
    assert "Cancelled, let go, or run out: 1" in page
    cancel(dana, program, registration)
    assert "It was cancelled already" in words(dana.get(path(program)))


def test_cash_is_given_back_over_the_counter(site: Site, dana: Visitor, program: Program) -> None:
    pay_cash(dana, register(dana, program, site.cast.maya.id, "pay").location)
    [registration] = registrations(site)
    cancel(dana, program, registration)
    page = words(dana.get(path(program)))
    assert "Give $210.00 back over the counter, and record it under the payments" in page
    assert "$210.00 to give back" in page
    [payment] = site.change(lambda session: list(session.scalars(select(Payment))))
    back = {"request_id": str(uuid4()), "amount": "210.00", "kind": "cash", "reason": "Registration cancelled"}
    site.visitor("ines@example.com").send(f"/office/invoices/10001/payments/{payment.id}/refund", back)
    assert "Given back on invoice 10001" in words(dana.get(path(program)))
    assert broken_invariants(site.parts.database) == []


def test_only_who_may_refund_chooses_the_share(site: Site, dana: Visitor, program: Program) -> None:
    pay_cash(dana, register(dana, program, site.cast.maya.id, "pay").location)
    [registration] = registrations(site)
    own = {"share": "own", "percent": "50"}
    ines = site.visitor("ines@example.com")
    assert "Another share" not in words(dana.get(path(program, f"/registrations/{registration.public_id}/cancel")))
    bad = cancel(ines, program, registration, share="own", percent="150")
    assert bad.status_code == 422 and "from 0 to 100" in words(bad) and 'value="150"' in bad.text
    beside = cancel(ines, program, registration, share="rule", percent="50")
    assert beside.status_code == 422 and "You typed a share, but chose the rule" in words(beside)
    assert registrations(site)[0].state == Place.CONFIRMED
    cancel(ines, program, registration, **own)
    assert registrations(site)[0].give_back_cents == 105_00


def test_the_front_desk_can_not_choose_by_hand_made_forms(site: Site, dana: Visitor, program: Program) -> None:
    pay_cash(dana, register(dana, program, site.cast.maya.id, "pay").location)
    [registration] = registrations(site)
    cancel(dana, program, registration, share="own", percent="0")
    assert registrations(site)[0].give_back_cents == 210_00


def test_what_is_wrong_leads_to_what_the_page_shows(site: Site, dana: Visitor, program: Program) -> None:
    """Nowhere to move to, a share of a place that was free, a place that another clerk cancelled meanwhile."""
    free = site.change(lambda session: make_program(session, "Open evening", price_cents=0))
    register(dana, free, site.cast.maya.id)
    [registration] = registrations(site)
    ines, page = site.visitor("ines@example.com"), path(free, f"/registrations/{registration.public_id}")
    own = ines.send(f"{page}/cancel", {"share": "own", "percent": "all"})
    assert own.status_code == 422 and 'href="#act"' in own.text
    site.change(lambda session: session.execute(update(ProgramSession).values(
        starts_at=now() - timedelta(days=2), ends_at=now() - timedelta(days=1))))  # fmt: skip
    nowhere = ines.send(f"{page}/move", {"to": program.public_id})
    assert nowhere.status_code in (303, 422)
    again = ines.send(f"{page}/move", {"to": "nothing"})
    assert again.status_code == 422 and 'href="#title"' in again.text
    ines.send(f"{page}/cancel", {"share": "own", "percent": "100"})
    assert "It was cancelled already" in words(ines.send(f"{page}/cancel", {"share": "own"}, follow_redirects=True))


def test_a_rule_that_changed_meanwhile_is_shown_first(site: Site, dana: Visitor, program: Program) -> None:
    register(dana, program, site.cast.maya.id)
    [registration] = registrations(site)
    with shifted(timedelta(weeks=4)):
        sent = cancel(site.visitor("dana@example.com"), program, registration, shown="100")
        assert sent.status_code == 422 and "By the rule it is 0 % now." in words(sent)
    assert registrations(site)[0].state == Place.CONFIRMED


def test_a_held_place_and_a_turn_in_line_are_let_go(site: Site, dana: Visitor, program: Program) -> None:
    held = held_online(site, program, site.cast.maya.id)
    register(dana, program, somebody(site, "Ana"))
    waits = somebody(site, "Bea")
    register(dana, program, waits, "wait")
    page = path(program, f"/registrations/{held.public_id}/cancel")
    assert "Let the place of Maya Lindqvist go?" in words(dana.get(page))
    dana.send(page)
    states = [registration.state for registration in registrations(site)]
    assert states == [Place.RELEASED, Place.CONFIRMED, Place.OFFERED]
    offered = registrations(site)[2]
    dana.send(path(program, f"/registrations/{offered.public_id}/cancel"))
    assert registrations(site)[2].state == Place.RELEASED


def test_void_and_refund_say_what_becomes_of_the_place(site: Site, dana: Visitor, program: Program) -> None:
    pay_cash(dana, register(dana, program, site.cast.maya.id, "pay").location)
    [payment] = site.change(lambda session: list(session.scalars(select(Payment))))
    ines, registrations_link = site.visitor("ines@example.com"), f'href="{path(program)}"'
    refund = ines.get(f"/office/invoices/10001/payments/{payment.id}/refund")
    assert "no longer owed, the place is cancelled as well" in words(refund) and registrations_link in refund.text
    page = ines.get("/office/invoices/10001/void")
    assert "Voiding takes the place away as well" in words(page) and registrations_link in page.text
    ines.send("/office/invoices/10001/void", {"reason": "Wrong person", f"back-{payment.id}": "cash"})
    assert registrations(site)[0].state == Place.CANCELLED
    assert "Void on invoice 10001" in words(ines.get(path(program)))
    assert "takes the place away" not in words(ines.get("/office/invoices/10001/void"))
    assert broken_invariants(site.parts.database) == []


# --- moving ---------------------------------------------------------------------------------------------------------


def test_somebody_is_moved_and_owes_the_difference(site: Site, dana: Visitor, program: Program) -> None:
    other = site.change(
        lambda session: make_program(session, "Strong hips", price_cents=264_00, location=site.cast.location)
    )
    register(dana, program, site.cast.maya.id)
    [registration] = registrations(site)
    page = path(program, f"/registrations/{registration.public_id}/move")
    told = dana.get(page)
    assert "Strong hips" in words(told) and "$67.20 more" in words(told)
    seen = dict(re.findall(r'name="(shown-\d+)" value="(-?\d+)"', told.text))
    assert dana.send(page, {"to": "", "price": "new"}).status_code == 422
    stale = dana.send(page, {"to": other.public_id, f"shown-{other.id}": "1", "price": "new"})
    assert stale.status_code == 409 and "A price has changed meanwhile" in words(stale)
    sent = dana.send(page, {"to": other.public_id, "price": "new", **seen})
    assert sent.location == path(other)
    page_after = words(dana.get(sent.location))
    assert "Maya Lindqvist has moved to Strong hips. $67.20 more is owed on their invoice." in page_after
    assert "$277.20 to pay" in page_after
    assert "moved to another program" in words(dana.get(path(program)))
    maya = site.visitor("maya@example.com")
    old = words(maya.get(f"/registrations/{registration.public_id}"))
    assert "The clinic has moved you to another program" in old and "Register again" not in old
    assert broken_invariants(site.parts.database) == []


def test_a_patients_file_lists_their_programs(site: Site, dana: Visitor, program: Program) -> None:
    register(dana, program, site.cast.maya.id)
    page = words(dana.get(f"/office/patients/{site.cast.maya.id}/programs"))
    assert "Back in motion" in page and "Confirmed" in page and "$210.00 to pay" in page
    theo: Patient = site.cast.theo
    assert "no programs so far" in words(dana.get(f"/office/patients/{theo.id}/programs"))


# --- the days of the clinic -----------------------------------------------------------------------------------------


def in_vancouver(day: int, hour: int) -> datetime:
    """That hour of a day around the night when clocks go forward there, on 14 March 2027."""
    return datetime(2027, 3, day, hour, tzinfo=ZoneInfo("America/Vancouver"))


def test_sessions_stand_on_their_own_day_by_the_clock_of_the_place(site: Site, dana: Visitor) -> None:
    def late(session: Session) -> list[Program]:
        place = site.cast.location
        toronto = make_location(session, "Harbour", timezone="America/Toronto", prefix="H")
        return [
            make_program(session, "Late swim", location=place, first=in_vancouver(13, 23), sessions=1),
            make_program(session, "Day of change", location=place, first=in_vancouver(14, 0), sessions=1),
            make_program(session, "Last hour", location=place, first=in_vancouver(14, 23), sessions=1),
            make_program(session, "East", location=toronto, first=in_vancouver(13, 23), sessions=1),
        ]

    site.change(late)
    saturday, sunday = (words(dana.get(f"/office/day-sheet?day=2027-03-{day}")) for day in (13, 14))
    assert "Late swim" in saturday and "Day of change" not in saturday and "East" not in saturday
    assert all(name in sunday for name in ("Day of change", "Last hour", "East")) and "Late swim" not in sunday
    assert "Sun 14 Mar 2027, 2:00 to 3:00 am" not in sunday and "Harbour" in sunday
    week = words(dana.get(f"/office/schedule?day=2027-03-14&location={site.cast.location.id}"))
    assert "Sat 13 Mar 2027, 11:00 pm to 12:00 am, Studio 2" in week and "Last hour" in week and "East" not in week
    next_week = words(dana.get("/office/schedule?day=2027-03-15"))
    assert "Last hour" not in next_week
    site.setting("module_programs", "no")
    assert "Late swim" not in words(dana.get("/office/schedule?day=2027-03-13"))


def test_the_desks_page_of_a_big_group_takes_few_statements(site: Site, dana: Visitor) -> None:
    def crowd(session: Session) -> Program:
        big = make_program(session, "Big group", capacity=500, location=site.cast.location)
        for turn in range(120):
            patient = make_patient(session, f"Ann{turn}", "Smith")
            session.add(
                Registration(
                    public_id=f"key-{turn:012}",
                    program_id=big.id,
                    patient_id=patient.id,
                    channel="desk",
                    state=Place.CONFIRMED,
                    price_cents=0,
                    created_at=now(),
                )
            )
        return big

    big = site.change(crowd)
    for page, most in (("", 7), ("/roster", 7)):
        dana.get(path(big, page))
        with site.counting() as sent:
            dana.get(path(big, page))
        assert len(sent) <= most, sent
