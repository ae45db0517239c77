"""Writes through nginx that change nothing: they prove that counter, log and gate work."""

import asyncio
import hashlib
import secrets
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager, suppress

from holdfast.gateway.flags import Flag, counter_key
from holdfast.kernel.errors import Unavailable
from holdfast.kernel.stores.s3.signing import Signer, quote_path
from holdfast.kernel.stores.s3.xml import delete_body
from holdfast.migrations.dirtylog import Dirty, DirtyLog
from holdfast.migrations.move import Entrance, Hopeless, Side
from holdfast.migrations.switch import Counters

ANSWER_SECONDS = 10.0
ARRIVE_SECONDS = 2.0
LOOK_SECONDS = 0.005
_FORBIDDEN = 403
_KEPT_OUT = frozenset({400, 401, _FORBIDDEN})
"""What nginx answers for want of a client certificate, of a password, and by IP rules."""


class Canary:
    """Deletes of a key that nobody has, sent to nginx on this machine for each virtual host.

    One whose own IP rules keep this machine out is proved at the inner server, which has the same
    counters, log and gate, and which only this machine reaches.
    """

    def __init__(self, bucket: str, source: Side, control_port: int) -> None:
        self._bucket, self._source, self._control_port = bucket, source, control_port
        self._inside: set[str] = set()
        """Vhosts that are proved at the inner server."""
        self.key = f"holdfast-canary-{secrets.token_hex(8)}"

    async def choose_door(self, entrance: Entrance) -> None:
        """Find out whether this machine may ask there.

        Raises `Hopeless` when it may not, and it is not known to be for IP rules alone.
        """
        query = {"list-type": "2", "max-keys": "1"}
        self._inside.discard(entrance.name)
        async with asyncio.timeout(ANSWER_SECONDS), self._connected(entrance) as (reader, writer):
            writer.write(self._head(entrance, "GET", "", query, b""))
            await writer.drain()
            words = (await reader.readline()).split(b" ")
        status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        if status not in _KEPT_OUT:
            return
        if not (entrance.guarded and status == _FORBIDDEN):
            raise Hopeless(
                f"vhost {entrance.name!r} keeps this machine out ({status}): it cannot be proved "
                "that writes through it wait for the switch",
                hint="let 127.0.0.1 in, or waive it by name: canary",
            )
        self._inside.add(entrance.name)

    async def prove(
        self, entrance: Entrance, flag: Flag, counters: Counters, log: DirtyLog, dirty: Dirty
    ) -> None:
        """Both kinds of writes are counted, answered, and in the dirty log.

        Raises `Unavailable`, and as `choose_door` does.
        """
        await self.choose_door(entrance)
        counter = counter_key(entrance.name, self._bucket, flag)
        for plain in (False, True):
            await self._write(entrance, counters, counter, plain=plain)
            await self._until_logged(entrance, log, dirty)

    async def _until_logged(self, entrance: Entrance, log: DirtyLog, dirty: Dirty) -> None:
        """The line comes a moment after the answer; clients may write all the time meanwhile."""
        try:
            async with asyncio.timeout(ARRIVE_SECONDS):
                await log.read()
                while self.key not in dirty.keys:
                    await asyncio.sleep(LOOK_SECONDS)
                    await log.read()
        except TimeoutError:
            raise Unavailable(
                f"a write through {entrance.name} does not show in the dirty log",
                hint="can nginx's workers write to the log folder, and does nginx run with "
                "these files?",
            ) from None
        dirty.keys.discard(self.key)

    async def _write(
        self, entrance: Entrance, counters: Counters, counter: str, *, plain: bool
    ) -> None:
        """Delete the key by name, or in a batch that is slow enough to be seen in flight."""
        body = b"" if plain else delete_body([self.key])
        head = (
            self._head(entrance, "DELETE", self.key, {}, b"")
            if plain
            else self._head(entrance, "POST", "", {"delete": ""}, body)
        )
        async with asyncio.timeout(ANSWER_SECONDS), self._connected(entrance) as (reader, writer):
            writer.write(head + body[:-1])
            await writer.drain()
            if body:
                await _until_busy(counters, counter, entrance)
                writer.write(body[-1:])
                await writer.drain()
            status = (await reader.readline()).split(b" ")
        if len(status) < 2 or not status[1].startswith((b"2", b"404")):  # noqa: PLR2004 - HTTP
            shown = status[1].decode("latin-1") if len(status) > 1 else "nothing"
            raise Unavailable(
                f"a write through {entrance.name} was answered with {shown}",
                hint="do the pool's credentials work through nginx, and may this machine connect?",
            )

    async def knock(self, entrance: Entrance, seen: Awaitable[None]) -> None:
        """A write that must arrive at the gate.

        Raises `Unavailable` when nginx lets it pass or does not come.
        """
        async with self._connected(entrance) as (_, writer):
            writer.write(self._head(entrance, "DELETE", self.key, {}, b""))
            await writer.drain()
            try:
                async with asyncio.timeout(ARRIVE_SECONDS):
                    await seen
            except TimeoutError:
                raise Unavailable(
                    f"nginx did not ask at the gate for {entrance.name}",
                    hint="does the vhost let 127.0.0.1 in, and can nginx on this machine connect "
                    "to this process over loopback?",
                ) from None

    def _head(
        self, entrance: Entrance, method: str, key: str, query: Mapping[str, str], body: bytes
    ) -> bytes:
        host = entrance.name.replace("*", "holdfast-canary")
        path = quote_path(self._bucket, key)
        extra = {"content-length": str(len(body))}
        if body:
            digest = hashlib.md5(body, usedforsecurity=False).digest()
            extra |= {"content-type": "application/xml", "content-md5": b64encode(digest).decode()}
        signer = Signer(self._source.access_key, self._source.secret_key, self._source.region, host)
        search = "&".join(f"{name}={value}" for name, value in query.items())
        headers = signer.headers(method, path, search, extra)
        if entrance.name in self._inside:
            own = {"host": "holdfast-inner", "x-hf-host": host, "x-hf-vhost": entrance.name}
            headers = {**headers, **own}
        target = f"{path}?{search}" if search else path
        lines = [f"{method} {target} HTTP/1.1", "connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    @asynccontextmanager
    async def _connected(
        self, entrance: Entrance
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        context = None
        inside = entrance.name in self._inside
        if entrance.tls and not inside:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1",
                self._control_port if inside else entrance.port,
                ssl=context,
                server_hostname=entrance.name.replace("*", "holdfast-canary") if context else None,
            )
        except OSError as error:
            raise Unavailable(
                f"nginx does not answer for {entrance.name} on port {entrance.port}: "
                f"{error.strerror}"
            ) from error
        try:
            yield reader, writer
        finally:
            # Not close(): over TLS that waits for nginx's goodbye, and nginx says none while the
            # request waits at the gate.
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()


async def _until_busy(counters: Counters, counter: str, entrance: Entrance) -> None:
    try:
        async with asyncio.timeout(ARRIVE_SECONDS):
            while not await counters.busy(counter):  # noqa: ASYNC110 - nginx tells when asked
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        raise Unavailable(
            f"a write through {entrance.name} is not counted",
            hint="does nginx read the routing flags? The folder must be readable for its workers",
        ) from None
