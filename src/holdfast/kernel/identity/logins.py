"""Log in by password or key, change a password: guessing is counted, slowed and then refused."""

import asyncio
import hmac
import math
import secrets
from datetime import timedelta

from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.errors import BadRequest, Invalid, TooMany, Unauthenticated
from holdfast.kernel.identity import passwords, service, sessions, tables
from holdfast.kernel.identity.caller import Caller
from holdfast.kernel.identity.model import (
    LINK_LIFE,
    WINDOW,
    LoginMethod,
    Visit,
    guess_verdict,
    guesser,
)
from holdfast.kernel.identity.sessions import NewSession, sha256
from holdfast.kernel.identity.tables import LoginFailureRow, UserRow
from holdfast.kernel.logging import get_logger
from holdfast.kernel.services import Services
from holdfast.kernel.work import SYSTEM, Actor, Role

log = get_logger(__name__)
NOBODY = Actor("nobody", Role.VIEWER)
"""Who failed to log in."""
_KEYS = "\0key"
"""Where failures with a key are counted: no user has this name."""
_REMEMBERED = 256
"""Right passwords that a process remembers."""
_KEPT = timedelta(days=30)
"""How long logins and links that are over are kept."""


class RightPasswords:
    """Passwords that were right: programs send theirs with each call, and a check takes a while.

    Kept are codes that nobody can try guesses against, and each only for the password it was.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._codes: dict[bytes, None] = {}

    def has(self, user: UserRow, password: str) -> bool:
        """Whether this is still the user's password, and was given before."""
        return bool(user.password_hash) and self._code(user, password) in self._codes

    def add(self, user: UserRow, password: str) -> None:
        """Remember a password that was right just now."""
        self._codes[self._code(user, password)] = None
        if len(self._codes) > _REMEMBERED:
            del self._codes[next(iter(self._codes))]

    def _code(self, user: UserRow, password: str) -> bytes:
        said = f"{user.id}:{user.password_hash}:{password}".encode(errors="surrogatepass")
        return hmac.digest(self._key, said, "sha256")


async def log_in(services: Services, *, name: str, password: str, visit: Visit) -> NewSession:
    """Log a user in. Raises ``Unauthenticated`` in one form for every reason, and ``TooMany``."""
    user = await _user_with_password(services, name, password, visit)
    async with services.database.write(sessions.actor_for(user, None)) as work:
        await tables.forget_failures(work.session, guesser(visit.address), sha256(name))
        return await sessions.begin(work, LoginMethod.PASSWORD, visit, services.settings, user=user)


async def caller_by_password(
    services: Services, *, name: str, password: str, visit: Visit
) -> Caller:
    """Who this is, for one request and without a session. Raises as `log_in` does."""
    known = services.find(RightPasswords) or services.add(RightPasswords())
    async with services.database.read() as session:
        user = await tables.user_named(session, name) if service.may_be_a_name(name) else None
    if user is None or user.disabled_at or not known.has(user, password):
        user = await _user_with_password(services, name, password, visit)
        async with services.database.write(SYSTEM) as work:
            await tables.forget_failures(work.session, guesser(visit.address), sha256(name))
        known.add(user, password)
    return Caller(actor=sessions.actor_for(user, None), user_id=user.id)


async def _user_with_password(
    services: Services, name: str, password: str, visit: Visit
) -> UserRow:
    await _count(services.database, name, visit)
    async with services.database.read() as session:
        user = await tables.user_named(session, name) if service.may_be_a_name(name) else None
    fits = await passwords.matches(user.password_hash if user else "", password)
    if user is None or user.disabled_at or not fits:
        await _tell_failure(services.database, user, visit)
        raise Unauthenticated("The name or the password is wrong.", hint="try again")
    return user


