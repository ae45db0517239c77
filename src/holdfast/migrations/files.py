"""A migration's record on disk, in the format of docs/reference/migrations.md.

Enough to rebuild its row.
"""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

FOLDER = "migrations"


def state_path(data_dir: Path, migration_id: int) -> Path:
    """There while it runs, and after an error."""
    return data_dir / FOLDER / f"migration-{migration_id}.state.json"


def done_path(data_dir: Path, migration_id: int) -> Path:
    """There for ever once it is done."""
    return data_dir / FOLDER / f"migration-{migration_id}.done.json"


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
