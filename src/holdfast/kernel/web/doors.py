"""Applications below a prefix that ask by themselves who it is: those of older tools' clients."""

from dataclasses import dataclass, field

from starlette.types import ASGIApp, Receive, Scope, Send

_CONNECTION = "holdfast.connection"


@dataclass(slots=True)
class OwnDoors:
    """What is answered without the door of the API; found by ``services.find(OwnDoors)``."""

    _apps: dict[str, ASGIApp] = field(default_factory=dict)

    def add(self, prefix: str, app: ASGIApp) -> None:
        """Let ``app`` answer all below ``prefix``, which it does not see."""
        self._apps[prefix] = app

    def behind(self, path: str) -> ASGIApp | None:
        """What answers this path; None: it is one of ours."""
        for prefix, app in self._apps.items():
            if path.startswith(f"{prefix}/"):
                return _Below(prefix, app)
        return None


def connection_address(scope: Scope) -> str:
    """The address that a request came from, whatever its headers say; empty: not known."""
    return str(scope.get(_CONNECTION, ""))


@dataclass(frozen=True, slots=True)
class NoteConnection:
    """ASGI middleware, around all others: keeps the address before a proxy's words replace it."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on."""
        client = scope.get("client")
        scope[_CONNECTION] = client[0] if client else ""
        await self.app(scope, receive, send)


@dataclass(frozen=True, slots=True)
class RootOfPort:
    """ASGI middleware: what comes in at a port is all below a prefix, and nothing else is there."""

    app: ASGIApp
    port: int
    prefix: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on."""
        server = scope.get("server")
        if server and server[1] == self.port:
            path = f"{self.prefix}/{scope['path'].lstrip('/')}"
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await self.app(scope, receive, send)


@dataclass(frozen=True, slots=True)
class _Below:
    prefix: str
    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        root = f"{scope.get('root_path', '')}{self.prefix}"
        await self.app({**scope, "root_path": root}, receive, send)
