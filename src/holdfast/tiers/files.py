"""Where the files of a run lie in the data directory.

``tiers/<job id>.jsonl`` tells what became of each file, a JSON object a line: ``path`` (relative to
the tier's root, in text form), ``bytes``, ``what`` and ``reason``. ``tiers/work/<job id>/`` has the
listings of a run while it runs, or of a long list while it is read.
"""

import json
import shutil
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from holdfast.tiers.names import to_text

FOLDER = "tiers"


def details_path(data_dir: Path, job_id: str) -> Path:
    """What became of each file of a run; its folder is made."""
    folder = data_dir / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{job_id}.jsonl"


def work_dir(data_dir: Path, job_id: str) -> Path:
    """A folder for the listings of a run, made; `clear_work_dir` when it has ended."""
    folder = data_dir / FOLDER / "work" / job_id
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def clear_work_dir(data_dir: Path, job_id: str) -> None:
    """Forget the listings of a run."""
    shutil.rmtree(data_dir / FOLDER / "work" / job_id, ignore_errors=True)


def forget_what_is_told_again(report: Path, unsettled: Iterable[bytes]) -> None:
    """Of a run that begins again: what stays is found anew, what was moved is not.

    ``unsettled``: files that are told again, moved or not.
    """
    if not report.exists():
        return
    again = {to_text(path) for path in unsettled}
    kept = report.with_suffix(".kept")
    with report.open("rb") as old, kept.open("wb") as new:
        for line in old:
            stays = b'"what": "stays"' in line or not line.endswith(b"\n")
            if not stays and not (again and json.loads(line)["path"] in again):
                new.write(line)
    kept.replace(report)


def forget_old_work(data_dir: Path, living: Iterable[str], before: datetime) -> None:
    """Remove what runs left that ended badly, but of these, and but what was begun since."""
    known, oldest = set(living), before.timestamp()
    for folder in (data_dir / FOLDER / "work").glob("*"):
        if folder.name not in known and folder.stat().st_mtime < oldest:
            shutil.rmtree(folder, ignore_errors=True)


def forget_old_details(data_dir: Path, kept: Iterable[str], before: datetime) -> None:
    """Remove the details of all runs but these, and but those written since."""
    known, oldest = set(kept), before.timestamp()
    for path in (data_dir / FOLDER).glob("*.jsonl"):
        if path.stem not in known and path.stat().st_mtime < oldest:
            path.unlink(missing_ok=True)
