"""Passwords: what is allowed, and their argon2id hashes, made beside the event loop."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from holdfast.kernel.errors import Invalid

SHORTEST_PASSWORD = 10
LONGEST_PASSWORD = 1024
AT_ONCE = 2
"""Hashes made at once by one process: each takes 64 MiB and a core for its while."""
_hasher = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=4)  # RFC 9106, low memory
UNMATCHED = (
    "$argon2id$v=19$m=65536,t=3,p=4"
    "$3DmDWPRqg40w5BEDqh3DCA$pL+lY15Z/tLrEjMyxeAfmMpD91ZaFGTeXwEoBsquozU"
)
"""Checked for a name that nobody has, so that it takes as long as for one that somebody has."""
_threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="argon2")


def check_password(password: str) -> None:
    """Raises ``Invalid`` for a password that may not be set."""
    if len(password) < SHORTEST_PASSWORD:
        hint = f"use {SHORTEST_PASSWORD} characters or more"
        raise Invalid("the password is too short", hint=hint)
    if len(password) > LONGEST_PASSWORD:
        hint = f"use {LONGEST_PASSWORD} characters or fewer"
        raise Invalid("the password is too long", hint=hint)


async def hashed(password: str) -> str:
    """What is kept of a password. Raises ``Invalid``."""
    check_password(password)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_threads, _hasher.hash, _bytes(password))


async def matches(password_hash: str, password: str) -> bool:
    """Whether this is the password; an empty hash matches nothing, and takes as long to say so."""
    loop = asyncio.get_running_loop()
    given = password[: LONGEST_PASSWORD + 1]
    fits = await loop.run_in_executor(_threads, _verify, password_hash or UNMATCHED, given)
    return fits and bool(password_hash)


def _verify(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, _bytes(password))
    except (VerificationError, InvalidHashError):
        return False


def _bytes(password: str) -> bytes:
    """Half a surrogate pair is no character, but no reason to fail either."""
    return password.encode(errors="surrogatepass")
