"""One folder of a tier at a time: what is here, on the store, frozen, differing, missing, lost."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from fastapi import Request, Response

from holdfast.kernel.errors import BadRequest
from holdfast.kernel.web.console.listing import listing, page_of
from holdfast.kernel.web.console.render import page
from holdfast.kernel.web.deps import ReadDep, ServicesDep
from holdfast.kernel.web.router import Router
from holdfast.tiers.model import is_own
from holdfast.tiers.names import from_text, to_text
from holdfast.tiers.pages.tiers import TierId
from holdfast.tiers.service import keeping
from holdfast.tiers.service.folders import Entry, look_into

router = Router(include_in_schema=False, prefix="/web/tiers")
ROWS = 100
SORTS: Mapping[str, Callable[[Entry], Any]] = {
    "": lambda _: 0,
    "name": lambda one: one.name,
    "size": lambda one: (not one.is_folder, one.size_bytes),
}
"""First as they come: folders first."""
SHOWN = (
    ("here", "here"),
    ("missing", "not here"),
    ("frozen", "frozen"),
    ("differing", "differing, or may"),
    ("lost", "lost"),
    ("only-here", "only here"),
)


@router.get("/{tier_id}/browse")
async def browse(
    request: Request, tier_id: TierId, session: ReadDep, services: ServicesDep
) -> Response:
    """A folder; ``?path=``: relative to the tier's root, in text form."""
    row = await keeping.get_tier(session, tier_id)
    await session.close()
    below = _below(request.query_params.get("path", ""))
    found = await look_into(services, row, below)
    asked = listing(request, sorts=SORTS, filters=("path", "show"), rows=ROWS)
    show = asked.others.get("show", "")
    fitting = (one for one in found.entries if _fits(one, show))
    entries, total = page_of(fitting, asked, SORTS, lambda one: one.name)
    here = f"/web/tiers/{tier_id}"
    text = to_text(below)
    return await page(
        request,
        "tiers/browse.html.j2",
        tier=row,
        list=asked,
        folder=text,
        crumbs=_crumbs(here, text),
        problem=found.problem,
        unreadable=found.unreadable,
        entries=entries,
        total=total,
        everything=len(found.entries),
        absolute=lambda path: to_text(row.root + (b"/" + from_text(path) if path else b"")),
        to=lambda path: f"{here}/browse?{urlencode({'path': path})}",
        asks=lambda verb, path: f"{here}/{verb}?{urlencode({'path': path})}",
        freezable=row.tier().options.freezable,
        choices=[("show", "Show", SHOWN)],
    )


def _below(text: str) -> bytes:
    """The folder as bytes. Raises ``Invalid``, and ``BadRequest`` for what is no folder of it."""
    parts = [part for part in text.split("/") if part]
    if any(part in {".", ".."} for part in parts):
        raise BadRequest("the path has . or .. in it", hint="give it without them")
    below = from_text("/".join(parts)) if parts else b""
    if b".." in below.split(b"/") or is_own(below):
        raise BadRequest("this folder is not shown", hint="what is frozen or fetched waits there")
    return below


def _fits(one: Entry, show: str) -> bool:
    match show:
        case "here":
            return bool(one.here)
        case "missing":
            return one.missing
        case "frozen":
            return one.frozen
        case "differing":
            return one.differing is not False
        case "lost":
            return one.lost
        case "only-here":
            return bool(one.here) and one.stored is False
        case _:
            return True


def _crumbs(here: str, path: str) -> list[tuple[str, str]]:
    parts = path.split("/") if path else []
    found = []
    for number, name in enumerate(parts, 1):
        inner = "/".join(parts[:number])
        address = f"{here}/browse?{urlencode({'path': inner})}" if number < len(parts) else ""
        found.append((name, address))
    return found
