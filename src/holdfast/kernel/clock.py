"""The one clock, and the two ways in which the API writes a moment."""

from datetime import UTC, datetime


def now() -> datetime:
    """The current moment, in UTC, to the microsecond."""
    return datetime.now(UTC)


def row_time(moment: datetime | None) -> str | None:
    """``YYYY-MM-DD HH:MM:SS`` (UTC, no zone): how the gateway API writes the times of rows."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if moment else None


def iso_time(moment: datetime | None) -> str | None:
    """``YYYY-MM-DDTHH:MM:SSZ``: how the API and the files write the times of events."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def parse_time(text: str | None) -> datetime | None:
    """Read either form back; ``None`` and the empty string give ``None``. Raises ``ValueError``."""
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
