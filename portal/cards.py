"""Cards: which ones are accepted (O10), which ones a payer keeps, and the consent that goes with keeping one."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from secrets import token_hex

from flask_babel import lazy_gettext as _l
from sqlalchemy import Connection, ForeignKey, Index, Select, String, Text, select, text, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from portal.audit import record
from portal.clock import now
from portal.db import Base, Utc
from portal.errors import Refusal
from portal.gateway import CardLook, GatewayBusy, GatewayRefusesUs, KeyRefused, OutcomeUnknown
from portal.gateway.configured import ConfiguredGateway, keys_of
from portal.parts import Parts
from portal.people import Patient, User
from portal.vault import CannotOpen, Vault

log = logging.getLogger(__name__)

CONSENT_VERSION = "2026-11"
SPOKEN_CONSENT_VERSION = "2026-11 spoken"
"""Which wording a payer agreed to: the one on the pay page, or the one that the desk reads aloud."""


class GatewayCustomer(Base):
    """A payer as one gateway knows them. The id is sealed; the keyed hash finds it."""

    __tablename__ = "gateway_customers"
    __table_args__ = (Index("uq_gateway_customers_payer", "payer_id", "gateway_id", "mode", unique=True),)

    id: Mapped[int] = mapped_column(primary_key=True)
    payer_id: Mapped[int] = mapped_column(ForeignKey(Patient.id))
    gateway_id: Mapped[int] = mapped_column(ForeignKey(ConfiguredGateway.id))
    mode: Mapped[str] = mapped_column(String(10))
    customer_sealed: Mapped[str] = mapped_column(Text)
    customer_hash: Mapped[str] = mapped_column(String(64), index=True)
    created_at: Mapped[datetime] = mapped_column(Utc)


class SavedCard(Base):
    """A card that a payer keeps with the clinic's gateway. It belongs to the payer who consented (O9)."""

    __tablename__ = "saved_cards"
    __table_args__ = (
        Index("uq_saved_cards_method", "gateway_id", "method_hash", unique=True),
        Index("uq_saved_cards_usual", "payer_id", "gateway_id", "mode", unique=True,
              sqlite_where=text("is_usual AND removed_at IS NULL"),
              postgresql_where=text("is_usual AND removed_at IS NULL")),
        Index("ix_saved_cards_payer", "payer_id",
              sqlite_where=text("removed_at IS NULL"), postgresql_where=text("removed_at IS NULL")),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(32), unique=True)
    payer_id: Mapped[int] = mapped_column(ForeignKey(Patient.id))
    gateway_id: Mapped[int] = mapped_column(ForeignKey(ConfiguredGateway.id))
    mode: Mapped[str] = mapped_column(String(10))
    method_sealed: Mapped[str] = mapped_column(Text)
    method_hash: Mapped[str] = mapped_column(String(64))
    brand: Mapped[str] = mapped_column(String(40))
    funding: Mapped[str] = mapped_column(String(20))
    last4: Mapped[str] = mapped_column(String(4))
    exp_month: Mapped[int]
    exp_year: Mapped[int]
    is_usual: Mapped[bool] = mapped_column(default=False)
    consent_version: Mapped[str] = mapped_column(String(20))
    consented_at: Mapped[datetime] = mapped_column(Utc)
    consented_by: Mapped[int | None] = mapped_column(ForeignKey(User.id))
    removed_at: Mapped[datetime | None] = mapped_column(Utc)
    detached_at: Mapped[datetime | None] = mapped_column(Utc)


# --- the card policy (O10): deny by default -------------------------------------------------------------------------

BRANDS = {
    "visa": "Visa",
    "mastercard": "Mastercard",
    "amex": "American Express",
    "discover": "Discover",
    "diners": "Diners Club",
    "jcb": "JCB",
    "unionpay": "UnionPay",
}


class CardNotAccepted(Refusal):
    """The clinic's gateway does not take this card. Nothing has been charged."""

    status = 422
    title = _l("We can't take this card. You have not been charged.")
    message = _l(
        "We can't tell what kind of card the one ending {last4} is. "
        "Please use a credit card or a Visa Debit card, or pay at the front desk."
    )


class DebitCardNotAccepted(CardNotAccepted):
    """The only debit card this clinic's gateway takes is Visa Debit."""

    title = _l("We can't take this debit card. You have not been charged.")
    message = _l(
        "The card ending {last4} is a Debit {brand}, and the only debit card we can take online is Visa Debit. "
        "Please use a credit card or a Visa Debit card, or pay by debit at the front desk."
    )


class PrepaidCardNotAccepted(CardNotAccepted):
    """The clinic has turned prepaid cards off."""

    title = _l("We can't take this prepaid card. You have not been charged.")
    message = _l(
        "The card ending {last4} is a prepaid card, and the clinic does not take those. "
        "Please use a credit card or a Visa Debit card, or pay at the front desk."
    )


class BrandNotAccepted(CardNotAccepted):
    """A card of a brand, or a wallet, that is not on the list."""

    message = _l(
        "We can't take this kind of card. Please use a Visa, Mastercard, American Express, Discover, Diners Club, "
        "JCB or UnionPay credit card, or a Visa Debit card."
    )


