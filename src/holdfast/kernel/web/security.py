"""The door: nobody reaches a route without a token or a login, and writing needs a role.

A browser is let in by the cookie of its login. It sends that cookie whoever made it ask, so what a
cookie lets in must also come from our own pages.
"""

from typing import TYPE_CHECKING, cast
from urllib.parse import quote, urlsplit

from fastapi import Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast.kernel.clock import now
from holdfast.kernel.errors import AppError, Forbidden, TooMany, Unauthenticated
from holdfast.kernel.events import newest_event_id
from holdfast.kernel.identity import sessions, tables
from holdfast.kernel.identity.caller import Caller
from holdfast.kernel.identity.model import SEEN_STEP, LoginMethod, Visit, is_in_scope, local_path
from holdfast.kernel.identity.service import caller_of_token
from holdfast.kernel.identity.uses import TokenUses
from holdfast.kernel.logging import get_logger
from holdfast.kernel.web.console.render import error_page, wants_page
from holdfast.kernel.web.deps import check_role
from holdfast.kernel.web.doors import OwnDoors
from holdfast.kernel.work import SYSTEM, Role

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.kernel.identity.sessions import NewSession
    from holdfast.kernel.services import Services

log = get_logger(__name__)
PUBLIC_PATHS = frozenset(
    {"/api/health", "/api/ready", "/api/docs", "/api/redoc", "/api/openapi.json"}
)
PUBLIC_PREFIX = "/static/"
LOGIN_PATHS = frozenset({"/login", "/logout"})
LOGIN_PREFIX = "/setup/"
"""Open to everybody; who comes with a login is known there."""
OWN_PLACES = ("/api/me", "/web/account")
"""What is one's own may be changed whatever one's role is."""
READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
COOKIES = {
    LoginMethod.PASSWORD: "holdfast_session",
    LoginMethod.LINK: "holdfast_session",
    LoginMethod.KEY: "nanio_session",
}
"""Name of the cookie; clients of an older tool log in by key and know theirs by this name."""


def error_response(error: AppError) -> JSONResponse:
    """The one form in which the API answers a failure."""
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, TooMany) and error.retry_after_seconds:
        headers["Retry-After"] = str(error.retry_after_seconds)
    return JSONResponse(error.body(), status_code=error.http_status, headers=headers)


class TokenDoor:
    """ASGI middleware: every path but the public ones asks who it is, existing or not.

    What is behind a door of its own asks by itself.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through with its actor, or answer 302, 401 or 403."""
        path = scope.get("path", "")
        if scope["type"] != "http" or path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIX):
            await self._app(scope, receive, send)
            return
        doors = scope["app"].state.services.find(OwnDoors)
        if doors and (behind := doors.behind(path)):
            await behind(scope, receive, send)
            return
        request, came_at = Request(scope), now()
        try:
            caller = await caller_of(request)
            request.state.caller = caller
            request.state.actor = caller.actor if caller else None
            request.state.session = caller.session if caller else None
            check_scope(request, caller)
            check_rights(request, caller)
            if caller and wants_page(request):
                request.state.known_until = await _newest_event(request)
        except AppError as error:
            answer = await _refusal(request, error)
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)
        if caller and caller.session and came_at - caller.session.last_seen_at >= SEEN_STEP:
            await _touch(_services(request), caller.session.id, came_at)


def check_rights(request: Request, caller: Caller | None) -> None:
    """Raises ``Unauthenticated`` for nobody, but on the way to a login; ``Forbidden``."""
    # Not of the URL, which begins with what the Host header says.
    path, writes = str(request.scope["path"]), request.method not in READING_METHODS
    is_login = path in LOGIN_PATHS or path.startswith(LOGIN_PREFIX)
    if writes and (is_login or (caller and caller.session)):
        check_origin(request)
    if not is_login:
        if caller is None:
            raise Unauthenticated(
                "Invalid or missing X-Orchestrator-Key",
                hint="send 'Authorization: Bearer <token>'; make one with: holdfast token create",
            )
        if writes and not any(path == own or path.startswith(f"{own}/") for own in OWN_PLACES):
            check_role(caller.actor, Role.OPERATOR)


def check_scope(request: Request, caller: Caller | None) -> None:
    """Raises ``Forbidden`` for a token that is bound to other areas than this address."""
    path = str(request.scope["path"])
    is_login = path in LOGIN_PATHS or path.startswith(LOGIN_PREFIX)
    if caller and not is_login and not is_in_scope(caller.scope, path):
        request.state.actor = None  # the page that says so shows nothing else
        raise Forbidden(
            f"the token {caller.actor.name} is only for: {', '.join(caller.scope)}",
            hint="make one for this area: holdfast token create --scope",
        )


