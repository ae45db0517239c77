"""No request may fill the memory: a body has a largest size, also while nobody is logged in."""

from fastapi import HTTPException
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY_BYTES = 16 * 1024 * 1024
"""A batch of 10,000 routes takes 2 MB."""
TOO_LARGE = 413
_WORDS = f"the body is larger than {LARGEST_BODY_BYTES} bytes"


class LimitBody:
    """ASGI middleware: 413 for what is too large, by its announced length or while it comes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, its body counted."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > LARGEST_BODY_BYTES:
            body = {"detail": _WORDS, "code": "too_large", "hint": "send it in parts"}
            await JSONResponse(body, status_code=TOO_LARGE)(scope, receive, send)
            return
        came = 0

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > LARGEST_BODY_BYTES:
                raise HTTPException(TOO_LARGE, _WORDS)
            return message

        await self._app(scope, counted, send)
