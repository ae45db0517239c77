"""Messages: ``/web/notifications``."""

from collections.abc import Sequence

from fastapi import Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.notify import service
from holdfast.kernel.notify.tables import MessageState
from holdfast.kernel.services import Services
from holdfast.kernel.web.console.listing import listing
from holdfast.kernel.web.console.registry import Hit, NavItem, Need, console_parts
from holdfast.kernel.web.console.render import page, see_other
from holdfast.kernel.web.deps import OPERATOR, ActorDep, ReadDep, ServicesDep
from holdfast.kernel.web.router import Router
from holdfast.kernel.work import Role

router = Router(include_in_schema=False)
PATH = "/web/notifications"
FOUND = 6


def contribute(services: Services) -> None:
    """Navigation, search, events, and what was given up."""
    parts = console_parts(services)
    parts.templates["notify"] = "holdfast.kernel.notify"
    parts.nav.append(
        NavItem(title="Notifications", href=PATH, icon="notifications", group="System", order=66)
    )
    parts.topics.append("notification")
    parts.searchers.append(_find)
    parts.needs.append(_needs)


@router.get(PATH)
async def list_page(request: Request, services: ServicesDep, session: ReadDep) -> Response:
    """Messages, newest first."""
    shown = listing(request, sorts=("-created", "created"), filters=("state",))
    state = shown.others.get("state", "")
    rows, total = await service.list_messages(
        session,
        limit=shown.rows,
        offset=shown.offset,
        state=state if state in set(MessageState) else "",
        words=shown.q,
        oldest_first=not shown.descending,
    )
    choices = [("state", "State", [(one.value, one.value) for one in MessageState])]
    return await page(
        request,
        "notify/notifications.html.j2",
        list=shown,
        rows=rows,
        total=total,
        choices=choices,
        mails=bool(services.settings.mail_server),
    )


@router.post(PATH + "/{message_id}/retry", dependencies=[OPERATOR])
async def retry(services: ServicesDep, actor: ActorDep, message_id: str) -> Response:
    """Try it again."""
    async with services.database.write(actor) as work:
        message = await service.retry(work, message_id)
    return see_other(PATH, told=f"“{message.subject}” is tried again within a quarter of a minute.")


@router.post(PATH + "/{message_id}/delete", dependencies=[OPERATOR])
async def forget(services: ServicesDep, actor: ActorDep, message_id: str) -> Response:
    """Forget it."""
    async with services.database.write(actor) as work:
        await service.forget(work, message_id)
    return see_other(PATH, told="The message is forgotten.")


async def _find(_: Services, session: AsyncSession, words: str) -> Sequence[Hit]:
    rows, _total = await service.list_messages(session, limit=FOUND, words=words)
    return [
        Hit(title=row.subject, href=f"{PATH}?q={row.job_id}", kind="message", detail=row.state)
        for row in rows
    ]


async def _needs(_: Services, session: AsyncSession) -> Sequence[Need]:
    rows, total = await service.list_messages(session, limit=1, state=MessageState.GIVEN_UP)
    return [
        Need(
            title=f"{total} messages were given up" if total > 1 else "1 message was given up",
            detail=f"{row.subject}: {row.problem}",
            href=f"{PATH}?state={MessageState.GIVEN_UP.replace(' ', '+')}",
            action="Look at it" if total == 1 else "Look at them",
            topic="notification",
            role=Role.OPERATOR,
        )
        for row in rows
    ]
