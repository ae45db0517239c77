"""The unit of work: one transaction, who does it, what it tells, what it does elsewhere.

A request, a command or a job's step that writes is one ``Work``. Whatever it must do outside the
database (switch nginx to new files, say) it does right before the commit, with a way back, so that
the database and the disk change together or not at all.
"""

import dataclasses
import json
from collections.abc import Awaitable, Callable, Sequence
from enum import IntEnum
from types import TracebackType
from typing import Any, Self

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.clock import now

Hook = Callable[[], Awaitable[None]]


class Role(IntEnum):
    """What a caller may do; each role includes the ones below it."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Actor:
    """Who is asking: ``name`` stands in the audit, ``role`` bounds what is allowed."""

    name: str
    role: Role


SYSTEM = Actor("system", Role.ADMIN)
"""Holdfast itself: timers, jobs, recovery."""


class Work:
    """A transaction under way. The frame commits; services only add to it."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self.session = session
        self.actor = actor
        self.dry_run = False
        """Try everything, tell what would be, keep nothing."""
        self.reload = True
        """Whether a change must be live in nginx when this ends, or may wait for a later reload."""
        self.audits: list[Any] = []
        self._before: dict[str, Hook] = {}
        self._undo: list[Hook] = []
        self._after: list[Hook] = []
        self._events: list[Any] = []

    def audit(
        self,
        action: str,
        entity_type: str,
        entity_id: int | str | None,
        *,
        before: object = None,
        after: object = None,
    ) -> None:
        """Record who did what, with the state before and after; never give secrets here."""
        from holdfast.kernel.audit import AuditRow  # noqa: PLC0415 - tables need the database module

        row = AuditRow(
            actor=self.actor.name,
            action=action,
            entity_type=entity_type,
            entity_id=None if entity_id is None else str(entity_id),
            before_json=_as_json(before),
            after_json=_as_json(after),
            created_at=now(),
        )
        self.audits.append(row)

    def emit(self, topic: str, kind: str, data: dict[str, Any]) -> None:
        """Tell those who listen, once this is committed; never give secrets here."""
        from holdfast.kernel.events import EventRow  # noqa: PLC0415 - tables need the database module

        self._events.append(
            EventRow(topic=topic, kind=kind, data=json.dumps(data), created_at=now())
        )

    def before_commit(self, key: str, hook: Hook) -> None:
        """Run ``hook`` once for ``key`` right before the commit; if it raises, nothing is kept."""
        self._before.setdefault(key, hook)

    def on_rollback(self, hook: Hook) -> None:
        """Undo something done outside the database; the last one given runs first."""
        self._undo.append(hook)

    def after_commit(self, hook: Hook) -> None:
        """Run ``hook`` when the commit has succeeded; it must not fail."""
        self._after.append(hook)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            await self._abandon()
            return
        try:
            await self._commit()
        except BaseException:
            await self._abandon()
            raise
        await _run(self._after)

    async def settle(self) -> None:
        """Do now what is to be done right before the commit: its outcome can then be told."""
        await self.session.flush()
        while self._before:
            hook = self._before.pop(next(iter(self._before)))
            await hook()

    async def _commit(self) -> None:
        await self.settle()
        await self._keep_audits()
        # Last of all: from here to the commit, nobody else gets an event's id.
        self.session.add_all(self._events)
        await self.session.flush()
        if self.dry_run:
            await self._abandon()
            self._after.clear()
        else:
            await self.session.commit()

    async def _keep_audits(self) -> None:
        """One statement for all of them, after the hooks have added what nginx said."""
        if self.audits:
            table = type(self.audits[0]).__table__
            names = [column.name for column in table.columns if column.name != "id"]
            rows = [{name: getattr(row, name) for name in names} for row in self.audits]
            await self.session.execute(insert(table), rows)

    async def _abandon(self) -> None:
        try:
            await self.session.rollback()
        finally:
            await _run(self._undo[::-1])


async def _run(hooks: Sequence[Hook]) -> None:
    for hook in hooks:
        await hook()


def _as_json(value: object) -> str | None:
    return None if value is None else json.dumps(value, default=str, sort_keys=True)
