"""Runs and trees as a terminal shows them."""

from collections.abc import Iterator
from typing import Any

from holdfast.kernel.web.console.formats import duration, size

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
    counts = [f"{folder[name]} {name}" for name in _FLAGS if folder[name]]
    told = [f"{folder['files']} files", size(folder["bytes"]), *counts]
    return f"{folder['name'] or '.'}/  ({', '.join(told)})"


def _file_line(entry: dict[str, Any]) -> str:
    flags = [name for name in _FLAGS if entry[name]]
    if entry["local"] is None:
        flags.append("cannot be read here")
    if not entry["remote"]:
        flags.append("not on the store")
    return f"{entry['name']}  {size(entry['bytes'])}{'  ' if flags else ''}{', '.join(flags)}"


def run_text(run: dict[str, Any]) -> str:
    """How a run went; empty for what is no run."""
    if "outcome" not in run:
        return ""
    dry = " (dry run)" if run["asked"].get("dry_run") else ""
    told = run["outcome"]
    lines = [f"{run['action']}{dry} {run['state'] or 'ended'}: job {run['job_id']}"]
    lines += [run["error"]] if run["error"] else []
    if "files" in told:
        lines.append(f"{told['files']} files, {size(told['bytes'])}")
    if told.get("missing_files"):
        missing = f"{told['missing_files']} files, {size(told['missing_bytes'])}"
        lines.append(f"on the store, and not here: {missing}")
    if told.get("over_limit"):
        lines.append(f"beyond the limits of the tier: {told['over_limit']}")
    if told.get("restore_seconds"):
        lines.append(f"to bring them back: about {duration(told['restore_seconds'])}")
    for title, found in (("left", "skipped"), ("would stay", "stays")):
        lines += [_counted(title, why, left) for why, left in told.get(found, {}).items()]
    lines += [_counted("now", state, left) for state, left in run["files"].items()]
    for saved in told.get("would_save", ()):
        days, files = saved["days"], saved["files"]
        lines.append(f"unread for {days} days: {files} files, {size(saved['bytes'])} to save")
    return "\n".join(lines)


def _counted(title: str, what: str, found: dict[str, int]) -> str:
    return f"{title}: {found['files']} files, {size(found['bytes'])}: {what}"
