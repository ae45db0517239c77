"""No lost updates: a form knows what it was drawn from, and is refused when that has changed."""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.audit import audit_page
from holdfast.kernel.errors import Conflict
from holdfast.kernel.web.console.forms import Form

_LONGEST = 60


def version_of(values: Mapping[str, Any]) -> str:
    """A short digest of what a form is drawn from; the same values give the same one."""
    text = json.dumps(values, default=str, sort_keys=True)
    return sha256(text.encode()).hexdigest()[:16]


async def check_unchanged(
    session: AsyncSession,
    form: Form,
    values: Mapping[str, Any],
    *,
    kind: str,
    number: int | str,
) -> None:
    """Raises ``Conflict`` when ``values``, read in the form's transaction, are not what it shows.

    The form then stands for the new ones: who sends it again has read what goes away. ``kind`` and
    ``number``: the entity in the audit, which knows who changed it.
    """
    there = version_of(values)
    if not form.version or form.version == there:
        return
    form.version = there
    last, _ = await audit_page(session, limit=1, offset=0, entity_type=kind, entity_id=str(number))
    what = "this was changed"
    if last:
        what = f"{last[0].actor} changed this, at {last[0].created_at:%Y-%m-%d %H:%M:%S} UTC"
    raise Conflict(
        f"While the form was open, {what}",
        hint="Nothing was saved, and what you typed is still here. Save again to put it in place "
        "of what is kept now, or open the form anew to begin from that.",
        details="\n".join(_differing(form, values)) or None,
    )


def _differing(form: Form, values: Mapping[str, Any]) -> list[str]:
    """What a second save would replace, one field a line."""
    return [
        f"{one.label}: {_words(values.get(one.name))} is kept now, {_words(typed)} stands here"
        for one in form.fields
        if _words(values.get(one.name)) != _words(typed := form.values.get(one.name))
    ]


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = "" if value is None else str(value)
    return f"{text[:_LONGEST]}…" if len(text) > _LONGEST else text or "nothing"
