"""Tiers and their runs in words."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from holdfast.kernel.clock import now
from holdfast.kernel.jobs.words import cron_words, next_runs
from holdfast.kernel.web.console.formats import size
from holdfast.tiers.model import Action, Asked, PathRule, Policy, Proof, TierOptions

PATHS_NAMED = 3
_PROOFS = {
    Proof.HASH: "By a hash that the store has; what has none stays.",
    Proof.COMPARE: "By a hash, or else by reading the content there and comparing.",
}
_VERBS = {
    Action.PULL: "Pull",
    Action.FREEZE: "Freeze",
    Action.UNDO: "Undo",
    Action.VERIFY: "Verify",
    Action.REPORT: "Report",
}


def option_words(options: TierOptions) -> list[tuple[str, Any]]:
    """How a tier is kept, as labels and sentences."""
    return [
        ("Leaves", _leaving(options)),
        ("Proof", _PROOFS[options.proof]),
        ("One freeze takes at most", _limits(options)),
        ("Can be undone for", _hours(options.undo_hours)),
        ("What was pulled stays", _hours(options.grace_hours)),
        ("Freezes by itself", _by_itself(options)),
        ("When the disk fills up", _marks(options)),
        ("Owner of what is pulled", _owner(options)),
        ("Bandwidth of pulls", f"{options.bandwidth} B/s" if options.bandwidth else "any"),
    ]


def rule_words(rule: PathRule) -> str:
    """What a rule says."""
    match rule.policy:
        case Policy.PIN:
            return "never leaves"
        case Policy.FREEZE_AFTER:
            return f"leaves after {rule.age_days} days"


def next_freeze(options: TierOptions) -> datetime | None:
    """When the tier is frozen by itself next."""
    if not options.auto_freeze_cron:
        return None
    runs = next_runs(options.auto_freeze_cron, options.auto_freeze_timezone, after=now())
    return runs[0] if runs else None


def asked_of(text: str) -> Asked:
    """What was asked, of a run's row."""
    return Asked.from_json(text)


def run_title(asked: Asked, tier: str) -> str:
    """``Freeze of photos/2019``."""
    named = [f"{tier}/{path}" if path else tier for path in asked.paths[:PATHS_NAMED]]
    more = len(asked.paths) - len(named)
    places = ", ".join(named) + (f" and {more} more" if more > 0 else "")
    return f"{_VERBS[asked.action]} of {places}"


def short_place(head: str) -> str:
    """Where a run worked, of the beginning of its request as JSON."""
    begun = head.partition('"paths": [')[2].partition('], "dry_run"')[0]
    try:
        paths = json.loads(f"[{begun}]")
    except ValueError:
        return "many places"
    shown = ", ".join(path or "all of it" for path in paths[:PATHS_NAMED])
    return f"{shown} …" if len(paths) > PATHS_NAMED else shown


def choices() -> Sequence[tuple[str, str]]:
    """What a run can do, for a filter."""
    return [(action.value, action.value) for action in Action]


def _leaving(options: TierOptions) -> str:
    if not options.freezable:
        return "Nothing leaves: the tier is not freezable."
    least = f", if it has at least {size(options.min_size_bytes)}" if options.min_size_bytes else ""
    noatime = " Although its disk keeps no times of reading." if options.allow_noatime else ""
    return f"What nobody has read for {options.age_days} days{least}.{noatime}"


def _limits(options: TierOptions) -> str:
    files, size_bytes = options.max_files_percent, options.max_bytes_percent
    return f"{files:g} % of the files and {size_bytes:g} % of the bytes, unless it is confirmed"


def _hours(hours: float) -> str:
    if not hours:
        return "not at all"
    return f"{hours / 24:g} days" if hours >= 48 else f"{hours:g} hours"  # noqa: PLR2004 - two days


def _by_itself(options: TierOptions) -> str:
    if not options.auto_freeze_cron:
        return "never"
    return f"{cron_words(options.auto_freeze_cron)}, {options.auto_freeze_timezone}"


def _marks(options: TierOptions) -> str:
    high, low = options.space_high_percent, options.space_low_percent
    if high is None or low is None:
        return "nothing is done"
    return f"from {high:g} % on the oldest files leave, until it is below {low:g} %"


def _owner(options: TierOptions) -> str:
    if options.uid is None and options.gid is None:
        return "as Holdfast runs"
    user = "" if options.uid is None else f"user {options.uid}"
    group = "" if options.gid is None else f"group {options.gid}"
    return ", ".join(part for part in (user, group) if part)
