"""Complete sets of nginx files, of which one is live (docs/reference/nginx-files.md).

A generation is made of hard links to the files of its parent, so its cost follows what changed. An
edit in place on the machine reaches every generation that shares the file: therefore each text is
kept once more, under its hash, in ``objects/``: differences and rollbacks are made from those.

Blocking calls, milliseconds each: use `asyncio.to_thread`. Changes need `change_lock`.
"""

import contextlib
import difflib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal

from holdfast.kernel.errors import Conflict, Invalid, NotFound
from holdfast.kernel.nginx import disk

MAIN = "http.conf"
FIRST = "first start"
"""The reason of generations that hold no change yet."""
_RECORD = "generation.json"
_CANDIDATE = ".candidate"
_EMPTY = "# managed by holdfast: nothing is configured yet\n"
_MANY_FILES = 40
"""From here on one sync of the file system is cheaper than one a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """The record of one generation."""

    number: int
    parent: int | None
    author: str
    reason: str
    created_at: str
    """ISO 8601, UTC."""
    files: Mapping[str, str]
    """Relative path to the SHA-256 of what was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A generation on disk that is not live yet."""

    number: int
    directory: Path
    previous: int | None
    """The live generation when it was made: what to go back to."""
    made_now: bool = True
    """False for an old generation that is to be live again: it is not deleted with the attempt."""
    texts: tuple[str, ...] = ()
    """Texts that were kept for it first, by their hashes: they go with it."""

    @property
    def main(self) -> Path:
        """The file that nginx includes."""
        return self.directory / MAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A file of the live generation that is not as it was written."""

    path: str
    kind: Literal["changed", "missing", "extra"]
    diff: str
    """Unified: from what was written to what is there."""


