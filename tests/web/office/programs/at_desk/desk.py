"""What the desk does with programs in these tests."""

import re
from typing import Any
from uuid import uuid4

from sqlalchemy import select

from portal.programs.registering import Details, Holder, hold
from portal.programs.registering import register as register_as
from portal.programs.tables import Program, ProgramSession, Registration
from tests.makers import make_patient
from tests.web.conftest import Site, Visitor


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


def pay_cash(dana: Visitor, to_pay: str) -> Any:
    """Receive the whole balance in cash, on the page as it stands."""
    text = dana.get(to_pay).text
    form = dict(re.findall(r'name="(attempt|shown|version|currency|csrf_token)" value="([^"]*)"', text))
    fields = {"payer": "nobody", "paid_by": "cash", "amount": "210.00", "card": "new", "gateway": "none"}
    return dana.post(to_pay, data={**form, **fields})


def sessions_of(site: Site, program: Program) -> list[int]:
    ids = select(ProgramSession.id).where(ProgramSession.program_id == program.id).order_by(ProgramSession.starts_at)
    return list(site.change(lambda session: list(session.scalars(ids))))


def shown(visitor: Visitor, page: str) -> dict[str, Any]:
    """The form as it stands, with the boxes that are ticked."""
    text = visitor.get(page).text
    fields: dict[str, Any] = {"shown": re.findall(r'name="shown" value="([^"]+)"', text)}
    fields["csrf_token"] = re.findall(r'name="csrf_token" value="([^"]+)"', text)[0]
    return fields


def cancel(visitor: Visitor, program: Program, registration: Registration, **fields: str) -> Any:
    page = path(program, f"/registrations/{registration.public_id}/cancel")
    rule = re.search(r'name="shown" value="(\d+)"', visitor.get(page).text)
    return visitor.send(page, {"shown": rule[1] if rule else "", **fields})
