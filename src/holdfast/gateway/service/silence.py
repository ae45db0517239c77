"""Members that do not answer: asked every so often, remembered, told when it changes."""

from holdfast.gateway import silence_queries
from holdfast.gateway.service.reach import reach
from holdfast.kernel.clock import now
from holdfast.kernel.services import Services
from holdfast.kernel.work import SYSTEM

TOLD = 20


async def watch(services: Services) -> None:
    """Connect to every enabled member once, and to those that did not answer once more."""
    async with services.database.read() as session:
        members = await silence_queries.enabled_addresses(session)
        before = await silence_queries.silent_ids(session)
    problems = await _problems(members)
    if problems == before:
        return
    async with services.database.write(SYSTEM) as work:
        await silence_queries.keep_silent(work.session, problems, now())
        if problems.keys() != before.keys():
            silent = sorted({members[number] for number in problems})
            data = {"count": len(problems), "silent": silent[:TOLD]}
            work.emit("gateway", "members.reached", data)


async def _problems(members: dict[int, str]) -> dict[int, str]:
    """What is wrong with the members that do not answer, by id; one lost packet is no silence."""
    first = await reach(members.values())
    again = await reach(address for address, got in first.items() if got.seconds is None)
    problems = {address: got.problem for address, got in again.items() if got.seconds is None}
    return {number: problems[a] for number, a in members.items() if a in problems}
