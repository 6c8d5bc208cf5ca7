"""Who reads and pays: a patient, with the people they pay for."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple


class Payee(NamedTuple):
    """Someone whom a payer pays for, and whether the payer may see what each invoice is for (P9)."""

    id: int
    name: str
    sees_lines: bool


@dataclass(frozen=True)
class Payer:
    """Whose invoices may be read and paid: a patient's own, and those of the people they pay for."""

    id: int
    name: str
    payees: tuple[Payee, ...] = ()

    @cached_property
    def patients(self) -> tuple[int, ...]:
        return (self.id, *(payee.id for payee in self.payees))

    def payee(self, patient_id: int) -> Payee | None:
        """The person paid for; None for oneself."""
        return None if patient_id == self.id else next(payee for payee in self.payees if payee.id == patient_id)

    def sees_lines(self, patient_id: int) -> bool:
        """Whether the payer may see what that patient's invoices are for."""
        payee = self.payee(patient_id)
        return payee is None or payee.sees_lines
