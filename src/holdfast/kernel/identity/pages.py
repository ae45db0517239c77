"""Pages to log in, to set a password by a link, and for one's own account."""

from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, SecretStr, model_validator

from holdfast.kernel.errors import AppError, TooMany, Unauthenticated
from holdfast.kernel.identity import invitations, logins, people_pages, sessions, token_pages
from holdfast.kernel.identity.caller import Caller
from holdfast.kernel.identity.model import local_path
from holdfast.kernel.identity.session_api import SessionId
from holdfast.kernel.identity.sessions import NewSession
from holdfast.kernel.identity.tables import UserRow
from holdfast.kernel.services import Services
from holdfast.kernel.web.console.forms import Field, Form, sent_form
from holdfast.kernel.web.console.registry import Hit, console_parts
from holdfast.kernel.web.console.render import page, see_other
from holdfast.kernel.web.deps import CallerDep, ServicesDep
from holdfast.kernel.web.router import Router
from holdfast.kernel.web.security import (
    forget_session_cookies,
    is_htmx,
    set_session_cookie,
    visit_of,
)

router = Router(include_in_schema=False)
routers = (router, people_pages.router, token_pages.router)
ACCOUNT = "/web/account"
_NEW = {"autocomplete": "new-password", "minlength": "10", "maxlength": "1024"}


class NewPassword(BaseModel):
    """A password typed twice."""

    password: SecretStr
    again: SecretStr

    @model_validator(mode="after")
    def _same(self) -> "NewPassword":
        if self.password != self.again:
            raise ValueError("the two passwords differ")
        return self


class ChangedPassword(BaseModel):
    """One's own password, and twice the one that takes its place."""

    current_password: SecretStr
    new_password: SecretStr
    again: SecretStr

    @model_validator(mode="after")
    def _same(self) -> "ChangedPassword":
        if self.new_password != self.again:
            raise ValueError("the two passwords differ")
        return self


def contribute(services: Services) -> None:
    """Templates, and the account among what a search finds."""
    parts = console_parts(services)
    parts.templates["identity"] = "holdfast.kernel.identity"
    people_pages.contribute(services)
    token_pages.contribute(services)
    parts.actions += [
        Hit(title="Change password", href=ACCOUNT, kind="action"),
        Hit(title="Account and sessions", href=ACCOUNT, kind="page"),
    ]


@router.get("/login")
async def login_page(request: Request) -> Response:
    """Who is there? Whoever is known already goes on."""
    wanted = local_path(request.query_params.get("next", "/"))
    if request.state.session:
        return RedirectResponse(wanted, status_code=303)
    return await _login_page(request, wanted)


@router.post("/login")
async def login(request: Request, services: ServicesDep) -> Response:
    """Log in by name and password, or by a token or key in the field ``key``."""
    sent = {name: values[0] for name, values in (await sent_form(request)).items()}
    wanted, visit = local_path(sent.get("next", "/")), visit_of(request)
    by_key = "key" in sent
    try:
        if by_key:
            started = await logins.log_in_by_key(services, key=sent["key"], visit=visit)
        else:
            started = await logins.log_in(
                services,
                name=sent.get("name", "").strip(),
                password=sent.get("password", ""),
                visit=visit,
            )
    except (Unauthenticated, TooMany) as error:
        # Clients of the older tool tell a wrong key from the page that comes again with 200.
        wrong_key = by_key and isinstance(error, Unauthenticated)
        status = 200 if wrong_key else error.http_status
        return await _login_page(
            request, wanted, name=sent.get("name", ""), by_key=by_key, error=error, status=status
        )
    return _welcome(request, wanted, started)


@router.post("/logout")
async def logout(request: Request, services: ServicesDep) -> Response:
    """End the login, here and on the server."""
    caller: Caller | None = request.state.caller
    if caller and caller.session:
        async with services.database.write(caller.actor) as work:
            await sessions.end(work, caller.session.id)
    answer = see_other("/login", told="You are logged out.")
    if is_htmx(request):  # the frame goes too, not just the page in it
        answer.status_code = 204
        answer.headers["HX-Redirect"] = "/login"
    forget_session_cookies(answer)
    return answer


@router.get("/setup/{secret}")
async def setup_page(request: Request, services: ServicesDep, secret: str) -> Response:
    """Whoever has the link may set the password; looking at it does not use it up."""
    async with services.database.read() as session:
        _, user = await invitations.user_of_link(session, secret)
    return await _setup_page(request, user.name, _setup_form(user.name))


@router.post("/setup/{secret}")
async def setup(request: Request, services: ServicesDep, secret: str) -> Response:
    """Set the password and log in."""
    async with services.database.read() as session:
        _, user = await invitations.user_of_link(session, secret)
    form = _setup_form(user.name)
    given = await form.read(request, NewPassword)
    if given is None:
        return await _setup_page(request, user.name, form)
    try:
        started = await invitations.set_password(
            services, secret, password=given.password.get_secret_value(), visit=visit_of(request)
        )
    except AppError as error:
        form.refuse(error)
        return await _setup_page(request, user.name, form)
    return _welcome(request, "/", started)


