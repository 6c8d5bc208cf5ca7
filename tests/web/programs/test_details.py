"""The form about a held place: whom for, questions, promo codes, prices, and what comes of nonsense (P6, P7)."""

import re
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.clock import now
from portal.programs.ending import let_place_go
from portal.programs.registering import Holder, hold
from portal.programs.states import Place
from portal.programs.tables import Program, ProgramQuestion, PromoCode, Registration, RegistrationAnswer
from portal.programs.waiting import join
from tests.web.conftest import Visitor, words
from tests.web.programs.conftest import Studio

pytestmark = pytest.mark.promise("P6", "P7")


def ask(studio: Studio, *questions: tuple[str, str, str, bool]) -> list[str]:
    """Give the program these questions; the names of their fields."""

    def add(session: Session) -> list[str]:
        rows = [
            ProgramQuestion(
                program_id=studio.program.id, position=at, kind=kind, text=text, choices=choices, required=must
            )
            for at, (kind, text, choices, must) in enumerate(questions)
        ]
        session.add_all(rows)
        session.flush()
        return [f"answer-{row.id}" for row in rows]

    names: list[str] = studio.site.change(add)
    return names


def code(studio: Studio, name: str = "SPRING", **details: Any) -> None:
    """A promo code; a fifth off unless the details say otherwise."""
    values = {"percent": 20} if "amount_cents" not in details else {}
    studio.site.change(lambda s: s.add(PromoCode(code=name, created_at=now(), **{**values, **details})))


def answers(studio: Studio) -> list[tuple[str, str]]:
    with studio.site.parts.database.read() as connection:
        rows = connection.execute(
            select(RegistrationAnswer.question, RegistrationAnswer.answer).order_by(RegistrationAnswer.question_id)
        )
        return [(row.question, row.answer) for row in rows]


# --- questions ------------------------------------------------------------------------------------------------------


def test_questions_are_asked_checked_and_kept(studio: Studio, jonas: Visitor) -> None:
    text, choice, consent, extra = ask(
        studio, ("text", "Why do you come?", "", True), ("choice", "Mat or chair?", "Mat\nChair", True),
        ("consent", "I keep to the rules of the house", "", True), ("text", "Anything else?", "", False),
    )  # fmt: skip
    path = studio.held(jonas)
    empty = studio.save(jonas, path)
    assert empty.status_code == 422
    page = words(empty)
    for sentence in (
        "Answer “Why do you come?”",
        "Choose an answer to “Mat or chair?”",
        "Please agree, or let the place",
    ):
        assert sentence in page
    part = studio.save(jonas, path, **{text: "<b>back</b>", choice: "Sofa"})
    assert part.status_code == 422
    assert "&lt;b&gt;back&lt;/b&gt;</textarea>" in part.text
    done = studio.save(jonas, path, **{text: "My back", choice: "Chair", consent: "yes", extra: ""})
    assert done.location == f"{path}/pay"
    assert answers(studio) == [
        ("Why do you come?", "My back"), ("Mat or chair?", "Chair"), ("I keep to the rules of the house", "Yes"),
    ]  # fmt: skip
    again = jonas.get(path).text
    assert "My back</textarea>" in again
    assert re.search(r'<option value="Chair" selected', again)
    studio.save(jonas, path, **{text: "My knee", choice: "Mat", consent: "yes", extra: "No"})
    assert [answer for _question, answer in answers(studio)] == ["My knee", "Mat", "Yes", "No"]


# --- whom for -------------------------------------------------------------------------------------------------------


def test_maya_registers_theo_whom_she_pays_for(studio: Studio, maya: Visitor) -> None:
    path = studio.held(maya)
    assert "Who is the place for?" in words(maya.get(path))
    assert studio.save(maya, path).status_code == 422
    theo = studio.site.cast.theo.id
    assert studio.save(maya, path, patient=str(theo)).location == f"{path}/pay"
    assert "for Theo Lindqvist" in words(maya.get(f"{path}/pay"))
    assert studio.pay(maya, path)["outcome"] == "paid"
    assert studio.registration(path).patient_id == theo
    own = studio.held(maya)
    assert own != path
    assert studio.save(maya, own, patient=str(studio.site.cast.maya.id)).location == f"{own}/pay"