async def log_in_by_key(services: Services, *, key: str, visit: Visit) -> NewSession:
    """Log in with a token or the API key. Raises ``Unauthenticated`` and ``TooMany``."""
    await _count(services.database, _KEYS, visit)
    found = None
    if not service.is_api_key(key, services.settings.api_key.get_secret_value()):
        async with services.database.read() as session:
            found = await tables.token_with_hash(session, sha256(key))
        if found is None or not sessions.usable(*found, now()):
            await _tell_failure(services.database, None, visit)
            raise Unauthenticated("The key is wrong.", hint="holdfast token create makes one")
    token, user = found or (None, None)
    async with services.database.write(sessions.actor_for(user, token)) as work:
        await tables.forget_failures(work.session, guesser(visit.address), sha256(_KEYS))
        return await sessions.begin(
            work, LoginMethod.KEY, visit, services.settings, user=user, token=token
        )


async def change_password(
    services: Services, caller: Caller, *, current: str, new: str, visit: Visit
) -> int:
    """Set the caller's password and end their other logins; gives the number of those.

    Raises ``BadRequest`` when no user asks, ``Invalid`` for a wrong or unfit password, and
    ``TooMany``.
    """
    async with services.database.read() as session:
        user = await session.get(UserRow, caller.user_id) if caller.user_id else None
    if user is None:
        raise BadRequest(f"{caller.actor.name} is no user", hint="log in with name and password")
    passwords.check_password(new)
    await _count(services.database, user.name, visit)
    if not await passwords.matches(user.password_hash, current):
        await _tell_failure(services.database, user, visit)
        raise Invalid("the current password is wrong", hint="or ask an admin for a link")
    password_hash = await passwords.hashed(new)
    async with services.database.write(caller.actor) as work:
        await tables.forget_failures(work.session, guesser(visit.address), sha256(user.name))
        kept = await work.session.get_one(UserRow, user.id)
        kept.password_hash = password_hash
        work.audit("set_password", "user", user.id)
        work.emit("identity", "user.password_set", {"id": user.id, "name": user.name})
        but = caller.session.id if caller.session else None
        return await sessions.end_of_user(work, user.id, but=but, why="password changed")


async def forget_old_logins(database: Database) -> None:
    """Delete what has long been over."""
    assert _KEPT > LINK_LIFE > WINDOW
    async with database.write(SYSTEM) as work:
        await tables.forget_older(work.session, now() - _KEPT)


async def _count(database: Database, name: str, visit: Visit) -> None:
    """Count a guess as failed before it is tried, so that guesses at once are counted too.

    Sleeps when there were some. Raises ``TooMany`` at the limit; refused guesses are not counted.
    """
    moment, mine, who = now(), sha256(name), guesser(visit.address)
    async with database.write(SYSTEM) as work:
        await tables.lock_logins(work.session)
        rows = await tables.login_failures(work.session, who, moment - WINDOW)
        of_name = [row.created_at for row in rows if row.name_sha256 == mine]
        verdict = guess_verdict(of_name, [row.created_at for row in rows], now=moment)
        if verdict.retry_after is None:
            row = LoginFailureRow(guesser=who, name_sha256=mine, created_at=moment)
            work.session.add(row)
    if verdict.retry_after is not None:
        raise _too_many(verdict.retry_after)
    await asyncio.sleep(verdict.delay_seconds)


def _too_many(wait: timedelta) -> TooMany:
    seconds = max(1, math.ceil(wait.total_seconds()))
    error = TooMany(
        "Too many failed logins.", hint=f"try again in {math.ceil(seconds / 60)} minutes"
    )
    error.retry_after_seconds = seconds
    return error


async def _tell_failure(database: Database, user: UserRow | None, visit: Visit) -> None:
    """A name that nobody has is told nowhere: it may be a password in the wrong field."""
    log.warning("login failed", name=user.name if user else None, address=visit.address)
    if user is None:
        return
    async with database.write(NOBODY) as work:
        work.audit("login_failed", "user", user.id, after={"address": visit.address})
