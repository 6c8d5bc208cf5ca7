"""A place is cancelled or moved at the desk."""

import re
from datetime import timedelta
from uuid import uuid4

from sqlalchemy import select, update

from portal.clock import now, shifted
from portal.invariants import broken_invariants
from portal.invoices.tables import Invoice
from portal.payments.tables import Payment
from portal.people import Patient
from portal.programs.states import Place
from portal.programs.tables import Program, ProgramSession
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

# --- cancelling -----------------------------------------------------------------------------------------------------


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
