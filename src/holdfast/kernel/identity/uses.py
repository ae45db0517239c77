"""When a token was last used: kept to the minute, written beside the request and never in it."""

import time
from datetime import datetime, timedelta

from sqlalchemy import update

from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.identity.tables import TokenRow
from holdfast.kernel.logging import get_logger
from holdfast.kernel.work import SYSTEM

log = get_logger(__name__)
INTERVAL_SECONDS = 60


class TokenUses:
    """Writes at most once a minute a token; what fails is logged, and tried with the next use."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._noted: dict[int, float] = {}

    def note(self, token_id: int, known: datetime | None) -> None:
        """A request came with this token; ``known``: what its row says."""
        moment, clock = now(), time.monotonic()
        if known is not None and moment - known < timedelta(seconds=INTERVAL_SECONDS):
            return
        if clock - self._noted.get(token_id, float("-inf")) < INTERVAL_SECONDS:
            return
        self._noted[token_id] = clock
        self._database.spawn(self._write(token_id, moment))

    async def _write(self, token_id: int, moment: datetime) -> None:
        statement = update(TokenRow).where(TokenRow.id == token_id).values(last_used_at=moment)
        try:
            async with self._database.write(SYSTEM) as work:
                await work.session.execute(statement)
        except Exception as error:  # noqa: BLE001 - nobody's request depends on it
            log.warning("use of a token not noted", token_id=token_id, error=str(error))
