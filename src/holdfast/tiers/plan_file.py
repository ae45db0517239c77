"""The files that a freeze is to move, kept between its planning and its doing."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from holdfast.tiers.model import Candidate, Skip
from holdfast.tiers.proof import Proven


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezePlan:
    """What a freeze will do: how many files, how large, what stays and why."""

    files: int
    size_bytes: int
    path: Path
    """Each file and its proof: see `read_plan`."""
    skipped: dict[Skip, tuple[int, int]] = field(default_factory=dict)
    over_limit: str | None = None
    """Why it would remove more than the tier allows."""


def write_plan(to: TextIO, files: Iterable[tuple[Candidate, Proven]]) -> None:
    """Add files; all names of one file one after another, in one call."""
    kept = [(as_text(file.path), *file[1:], proven.to_kept()) for file, proven in files]
    if kept:
        to.write(json.dumps(kept) + "\n")


def read_plan(path: Path) -> Iterator[tuple[Candidate, Proven]]:
    """What `write_plan` wrote."""
    with path.open(encoding="ascii") as lines:
        for line in lines:
            for name, *numbers, proven in json.loads(line):
                yield Candidate(as_bytes(name), *numbers), Proven.from_kept(proven)


def as_text(path: bytes) -> str:
    """A path for JSON, whatever its bytes."""
    return path.decode("latin-1")


def as_bytes(text: str) -> bytes:
    """The path again."""
    return text.encode("latin-1")