@pytest.mark.parametrize("whom", ["", "0", "999999", "abc", "\0", "9" * 40])
def test_nobody_is_registered_whom_one_does_not_pay_for(studio: Studio, maya: Visitor, whom: str) -> None:
    path = studio.held(maya)
    for patient in (whom, str(studio.site.cast.stranger.id)):
        assert studio.save(maya, path, patient=patient).status_code == 422
    assert studio.registration(path).patient_id is None


def test_changing_whom_it_is_for_makes_the_invoice_anew(studio: Studio, maya: Visitor) -> None:
    path = studio.held(maya)
    theo, herself = str(studio.site.cast.theo.id), str(studio.site.cast.maya.id)
    studio.save(maya, path, patient=theo)
    first = studio.invoice(path)
    studio.save(maya, path, patient=herself)
    second = studio.invoice(path)
    assert first.id != second.id
    assert (first.patient_id, second.patient_id) == (int(theo), int(herself))
    assert studio.pay(maya, path)["outcome"] == "paid"
    assert studio.taken_cents == 210_00


def test_sven_sees_what_he_registered_and_nothing_else_of_theo(studio: Studio, maya: Visitor) -> None:
    """He pays for Theo, and sees amounts only (P9)."""
    path = studio.held(maya)
    studio.save(maya, path, patient=str(studio.site.cast.theo.id))
    sven = studio.site.visitor("sven@example.com")
    assert sven.get(path).status_code == 404
    assert sven.get(f"{path}/pay").status_code == 404
    assert "Back in motion" not in words(sven.get("/my-programs"))


# --- promo codes ----------------------------------------------------------------------------------------------------


def test_a_code_is_priced_before_anything_is_charged(studio: Studio, jonas: Visitor) -> None:
    code(studio, uses=1)
    path = studio.held(jonas)
    looked = studio.save(jonas, path, code=" spring ", look="1")
    assert "Your code takes $40.00 off" in words(looked)
    assert "Promo code −$40.00 GST $8.00 Total $168.00 Go on to pay CA$168.00" in words(looked)
    assert studio.registration(path).discount_cents == 0
    at_once = studio.save(jonas, path, code="SPRING")
    assert at_once.status_code == 200, "the price that a new code makes is shown before it is asked for"
    fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', at_once.text))
    assert jonas.post(path, data={**fields, "code": "SPRING"}).location == f"{path}/pay"
    assert studio.pay(jonas, path)["outcome"] == "paid"
    assert studio.taken_cents == 168_00


def test_a_code_for_all_of_it_confirms_without_a_payment(studio: Studio, jonas: Visitor) -> None:
    code(studio, "GIFT", percent=100)
    studio.site.setting("accept_payments_in_portal", "yes")
    path = studio.held(jonas)
    looked = studio.save(jonas, path, code="gift", look="1")
    assert "Register, free of charge" in words(looked)
    fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', looked.text))
    assert jonas.post(path, data={**fields, "code": "gift"}).location == path
    assert studio.registration(path).state == Place.CONFIRMED
    assert studio.taken_cents == 0


@pytest.mark.parametrize("typed", ["NOPE", "\0", "'; DROP TABLE", "x" * 5000, "ß"])
def test_a_code_that_is_none_takes_nothing_off(studio: Studio, jonas: Visitor, typed: str) -> None:
    path = studio.held(jonas)
    for press in ({"look": "1"}, {}):
        answer = studio.save(jonas, path, code=typed, **press)
        assert answer.status_code == 422 if typed != "\0" else answer.status_code in (200, 303)
    assert studio.registration(path).discount_cents == 0


def test_a_code_that_somebody_else_used_up_meanwhile_is_said_before_paying(studio: Studio, jonas: Visitor) -> None:
    code(studio, uses=1)
    path = studio.held(jonas)
    fields = dict(
        re.findall(
            r'<input type="hidden" name="([^"]+)" value="([^"]*)"',
            studio.save(jonas, path, code="SPRING", look="1").text,
        )
    )
    maya = studio.site.visitor("maya@example.com")
    other = studio.held(maya)
    hers = {**fields, **studio.fields(maya, other), "code": "SPRING", "priced_code": "SPRING", "shown": "16800"}
    assert maya.post(other, data={**hers, "patient": str(studio.site.cast.maya.id)}).location == f"{other}/pay"
    late = jonas.post(path, data={**fields, "code": "SPRING"})
    assert late.status_code == 422
    assert "That code can't be used here" in words(late)
    assert "Total $210.00" in words(late)