@dataclass(frozen=True)
class CardPolicy:
    """The clinic's rule about cards. Credit of a known brand yes; of debit Visa alone; prepaid as the clinic says."""

    prepaid: bool = True

    def check(self, card: CardLook | None) -> None:
        """Raises CardNotAccepted, in the sentence that fits, unless the card is surely one that is accepted."""
        if card is None or card.type != "card":
            raise BrandNotAccepted
        if card.brand not in BRANDS or card.wallet == "link":
            raise BrandNotAccepted
        last4 = card.last4 or "?"
        match card.funding:
            case "credit":
                return
            case "debit" if card.brand == "visa":
                return
            case "debit":
                raise DebitCardNotAccepted(brand=BRANDS[card.brand], last4=last4)
            case "prepaid" if self.prepaid:
                return
            case "prepaid":
                raise PrepaidCardNotAccepted(last4=last4)
            case _:
                raise CardNotAccepted(last4=last4)


def brand_name(brand: str | None) -> str:
    """A card brand as people know it."""
    return BRANDS.get(brand or "") or str(_l("Card"))


# --- keeping and removing -------------------------------------------------------------------------------------------


class CardNotFound(Refusal):
    """No such card, or somebody else's."""

    status = 404
    title = _l("We can't find that card")
    message = _l("It may have been removed already. Nothing else has changed.")


def _place(public_id: str) -> str:
    return f"saved_cards.method_sealed:{public_id}"


def open_method(vault: Vault, public_id: str, sealed: str) -> str:
    """The gateway's id of a saved card, opened."""
    return vault.open(sealed, _place(public_id))


def method_of_saved_card(
    connection: Connection, vault: Vault, public_id: str, payer_id: int | None, gateway_id: int, mode: str
) -> str | None:
    """The gateway's id of a card that this payer keeps with this gateway in this mode; None for any other card."""
    sealed = connection.scalar(
        select(SavedCard.method_sealed).where(
            SavedCard.public_id == public_id,
            SavedCard.payer_id == payer_id,
            SavedCard.gateway_id == gateway_id,
            SavedCard.mode == mode,
            SavedCard.removed_at.is_(None),
        )
    )
    return None if sealed is None else open_method(vault, public_id, sealed)


@dataclass(frozen=True)
class Consent:
    """To which wording somebody agreed, when, and who that was."""

    version: str
    at: datetime
    user_id: int | None


def keep_card(
    session: Session, vault: Vault, *, payer_id: int, gateway_id: int, mode: str,
    method_id: str, card: CardLook, consent: Consent,
) -> None:  # fmt: skip
    """Keep a card that its payer has just consented to keep, in the transaction that posts its payment.

    The same card kept before is replaced, so that the list shows it once. Its former id is let go by the worker.
    """
    _hold_list(session, payer_id, gateway_id, mode)
    if session.scalar(
        select(SavedCard.id).where(
            SavedCard.gateway_id == gateway_id, SavedCard.method_hash.in_(vault.look_up_hashes(method_id))
        )
    ):
        return
    kept = list(session.scalars(_kept(payer_id, gateway_id, mode).with_for_update()))
    same = [old for old in kept if _same_card(old, card)]
    usual = not kept or any(old.is_usual for old in same)
    for old in same:
        old.removed_at = now()
    session.flush()
    public_id = token_hex(8)
    kept_now = SavedCard(
        public_id=public_id,
        payer_id=payer_id,
        gateway_id=gateway_id,
        mode=mode,
        method_sealed=vault.seal(method_id, _place(public_id)),
        method_hash=vault.look_up_hash(method_id),
        brand=card.brand or "",
        funding=card.funding or "",
        last4=card.last4 or "",
        exp_month=card.exp_month or 0,
        exp_year=card.exp_year or 0,
        is_usual=usual,
        consent_version=consent.version,
        consented_at=consent.at,
        consented_by=consent.user_id,
    )
    session.add(kept_now)
    agreed = f"consent {consent.version}"
    record(session, "card.saved", _card_words(kept_now), by=consent.user_id, after=agreed, patient_id=payer_id)
    session.flush()


def _kept(payer_id: int, gateway_id: int, mode: str) -> Select[SavedCard]:
    """The cards that a payer keeps with one gateway, the newest first."""
    return (
        select(SavedCard)
        .where(
            SavedCard.payer_id == payer_id,
            SavedCard.gateway_id == gateway_id,
            SavedCard.mode == mode,
            SavedCard.removed_at.is_(None),
        )
        .order_by(SavedCard.id.desc())
    )


def _same_card(kept: SavedCard, card: CardLook) -> bool:
    known = (kept.brand, kept.funding, kept.last4, kept.exp_month, kept.exp_year)
    return known == (card.brand, card.funding, card.last4, card.exp_month, card.exp_year)


