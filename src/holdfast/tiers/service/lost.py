"""What freezes took, and no store has any more."""

from collections.abc import Awaitable, Callable, Container, Mapping
from typing import Any

from holdfast.kernel.services import Services
from holdfast.kernel.stores.place import Place, open_place
from holdfast.tiers.here import Here
from holdfast.tiers.left import Left
from holdfast.tiers.tables import TierRow


async def lost_of(
    services: Services,
    row: TierRow,
    left: Mapping[bytes, Left],
    here: Here[Any],
    there: Container[bytes],
    ask: Callable[[Place], Awaitable[Container[bytes]]],
) -> set[bytes]:
    """Which of these are neither here nor ``there``, nor on the tier's second store.

    ``ask``: what the second store has; only called when need be, and raises what that says.
    """
    gone = {
        path
        for path, one in left.items()
        if not one.waits and path not in there and path not in here.files and here.knows(path)
    }
    if not gone or row.second_store_id is None:
        return gone
    async with services.database.read() as session:
        second = await open_place(session, services, row.second_store_id, row.second_prefix)
    has = await ask(second)
    return {path for path in gone if path not in has}
