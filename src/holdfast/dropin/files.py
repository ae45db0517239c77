"""Files of a tier's store as the objects that baricadr lists."""

import mimetypes
from datetime import UTC, datetime
from typing import Any

from holdfast.dropin.asked import Asked, Refused
from holdfast.kernel.services import Services
from holdfast.tiers.browsing import Seen
from holdfast.tiers.names import to_text
from holdfast.tiers.service import looking
from holdfast.tiers.service.looking import Stored

_NANO = 1_000_000_000
_NO_KIND = "application/octet-stream"


async def listed(services: Services, asked: Asked) -> list[dict[str, Any]]:
    """Files that the store has below the path. Raises `Refused`, and what the store says.

    Clients pull what is missing here until nothing is: what the store has lost is not among it.
    """
    full, only_missing = asked.flag("full"), asked.flag("missing")
    from_root = asked.flag("from_root")
    found = await _stored(services, asked, with_times=full)
    shown = [path for path in found.files if not (only_missing and path in found.here)]
    paths = {path: to_text(path if from_root else _inner(found, path)) for path in shown}
    if not full:
        return [{"Path": path} for path in paths.values()]
    return [_full(path, found.files[name]) for name, path in paths.items()]


async def tree(services: Services, asked: Asked) -> list[dict[str, Any]]:
    """The same files, and whether they are missing here, as those are that the store has lost."""
    found = await _stored(services, asked, with_lost=True)
    return [
        {"Path": to_text(_inner(found, path)), "missing": path not in found.here}
        for path in sorted([*found.files, *found.lost])
    ]


async def _stored(
    services: Services, asked: Asked, *, with_times: bool = False, with_lost: bool = False
) -> Stored:
    with asked.outside():
        found = await looking.list_stored(
            services, asked.path, depth=asked.depth, with_times=with_times, with_lost=with_lost
        )
    if not found.is_known:
        raise Refused(f"File/directory not found on remote repository: {asked.text}")
    return found


def _inner(found: Stored, path: bytes) -> bytes:
    """As seen from what was asked for; of a file itself, its name."""
    if path == found.below:
        return path.rpartition(b"/")[2]
    return path[len(found.below) + 1 :] if found.below else path


def _full(path: str, seen: Seen) -> dict[str, Any]:
    """As ``rclone lsjson`` has it."""
    name = path.rpartition("/")[2]
    return {
        "Path": path,
        "Name": name,
        "Size": seen.size_bytes,
        "MimeType": mimetypes.guess_type(name, strict=False)[0] or _NO_KIND,
        "ModTime": _moment(seen.modified_ns or 0),
        "IsDir": False,
    }


def _moment(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, _NANO)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
