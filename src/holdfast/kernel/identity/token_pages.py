"""Tokens of the API: ``/web/tokens``; for admins."""

from collections.abc import Sequence

from fastapi import Request, Response
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.clock import now
from holdfast.kernel.errors import NotFound
from holdfast.kernel.identity import people, service, tables
from holdfast.kernel.identity.api import TokenId, TokenIn
from holdfast.kernel.identity.people_pages import ROLES
from holdfast.kernel.identity.tables import TokenRow
from holdfast.kernel.services import Services
from holdfast.kernel.web.console.forms import Field, Form, check_typed, typed_name
from holdfast.kernel.web.console.listing import like, listing
from holdfast.kernel.web.console.registry import Hit, Need, console_parts
from holdfast.kernel.web.console.render import page, see_other
from holdfast.kernel.web.deps import ADMIN, ReadDep, ServicesDep, actor_of
from holdfast.kernel.web.router import Router
from holdfast.kernel.work import Role, Work

router = Router(include_in_schema=False, dependencies=[ADMIN])
FOUND = 6
DAY = 86400
LIVES = (
    (str(30 * DAY), "in 30 days"),
    (str(90 * DAY), "in 90 days"),
    (str(365 * DAY), "in a year"),
    (str(7 * DAY), "in a week"),
    (str(DAY), "in a day"),
    ("", "never: until it is revoked"),
)
ENDING_SHOWN = 5


def contribute(services: Services) -> None:
    """Search, actions, and tokens that end while something uses them."""
    parts = console_parts(services)
    parts.actions += [
        Hit(title="New token", href="/web/tokens/new", kind="action", role=Role.ADMIN),
        Hit(title="Tokens", href="/web/tokens", kind="page", role=Role.ADMIN),
    ]
    parts.searchers.append(_find)
    parts.needs.append(_ending)


@router.get("/web/tokens")
async def list_tokens(request: Request, session: ReadDep) -> Response:
    """Tokens, newest first; searched by name, beginning and user."""
    asked = listing(request, sorts=tuple(people.TOKEN_SORTS), filters=("state",))
    rows, total = await people.token_lines(session, asked)
    states = [(one, one) for one in people.TOKEN_STATES]
    return await page(
        request, "identity/tokens.html.j2", list=asked, rows=rows, total=total, states=states
    )


@router.api_route("/web/tokens/new", methods=["GET", "POST"])
async def new_token(request: Request, session: ReadDep) -> Response:
    """A form for a new token, whose text the answer shows once."""
    users = [row for row in await tables.users(session) if row.disabled_at is None]
    form = Form(_fields([row.name for row in users]), {"user": request.query_params.get("user")})

    async def act(work: Work, body: TokenIn) -> tuple[TokenRow, str]:
        return await service.create_token(
            work,
            name=body.name,
            role=service.role_named(body.role),
            user_name=body.user,
            expires_at=body.expiry(),
            scope=body.scope,
        )

    if request.method == "POST" and (made := await form.submit(request, TokenIn, act)):
        return await _show_text(request, *made)
    return await page(request, "identity/token_form.html.j2", status=form.status, form=form)


@router.post("/web/tokens/{token_id}/revoke")
async def revoke(request: Request, services: ServicesDep, token_id: TokenId) -> Response:
    """End a token whose name was typed."""
    typed = await typed_name(request)
    async with services.database.write(actor_of(request)) as work:
        row = await work.session.get(TokenRow, token_id)
        if row is None:
            raise NotFound(f"Token {token_id} not found", hint="see /web/tokens")
        check_typed(typed, row.name, "token")
        await service.revoke_token(work, token_id)
    return see_other("/web/tokens", told=f"Token {row.name} is revoked.")


async def _show_text(request: Request, row: TokenRow, text: str) -> Response:
    """The answer itself shows it: it is in no address, no cookie and no log."""
    return await page(
        request,
        "identity/once.html.j2",
        title=f"Token {row.name} is made",
        crumbs=(("Users", "/web/users"), ("Tokens", "/web/tokens"), (row.name, "")),
        text=text,
        label="Token",
        expires_at=row.expires_at,
        what="Give it to the program that shall use it, as: Authorization: Bearer <token>",
        back=("/web/tokens", "Back to the tokens"),
    )


def _fields(users: Sequence[str]) -> tuple[Field, ...]:
    return (
        Field(
            name="name",
            label="Name",
            required=True,
            option="-",
            help="What uses it, like backup-robot. Stands in the audit.",
            attributes={"maxlength": "128", "autocomplete": "off", "spellcheck": "false"},
        ),
        Field(name="role", label="Role", kind="select", options=ROLES, value="viewer"),
        Field(
            name="scope",
            label="For",
            help="Areas of the API, the words after /api/ in its addresses, as: tiers jobs. It then"
            " opens nothing else, and not the console. Empty: everything that its role may do.",
            attributes={"data-lines": "", "autocomplete": "off", "spellcheck": "false"},
        ),
        Field(
            name="expires_in",
            label="Ends",
            kind="select",
            options=LIVES,
            value=LIVES[0][0],
            help="A token that ends is one less to forget.",
        ),
        Field(
            name="user",
            label="Belongs to",
            kind="select",
            options=(("", "nobody: a program"), *((name, name) for name in users)),
            help="A user's token may do no more than the user, and ends when they are disabled.",
        ),
    )


async def _find(_: Services, session: AsyncSession, words: str) -> list[Hit]:
    wanted = like(words)
    named = or_(TokenRow.name.ilike(wanted, escape="\\"), TokenRow.hint.ilike(wanted, escape="\\"))
    rows = await session.scalars(select(TokenRow).where(named).order_by(TokenRow.name).limit(FOUND))
    return [
        Hit(
            title=row.name,
            href=f"/web/tokens?q={row.name}",
            kind="token",
            detail="revoked" if row.revoked_at else Role(row.role).name.lower(),
            role=Role.ADMIN,
        )
        for row in rows
    ]


async def _ending(_: Services, session: AsyncSession) -> list[Need]:
    needs = []
    for row in await people.ending_tokens(session, ENDING_SHOWN):
        assert row.expires_at is not None
        over = row.expires_at <= now()
        moment = f"{row.expires_at:%Y-%m-%d %H:%M} UTC"
        needs.append(
            Need(
                title=f"Token {row.name} {'has ended' if over else 'ends soon'}",
                detail=f"{'It ended' if over else 'It ends'} {moment}, and it was in use this week."
                " Make another, and put it where this one is.",
                href="/web/tokens/new",
                action="New token",
                level="bad" if over else "warn",
                role=Role.ADMIN,
            )
        )
    return needs
