"""Vhosts that go on showing the source after a move, in words for those who plan it."""

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway.service.routing import vhosts_serving, ways_through_http


async def staying_behind(session: AsyncSession, bucket: str, source_id: int) -> list[str]:
    """One line a vhost: it reads the source by a way that a move does not change."""
    through_http = [
        f"vhost '{vhost.server_name}' shows the bucket through the http pool '{pool}', which lies "
        "over the source: after the switch it shows the copy that is left there. Give the bucket a "
        "route there to an http pool over the destination"
        for vhost, _, pool in await ways_through_http(session, bucket, source_id)
    ]
    disabled = [
        f"vhost '{vhost.server_name}' is disabled and goes on naming the source: point it to the "
        "destination before it is enabled again"
        for vhost in await vhosts_serving(session, bucket, source_id)
        if not vhost.enabled
    ]
    return through_http + disabled
