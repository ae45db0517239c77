"""Who did what, with what was before and after."""

import difflib
import json
from dataclasses import dataclass

from fastapi import Request, Response

from holdfast.kernel.audit import AUDIT_SORTS, AuditRow, audit_page, audited_kinds
from holdfast.kernel.errors import NotFound
from holdfast.kernel.services import Services
from holdfast.kernel.web.console.listing import listing
from holdfast.kernel.web.console.registry import NavItem, console_parts
from holdfast.kernel.web.console.render import page
from holdfast.kernel.web.deps import ReadDep
from holdfast.kernel.web.router import Router

router = Router(include_in_schema=False)
SORTS = ("-created", *AUDIT_SORTS)
LARGEST_ID = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Shown:
    """A change, and how before and after differ."""

    row: AuditRow
    diff: str
    fields: str
    """The names of what changed."""


def contribute(services: Services) -> None:
    """Navigation."""
    console_parts(services).nav.append(
        NavItem(title="Audit", href="/web/audit", icon="audit", group="System", order=70)
    )


@router.get("/web/audit")
async def audit(request: Request, session: ReadDep) -> Response:
    """All changes, newest first."""
    shown = listing(request, sorts=SORTS, filters=("entity_type", "entity_id"))
    rows, total = await audit_page(
        session,
        limit=shown.rows,
        offset=shown.offset,
        entity_type=shown.others.get("entity_type"),
        entity_id=shown.others.get("entity_id"),
        words=shown.q,
        sort=shown.order,
    )
    kinds = await audited_kinds(session)
    return await page(
        request,
        "console/audit.html.j2",
        list=shown,
        changes=[_shown(row) for row in rows],
        total=total,
        choices=[("entity_type", "Kind", [(kind, kind) for kind in kinds])],
    )


@router.get("/web/audit/{number}")
async def change(request: Request, session: ReadDep, number: str) -> Response:
    """One change with everything that is known of it."""
    known = number.isascii() and number.isdecimal() and int(number) <= LARGEST_ID
    row = await session.get(AuditRow, int(number)) if known else None
    if row is None:
        raise NotFound(f"There is no change {number}", hint="see /web/audit")
    return await page(request, "console/audit_change.html.j2", change=_shown(row))


def _shown(row: AuditRow) -> Shown:
    before, after = _lines(row.before_json), _lines(row.after_json)
    diff = "\n".join(difflib.unified_diff(before, after, "before", "after", n=100, lineterm=""))
    return Shown(row, diff, ", ".join(_changed(row.before_json, row.after_json)))


def _lines(text: str | None) -> list[str]:
    return json.dumps(json.loads(text), indent=2, ensure_ascii=False).splitlines() if text else []


def _changed(before: str | None, after: str | None) -> list[str]:
    old, new = json.loads(before or "{}"), json.loads(after or "{}")
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return []
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
