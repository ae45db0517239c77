"""``holdfast serve``: the API, and a worker unless asked otherwise."""

import contextlib
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast.assembly import assemble, routers, running
from holdfast.dropin.baricadr import PREFIX
from holdfast.kernel import collector
from holdfast.kernel.config import LoadedSettings, Settings
from holdfast.kernel.errors import AppError
from holdfast.kernel.identity import invitations
from holdfast.kernel.ports import check_free
from holdfast.kernel.restart import Restarter, begin_again
from holdfast.kernel.services import Services
from holdfast.kernel.web.app import build_app
from holdfast.kernel.web.doors import NoteConnection, RootOfPort

SHUTDOWN_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why this process could not start; it explains itself without a traceback."""

    error: AppError


def create_app(services: Services, *, with_worker: bool) -> FastAPI:
    """The application of these services."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            async with running(services, with_worker=with_worker):
                await _invite_first_admin(services)
                yield
        except AppError as error:
            services.add(Refusal(error))
            raise

    return build_app(services, routers(), lifespan)


async def _invite_first_admin(services: Services) -> None:
    """Nobody can log in to a new server, so whoever starts it is shown how: here and nowhere else.

    The output is no log: what is logged goes to stderr, and never has the link.
    """
    secret = await invitations.first_link(services.database)
    if secret:
        link = invitations.link_address(services.settings.own_address, secret)
        sys.stdout.write(f"First login, good once within 24 hours: {link}\n")
        sys.stdout.flush()


def serve(loaded: LoadedSettings, *, with_worker: bool = True) -> None:
    """Serve until SIGTERM or SIGINT, or begin again when asked to restart."""
    services = assemble(loaded)
    settings = loaded.settings
    config = uvicorn.Config(
        _without_traceback(create_app(services, with_worker=with_worker), services),
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    config.load()
    config.loaded_app = NoteConnection(_with_other_port(config.loaded_app, settings))
    server = uvicorn.Server(config)

    def stop() -> None:
        server.should_exit = True

    restarter = services.add(Restarter(stop))
    for number in (signal.SIGTERM, signal.SIGINT):
        # The server hands a signal on once it has ended in order: that is no failure.
        signal.signal(number, lambda *_: None)
    collector.keep_what_is_built()
    try:
        server.run(_listening(config, settings))
    except SystemExit:  # the server's own way to say that it did not start
        refusal = services.find(Refusal)
        if refusal:
            raise refusal.error from None
        raise
    if restarter.asked:
        begin_again()
    if not server.started:
        raise SystemExit(1)


def _other_port(settings: Settings) -> int:
    return settings.dropin_port if settings.dropin else 0


def _with_other_port(app: ASGIApp, settings: Settings) -> ASGIApp:
    port = _other_port(settings)
    return RootOfPort(app, port, PREFIX) if port else app


def _listening(config: uvicorn.Config, settings: Settings) -> list[socket.socket] | None:
    """The sockets of both ports; None: the server opens its one port itself."""
    port = _other_port(settings)
    if not port:
        return None
    # Without a configuration of its own for the log, which is the process's.
    other = uvicorn.Config(config.app, host=settings.host, port=port, log_config=None)
    for one in (config, other):
        check_free(one.host, one.port)
    sockets = [config.bind_socket(), other.bind_socket()]
    for each in sockets:
        each.set_inheritable(False)  # a restart opens them anew
    return sockets


def _without_traceback(app: ASGIApp, services: Services) -> ASGIApp:
    """The server logs the traceback that the application hands it; an expected failure has none."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def tell(message: Message) -> None:
            failed = message["type"] == "lifespan.startup.failed"
            if failed and services.find(Refusal):
                message = {**message, "message": ""}
            await send(message)

        await app(scope, receive, tell if scope["type"] == "lifespan" else send)

    return wrapped
