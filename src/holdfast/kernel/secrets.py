"""Sealed values: what is kept of a secret is unreadable without ``HOLDFAST_SECRET``."""

import base64
import hashlib
import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from holdfast.kernel.errors import AppError

VISIBLE_CHARACTERS = 4


class CannotUnseal(AppError):
    """A sealed value was made with another ``HOLDFAST_SECRET``."""

    code, http_status = "cannot_unseal", 409


class Sealer:
    """Seals short texts with a key made of the secret (Fernet: AES-128-CBC and HMAC-SHA256)."""

    def __init__(self, secret: str) -> None:
        key = hashlib.sha256(b"holdfast sealed values\0" + secret.encode()).digest()
        self._fernet = Fernet(base64.urlsafe_b64encode(key))

    def seal(self, text: str) -> str:
        """The sealed form of ``text``, printable; two calls give two forms."""
        return self._fernet.encrypt(text.encode()).decode()

    def unseal(self, sealed: str) -> str:
        """The text again. Raises ``CannotUnseal``."""
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise CannotUnseal(
                "A stored secret cannot be read with the present HOLDFAST_SECRET.",
                hint="start with the secret that sealed it, or store the secret again",
            ) from None


def mask(text: str) -> str:
    """The first four characters, and a star for each other; four stars for four or fewer."""
    if len(text) <= VISIBLE_CHARACTERS:
        return "*" * VISIBLE_CHARACTERS
    return text[:VISIBLE_CHARACTERS] + "*" * (len(text) - VISIBLE_CHARACTERS)


def read_or_create_secret(path: Path) -> str:
    """The secret kept in ``path`` (mode 0600), made on first use and never overwritten."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(descriptor, "w") as file:
        secret = secrets.token_urlsafe(32)
        file.write(secret + "\n")
        file.flush()
        os.fsync(file.fileno())
    return secret
