"""Users and everybody's logins: ``/web/users``, ``/web/sessions``; for admins."""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

from fastapi import Path, Request, Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.errors import Conflict
from holdfast.kernel.identity import invitations, people, service, sessions
from holdfast.kernel.identity.api import LARGEST_ID, UserChange, UserIn
from holdfast.kernel.identity.session_api import SessionId
from holdfast.kernel.identity.tables import InvitationRow, SessionRow, UserRow
from holdfast.kernel.services import Services
from holdfast.kernel.web.console.forms import Field, Form, check_typed, typed_name
from holdfast.kernel.web.console.listing import like, listing, page_of
from holdfast.kernel.web.console.registry import Hit, NavItem, console_parts
from holdfast.kernel.web.console.render import page, see_other
from holdfast.kernel.web.deps import ADMIN, CallerDep, ReadDep, ServicesDep, WorkDep, actor_of
from holdfast.kernel.web.router import Router
from holdfast.kernel.work import Role, Work

router = Router(include_in_schema=False, dependencies=[ADMIN])
BOTH = ["GET", "POST"]
FOUND = 6
SESSION_SORTS: Mapping[str, Callable[[SessionRow], Any]] = {
    "-created": lambda row: row.created_at,
    "name": lambda row: row.name,
    "address": lambda row: row.address,
    "seen": lambda row: row.last_seen_at,
}
UserId = Annotated[int, Path(ge=1, le=LARGEST_ID)]
ROLES = (
    ("viewer", "viewer: sees everything, changes nothing"),
    ("operator", "operator: also changes pools, vhosts, buckets and jobs"),
    ("admin", "admin: also people, settings, backups"),
)


def contribute(services: Services) -> None:
    """Navigation, search and actions."""
    parts = console_parts(services)
    parts.nav.append(
        NavItem(
            title="Users and tokens",
            href="/web/users",
            icon="people",
            group="System",
            order=82,
            role=Role.ADMIN,
            also=("/web/tokens", "/web/sessions"),
        )
    )
    parts.actions += [
        Hit(title="New user", href="/web/users/new", kind="action", role=Role.ADMIN),
        Hit(title="Sessions of everybody", href="/web/sessions", kind="page", role=Role.ADMIN),
    ]
    parts.searchers.append(_find)


@router.get("/web/users")
async def list_users(request: Request, session: ReadDep) -> Response:
    """Users, searched by name, sorted, in pages."""
    asked = listing(request, sorts=tuple(people.USER_SORTS), filters=("state",))
    rows, total = await people.user_lines(session, asked)
    states = [(one, one) for one in people.STATES]
    return await page(
        request,
        "identity/users.html.j2",
        list=asked,
        rows=rows,
        total=total,
        states=states,
    )


@router.api_route("/web/users/new", methods=BOTH)
async def new_user(request: Request) -> Response:
    """A form for a new user, who gets a link to set a password."""
    form = Form(
        (
            Field(
                name="name",
                label="Name",
                required=True,
                option="-",
                help="Letters, digits and . _ @ -, like ann or ann@example.org.",
                attributes={"maxlength": "128", "autocomplete": "off", "spellcheck": "false"},
            ),
            Field(name="role", label="Role", kind="select", options=ROLES, value="viewer"),
        )
    )

    async def act(work: Work, body: UserIn) -> tuple[UserRow, InvitationRow, str]:
        role = service.role_named(body.role)
        user = await service.create_user(work, name=body.name, role=role)
        return user, *await invitations.create_link(work, user.name)

    if request.method == "POST" and (made := await form.submit(request, UserIn, act)):
        return await _show_link(request, *made, title=f"User {made[0].name} is made")
    return await page(request, "identity/user_form.html.j2", status=form.status, form=form)


@router.get("/web/users/{user_id}")
async def show_user(request: Request, session: ReadDep, user_id: UserId) -> Response:
    """One user: role, tokens, logins."""
    user = await people.user_named_by_id(session, user_id)
    return await _user_page(request, session, user, _role_form(user))


@router.post("/web/users/{user_id}/role")
async def change_role(request: Request, session: ReadDep, user_id: UserId) -> Response:
    """Give the user another role."""
    user = await people.user_named_by_id(session, user_id)
    form = _role_form(user)

    async def act(work: Work, body: UserChange) -> UserRow:
        return await service.change_role(
            work, user.name, service.role_named(body.role), by=request.state.caller.user_id
        )

    changed = await form.submit(request, UserChange, act)
    if changed:
        role = Role(changed.role).name.lower()
        return see_other(f"/web/users/{user_id}", told=f"{changed.name} is {role} now.")
    return await _user_page(request, session, user, form)


