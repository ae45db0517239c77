"""A migration's record on disk, in the format of docs/reference/migrations.md.

Enough to rebuild its row.
"""

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any

FOLDER = "migrations"
_NUMBERED = re.compile(r"migration-([0-9]{1,9})\.")


def state_path(data_dir: Path, migration_id: int) -> Path:
    """There while it runs, after an error, and when it was cancelled after it had copied."""
    return data_dir / FOLDER / f"migration-{migration_id}.state.json"


def done_path(data_dir: Path, migration_id: int) -> Path:
    """There for ever once it is done."""
    return data_dir / FOLDER / f"migration-{migration_id}.done.json"


def highest_number(data_dir: Path) -> int:
    """Of all migrations that left something here; 0: of none."""
    paths = (data_dir / FOLDER).glob("migration-*")
    return max((int(n[1]) for path in paths if (n := _NUMBERED.match(path.name))), default=0)


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Replace the file; whole or not at all, durable when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_suffix(".new")
    with new.open("w", encoding="utf-8") as file:
        file.write(json.dumps(record, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def remove_record(path: Path) -> None:
    """Absent: no error."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
