"""What an attempt asks of the gateway: its intent's order, and the payer's customer there.

Everything here is made from rows alone, so that a lost answer can be asked for again with the same parameters.
Nothing about health goes along: the description is the invoice's number, or the registration of a held place; the
metadata are opaque ids.
"""

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal.cards import GatewayCustomer
from portal.clock import now
from portal.gateway import Gateway, IntentOrder
from portal.invoices.books import is_numbered
from portal.invoices.tables import Invoice
from portal.parts import Parts
from portal.payments.tables import PaymentAttempt
from portal.programs.naming import registration_in
from portal.vault import Vault


def order_of(parts: Parts, attempt: PaymentAttempt) -> IntentOrder:
    """The order that the attempt's `order` column stands for."""
    kept = attempt.order or {}
    customer = customer_of(parts, attempt) if kept.get("customer") else None
    return IntentOrder(
        amount_cents=attempt.amount_cents,
        currency=attempt.currency,
        description=kept.get("description") or described(parts, attempt),
        metadata={
            "attempt": str(attempt.id),
            "invoice": str(attempt.invoice_id),
            "payer": str(attempt.payer_id or ""),
        },
        customer=customer,
        save_card=bool(kept.get("save_card")),
    )


def described(parts: Parts, attempt: PaymentAttempt) -> str:
    """What the gateway's own pages call the payment. A held place's invoice gets its number only when it is paid: the
    attempt keeps these words in its order, so that asking again says the same.
    """
    with parts.database.read() as connection:
        number = connection.scalar(select(Invoice.number).where(Invoice.id == attempt.invoice_id)) or ""
    return f"Invoice {number}" if is_numbered(number) else f"Registration {registration_in(number)}"


def _place(payer_id: int, gateway_id: int, mode: str) -> str:
    return f"gateway_customers.customer_sealed:{payer_id}/{gateway_id}/{mode}"


def customer_of(parts: Parts, attempt: PaymentAttempt) -> str | None:
    """The gateway's id for the payer, opened; None when they have none there yet."""
    with parts.database.read() as connection:
        sealed = connection.scalar(
            select(GatewayCustomer.customer_sealed).where(
                GatewayCustomer.payer_id == attempt.payer_id,
                GatewayCustomer.gateway_id == attempt.gateway_id,
                GatewayCustomer.mode == attempt.mode,
            )
        )
    if sealed is None or attempt.payer_id is None:
        return None
    return parts.vault.open(sealed, _place(attempt.payer_id, attempt.gateway_id, attempt.mode))


def make_customer(parts: Parts, gateway: Gateway, attempt: PaymentAttempt) -> str:
    """The payer's customer at the gateway, made at the first need.

    The key is the attempt's: under one key per payer, a failure of the gateway's own would be repeated for a day. Of
    two made at once the first to be written down counts; the other holds nothing.
    """
    known = customer_of(parts, attempt)
    if known is not None:
        return known
    assert attempt.payer_id is not None, "only a known payer keeps a card"
    made = gateway.create_customer(str(attempt.payer_id), f"{attempt.id}:customer")
    try:
        with parts.database.transaction() as session:
            session.add(
                GatewayCustomer(
                    payer_id=attempt.payer_id,
                    gateway_id=attempt.gateway_id,
                    mode=attempt.mode,
                    customer_sealed=parts.vault.seal(
                        made, _place(attempt.payer_id, attempt.gateway_id, attempt.mode)
                    ),
                    customer_hash=parts.vault.look_up_hash(made),
                    created_at=now(),
                )
            )
    except IntegrityError:
        pass  # another request was first; its customer counts
    customer = customer_of(parts, attempt)
    assert customer is not None
    return customer


def seal_customers_again(session: Session, vault: Vault) -> int:
    """Seal every customer id anew under the newest key; gives how many were."""
    count = 0
    for row in session.scalars(select(GatewayCustomer).with_for_update()):
        if vault.needs_sealing_again(row.customer_sealed):
            place = _place(row.payer_id, row.gateway_id, row.mode)
            customer = vault.open(row.customer_sealed, place)
            row.customer_sealed = vault.seal(customer, place)
            row.customer_hash = vault.look_up_hash(customer)
            count += 1
    return count
