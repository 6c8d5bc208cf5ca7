"""Programs at the desk: people are registered, pay there or later, or take up the place that they hold."""

import re
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from portal.clock import now, shifted
from portal.invariants import broken_invariants
from portal.invoices.tables import Invoice
from portal.programs.registering import Details, Holder
from portal.programs.registering import register as register_as
from portal.programs.states import Place
from portal.programs.tables import Program, ProgramQuestion, PromoCode
from portal.programs.waiting import join
from tests.makers import make_program
from tests.web.conftest import Site, Visitor, words
from tests.web.office.programs.at_desk.desk import (
    cancel,
    held_online,
    path,
    pay_cash,
    register,
    registrations,
    somebody,
)


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
