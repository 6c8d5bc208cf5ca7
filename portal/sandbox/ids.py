"""Random ids in Stripe's manner."""

from __future__ import annotations

import secrets
import string

_LETTERS = (string.ascii_letters + string.digits).encode()
_LETTER_OF_BYTE = bytes(_LETTERS[byte % len(_LETTERS)] for byte in range(256))


def random_letters(length: int) -> str:
    return secrets.token_bytes(length).translate(_LETTER_OF_BYTE).decode()


def new_id(prefix: str) -> str:
    return f"{prefix}_{random_letters(24)}"


def client_secret(object_id: str) -> str:
    return f"{object_id}_secret_{random_letters(25)}"
