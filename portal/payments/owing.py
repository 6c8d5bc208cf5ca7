"""Whether what is left on an invoice can be charged to a card: asked by the page, and under lock by the flow."""

from portal.money import LARGEST_CHARGE, format_money, is_chargeable, smallest_charge
from portal.payments import words


def check_chargeable(balance_cents: int, currency: str, *, is_void: bool) -> None:
    """Raises the refusal whose sentence tells the payer why a card can't be charged over this balance."""
    if is_void:
        raise words.InvoiceIsVoid
    if balance_cents <= 0:
        raise words.NothingToPay
    amount = format_money(balance_cents, currency, full=True)
    if balance_cents < smallest_charge(currency):
        smallest = format_money(smallest_charge(currency), currency, full=True)
        raise words.TooSmallForCards(amount=amount, smallest=smallest)
    if balance_cents > LARGEST_CHARGE:
        raise words.TooLargeForCards(amount=amount)
    if not is_chargeable(balance_cents, currency):
        raise words.TooFineForCards(amount=amount)
