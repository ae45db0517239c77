"""How values look: bytes, durations, times, states."""

import shlex
from datetime import UTC, datetime

from markupsafe import Markup

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
NOTHING = "\u2013"
_STEP = 1024
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_TONES = {
    "ok": {
        "ok", "done", "enabled", "live", "routed", "active", "published", "completed", "on",
        "sent",
    },
    "run": {
        "running", "copying", "verifying", "switching", "migrating", "waiting", "pending", "queued",
        "admitted", "probation", "primary",
    },
    "warn": {
        "warn", "warning", "unrouted", "changed", "missing", "extra", "stale", "orphaned", "drift",
    },
    "bad": {"error", "fail", "failed", "bad", "lost", "expired", "refused", "given up"},
}  # fmt: skip


def size(value: float | None) -> str:
    """Bytes in the largest unit that leaves a number above one: ``1.5 GiB``."""
    if value is None:
        return NOTHING
    amount, unit = float(value), 0
    while abs(amount) >= _STEP and unit < len(_UNITS) - 1:
        amount, unit = amount / _STEP, unit + 1
    return f"{amount:.0f} {_UNITS[unit]}" if unit == 0 else f"{amount:.1f} {_UNITS[unit]}"


def count(value: float | None) -> str:
    """A number with thin spaces between thousands."""
    return NOTHING if value is None else f"{value:,.0f}".replace(",", "\u202f")


def shell_word(value: object) -> str:
    """For a command that is pasted: a word, or the words of a list, as a shell reads them back."""
    words = value if isinstance(value, list | tuple) else [value]
    return shlex.join(str(word) for word in words)


def duration(seconds: float | None) -> str:
    """``0.3 s``, ``45 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if seconds is None:
        return NOTHING
    if seconds < 10:  # noqa: PLR2004 - one digit
        return f"{seconds:.1f} s"
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    whole = int(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def moment(value: datetime | str | None) -> Markup:
    """A time element: UTC, which the browser shows in its own zone with UTC on hover."""
    if value is None or value == "":
        return Markup('<span class="quiet">{}</span>').format(NOTHING)
    when = datetime.fromisoformat(value) if isinstance(value, str) else value
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    text = when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        when.astimezone(UTC).isoformat(), text, text
    )


def clock(value: datetime) -> Markup:
    """The same without the day, for moments of one short thing."""
    when = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return Markup('<time datetime="{}" title="{}" data-clock>{}</time>').format(
        when.isoformat(), when.strftime("%Y-%m-%d %H:%M:%S UTC"), when.strftime("%H:%M:%S UTC")
    )


def tone(state: object) -> str:
    """The colour of a state's badge: ok, run, warn, bad or idle. The word is always shown too."""
    word = str(getattr(state, "value", state)).lower()
    return next((name for name, words in _TONES.items() if word in words), "idle")


def percent(done: float | None, total: float | None) -> int:
    """Whole percents, 0 to 100; 0 while the total is unknown."""
    return min(100, int(100 * (done or 0) / total)) if total else 0