def make_usual(parts: Parts, payer_id: int, public_id: str, *, by: int | None) -> None:
    """Make a card its payer's usual one, which the pay pages offer first. Raises CardNotFound."""
    with parts.database.transaction() as session:
        card = _kept_card(session, payer_id, public_id)
        if card.is_usual:
            return
        for other in session.scalars(_kept(payer_id, card.gateway_id, card.mode).with_for_update()):
            other.is_usual = False
        session.flush()
        card.is_usual = True
        record(session, "card.made_usual", _card_words(card), by=by, patient_id=payer_id)


def _kept_card(session: Session, payer_id: int, public_id: str) -> SavedCard:
    """A card that this payer keeps, with the row of its customer held first: whoever changes the list waits there."""
    card = session.scalars(
        select(SavedCard).where(
            SavedCard.public_id == public_id, SavedCard.payer_id == payer_id, SavedCard.removed_at.is_(None)
        )
    ).first()
    if card is None:
        raise CardNotFound
    _hold_list(session, payer_id, card.gateway_id, card.mode)
    session.refresh(card, with_for_update=True)
    if card.removed_at is not None:
        raise CardNotFound
    return card


def _hold_list(session: Session, payer_id: int, gateway_id: int, mode: str) -> None:
    """Of two changes to one payer's list at once, the second waits here: there is one usual card, and each once."""
    session.scalar(
        select(GatewayCustomer.id)
        .where(
            GatewayCustomer.payer_id == payer_id,
            GatewayCustomer.gateway_id == gateway_id,
            GatewayCustomer.mode == mode,
        )
        .with_for_update()
    )


def _card_words(card: SavedCard) -> str:
    return f"{brand_name(card.brand)} ending {card.last4}"


def remove_card(parts: Parts, payer_id: int, public_id: str, *, by: int | None = None) -> None:
    """Take a card off its payer's list at once, and let go of it at the gateway. Raises CardNotFound.

    `by` is whose account did it; None for the command line. Where the gateway does not answer, the worker lets go of
    it later; for the product it is gone already.
    """
    with parts.database.transaction() as session:
        card = _kept_card(session, payer_id, public_id)
        was_usual, card.removed_at, card.is_usual = card.is_usual, now(), False
        session.flush()
        heir = session.scalars(_kept(payer_id, card.gateway_id, card.mode).limit(1)).first()
        if was_usual and heir is not None:
            heir.is_usual = True
        record(session, "card.removed", _card_words(card), by=by, patient_id=payer_id)
    try:
        _let_go(parts, card)
    except (OutcomeUnknown, GatewayBusy, KeyRefused) as error:
        log.warning("saved card %s is let go of later: %s", card.id, type(error).__name__)


def let_go_of_removed_cards(parts: Parts, most: int = 50) -> int:
    """Detach removed cards at their gateways, at most so many at each; gives how many were. The worker calls this.

    A gateway that does not answer is left in peace for this round, and does not hold up those of another.
    """
    waiting = (SavedCard.removed_at.is_not(None), SavedCard.detached_at.is_(None))
    with parts.database.read() as connection:
        gateways = connection.execute(select(SavedCard.gateway_id, SavedCard.mode).where(*waiting).distinct()).all()
    done = 0
    for gateway_id, mode in gateways:
        with Session(parts.database.reading, expire_on_commit=False) as session:
            removed = session.scalars(
                select(SavedCard)
                .where(*waiting, SavedCard.gateway_id == gateway_id, SavedCard.mode == mode)
                .order_by(SavedCard.id)
                .limit(most)
            ).all()
            session.expunge_all()
        done += _let_go_of_those(parts, removed)
    return done


def _let_go_of_those(parts: Parts, cards: Sequence[SavedCard]) -> int:
    """Detach cards of one gateway until it does not answer; gives how many were."""
    done = 0
    for card in cards:
        try:
            _let_go(parts, card)
        except (OutcomeUnknown, GatewayBusy, KeyRefused) as error:
            log.warning("saved card %s is let go of later: %s", card.id, type(error).__name__)
            break
        except CannotOpen:
            log.error("saved card %s can't be let go of: no key on the ring opens what it takes", card.id)
            continue
        done += 1
    return done


def _let_go(parts: Parts, card: SavedCard) -> None:
    """Detach one card at its gateway, and write that down. Raises where the gateway can't be asked."""
    with parts.database.read() as connection:
        keys = keys_of(connection, card.gateway_id, card.mode)
    gateway = parts.connect(keys.secret(parts.vault))
    try:
        gateway.forget_card(open_method(parts.vault, card.public_id, card.method_sealed))
    except KeyRefused:
        raise  # that says nothing about the card
    except GatewayRefusesUs as error:
        log.info("saved card %s is not at the gateway any more: %s", card.id, error.code)
    with parts.database.transaction() as session:
        session.execute(update(SavedCard).where(SavedCard.id == card.id).values(detached_at=now()))


def seal_cards_again(session: Session, vault: Vault) -> int:
    """Seal every stored id anew under the newest key and hash it with it; gives how many were."""
    count = 0
    for card in session.scalars(select(SavedCard).with_for_update()):
        if vault.needs_sealing_again(card.method_sealed):
            method = open_method(vault, card.public_id, card.method_sealed)
            card.method_sealed = vault.seal(method, _place(card.public_id))
            card.method_hash = vault.look_up_hash(method)
            count += 1
    return count