def token_of(request: Request) -> str:
    """The token that the request carries, in either header; empty when there is none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return request.headers.get("x-orchestrator-key", "").strip()


def check_origin(request: Request) -> None:
    """Raises ``Forbidden`` when a browser says that a page of somebody else sent this.

    Browsers tell by ``Sec-Fetch-Site`` or, over plain http and when old, by ``Origin``. What has
    neither comes from no browser, and nobody made it send the cookie.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        ours = site in {"same-origin", "none"}
    else:
        host = request.headers.get("host", "").lower()
        ours = origin is None or urlsplit(origin).netloc.lower() == host
    if not ours:
        raise Forbidden(
            "This was sent by a page of another site.",
            hint="use the console's own pages; a proxy before it must pass the Host header on",
        )


def visit_of(request: Request) -> Visit:
    """From where the request came."""
    address = request.client.host if request.client else ""
    return Visit(address, request.headers.get("user-agent", ""))


def set_session_cookie(request: Request, response: Response, started: "NewSession") -> None:
    """Give the browser its login, in place of any other; over https never sent in the clear."""
    for name in {*COOKIES.values()} & {*request.cookies} - {COOKIES[started.method]}:
        response.delete_cookie(name, path="/", httponly=True, samesite="lax")
    forwarded = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip()
    response.set_cookie(
        COOKIES[started.method],
        started.cookie,
        max_age=int(started.lasts.total_seconds()),
        path="/",
        secure="https" in (request.url.scheme, forwarded.lower()),
        httponly=True,
        samesite="lax",
    )


def forget_session_cookies(response: Response) -> None:
    """Take every login's cookie away from the browser."""
    for name in sorted(set(COOKIES.values())):
        response.delete_cookie(name, path="/", httponly=True, samesite="lax")


def login_address(path: str) -> str:
    """Where to log in and then go on to ``path``."""
    wanted = local_path(path)
    return "/login" if wanted == "/" else f"/login?next={quote(wanted, safe='/')}"


async def caller_of(request: Request) -> Caller | None:
    """Who is asking: by a token in a header, or by the cookie of a login; None for nobody."""
    services, token = _services(request), token_of(request)
    if token:
        uses = services.find(TokenUses) or services.add(TokenUses(services.database))
        api_key = services.settings.api_key.get_secret_value()
        async with services.database.read() as session:
            return await caller_of_token(session, token, api_key=api_key, uses=uses)
    cookies = [
        request.cookies[name] for name in sorted(set(COOKIES.values())) if name in request.cookies
    ]
    if not cookies:
        return None
    async with services.database.read() as session:
        return await sessions.caller_of_cookies(session, cookies, services.settings)


async def _newest_event(request: Request) -> int:
    """What happened until this event is on the page: it is read after this."""
    async with _services(request).database.read() as session:
        return await newest_event_id(session)


async def _touch(services: "Services", session_id: int, moment: "datetime") -> None:
    """Note that a login was used, after the answer: nobody waits for it."""
    try:
        async with services.database.write(SYSTEM) as work:
            await tables.touch_session(work.session, session_id, moment)
    except (SQLAlchemyError, OSError) as error:
        log.warning("use of a login not noted", session_id=session_id, error=str(error))


def is_htmx(request: Request) -> bool:
    """Whether a page's script asks, which takes a part of the answer."""
    return request.headers.get("hx-request") == "true"


async def _refusal(request: Request, error: AppError) -> Response:
    if isinstance(error, Unauthenticated) and is_htmx(request):
        shown = urlsplit(request.headers.get("hx-current-url", ""))
        answer = error_response(error)
        answer.headers["HX-Redirect"] = login_address(_with_query(shown.path, shown.query))
        return answer
    path = str(request.scope["path"])
    if not wants_page(request):
        return error_response(error)
    if isinstance(error, Unauthenticated) and request.method in {"GET", "HEAD"}:
        query = request.scope["query_string"].decode("latin-1")
        wanted = _with_query(quote(path), query)
        return RedirectResponse(login_address(wanted), status_code=302)
    return await error_page(request, error)


def _with_query(path: str, query: str) -> str:
    return f"{path}?{query}" if query else path


def _services(request: Request) -> "Services":
    return cast("Services", request.app.state.services)
