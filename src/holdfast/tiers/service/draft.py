"""A tier as somebody wants it, and as it is kept."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from holdfast.tiers.model import TierOptions
from holdfast.tiers.names import to_text
from holdfast.tiers.tables import TierRow


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TierDraft:
    """A tier as somebody wants it. ``path``: its root, absolute."""

    name: str
    path: bytes
    store_id: int
    prefix: str = ""
    second_store_id: int | None = None
    second_prefix: str = ""
    description: str = ""
    options: TierOptions = dataclasses.field(default_factory=TierOptions)


def draft_of(row: TierRow) -> TierDraft:
    """A row as its draft."""
    return TierDraft(
        name=row.name,
        path=row.root,
        store_id=row.store_id,
        prefix=row.prefix,
        second_store_id=row.second_store_id,
        second_prefix=row.second_prefix,
        description=row.description,
        options=TierOptions.from_json(row.options),
    )


def changed_draft(old: TierDraft, changes: Mapping[str, Any]) -> TierDraft:
    """A draft with some of its fields, or of its options' fields, replaced."""
    own = {field.name for field in dataclasses.fields(TierDraft)} - {"options"}
    options = {name: value for name, value in changes.items() if name not in own}
    return dataclasses.replace(
        old,
        **{name: value for name, value in changes.items() if name in own},
        options=dataclasses.replace(old.options, **options),
    )


def audited(row: TierRow) -> dict[str, Any]:
    """A tier for the audit."""
    draft = dataclasses.asdict(draft_of(row))
    return {**draft, "path": to_text(row.root)}
