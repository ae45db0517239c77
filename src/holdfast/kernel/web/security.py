"""The door: nobody reaches a route without a token, and writing needs the operator's role."""

from typing import TYPE_CHECKING, cast

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast.kernel.errors import AppError, Unauthenticated
from holdfast.kernel.identity.service import actor_of_token
from holdfast.kernel.web.deps import check_role
from holdfast.kernel.work import Actor, Role

if TYPE_CHECKING:
    from holdfast.kernel.services import Services

PUBLIC_PATHS = frozenset(
    {"/api/health", "/api/ready", "/api/docs", "/api/redoc", "/api/openapi.json"}
)
READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def error_response(error: AppError) -> JSONResponse:
    """The one form in which the API answers a failure."""
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, Unauthenticated) else None
    return JSONResponse(error.body(), status_code=error.http_status, headers=headers)


class TokenDoor:
    """ASGI middleware: every path but the public ones asks for a token, existing or not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through with its actor, or answer 401 or 403."""
        if scope["type"] != "http" or scope["path"] in PUBLIC_PATHS:
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            actor = await self._actor(request)
            if request.method not in READING_METHODS:
                check_role(actor, Role.OPERATOR)
        except AppError as error:
            await error_response(error)(scope, receive, send)
            return
        request.state.actor = actor
        await self._app(scope, receive, send)

    async def _actor(self, request: Request) -> Actor:
        services = cast("Services", request.app.state.services)
        token = token_of(request)
        actor = None
        if token:
            api_key = services.settings.api_key.get_secret_value()
            async with services.database.read() as session:
                actor = await actor_of_token(session, token, api_key=api_key)
        if actor is None:
            raise Unauthenticated(
                "Invalid or missing X-Orchestrator-Key",
                hint="send 'Authorization: Bearer <token>'; make one with: holdfast token create",
            )
        return actor


def token_of(request: Request) -> str:
    """The token that the request carries, in either header; empty when there is none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return request.headers.get("x-orchestrator-key", "").strip()
