"""``holdfast user``, ``token`` and ``session``: who may ask, straight in the database."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.commands import output
from holdfast.commands.local import local_actor, with_services
from holdfast.commands.output import Form, say
from holdfast.commands.processes import AsJson, Output
from holdfast.commands.verbs import choose_form, read_secret
from holdfast.kernel.errors import Invalid

if TYPE_CHECKING:
    from holdfast.kernel.services import Services

UserName = Annotated[str, typer.Argument(help="the user's name")]
Role = Annotated[str, typer.Option(help="viewer, operator or admin.")]
USER_COLUMNS = ("id", "name", "role", "has_password", "created_at", "disabled_at")
TOKEN_COLUMNS = (
    "id", "name", "role", "hint", "user_id", "expires_at", "last_used_at", "revoked_at",
)  # fmt: skip
SESSION_COLUMNS = ("id", "name", "method", "address", "last_seen_at", "expires_at", "user_agent")
LONGEST_LIFETIME = timedelta(days=36_500)
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def add_to(app: typer.Typer) -> None:
    """Put the three nouns beside the others."""
    users = typer.Typer(name="user", help="People who may ask.", no_args_is_help=True)
    users.command("create")(user_create)
    users.command("list")(user_list)
    users.command("link")(user_link)
    users.command("update")(user_update)
    users.command("enable")(user_enable)
    users.command("revoke")(user_revoke)
    tokens = typer.Typer(name="token", help="Tokens of the API.", no_args_is_help=True)
    tokens.command("create")(token_create)
    tokens.command("list")(token_list)
    tokens.command("revoke")(token_revoke)
    logins = typer.Typer(name="session", help="Logins to the console.", no_args_is_help=True)
    logins.command("list")(session_list)
    logins.command("end")(session_end)
    for noun in (users, tokens, logins):
        app.add_typer(noun)


def user_create(
    name: UserName,
    *,
    role: Role = "viewer",
    password: Annotated[
        bool, typer.Option("--password", help="Ask for a password, or read it from stdin.")
    ] = False,
    form: Output = Form.TABLE,
    as_json: AsJson = False,
) -> None:
    """Add a person."""
    choose_form(form, as_json=as_json)
    secret = read_secret("password") if password else ""

    async def act(services: "Services") -> Any:  # noqa: ANN401 - JSON
        from holdfast.kernel.identity import schemas, service  # noqa: PLC0415 - slow

        async with services.database.write(local_actor()) as work:
            user = await service.create_user(
                work, name=name, role=service.role_named(role), password=secret
            )
        return schemas.user_out(user).model_dump()

    output.show(with_services(act))


def user_list(*, form: Output = Form.TABLE, as_json: AsJson = False) -> None:
    """List people."""
    choose_form(form, as_json=as_json)

    async def act(services: "Services") -> Any:  # noqa: ANN401 - JSON
        from holdfast.kernel.identity import schemas, tables  # noqa: PLC0415 - slow

        async with services.database.read() as session:
            return [schemas.user_out(row).model_dump() for row in await tables.users(session)]

    output.show(with_services(act), USER_COLUMNS)


def user_update(
    name: UserName,
    *,
    role: Annotated[str, typer.Option(help="viewer, operator or admin.")],
) -> None:
    """Give a person another role; it holds at once, for logins and tokens alike."""

    async def act(services: "Services") -> None:
        from holdfast.kernel.identity import service  # noqa: PLC0415 - slow

        async with services.database.write(local_actor()) as work:
            await service.change_role(work, name, service.role_named(role))

    with_services(act)
    say(f"user {name!r} is {role.lower()} now")


def user_enable(name: UserName) -> None:
    """Let a disabled person log in again; revoked tokens stay revoked."""

    async def act(services: "Services") -> None:
        from holdfast.kernel.identity import service  # noqa: PLC0415 - slow

        async with services.database.write(local_actor()) as work:
            await service.enable_user(work, name)

    with_services(act)
    say(f"user {name!r} enabled")


def user_revoke(name: UserName) -> None:
    """Disable a person; end all their tokens, links and logins."""

    async def act(services: "Services") -> None:
        from holdfast.kernel.identity import service  # noqa: PLC0415 - slow

        async with services.database.write(local_actor()) as work:
            await service.revoke_user(work, name)

    with_services(act)
    say(f"user {name!r} revoked")


def user_link(
    name: UserName,
    *,
    url: Annotated[
        str,
        typer.Option(
            help="Where the console is opened; by default public_url, else this machine's address."
        ),
    ] = "",
    form: Output = Form.TABLE,
    as_json: AsJson = False,
) -> None:
    """Make a link with which a person sets a password, once, within a day; older ones are void."""
    choose_form(form, as_json=as_json)

    async def act(services: "Services") -> Any:  # noqa: ANN401 - JSON
        from holdfast.kernel.identity import invitations, schemas  # noqa: PLC0415 - slow

        async with services.database.write(local_actor()) as work:
            row, secret = await invitations.create_link(work, name)
        base = url or services.settings.public_url or services.settings.own_address
        return schemas.link_out(row, name, invitations.link_address(base, secret)).model_dump()

    made = with_services(act)
    output.show(made["link"] if output.chosen() is Form.TABLE else made)
    if output.chosen() is Form.TABLE:
        say(f"good once, until {made['expires_at']}; it is not shown again")


def token_create(
    name: Annotated[str, typer.Argument(help="what the token is for")],
    *,
    role: Role = "viewer",
    user: Annotated[str | None, typer.Option(help="The person it belongs to.")] = None,
    expires_in: Annotated[
        str, typer.Option(help="Like 30d or 12h (s, m, h, d, w), or seconds; empty: never.")
    ] = "",
    scope: Annotated[
        list[str] | None,
        typer.Option(help="Only this area of the API, like tiers or jobs; repeatable."),
    ] = None,
    form: Output = Form.TABLE,
    as_json: AsJson = False,
) -> None:
    """Make a token; its text goes to stdout, once, and cannot be shown again."""
    choose_form(form, as_json=as_json)
    lifetime = _lifetime(expires_in)

    async def act(services: "Services") -> Any:  # noqa: ANN401 - JSON
        from holdfast.kernel.clock import now  # noqa: PLC0415 - beside its only use
        from holdfast.kernel.identity import schemas, service  # noqa: PLC0415 - slow

        async with services.database.write(local_actor()) as work:
            row, text = await service.create_token(
                work,
                name=name,
                role=service.role_named(role),
                user_name=user,
                expires_at=now() + lifetime if lifetime else None,
                scope=scope or (),
            )
        return {**schemas.token_fields(row), "token": text}

    made = with_services(act)
    output.show(made["token"] if output.chosen() is Form.TABLE else made)
    if output.chosen() is Form.TABLE:
        say(f"token {made['id']} of role {made['role']}; it is not shown again")


def token_list(*, form: Output = Form.TABLE, as_json: AsJson = False) -> None:
    """List tokens, newest first; never their text."""
    choose_form(form, as_json=as_json)

    async def act(services: "Services") -> Any:  # noqa: ANN401 - JSON
        from holdfast.kernel.identity import schemas, tables  # noqa: PLC0415 - slow

        async with services.database.read() as session:
            return [schemas.token_fields(row) for row in await tables.tokens(session)]

    output.show(with_services(act), TOKEN_COLUMNS)


def token_revoke(number: Annotated[int, typer.Argument(help="the token's id")]) -> None:
    """End a token now."""

    async def act(services: "Services") -> None:
        from holdfast.kernel.identity import service  # noqa: PLC0415 - slow

        async with services.database.write(local_actor()) as work:
            await service.revoke_token(work, number)

    with_services(act)
    say(f"token {number} revoked")


def session_list(
    *,
    name: Annotated[str | None, typer.Option(help="Only this user or token.")] = None,
    form: Output = Form.TABLE,
    as_json: AsJson = False,
) -> None:
    """List logins to the console, newest first."""
    choose_form(form, as_json=as_json)

    async def act(services: "Services") -> Any:  # noqa: ANN401 - JSON
        from holdfast.kernel.identity import schemas, sessions  # noqa: PLC0415 - slow

        async with services.database.read() as session:
            rows = await sessions.living(session, services.settings)
        shown = (row for row in rows if name in {None, row.name})
        return [schemas.session_out(row, services.settings).model_dump() for row in shown]

    output.show(with_services(act), SESSION_COLUMNS)


def session_end(number: Annotated[int, typer.Argument(help="the session's id")]) -> None:
    """End a login now."""

    async def act(services: "Services") -> None:
        from holdfast.kernel.identity import sessions  # noqa: PLC0415 - slow

        async with services.database.write(local_actor()) as work:
            await sessions.end(work, number)

    with_services(act)
    say(f"session {number} ended")


def _lifetime(text: str) -> timedelta | None:
    if not text:
        return None
    number, unit = (text, "s") if text.isdecimal() else (text[:-1], text[-1])
    if unit not in UNITS or not number.isdecimal():
        raise Invalid(f"{text!r} is no length of time", hint="use 30d, 12h, 90m or 2w")
    try:
        lifetime = timedelta(seconds=int(number) * UNITS[unit])
    except OverflowError:
        lifetime = timedelta.max
    if lifetime > LONGEST_LIFETIME:
        raise Invalid(f"{text!r} is too long", hint="leave it out for never")
    return lifetime
