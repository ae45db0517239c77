"""A schedule in plain words, and when it runs next."""

from datetime import datetime

from cronsim import CronSim, CronSimError

from holdfast.kernel.errors import Invalid
from holdfast.kernel.jobs.model import next_fire

SHOWN = 5


def cron_words(cron: str) -> str:
    """``At 03:15 every Monday``; the fields themselves when they have no words."""
    try:
        return str(CronSim(cron, datetime(2000, 1, 1)).explain())  # noqa: DTZ001 - only words
    except CronSimError:
        return cron


def next_runs(cron: str, timezone: str, *, after: datetime) -> list[datetime]:
    """The next five moments; none when the schedule cannot be read."""
    found: list[datetime] = []
    try:
        for _ in range(SHOWN):
            found.append(next_fire(cron, timezone, after=found[-1] if found else after))
    except Invalid:
        return found
    return found
