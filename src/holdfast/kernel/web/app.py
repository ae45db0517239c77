"""The application: the door, the errors, the routers of kernel and slices."""

from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import DataError
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware

from holdfast import __version__
from holdfast.kernel.errors import AppError, BadRequest, Invalid, NotFound
from holdfast.kernel.logging import MASK, get_logger, is_secret_name
from holdfast.kernel.services import Services
from holdfast.kernel.web import api_page
from holdfast.kernel.web.assets import Assets
from holdfast.kernel.web.body import LimitBody
from holdfast.kernel.web.console import pages as console_pages
from holdfast.kernel.web.console.render import STATIC, error_page, wants_page
from holdfast.kernel.web.headers import SafeHeaders, add_safe_headers
from holdfast.kernel.web.metrics import CountRequests
from holdfast.kernel.web.router import Router
from holdfast.kernel.web.security import TokenDoor, error_response

log = get_logger(__name__)
FAST = 4
"""Level of compression for what is made for one request; files are compressed once, at 9."""
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def build_app(services: Services, routers: Iterable[Router], lifespan: Lifespan) -> FastAPI:
    """An application with these routers; ``lifespan`` starts and stops what runs beside it."""
    app = FastAPI(
        title="Holdfast",
        version=__version__,
        description="Control plane for a site's data.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.services = services
    console_pages.contribute(services)
    app.mount("/static", Assets(directory=STATIC), name="static")
    # The one added last sees a request first.
    app.add_middleware(TokenDoor)
    app.add_middleware(LimitBody)
    app.add_middleware(CountRequests)
    app.add_middleware(GZipMiddleware, minimum_size=500, compresslevel=FAST)
    app.add_middleware(SafeHeaders)
    for router in (api_page.router, *console_pages.routers, *routers):
        app.router.routes.extend(router.routes)
    app.add_exception_handler(AppError, _expected)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(DataError, _unfit)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)
    return app


async def _expected(request: Request, error: Exception) -> Response:
    assert isinstance(error, AppError)
    if wants_page(request):
        return await error_page(request, error)
    return error_response(error)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if wants_page(request):
        return await error_page(request, NotFound("There is no such page", hint="look in the menu"))
    items = [_shown(item) for item in error.errors()]
    body = {"detail": items, "code": "invalid", "hint": "mend the fields that are named"}
    return JSONResponse(body, status_code=422)


async def _unfit(request: Request, _: Exception) -> Response:
    """PostgreSQL keeps no text with a NUL in it, and no number beyond its type."""
    refused = Invalid("a value cannot be stored", hint="look for NUL characters or huge numbers")
    return await _expected(request, refused)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if wants_page(request):
        return await error_page(request, _worded(error))
    code = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "too_large"}.get(
        error.status_code, "error"
    )
    body = {"detail": error.detail, "code": code, "hint": "see /api/docs"}
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)


class _NotThisWay(AppError):
    """An address that takes forms, opened as if it were a page; or the other way round."""

    code, http_status = "method_not_allowed", 405


def _worded(error: HTTPException) -> AppError:
    """A failure of the framework, in words for a page."""
    match error.status_code:
        case 404:
            return NotFound("There is no such page", hint="look in the menu")
        case 405:
            return _NotThisWay(
                "This address is no page: a button on a page sends something to it.",
                hint="go to the page and use its button",
            )
        case _:
            return BadRequest(str(error.detail), hint="go back and try it otherwise")


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("unexpected failure", method=request.method, path=request.url.path, exc_info=error)
    answer: Response
    if wants_page(request):
        failed = AppError("The server failed at this.", hint="the reason is in the server's log")
        answer = await error_page(request, failed, alone=True)
    else:
        body = {"detail": "Internal error", "code": "internal", "hint": "see the server's log"}
        answer = JSONResponse(body, status_code=500)
    add_safe_headers(answer.headers)  # given outside of every middleware
    return answer


def _shown(item: dict[str, Any]) -> dict[str, Any]:
    """One complaint of pydantic, in JSON types and without secrets."""
    secret = any(isinstance(part, str) and _may_be_secret(part) for part in item.get("loc", ()))
    shown: dict[str, Any] = {k: item[k] for k in ("type", "loc") if k in item}
    shown["msg"] = str(item.get("msg", "")).removeprefix("Value error, ")
    given = item.get("input")
    # a body that is no object has no names that would tell what is secret in it, and what came by
    # a wrong name may be what belongs to another
    nameless = item.get("loc") == ("body",) and not isinstance(given, dict)
    hidden = secret or nameless or item.get("type") in {"extra_forbidden", "missing"}
    shown["input"] = MASK if hidden else _without_secrets(given)
    if "ctx" in item:
        shown["ctx"] = {k: _text(str(v)) for k, v in item["ctx"].items()}
    return shown


def _may_be_secret(name: str) -> bool:
    """Also addresses that are told, options of stores, and files that hold passwords."""
    words = ("pass", "notify", "header", "key_pem", "2fa", "proxy", "repos")
    return is_secret_name(name) or any(word in name.lower() for word in words)


def _without_secrets(value: object) -> object:
    match value:
        case dict():
            return {
                _text(str(k)): MASK if _may_be_secret(str(k)) else _without_secrets(v)
                for k, v in value.items()
            }
        case list() | tuple():
            return [_without_secrets(v) for v in value]
        case None | bool() | int():
            return value
        case str():
            return _text(value)
        case _:
            return str(value)


def _text(text: str) -> str:
    """Half a surrogate pair is no character: UTF-8 has no way to write it."""
    return text.encode("utf-8", errors="replace").decode()