def test_a_price_that_was_not_shown_is_not_asked(studio: Studio, jonas: Visitor) -> None:
    path = studio.held(jonas)
    for shown in ("100", "", "abc", "9" * 30):
        answer = studio.save(jonas, path, shown=shown)
        if answer.status_code == 422:
            assert "The price has changed. You have not been charged." in words(answer)
    assert studio.save(jonas, path, shown="100").status_code == 422


# --- the switches (O4) ----------------------------------------------------------------------------------------------


@pytest.mark.promise("O4")
@pytest.mark.parametrize("switch", ["module_payment_gateways", "accept_payments_in_portal"])
def test_while_no_card_can_be_charged_nothing_that_costs_is_registered_for(
    studio: Studio, jonas: Visitor, switch: str
) -> None:
    held = studio.held(jonas)
    studio.save(jonas, held)
    other = studio.make("Choir", capacity=5)
    free = studio.make("Talk", price_cents=0, taxes=())
    studio.site.setting(switch, "no")
    page = words(jonas.get(held))
    assert "You can't pay online at the moment, and have not been charged" in page
    assert "Go on to pay" not in page
    assert studio.save(jonas, held).status_code == 409
    refused = jonas.get(f"{held}/pay")
    assert refused.status_code == 409
    assert "Register at the front desk, or call 250-555-0142." in words(refused)
    answer = studio.hold(jonas, other)
    assert answer.status_code == 409
    assert "Register at the front desk, or call 250-555-0142." in words(answer)
    path = studio.held(jonas, free)
    assert studio.save(jonas, path).location == path
    assert "Confirmed" in words(jonas.get(path))


@pytest.mark.promise("O4")
def test_while_the_module_is_off_nobody_registers_and_whoever_has_a_place_keeps_it(
    studio: Studio, jonas: Visitor
) -> None:
    path = studio.paid(jonas)
    maya = studio.site.visitor("maya@example.com")
    held = studio.held(maya)
    studio.site.setting("module_programs", "no")
    assert studio.hold(studio.site.visitor()).status_code == 404
    assert maya.get(held).status_code == 404
    assert maya.get("/my-programs").status_code == 200
    assert "Confirmed" in words(jonas.get(path))
    assert jonas.post(f"{path}/cancel", data=studio.fields(jonas, f"{path}/cancel")).status_code == 303
    assert studio.taken_cents == 0
    assert studio.site.visitor("sven@example.com").get("/my-programs").status_code == 404


@pytest.mark.promise("O4")
def test_while_the_portal_is_closed_nobody_registers(studio: Studio, jonas: Visitor) -> None:
    path = studio.held(jonas)
    stranger = studio.site.visitor()
    token = stranger.token("/login")
    studio.site.setting("portal_enabled", "no")
    assert jonas.get(path).status_code == 403
    for address in (f"/programs/{studio.program.public_id}/hold", f"{path}/let-go"):
        assert stranger.post(address, data={"csrf_token": token}).status_code == 403


# --- nonsense -------------------------------------------------------------------------------------------------------


def test_garbage_holds_nothing_and_breaks_nothing(studio: Studio, jonas: Visitor) -> None:
    token = jonas.token("/my-programs")
    for public_id in ("nope", "%00", "x" * 400, "..", "~abc"):
        assert jonas.post(f"/programs/{public_id}/hold", data={"csrf_token": token}).status_code in (404, 405)
        for path in ("", "/cancel", "/calendar.ics", "/pay", "/pay/00000000-0000-4000-8000-000000000000"):
            assert jonas.get(f"/registrations/{public_id}{path}").status_code in (404, 405)
        for path in ("", "/cancel", "/let-go", "/pay"):
            answer = jonas.post(f"/registrations/{public_id}{path}", data={"csrf_token": token})
            assert answer.status_code in (404, 405)
    for press in ("", "\0", "x" * 4000, "00000000-0000-0000-0000-00000000000g"):
        assert studio.hold(jonas, request_id=press).status_code == 303
    assert len(studio.registrations()) == 1


