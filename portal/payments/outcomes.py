"""What became of a press on Pay, for the page to act on."""

from dataclasses import dataclass, field
from uuid import UUID


@dataclass(frozen=True)
class Paid:
    """The money is in the books; here is the receipt."""

    invoice_number: str
    receipt_number: str


@dataclass(frozen=True)
class NeedsAction:
    """The payer's bank wants a word with them: in the page with the client secret, or at an address."""

    attempt_id: UUID
    client_secret: str = field(repr=False)
    redirect_url: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Declined:
    """No money moved. The same form can try again while `again` holds; else a new form is needed."""

    attempt_id: UUID
    reason: str
    again: bool = True


@dataclass(frozen=True)
class Checking:
    """Nobody knows yet. Nothing may be charged until it is known."""

    attempt_id: UUID


Outcome = Paid | NeedsAction | Declined | Checking
