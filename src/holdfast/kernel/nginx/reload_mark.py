"""Whether nginx was reloaded, by anybody: its workers tell a word that it read from a file.

The word on disk is another one after each load, so workers that tell a new word come from a reload,
and a worker that goes while the word stays the same has died.
"""

import secrets
from pathlib import Path

from holdfast.kernel.errors import Unavailable
from holdfast.kernel.nginx.disk import write_new
from holdfast.kernel.nginx.master import control_status

FILE = "reload-mark.conf"
_OK, _UNKNOWN = 200, 404


async def loaded_mark(port: int) -> str:
    """The word that nginx runs with; empty when it has read none. Raises ``Unavailable``."""
    status, body = await control_status(port, "/mark")
    if status not in {_OK, _UNKNOWN}:
        raise Unavailable("nginx does not answer on its control port", hint="is it running?")
    return body if status == _OK else ""


def renew_mark(root: Path, loaded: str | None = None) -> None:
    """Make the next load read another word than ``loaded``; None: than any load before."""
    path = root / FILE
    if loaded is not None and path.exists() and f'"{loaded}"' not in path.read_text():
        return
    new = root / f".{FILE}.{secrets.token_hex(4)}"  # moves that run side by side write it, too
    write_new(new, f'location = /mark {{ return 200 "{secrets.token_hex(8)}"; }}\n')
    new.replace(path)