def test_forms_of_a_place_that_is_over_lead_to_what_became_of_it(studio: Studio, jonas: Visitor) -> None:
    path = studio.held(jonas)
    fields = studio.fields(jonas, path)
    assert jonas.post(f"{path}/let-go", data=fields).location == "/programs"
    assert jonas.post(path, data=fields).location == path
    assert jonas.post(f"{path}/let-go", data=fields).status_code in (303, 409)
    assert jonas.get(f"{path}/cancel").location == path
    assert jonas.post(f"{path}/cancel", data=fields).location == path
    assert jonas.get(f"{path}/pay").location == path
    assert jonas.post(f"{path}/pay", data=fields).location == path
    assert jonas.get(f"{path}/calendar.ics").status_code == 404
    assert "You let this place go" in words(jonas.get(path))


def test_a_cancellation_never_gives_back_less_than_its_page_said(studio: Studio, jonas: Visitor) -> None:
    path = studio.paid(jonas)
    fields = studio.fields(jonas, f"{path}/cancel")

    def late(session: Session) -> None:
        program = session.get_one(Program, studio.program.id)
        program.refund_days, program.late_share_percent = 365, 50

    studio.site.change(late)
    answer = jonas.post(f"{path}/cancel", data=fields)
    assert answer.status_code == 409
    assert "Nothing was cancelled" in words(answer)
    assert "Now $105.00 goes back, and the clinic keeps $105.00." in words(answer)
    assert jonas.post(f"{path}/cancel", data=studio.fields(jonas, f"{path}/cancel")).location == path
    assert studio.taken_cents == 105_00
    assert "The clinic keeps $105.00." in words(jonas.get(path))


def test_nobody_else_cancels_pays_or_sees_a_place(studio: Studio, jonas: Visitor) -> None:
    path = studio.paid(jonas)
    maya, dana = studio.site.visitor("maya@example.com"), studio.site.visitor("dana@example.com")
    token = maya.token("/my-programs")
    for part in ("", "/cancel", "/calendar.ics", "/pay"):
        assert maya.get(path + part).status_code == 404
        assert dana.get(path + part).status_code == 403
    for part in ("", "/cancel", "/let-go", "/pay"):
        assert maya.post(path + part, data={"csrf_token": token}).status_code == 404
    assert studio.registration(path).state == Place.CONFIRMED


def test_a_place_costs_few_statements(studio: Studio, jonas: Visitor) -> None:
    path = studio.held(jonas)
    with studio.site.counting() as sent:
        jonas.get(path)
    assert len(sent) <= 9, sent
    with studio.site.counting() as sent:
        jonas.get("/my-programs")
    assert len(sent) <= 6, sent


def test_the_calendar_of_a_place_has_its_sessions(studio: Studio, jonas: Visitor) -> None:
    path = studio.paid(jonas)
    answer = jonas.get(f"{path}/calendar.ics")
    assert answer.mimetype == "text/calendar"
    assert answer.text.count("BEGIN:VEVENT") == 6


def test_all_registrations_have_an_owner_in_the_end(studio: Studio, jonas: Visitor) -> None:
    studio.paid(jonas)
    with Session(studio.site.parts.database.reading) as session:
        kept = session.scalars(select(Registration)).one()
    assert (kept.user_id, kept.patient_id) == (studio.site.cast.stranger_user.id, studio.site.cast.stranger.id)


def test_an_offered_place_is_for_whoever_waited(studio: Studio, maya: Visitor) -> None:
    """Maya can't hand it to Theo, whom she pays for too."""
    cast, parts = studio.site.cast, studio.site.parts
    small = studio.make("Choir", capacity=1, waitlist_size=3)
    first = hold(parts, small.public_id, uuid4(), Holder(cast.stranger_user.id, cast.stranger.id))
    theirs = join(parts, small.public_id, uuid4(), Holder(cast.maya_user.id, cast.maya.id))
    let_place_go(parts, first, None)
    path = f"/registrations/{theirs}"
    page = words(maya.get(path))
    assert "A place came free. It is kept for you until" in page
    assert "Who is the place for?" not in page
    assert "For Maya Lindqvist" in page
    assert studio.save(maya, path, patient=str(cast.theo.id)).location == f"{path}/pay"
    assert studio.registration(path).patient_id == cast.maya.id
    assert "Who is the place for?" not in words(maya.get(path))
