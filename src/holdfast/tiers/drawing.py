"""Runs and trees as a terminal shows them."""

from collections.abc import Iterator, Sequence
from typing import Any

from holdfast.kernel.web.console.formats import duration, size
from holdfast.tiers.model import UNLIKE, Action

MOST_FOLDERS = 15
"""Of a report, the largest."""
_FLAGS = ("frozen", "missing", "differing", "lost")


def tree_text(folder: dict[str, Any]) -> str:
    """A folder with what lies in it, a line each."""
    unreadable = [f"cannot be read here: {u['path'] or '.'}" for u in folder.get("unreadable", ())]
    return "\n".join([_folder_line(folder), *_lines(folder, ""), *unreadable])


def _lines(folder: dict[str, Any], indent: str) -> Iterator[str]:
    inner = [*folder["folders"].values(), *folder["entries"]]
    for number, each in enumerate(inner):
        last = number == len(inner) - 1
        is_folder = "entries" in each
        line = _folder_line(each) if is_folder else _file_line(each)
        yield f"{indent}{'└── ' if last else '├── '}{line}"
        if is_folder:
            yield from _lines(each, indent + ("    " if last else "│   "))


def _folder_line(folder: dict[str, Any]) -> str:
    if not folder.get("looked_into", True):
        return f"{folder['name']}/"
    counts = [f"{folder[name]} {name}" for name in _FLAGS if folder[name]]
    counts += [f"{folder['may_differ']} may differ"] if folder["may_differ"] else []
    return f"{folder['name'] or '.'}/  ({', '.join([amount(folder), *counts])})"


def _file_line(entry: dict[str, Any]) -> str:
    flags = [name for name in _FLAGS if entry[name]]
    if entry["differing"] is None:
        flags.append("may differ")
    if entry["local"] is None:
        flags.append("cannot be read here")
    if not entry["remote"]:
        flags.append("not on the store")
    return f"{entry['name']}  {size(entry['bytes'])}{'  ' if flags else ''}{', '.join(flags)}"


def run_text(run: dict[str, Any]) -> str:
    """How a run went; empty for what is no run."""
    if "outcome" not in run:
        return ""
    is_dry = bool(run["asked"].get("dry_run"))
    told = run["outcome"]
    lines = [
        f"{run['action']}{' (dry run)' * is_dry} {run['state'] or 'ended'}: job {run['job_id']}"
    ]
    lines += [run["error"]] if run["error"] else []
    lines += [amount(told)] if "files" in told else []
    lines += beside(told, dry_run=is_dry)
    if told.get("over_limit"):
        lines.append(f"beyond the limits of the tier: {told['over_limit']}")
    for why, left in told.get("skipped", {}).items():
        lines.append(f"{left_words(run['action'], why)}: {amount(left)}: {why}")
    lines += [f"would stay: {amount(left)}: {why}" for why, left in told.get("stays", {}).items()]
    lines += [f"now: {amount(left)}: {state}" for state, left in run["files"].items()]
    return "\n".join([*lines, *_report_lines(told)])


def beside(told: dict[str, Any], *, dry_run: bool) -> Iterator[str]:
    """What an outcome says besides what was done, and what was left."""
    if told.get("restored_files"):
        yield f"back out of the quarantine: {files_words(told['restored_files'])}"
    if told.get("present_files"):
        yield f"here already: {files_words(told['present_files'])}, {size(told['present_bytes'])}"
    if told.get("missing_files"):
        missing = f"{files_words(told['missing_files'])}, {size(told['missing_bytes'])}"
        yield f"on the store, and not here: {missing}"
    if told.get("restore_seconds"):
        yield f"to bring them back: about {duration(told['restore_seconds'])}"
    if dry_run and told.get("estimate_seconds"):
        yield f"to bring them: about {duration(told['estimate_seconds'])}"
    if dry_run and told.get("needed_bytes"):
        yield f"room: {size(told['needed_bytes'])} of {size(told['free_bytes'])} that are free"
    for saved in told.get("would_save", ()):
        yield f"unread for {saved['days']} days: {amount(saved)} to save"


def amount(found: dict[str, Any]) -> str:
    """``2 files, 3.0 KiB``."""
    return f"{files_words(found['files'])}, {size(found['bytes'])}"


def files_words(count: int) -> str:
    """``1 file``, ``2 files``."""
    return f"{count} file{'' if count == 1 else 's'}"


def left_words(action: str, reason: str) -> str:
    """What is said of the files that an outcome has under ``skipped``."""
    if action != Action.VERIFY:
        return "left"
    return "differs" if reason in UNLIKE else "not compared"


def age_words(start: int, end: int | None) -> str:
    """``30 to 60 days``."""
    if end is None:
        return f"{start // 365} years and more"
    return "less than a day" if not start else f"{start} to {end} days"


def _report_lines(told: dict[str, Any]) -> Iterator[str]:
    ages = [
        (age_words(bar["from_days"], bar["to_days"]), amount(bar))
        for bar in told.get("histogram", ())
        if bar["files"]
    ]
    owners = [(one["name"] or str(one["id"]), amount(one)) for one in told.get("owners", ())]
    by_size = sorted(told.get("folders", ()), key=lambda one: -one["bytes"])
    folders = [(one["path"] or ".", amount(one)) for one in by_size[:MOST_FOLDERS]]
    for title, rows in (("last used", ages), ("owner", owners), ("folder", folders)):
        yield from _aligned(title, rows)
    more = len(by_size) - len(folders) + told.get("folders_left_out", 0)
    if more:
        yield f"and {more} more folders: -o json"


def _aligned(title: str, rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    width = max((len(name) for name, _ in rows), default=0)
    yield from [f"by {title}:"] if rows else []
    yield from (f"  {name.ljust(width)}  {words}" for name, words in rows)
