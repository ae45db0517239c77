"""Objects put straight into the data directory of a nanio server: thousands a second."""

import hashlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

META = ".nanio-meta"


def write_objects(bucket: Path, keys: Iterator[str], content: bytes) -> None:
    """Objects with the same content; the keys of a folder must follow one another."""
    meta = {
        "etag": f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"',
        "size": len(content),
        "last_modified": datetime.now(UTC).isoformat(),
        "content_type": "application/octet-stream",
        "user_metadata": {},
        "storage_class": "STANDARD",
    }
    sidecar = json.dumps(meta).encode()
    folder = ""
    (bucket / META).mkdir(parents=True, exist_ok=True)
    for key in keys:
        if key.rpartition("/")[0] != folder:
            folder = key.rpartition("/")[0]
            (bucket / folder).mkdir(parents=True, exist_ok=True)
            (bucket / META / folder).mkdir(parents=True, exist_ok=True)
        _write(bucket / key, content)
        _write(bucket / META / f"{key}.json", sidecar)


def link_objects(source: Path, target: Path, keys: Iterator[str]) -> None:
    """The same objects in another server's data directory."""
    for key in keys:
        for name in (key, f"{META}/{key}.json"):
            try:
                os.link(source / name, target / name)
            except FileNotFoundError:
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                os.link(source / name, target / name)


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(descriptor, content)
    os.close(descriptor)