class Generations:
    """The generations under one nginx directory; ``keep`` of them stay for rollback."""

    def __init__(self, nginx_dir: Path, *, keep: int = 20) -> None:
        self.root = nginx_dir
        self.live = nginx_dir / "live"
        self.keep = keep
        self._folder = nginx_dir / "generations"
        self._objects = nginx_dir / "objects"
        self._seen: dict[Path, tuple[tuple[int, int, int], str]] = {}

    def ensure(self) -> int:
        """Make the folders, clean up after a crash, write an empty first generation if none is.

        After this the operator's ``include <dir>/live/http.conf;`` resolves. Gives the live number.
        """
        for folder in (self._folder, self._objects, self.root / "routes", self.root / "log"):
            disk.make_dir(folder)
        self.recover()
        current = self.current()
        if current is None:
            first = self.prepare({MAIN: _EMPTY}, author="holdfast", reason=FIRST)
            self.switch(first)
            current = first.number
        return current

    def current(self) -> int | None:
        """The number of the live generation; None before the first start."""
        try:
            return int(self.live.readlink().name)
        except (FileNotFoundError, ValueError):
            return None

    def next_number(self) -> int:
        """The number of the next candidate: above every one that was ever live, or is on disk."""
        return max([self._last(), *self._numbers()]) + 1

    def directory(self, number: int) -> Path:
        """Where a generation lies, absolute."""
        return self._folder / f"{number:06d}"

    def record(self, number: int | None = None) -> Generation:
        """The record of a generation, by default the live one. Raises `NotFound`."""
        number = self.current() if number is None else number
        if number is None:
            raise NotFound("there is no generation yet")
        try:
            text = (self.directory(number) / _RECORD).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise NotFound(f"there is no generation {number}") from None
        return Generation(**json.loads(text))

    def read(self, path: str) -> str | None:
        """The text of a live file as it is on disk now; None when it is not there."""
        try:
            return _read(self.live / _relative(path))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def files(self) -> dict[str, str]:
        """Every live file as it is on disk now, also those that nobody here wrote."""
        current = self.current()
        if current is None:
            return {}
        base = self.directory(current)
        return {path: _read(base / path) for path in sorted(_conf_and_json(base))}

    def extra(self) -> set[str]:
        """Files of the live generation that no record has: somebody put them there."""
        current = self.current()
        if current is None:
            return set()
        return _conf_and_json(self.directory(current)) - self.record().files.keys()

    def written(self, path: str) -> str | None:
        """The text that was written for a live file, whatever is there now; None when none was."""
        digest = self.record().files.get(path)
        return None if digest is None else self._object(digest)

    def prepare(
        self,
        changed: Mapping[str, str],
        removed: Iterable[str] = (),
        *,
        author: str,
        reason: str,
    ) -> Candidate:
        """Make the next generation from the live one, on disk and durable, but not live.

        ``changed`` wins over what is on disk; any other file is carried on as it is, also when
        somebody edited it: drift is shown, never corrected along the way.
        """
        changed = {_relative(path): text for path, text in changed.items()}
        gone = {_relative(path) for path in removed} - changed.keys()
        previous, number = self.current(), self.next_number()
        base = self.directory(number)
        disk.make_dir(base)
        (base / _CANDIDATE).touch()
        files = {} if previous is None else dict(self.record(previous).files)
        if previous is not None:
            self._carry(self.directory(previous), base, skip=changed.keys() | gone)
        for path in gone:
            files.pop(path, None)
        files.update(self._write(base, changed))
        record = Generation(
            number=number,
            parent=previous,
            author=author,
            reason=reason,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            files=files,
        )
        disk.write_new(base / _RECORD, json.dumps(asdict(record), indent=1) + "\n")
        texts = self._make_durable(base, changed)
        return Candidate(number=number, directory=base, previous=previous, texts=texts)

    def rollback(self, number: int) -> Candidate:
        """Make an old generation ready to be live again, every file as written; then `switch`."""
        record = self.record(number)
        previous, base = self.current(), self.directory(number)
        if number == previous:
            raise Conflict(f"generation {number} is live already")
        for path, digest in record.files.items():
            if self._digest(base / path) != digest:
                text = self._object(digest)
                disk.make_dir((base / path).parent)
                disk.replace_file(base / path, text)
        for path in _conf_and_json(base) - record.files.keys():
            (base / path).unlink()
        return Candidate(number=number, directory=base, previous=previous, made_now=False)

    def switch(self, candidate: Candidate) -> None:
        """Make the candidate live: one rename, durable when this returns. Its number stays used."""
        if candidate.number > self._last():
            disk.replace_file(self._folder / ".last", f"{candidate.number}\n")
        self.point_to(candidate.number)
        (candidate.directory / _CANDIDATE).unlink(missing_ok=True)

    def point_to(self, number: int) -> None:
        """Point ``live`` at a generation that is on disk."""
        if not (self.directory(number) / _RECORD).is_file():
            raise NotFound(f"there is no generation {number}")
        disk.replace_link(self.live, f"generations/{number:06d}")

    def discard(self, candidate: Candidate) -> None:
        """Forget a candidate that is not live. An old generation stays."""
        if candidate.made_now and candidate.number != self.current():
            shutil.rmtree(candidate.directory, ignore_errors=True)
            for digest in candidate.texts:
                (self._objects / digest).unlink(missing_ok=True)

    def recover(self) -> list[int]:
        """Remove what a crash left half made; gives the numbers that went."""
        current, removed = self.current(), []
        for number in self._numbers():
            base = self.directory(number)
            half_made = (base / _CANDIDATE).exists() or not (base / _RECORD).is_file()
            if number == current:
                (base / _CANDIDATE).unlink(missing_ok=True)
            elif half_made:
                shutil.rmtree(base, ignore_errors=True)
                removed.append(number)
        for folder in self.root.glob(".test-*"):
            shutil.rmtree(folder, ignore_errors=True)
        return removed

    def history(self) -> list[Generation]:
        """Records of all generations that are kept, newest first."""
        kept = [n for n in self._numbers() if not (self.directory(n) / _CANDIDATE).exists()]
        return [self.record(number) for number in sorted(kept, reverse=True)]

    def diff(self, before: int, after: int) -> str:
        """Unified diff of what was written in two generations."""
        old, new = self.record(before).files, self.record(after).files
        parts = []
        for path in sorted(old.keys() | new.keys()):
            if old.get(path) != new.get(path):
                was = self._object(old[path]) if path in old else ""
                now = self._object(new[path]) if path in new else ""
                parts.append(_unified(was, now, f"{before}/{path}", f"{after}/{path}"))
        return "".join(parts)

    def drift(self) -> list[Drift]:
        """Files of the live generation that are not as they were written.

        A file is read only when its size, time or inode is not what was seen the last time.
        """
        current = self.current()
        if current is None:
            return []
        base, written = self.directory(current), self.record(current).files
        found = []
        for path, digest in sorted(written.items()):
            now = self._digest(base / path)
            if now != digest:
                text = "" if now is None else _read(base / path)
                kind: Literal["changed", "missing"] = "missing" if now is None else "changed"
                diff = _unified(self._object(digest), text, path, path)
                found.append(Drift(path=path, kind=kind, diff=diff))
        for path in sorted(_conf_and_json(base) - written.keys()):
            diff = _unified("", _read(base / path), path, path)
            found.append(Drift(path=path, kind="extra", diff=diff))
        return found

    def prune(self) -> list[int]:
        """Remove generations beyond ``keep``, and texts none refers to; gives their numbers."""
        numbers, current = sorted(self._numbers(), reverse=True), self.current()
        old = [n for n in numbers[self.keep :] if n != current]
        for number in old:
            shutil.rmtree(self.directory(number), ignore_errors=True)
        if old:
            kept: set[str] = set()
            for record in self.history():
                kept.update(record.files.values())
            for entry in os.scandir(self._objects):
                if entry.name not in kept:
                    Path(entry.path).unlink(missing_ok=True)
        return old

    def _last(self) -> int:
        """The highest number that was ever live; what nginx once loaded is never another."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int((self._folder / ".last").read_text())
        return 0

    def _numbers(self) -> list[int]:
        if not self._folder.is_dir():
            return []
        return [int(entry.name) for entry in os.scandir(self._folder) if entry.name.isdigit()]

    def _carry(self, parent: Path, base: Path, *, skip: Iterable[str]) -> None:
        skipped = frozenset(skip)
        for path in _conf_and_json(parent) - skipped:
            target = base / path
            try:
                os.link(parent / path, target)
            except FileNotFoundError:
                disk.make_dir(target.parent)
                with contextlib.suppress(FileNotFoundError):
                    os.link(parent / path, target)

    def _write(self, base: Path, changed: Mapping[str, str]) -> dict[str, str]:
        digests = {}
        for path, text in changed.items():
            digest = sha256(text.encode()).hexdigest()
            digests[path] = digest
            disk.make_dir((base / path).parent)
            disk.write_new(base / path, text)
            if not (self._objects / digest).exists():
                disk.write_new(self._objects / f".{digest}.new", text)
        return digests

    def _make_durable(self, base: Path, changed: Mapping[str, str]) -> tuple[str, ...]:
        pending = list(self._objects.glob(".*.new"))
        if len(changed) + len(pending) > _MANY_FILES:
            disk.sync_file_system(self.root)
        else:
            for path in [*pending, *(base / name for name in changed), base / _RECORD]:
                disk.sync_file(path)
        digests = tuple(path.name.removeprefix(".").removesuffix(".new") for path in pending)
        for path, digest in zip(pending, digests, strict=True):
            path.replace(self._objects / digest)
        folders = {base, *((base / path).parent for path in changed)}
        for folder in [*folders, self._objects, self._folder]:
            disk.sync_dir(folder)
        return digests

    def _object(self, digest: str) -> str:
        try:
            return _read(self._objects / digest)
        except FileNotFoundError:
            raise NotFound(
                f"the text {digest[:12]} is missing from {self._objects}",
                hint="run: holdfast config rebuild",
            ) from None

    def _digest(self, path: Path) -> str | None:
        try:
            stat = path.stat()
            key = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            seen = self._seen.get(path)
            if seen is None or seen[0] != key:
                seen = self._seen[path] = (key, sha256(path.read_bytes()).hexdigest())
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        return seen[1]


def _relative(path: str) -> str:
    """Refuse a path that leaves its generation."""
    parts = path.split("/")
    if not path or any(part in {"", ".", ".."} or "\0" in part for part in parts):
        raise Invalid(f"{path!r} is not a path inside a generation")
    if parts[0] in {_RECORD, _CANDIDATE}:
        raise Invalid(f"{path!r} is written by the generations themselves")
    return path


def _read(path: Path) -> str:
    return path.read_bytes().decode("utf-8", errors="replace")


def _conf_and_json(base: Path) -> set[str]:
    return set(_walk(base, ""))


def _walk(folder: Path, prefix: str) -> Iterator[str]:
    for entry in os.scandir(folder):
        name = prefix + entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), f"{name}/")
        elif entry.name.endswith((".conf", ".json")) and name != _RECORD:
            yield name


def _unified(before: str, after: str, old_name: str, new_name: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), old_name, new_name
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)
