"""The log of a job: a text file that only grows, read by byte offset."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from holdfast.kernel.clock import now

MAX_LOG_BYTES = 16 * 1024 * 1024
MAX_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LogChunk:
    """Whole lines of a log; ask again from ``next_offset`` for what was written since."""

    text: str
    offset: int
    next_offset: int
    size_bytes: int
    ended: bool = False
    """Nothing more will come: the job has ended, and this reaches the log's end."""


def log_path(data_dir: Path, job_id: str) -> Path:
    """Where the log of a job is."""
    return data_dir / "job-logs" / f"{job_id}.log"


class JobLog:
    """Appends lines, each with its moment (UTC); past `MAX_LOG_BYTES` it says so and stops."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        self._full = False

    def write(self, message: str) -> None:
        """Add one line (a message of several lines becomes several)."""
        if self._full:
            return
        moment = now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        lines = "".join(f"{moment} {line}\n" for line in message.splitlines() or [""])
        with self._path.open("a", encoding="utf-8") as file:
            if file.tell() > MAX_LOG_BYTES:
                self._full = True
                lines = f"{moment} log is full\n"
            file.write(lines)


def read_log(path: Path, *, offset: int, limit_bytes: int = MAX_CHUNK_BYTES) -> LogChunk:
    """Whole lines from ``offset`` (negative: before the end) in at most ``limit_bytes``."""
    if not path.exists():
        return LogChunk(text="", offset=0, next_offset=0, size_bytes=0)
    with path.open("rb") as file:
        size = file.seek(0, 2)
        start = _line_after(file, size + offset) if offset < 0 else min(offset, size)
        file.seek(start)
        raw = file.read(min(limit_bytes, MAX_CHUNK_BYTES))
    whole = raw[: raw.rfind(b"\n") + 1] or (raw if len(raw) >= limit_bytes else b"")
    return LogChunk(
        text=whole.decode("utf-8", "replace"),
        offset=start,
        next_offset=start + len(whole),
        size_bytes=size,
    )


def read_log_before(path: Path, *, before: int, limit_bytes: int = MAX_CHUNK_BYTES) -> LogChunk:
    """Whole lines that end at byte ``before``, in at most ``limit_bytes``."""
    if not path.exists():
        return LogChunk(text="", offset=0, next_offset=0, size_bytes=0)
    with path.open("rb") as file:
        size = file.seek(0, 2)
        end = min(before, size)
        start = min(end, _line_after(file, end - limit_bytes))
        file.seek(start)
        text = file.read(end - start).decode("utf-8", "replace")
    return LogChunk(text=text, offset=start, next_offset=end, size_bytes=size)


def _line_after(file: BinaryIO, offset: int) -> int:
    """Where the first line begins that begins at this byte or later."""
    if offset <= 0:
        return 0
    file.seek(offset - 1)
    file.readline()
    return file.tell()


def delete_logs_before(data_dir: Path, moment: datetime) -> int:
    """Delete logs that were last written before ``moment``; says how many."""
    deleted = 0
    for path in (data_dir / "job-logs").glob("*.log"):
        if datetime.fromtimestamp(path.stat().st_mtime, UTC) < moment:
            path.unlink(missing_ok=True)
            deleted += 1
    return deleted