@router.get("/web/users/{user_id}/link")
async def link_is_gone(user_id: UserId) -> Response:
    """A link is shown once: whoever asks for this address again sees the user."""
    return see_other(f"/web/users/{user_id}")


@router.post("/web/users/{user_id}/link")
async def new_link(request: Request, services: ServicesDep, user_id: UserId) -> Response:
    """Make a link to set a password; older ones are void."""
    async with services.database.write(actor_of(request)) as work:
        user = await people.user_named_by_id(work.session, user_id)
        row, secret = await invitations.create_link(work, user.name)
    return await _show_link(request, user, row, secret, title=f"A new link for {user.name}")


@router.post("/web/users/{user_id}/disable")
async def disable(
    request: Request, services: ServicesDep, caller: CallerDep, user_id: UserId
) -> Response:
    """End everything of a user whose name was typed."""
    typed = await typed_name(request)
    async with services.database.write(caller.actor) as work:
        user = await people.user_named_by_id(work.session, user_id)
        check_typed(typed, user.name, "user")
        if user.id == caller.user_id:
            raise Conflict("this is your own account", hint="let another admin disable it")
        await service.check_another_admin(work.session, user)
        await service.revoke_user(work, user.name)
    return see_other(f"/web/users/{user_id}", told=f"{user.name} is disabled.")


@router.post("/web/users/{user_id}/enable")
async def enable(work: WorkDep, user_id: UserId) -> Response:
    """Let a disabled user log in again."""
    user = await people.user_named_by_id(work.session, user_id)
    await service.enable_user(work, user.name)
    return see_other(f"/web/users/{user_id}", told=f"{user.name} may log in again.")


@router.get("/web/sessions")
async def list_sessions(
    request: Request, session: ReadDep, services: ServicesDep, caller: CallerDep
) -> Response:
    """Everybody's console logins, newest first."""
    asked = listing(request, sorts=SESSION_SORTS)
    living = await sessions.living(session, services.settings)
    rows, total = page_of(living, asked, SESSION_SORTS, lambda row: f"{row.name}\n{row.address}")
    return await page(
        request,
        "identity/sessions.html.j2",
        list=asked,
        rows=_with_ends(rows, services),
        total=total,
        current_id=caller.session.id if caller.session else None,
    )


@router.post("/web/sessions/{session_id}/end")
async def end_session(work: WorkDep, session_id: SessionId) -> Response:
    """End anybody's login."""
    row = await sessions.end(work, session_id)
    return see_other("/web/sessions", told=f"The session of {row.name} is ended.")


async def _show_link(
    request: Request, user: UserRow, row: InvitationRow, secret: str, *, title: str
) -> Response:
    """The answer itself shows it: it is in no address, no cookie and no log."""
    return await page(
        request,
        "identity/once.html.j2",
        title=title,
        crumbs=(("Users", "/web/users"), (user.name, f"/web/users/{user.id}"), ("Link", "")),
        text=invitations.link_address(str(request.base_url), secret),
        label="Link",
        expires_at=row.expires_at,
        what=f"Send it to {user.name}: it sets the password, once.",
        back=("/web/users", "Back to the users"),
    )


def _role_form(user: UserRow) -> Form:
    role = Field(
        name="role",
        label="Role",
        kind="select",
        options=ROLES,
        required=True,
        value=Role(user.role).name.lower(),
        help="Holds at once, for logins and tokens alike.",
    )
    return Form((role,))


async def _user_page(
    request: Request, session: AsyncSession, user: UserRow, form: Form
) -> Response:
    services: Services = request.app.state.services
    asked = listing(request, sorts=tuple(people.TOKEN_SORTS))
    tokens, total = await people.token_lines(session, asked, of_user=user.id)
    living = await sessions.living(session, services.settings)
    return await page(
        request,
        "identity/user.html.j2",
        status=form.status,
        user=user,
        state=people.user_state(user),
        is_self=request.state.caller.user_id == user.id,
        form=form,
        tokens=tokens,
        total=total,
        list=asked,
        sessions=_with_ends([row for row in living if row.user_id == user.id], services),
    )


def _with_ends(rows: Iterable[SessionRow], services: Services) -> list[tuple[SessionRow, object]]:
    return [(row, sessions.shown_end(row, services.settings)) for row in rows]


async def _find(_: Services, session: AsyncSession, words: str) -> list[Hit]:
    named = UserRow.name.ilike(like(words), escape="\\")
    rows = await session.scalars(select(UserRow).where(named).order_by(UserRow.name).limit(FOUND))
    return [
        Hit(
            title=row.name,
            href=f"/web/users/{row.id}",
            kind="user",
            detail=Role(row.role).name.lower(),
            role=Role.ADMIN,
        )
        for row in rows
    ]
