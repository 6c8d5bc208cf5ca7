"""The payment stage with a program on it: people register, pay, cancel, wait."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import select

from portal.clock import shifted
from portal.errors import Refusal
from portal.invoices.tables import Invoice
from portal.outbox import OutboxMessage
from portal.payments.outcomes import Outcome
from portal.programs.registering import Details, Holder, hold, register
from portal.programs.states import Place
from portal.programs.sweeping import sweep_places
from portal.programs.tables import Program, Registration
from portal.programs.waiting import join
from portal.refunds.sweeping import sweep_refunds
from portal.settings import change_setting
from tests.makers import make_patient, make_program, make_user
from tests.payments.stage import Person, Stage


class ProgramStage(Stage):
    """A clinic with a program of two places and a waitlist of three, and the gateway behind it."""

    def __init__(self, database_url: str, **program: Any) -> None:
        super().__init__(database_url)
        with self.database.transaction() as session:
            change_setting(session, "module_programs", "yes")
            made = make_program(session, **{"capacity": 2, "waitlist_size": 3, **program})
            self.program_id, self.program_public_id = made.id, made.public_id
        self.jonas = Person(self.cast.stranger.id, self.cast.stranger_user.id)

    def newcomer(self, name: str) -> Person:
        """Somebody else with an account."""
        with self.database.transaction() as session:
            patient = make_patient(session, name, "Newcomer", email=f"{name.lower()}@example.com")
            return Person(patient.id, make_user(session, f"{name.lower()}@example.com", patient=patient).id)

    # what people do

    def hold(self, who: Person) -> str:
        return hold(self.parts, self.program_public_id, uuid4(), Holder(who.user_id, who.payer_id))

    def register(self, who: Person, *, code: str = "", public_id: str | None = None) -> Registration:
        """Hold a place and say for whom: the invoice is there to be paid."""
        assert who.payer_id is not None
        return register(self.parts, public_id or self.hold(who), Details(who.payer_id, {}, code=code), who.user_id)

    def pay_for(self, who: Person, registration: Registration, card: str = "visa", **form: Any) -> Outcome:
        assert registration.invoice_id is not None
        return self.press(self.form(card, invoice_id=registration.invoice_id, **form), who, registration.invoice_id)

    def try_to_pay_for(self, who: Person, registration: Registration, card: str = "visa") -> Outcome | Refusal:
        try:
            return self.pay_for(who, registration, card)
        except Refusal as refusal:
            return refusal

    def confirmed(self, who: Person) -> Registration:
        """Somebody who has registered and paid."""
        registration = self.register(who)
        self.pay_for(who, registration)
        assert self.registration(registration.public_id).state == Place.CONFIRMED
        return registration

    def wait(self, who: Person) -> str:
        return join(self.parts, self.program_public_id, uuid4(), Holder(who.user_id, who.payer_id))

    # what there is

    def program(self) -> Program:
        with self.database.transaction() as session:
            return session.get_one(Program, self.program_id)

    def registration(self, public_id: str) -> Registration:
        with self.database.transaction() as session:
            return session.scalars(select(Registration).where(Registration.public_id == public_id)).one()

    def invoice_of(self, public_id: str) -> Invoice:
        invoice_id = self.registration(public_id).invoice_id
        assert invoice_id is not None
        return self.invoice(invoice_id)

    def mails(self) -> list[tuple[str, str]]:
        """What was queued, to whom, in order."""
        with self.database.read() as connection:
            rows = connection.execute(select(OutboxMessage.kind, OutboxMessage.recipient).order_by(OutboxMessage.id))
            return [(row.kind, row.recipient) for row in rows]

    def sweep(self) -> int:
        return super().sweep() + sweep_places(self.parts) + sweep_refunds(self.parts)

    def after(self, **time: float) -> None:
        """Let time pass, then one sweep of everything."""
        with shifted(timedelta(**time)):
            self.sweep()


@contextmanager
def program_staged(database_url: str, **program: Any) -> Iterator[ProgramStage]:
    stage = ProgramStage(database_url, **program)
    try:
        yield stage
    finally:
        stage.close()
