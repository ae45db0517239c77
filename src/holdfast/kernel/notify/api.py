"""Messages over HTTP."""

from typing import Annotated

from fastapi import Query

from holdfast.kernel.notify import service
from holdfast.kernel.notify.service import MessageView
from holdfast.kernel.notify.tables import MessageState
from holdfast.kernel.web.deps import OPERATOR, PageDep, ReadDep, WorkDep
from holdfast.kernel.web.router import Router

router = Router(prefix="/api", tags=["notifications"])


@router.get("/notifications")
async def list_notifications(
    session: ReadDep,
    page: PageDep,
    state: Annotated[MessageState | None, Query(description="only this state")] = None,
) -> list[MessageView]:
    """Messages to people and programs, newest first; never their addresses."""
    rows, total = await service.list_messages(
        session, limit=page.limit, offset=page.offset, state=state or ""
    )
    page.total(total)
    return list(rows)


@router.post("/notifications/{message_id}/retry", status_code=202, dependencies=[OPERATOR])
async def retry_notification(work: WorkDep, message_id: str) -> MessageView:
    """Try a message again that was given up, with those who were not told."""
    return await service.retry(work, message_id)


@router.delete("/notifications/{message_id}", status_code=204, dependencies=[OPERATOR])
async def forget_notification(work: WorkDep, message_id: str) -> None:
    """Forget a message that was given up."""
    await service.forget(work, message_id)
