"""One unit of work: whole or nothing, inside the database and outside."""

import asyncio

import pytest
from sqlalchemy import select

from holdfast.kernel.audit import AuditRow
from holdfast.kernel.db import Database
from holdfast.kernel.events import EventRow, events_after
from holdfast.kernel.work import SYSTEM


class Refused(Exception):
    pass


async def rows(database: Database) -> int:
    async with database.read() as session:
        return len((await session.scalars(select(AuditRow))).all())


async def test_a_change_its_audit_and_its_event_are_kept_together(database: Database) -> None:
    async with database.write(SYSTEM) as work:
        work.audit("create", "pool", 7, after={"name": "a"})
        work.emit("gateway", "pool.created", {"id": 7})
    async with database.read() as session:
        audit = (await session.scalars(select(AuditRow))).one()
        events = await events_after(session, 0, topics=["gateway"])
    assert (audit.actor, audit.entity_id, audit.after_json) == ("system", "7", '{"name": "a"}')
    assert [(event.kind, event.data) for event in events] == [("pool.created", '{"id": 7}')]


async def test_a_block_that_raises_keeps_nothing_and_undoes_the_last_thing_first(
    database: Database,
) -> None:
    undone: list[str] = []

    async def undo(name: str) -> None:
        undone.append(name)

    with pytest.raises(Refused):
        async with database.write(SYSTEM) as work:
            work.audit("create", "pool", 1)
            work.on_rollback(lambda: undo("first"))
            work.on_rollback(lambda: undo("second"))
            raise Refused
    assert undone == ["second", "first"]
    assert await rows(database) == 0


async def test_a_hook_that_refuses_right_before_the_commit_keeps_nothing(
    database: Database,
) -> None:
    undone: list[str] = []

    async def refuse() -> None:
        raise Refused

    async def undo() -> None:
        undone.append("switched back")

    with pytest.raises(Refused):
        async with database.write(SYSTEM) as work:
            work.audit("create", "pool", 1)
            work.on_rollback(undo)
            work.before_commit("publish", refuse)
    assert undone == ["switched back"]
    assert await rows(database) == 0


async def test_a_commit_that_fails_undoes_what_was_done_outside(database: Database) -> None:
    undone: list[str] = []

    async def undo() -> None:
        undone.append("switched back")

    async def break_the_commit() -> None:
        work.session.add(EventRow(topic=None, kind="x", data="", created_at=None))  # type: ignore[arg-type]

    with pytest.raises(Exception, match=r"(?i)null"):
        async with database.write(SYSTEM) as work:
            work.on_rollback(undo)
            work.before_commit("break", break_the_commit)
    assert undone == ["switched back"]


async def test_hooks_run_once_for_each_key_in_order_and_may_add_more(database: Database) -> None:
    ran: list[str] = []

    async def first() -> None:
        ran.append("first")
        work.before_commit("late", late)

    async def second() -> None:
        ran.append("second")

    async def late() -> None:
        ran.append("late")

    async with database.write(SYSTEM) as work:
        work.before_commit("one", first)
        work.before_commit("one", first)
        work.before_commit("two", second)
    assert ran == ["first", "second", "late"]


async def test_a_dry_run_tries_everything_and_keeps_nothing(database: Database) -> None:
    told: list[str] = []

    async def tell() -> None:
        told.append("after the commit")

    async with database.write(SYSTEM) as work:
        work.dry_run = True
        work.audit("create", "pool", 1)
        work.after_commit(tell)
        assert [audit.action for audit in work.audits] == ["create"]
    assert await rows(database) == 0
    assert told == []


async def test_two_writers_wait_for_each_other(database: Database) -> None:
    async def write(number: int) -> None:
        async with database.write(SYSTEM) as work:
            work.audit("create", "pool", number)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(write(number))
    assert await rows(database) == 20