@router.get(ACCOUNT)
async def account(request: Request, caller: CallerDep) -> Response:
    """One's own logins and password."""
    return await _account_page(request, caller, _password_form())


@router.post(f"{ACCOUNT}/password")
async def change_password(request: Request, services: ServicesDep, caller: CallerDep) -> Response:
    """Change one's own password; the other logins end."""
    form = _password_form()
    given = await form.read(request, ChangedPassword)
    if given is None:
        return await _account_page(request, caller, form)
    try:
        ended = await logins.change_password(
            services,
            caller,
            current=given.current_password.get_secret_value(),
            new=given.new_password.get_secret_value(),
            visit=visit_of(request),
        )
    except AppError as error:
        form.refuse(error)
        return await _account_page(request, caller, form)
    return see_other(ACCOUNT, told=f"The password is changed. Other logins ended: {ended}.")


@router.post(f"{ACCOUNT}/sessions/{{session_id}}/end")
async def end_session(
    request: Request, services: ServicesDep, caller: CallerDep, session_id: SessionId
) -> Response:
    """End one of one's own logins."""
    async with services.database.write(caller.actor) as work:
        await sessions.end(work, session_id, own=caller)
    if caller.session and caller.session.id == session_id:
        return await logout(request, services)
    return see_other(ACCOUNT, told="The session is ended.")


@router.post(f"{ACCOUNT}/end-others")
async def end_others(services: ServicesDep, caller: CallerDep) -> Response:
    """End all of one's own logins but this."""
    async with services.database.write(caller.actor) as work:
        ended = await sessions.end_others(work, caller)
    return see_other(ACCOUNT, told=f"Other logins ended: {ended}.")


def _welcome(request: Request, wanted: str, started: NewSession) -> Response:
    answer = RedirectResponse(wanted, status_code=303)
    set_session_cookie(request, answer, started)
    return answer


async def _login_page(
    request: Request,
    wanted: str,
    *,
    name: str = "",
    by_key: bool = False,
    error: AppError | None = None,
    status: int = 200,
) -> Response:
    beside = Field(name="next", label="", kind="hidden", value=wanted)
    people = Form(
        (
            Field(
                name="name",
                label="Name",
                required=True,
                value=name,
                attributes={"autocomplete": "username", "autocapitalize": "none"}
                | ({} if name else {"autofocus": ""}),
            ),
            Field(
                name="password",
                label="Password",
                kind="password",
                required=True,
                attributes={"autocomplete": "current-password"}
                | ({"autofocus": ""} if name else {}),
            ),
            beside,
        ),
        problem=None if by_key else error,
    )
    attributes = {"autocomplete": "off"}
    keys = Form(
        (
            Field(name="key", label="Key", kind="password", required=True, attributes=attributes),
            beside,
        ),
        problem=error if by_key else None,
    )
    answer = await page(
        request, "identity/login.html.j2", status=status, people=people, keys=keys, by_key=by_key
    )
    if isinstance(error, TooMany) and error.retry_after_seconds:
        answer.headers["Retry-After"] = str(error.retry_after_seconds)
    return answer


def _setup_form(name: str) -> Form:
    who = {"readonly": "", "autocomplete": "username"}
    return Form(
        (
            Field(name="name", label="Name", required=True, value=name, attributes=who),
            *_new_password_fields(),
        )
    )


async def _setup_page(request: Request, name: str, form: Form) -> Response:
    form.values["name"] = name
    return await page(
        request, "identity/setup.html.j2", status=form.status, form=form, action=request.url.path
    )


def _password_form() -> Form:
    known = {"autocomplete": "current-password"}
    current = Field(
        name="current_password",
        label="Current password",
        kind="password",
        required=True,
        attributes=known,
    )
    return Form((current, *_new_password_fields("new_password")))


def _new_password_fields(name: str = "password") -> tuple[Field, Field]:
    return (
        Field(
            name=name,
            label="New password",
            kind="password",
            required=True,
            help="10 characters or more; four random words are good.",
            attributes=_NEW,
        ),
        Field(
            name="again",
            label="Again",
            kind="password",
            required=True,
            attributes=_NEW | {"data-local": ""},
        ),
    )


async def _account_page(request: Request, caller: Caller, form: Form) -> Response:
    services: Services = request.app.state.services
    async with services.database.read() as session:
        rows = await sessions.living(session, services.settings)
        user = await session.get(UserRow, caller.user_id) if caller.user_id else None
    mine = [row for row in rows if sessions.is_own(row, caller)]
    return await page(
        request,
        "identity/account.html.j2",
        status=form.status,
        current_id=caller.session.id if caller.session else None,
        user=user,
        sessions=[(row, sessions.shown_end(row, services.settings)) for row in mine],
        form=form,
    )
