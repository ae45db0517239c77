"""Console logins: begin one, tell whose a cookie is, list them, end them."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.clock import now
from holdfast.kernel.config import Settings
from holdfast.kernel.errors import NotFound
from holdfast.kernel.identity import tables
from holdfast.kernel.identity.caller import Caller, SessionInfo
from holdfast.kernel.identity.model import LoginMethod, Visit, ends_at
from holdfast.kernel.identity.tables import SessionRow, TokenRow, UserRow
from holdfast.kernel.work import Actor, Role, Work


@dataclass(frozen=True, slots=True)
class NewSession:
    """A login that just began; ``cookie`` is known here and never again."""

    cookie: str
    method: LoginMethod
    lasts: timedelta


def sha256(text: str) -> str:
    """What is kept of a text with 256 random bits: it cannot be guessed back."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


async def begin(
    work: Work,
    method: LoginMethod,
    visit: Visit,
    settings: Settings,
    *,
    user: UserRow | None = None,
    token: TokenRow | None = None,
) -> NewSession:
    """Log somebody in: a user, a token (with its user), or with neither the API key's holder."""
    cookie = secrets.token_urlsafe(32)
    moment, lasts = now(), timedelta(seconds=settings.session_ttl_seconds)
    key = "" if user or token else settings.api_key.get_secret_value()
    row = SessionRow(
        sha256=sha256(cookie),
        name=actor_for(user, token).name,
        method=method.value,
        user_id=user.id if user else None,
        token_id=token.id if token else None,
        key_mac=_key_mac(cookie, key) if key else "",
        address=visit.address,
        user_agent=visit.user_agent,
        created_at=moment,
        last_seen_at=moment,
        expires_at=moment + lasts,
    )
    work.session.add(row)
    await work.session.flush()
    work.audit("login", "session", row.id, after={"name": row.name, "method": row.method})
    work.emit("identity", "session.started", {"id": row.id, "name": row.name})
    return NewSession(cookie, method, lasts)


async def caller_of_cookies(
    session: AsyncSession, cookies: Sequence[str], settings: Settings
) -> Caller | None:
    """Whom the first valid of these cookies lets in; rights are those of this moment."""
    hashes = {sha256(cookie): cookie for cookie in cookies}
    rows = {found[0].sha256: found for found in await _found(session, hashes)}
    for hashed, cookie in hashes.items():
        if hashed not in rows:
            continue
        row, user, token = rows[hashed]
        if not _alive(row, settings, now()) or not _owner_may(row, user, token, cookie, settings):
            continue
        return Caller(
            actor=actor_for(user, token),
            user_id=row.user_id,
            token_id=row.token_id,
            scope=token.areas if token else (),
            session=_info(row),
        )
    return None


def actor_for(user: UserRow | None, token: TokenRow | None) -> Actor:
    """Who a user, a token (with its user) or neither, the API key, is in the audit."""
    if token is None:
        return Actor(user.name, Role(user.role)) if user else Actor("api", Role.ADMIN)
    role = min(token.role, user.role) if user else token.role
    return Actor(f"{user.name}/{token.name}" if user else token.name, Role(role))


def usable(token: TokenRow, user: UserRow | None, moment: datetime) -> bool:
    """Whether a token opens anything: not when expired, revoked or its user disabled."""
    expired = token.expires_at is not None and token.expires_at <= moment
    return not (token.revoked_at or expired or (user and user.disabled_at))


async def living(session: AsyncSession, settings: Settings) -> list[SessionRow]:
    """Logins that still open the door as far as their own times go, newest first."""
    moment = now()
    return [row for row in await tables.sessions(session) if _alive(row, settings, moment)]


def is_own(row: SessionRow, caller: Caller) -> bool:
    """Whether a login belongs to who asks: the same person, else the same token or key."""
    if caller.user_id is not None:
        return row.user_id == caller.user_id
    return row.user_id is None and row.token_id == caller.token_id


async def end(work: Work, session_id: int, *, own: Caller | None = None) -> SessionRow:
    """End a login; with ``own`` only one that belongs to that caller. Raises ``NotFound``."""
    row = await work.session.get(SessionRow, session_id)
    if row is None or (own is not None and not is_own(row, own)):
        raise NotFound(f"Session {session_id} not found", hint="holdfast session list")
    if row.ended_at is None:
        row.ended_at = now()
        work.audit("logout", "session", row.id, before={"name": row.name})
        work.emit("identity", "session.ended", {"id": row.id, "name": row.name})
    return row


async def end_others(work: Work, caller: Caller) -> int:
    """End every login of this caller but the one that asks; gives their number."""
    mine = [
        SessionRow.user_id == caller.user_id
        if caller.user_id is not None
        else SessionRow.user_id.is_(None)
    ]
    if caller.user_id is None:
        mine.append(SessionRow.token_id.is_not_distinct_from(caller.token_id))
    if caller.session:
        mine.append(SessionRow.id != caller.session.id)
    return await end_where(work, *mine, why="others")


async def end_of_user(work: Work, user_id: int, *, but: int | None = None, why: str) -> int:
    """End the logins of a user, except one; gives their number."""
    mine = [SessionRow.user_id == user_id]
    if but is not None:
        mine.append(SessionRow.id != but)
    return await end_where(work, *mine, why=why)


async def end_where(work: Work, *which: ColumnElement[bool], why: str) -> int:
    """End the logins to which all of ``which`` applies; ``why`` stands in the audit."""
    count = await tables.end_sessions(work.session, now(), *which)
    if count:
        work.audit("logout", "session", None, after={"count": count, "why": why})
        work.emit("identity", "session.ended", {"count": count})
    return count


def shown_end(row: SessionRow, settings: Settings) -> datetime:
    """When a login ends if nothing more is asked with it."""
    return ends_at(
        last_seen_at=row.last_seen_at,
        expires_at=row.expires_at,
        idle=timedelta(seconds=settings.session_idle_seconds),
    )


async def _found(
    session: AsyncSession, hashes: dict[str, str]
) -> Sequence[tuple[SessionRow, UserRow | None, TokenRow | None]]:
    return await tables.sessions_with_hashes(session, list(hashes)) if hashes else ()


def _alive(row: SessionRow, settings: Settings, moment: datetime) -> bool:
    return row.ended_at is None and shown_end(row, settings) > moment


def _owner_may(
    row: SessionRow,
    user: UserRow | None,
    token: TokenRow | None,
    cookie: str,
    settings: Settings,
) -> bool:
    if token:
        return usable(token, user, now())
    if user:
        return user.disabled_at is None
    key = settings.api_key.get_secret_value()
    return bool(key) and hmac.compare_digest(row.key_mac, _key_mac(cookie, key))


def _key_mac(cookie: str, api_key: str) -> str:
    """Cannot be tried against guesses of the key without the cookie, which is not kept."""
    return hmac.new(cookie.encode(), api_key.encode(), hashlib.sha256).hexdigest()


def _info(row: SessionRow) -> SessionInfo:
    return SessionInfo(
        id=row.id,
        name=row.name,
        method=LoginMethod(row.method),
        created_at=row.created_at,
        last_seen_at=row.last_seen_at,
        expires_at=row.expires_at,
    )
