"""The vault: keeps gateway secrets and Stripe ids unreadable at rest.

AES-256-GCM under a ring of keys. Every ciphertext is bound to the table, column and row it belongs to, so that one
copied into another place does not open. The newest key seals, every key on the ring opens: `portal rotate-keys`
seals everything again under the newest one, after which the old ones can go.
"""

import base64
import hmac
import os
from collections.abc import Sequence
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12
KEY_BYTES = 32


class CannotOpen(Exception):
    """No key on the ring opens this, or it was sealed for another place."""


def new_key() -> str:
    """A fresh key in the form that PORTAL_ENCRYPTION_KEYS takes: `<id>:<base64 of 32 bytes>`."""
    return f"k{os.urandom(3).hex()}:{base64.urlsafe_b64encode(os.urandom(KEY_BYTES)).decode()}"


def parse_key(text: str) -> tuple[str, bytes]:
    """Read one `<id>:<base64>`; raises ValueError saying what is wrong with it (never the key itself)."""
    name, colon, encoded = text.strip().partition(":")
    if not colon or not name.isalnum():
        raise ValueError("each key reads <id>:<base64 of 32 bytes>, the id of letters and digits")
    try:
        key = base64.b64decode(encoded.replace("-", "+").replace("_", "/"), validate=True)
    except ValueError:
        raise ValueError(f"key {name} is not base64") from None
    if len(key) != KEY_BYTES:
        raise ValueError(f"key {name} has {len(key)} bytes; it takes {KEY_BYTES}")
    return name, key


class Vault:
    """Seals and opens short texts with a ring of keys, the first of them the newest."""

    def __init__(self, keys: Sequence[tuple[str, bytes]]) -> None:
        assert keys, "a vault without a key"
        self._newest = keys[0][0]
        self._ring = {name: AESGCM(key) for name, key in keys}
        self._hash_keys = [hmac.digest(key, b"portal look-up hash", "sha256") for _, key in keys]

    def seal(self, plain: str, place: str) -> str:
        """Encrypt for one place ("table.column:row"). Sealing the same text twice gives two ciphertexts."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ring[self._newest].encrypt(nonce, plain.encode(), place.encode())
        return f"{self._newest}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str, place: str) -> str:
        """Decrypt what was sealed for this place. Raises CannotOpen otherwise."""
        name, _, encoded = sealed.partition(".")
        try:
            raw = base64.urlsafe_b64decode(encoded)
            return self._ring[name].decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], place.encode()).decode()
        except (KeyError, ValueError, InvalidTag) as error:
            raise CannotOpen(place) from error

    def needs_sealing_again(self, sealed: str) -> bool:
        """Whether this was sealed under a key that is not the newest."""
        return sealed.partition(".")[0] != self._newest

    def look_up_hash(self, plain: str) -> str:
        """A keyed hash by which an encrypted id can be found without opening every row."""
        return hmac.new(self._hash_keys[0], plain.encode(), sha256).hexdigest()

    def look_up_hashes(self, plain: str) -> list[str]:
        """The hash under every key of the ring: what to search for while keys are being rotated."""
        return [hmac.new(key, plain.encode(), sha256).hexdigest() for key in self._hash_keys]
