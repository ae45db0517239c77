"""Links that let a user set a password, once: for a new user, a lost password, the first admin."""

import secrets
from urllib.parse import quote

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.errors import Conflict, NotFound
from holdfast.kernel.identity import passwords, sessions, tables
from holdfast.kernel.identity.model import LINK_LIFE, LinkPurpose, LoginMethod, Visit
from holdfast.kernel.identity.sessions import NewSession, sha256
from holdfast.kernel.identity.tables import InvitationRow, UserRow
from holdfast.kernel.services import Services
from holdfast.kernel.work import SYSTEM, Actor, Role, Work

FIRST_ADMIN = "admin"


async def create_link(
    work: Work, name: str, *, purpose: LinkPurpose = LinkPurpose.PASSWORD
) -> tuple[InvitationRow, str]:
    """A link for a user, with its secret; those made before are void. Raises ``NotFound``."""
    user = await tables.user_named(work.session, name)
    if user is None:
        raise NotFound(f"User {name!r} not found", hint="holdfast user list")
    if user.disabled_at:
        raise Conflict(f"User {name!r} is disabled", hint="create another user")
    await tables.forget_invitations(work.session, user.id)
    secret = secrets.token_urlsafe(32)
    row = InvitationRow(
        sha256=sha256(secret),
        user_id=user.id,
        purpose=purpose.value,
        created_at=now(),
        expires_at=now() + LINK_LIFE,
    )
    work.session.add(row)
    await work.session.flush()
    work.audit("create_link", "user", user.id, after={"name": name, "purpose": purpose.value})
    work.emit("identity", "user.link_created", {"id": user.id, "name": name})
    return row, secret


async def user_of_link(session: AsyncSession, secret: str) -> tuple[InvitationRow, UserRow]:
    """Whose password a link may set. Raises ``NotFound`` when it is used, too old or made up."""
    found = await tables.invitation_with_hash(session, sha256(secret))
    if found is not None:
        row, user = found
        if row.used_at is None and row.expires_at > now() and user.disabled_at is None:
            return row, user
    raise NotFound(
        "This link was used, has run out, or never was one.",
        hint="ask an admin for another: holdfast user link NAME",
    )


async def set_password(
    services: Services, secret: str, *, password: str, visit: Visit
) -> NewSession:
    """Use a link: set the password, end the user's logins, begin a new one.

    Raises ``NotFound`` when the link is worth nothing, ``Invalid`` for an unfit password.
    """
    async with services.database.read() as session:
        row, user = await user_of_link(session, secret)
    password_hash = await passwords.hashed(password)
    async with services.database.write(Actor(user.name, Role(user.role))) as work:
        row, user = await user_of_link(work.session, secret)
        if not await tables.claim_invitation(work.session, row.id, now()):
            raise NotFound("This link was just used.", hint="log in with the password")
        user.password_hash = password_hash
        work.audit("set_password", "user", user.id, after={"link": row.purpose})
        work.emit("identity", "user.password_set", {"id": user.id, "name": user.name})
        await sessions.end_of_user(work, user.id, why="password set by link")
        return await sessions.begin(work, LoginMethod.LINK, visit, services.settings, user=user)


async def first_link(database: Database) -> str | None:
    """The secret of a link for the first admin, who is made if there is no user at all.

    A start before the link was used gives another, and that one alone is good; ``None`` when
    somebody has used it or was made in another way.
    """
    async with database.write(SYSTEM) as work:
        await tables.lock_logins(work.session)
        known = await tables.users(work.session)
        if not known:
            admin = UserRow(name=FIRST_ADMIN, role=int(Role.ADMIN), created_at=now())
            work.session.add(admin)
            await work.session.flush()
            after = {"name": FIRST_ADMIN, "role": Role.ADMIN.name.lower()}
            work.audit("create", "user", admin.id, after=after)
        elif not await tables.waits_for_first_login(work.session, FIRST_ADMIN):
            return None
        _, secret = await create_link(work, FIRST_ADMIN, purpose=LinkPurpose.FIRST)
        return secret


def link_address(base: str, secret: str) -> str:
    """The whole link; ``base`` is the console's address, like ``http://127.0.0.1:8080``."""
    return f"{base.rstrip('/')}/setup/{quote(secret, safe='')}"
