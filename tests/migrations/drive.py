"""A process that drives one move and may kill itself at a named moment.

``python -m tests.migrations.drive config.json``.

Moments: ``stage:<stage>``, ``before:<flag>``, ``after:<flag>``, ``complete``. It tells in
JSON lines.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from holdfast.gateway.flags import FlagState, RouteFlags
from holdfast.kernel.nginx import control_port
from holdfast.migrations.completes import Completer
from holdfast.migrations.dirtylog import DirtyLog
from holdfast.migrations.driver import only_driver
from holdfast.migrations.engine import Engine
from holdfast.migrations.gate import Gate
from holdfast.migrations.model import HoldAttempt, Mode, Options, Stage
from holdfast.migrations.move import Amounts, Entrance, Move, Nginx, Side
from holdfast.migrations.switch import Switch
from holdfast.migrations.watch import NginxWatch


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(slots=True)
class Lines:
    """A report on stdout."""

    moment: str
    ended: Stage | None = None

    @property
    def cancelled(self) -> bool:
        return False

    def _say(self, **what: object) -> None:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()

    async def stage(self, stage: Stage, message: str) -> None:
        self._say(stage=stage, message=message)
        if self.moment == f"stage:{stage}":
            die()

    async def note(self, message: str) -> None:
        self._say(note=message)

    async def warn(self, message: str) -> None:
        self._say(warning=message)

    async def trouble(self, message: str | None) -> None:
        self._say(trouble=message)

    async def admitted(self, options: Options) -> None:
        pass

    async def held(self, attempt: HoldAttempt) -> None:
        self._say(held=attempt.result, seconds=attempt.seconds)

    async def over(self, stage: Stage, message: str) -> None:
        self._say(over=stage, message=message)
        self.ended = stage

    def amounts(self, amounts: Amounts) -> None:
        pass

    def holding(self, *, is_open: bool) -> None:
        pass


def dying_switch(moment: str) -> None:
    """Make the process die before or after it sets a flag."""
    really = Switch._set

    def set_and_die(self: Switch, states: Sequence[FlagState], *, on_destination: bool) -> None:
        if moment == f"before:{states[0]}":
            die()
        really(self, states, on_destination=on_destination)
        if moment == f"after:{states[0]}":
            die()

    Switch._set = set_and_die  # type: ignore[method-assign] # a crash cannot be asked for politely


def dying_completer() -> None:
    """Make the process die between completing on the source and copying."""
    really = Completer._on_source

    async def complete_and_die(
        self: Completer, request: web.Request, body: bytes
    ) -> tuple[int, bytes]:
        await really(self, request, body)
        die()
        raise AssertionError

    Completer._on_source = complete_and_die  # type: ignore[method-assign] # as above


async def main(config: dict[str, Any]) -> None:
    nginx_dir = Path(config["nginx_dir"])
    move = Move(
        migration_id=1,
        bucket=config["bucket"],
        mode=Mode.COPY,
        source=Side(**config["source"]),
        destination=Side(**config["destination"]),
        entrances=tuple(Entrance(**entrance) for entrance in config["entrances"]),
        options=Options.from_json(config["options"]),
        folder=Path(config["folder"]),
    )
    dying_switch(config["moment"])
    if config["moment"] == "complete":
        dying_completer()
    with only_driver(move.folder / "migration-1.lock"):
        async with Gate() as gate:
            nginx = Nginx(
                counters=NginxWatch(nginx_dir),
                log=DirtyLog(nginx_dir / "log" / "dirty.log"),
                gate=gate,
                control_port=control_port(nginx_dir),
            )
            await Engine(move, Lines(config["moment"]), nginx, RouteFlags(nginx_dir)).run()


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
