"""The real ``holdfast serve`` on a free loopback port, and the real ``holdfast`` commands."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from holdfast.demo.fleet import NO_TLS
from holdfast.kernel.ports import free_port

API_KEY = "a key of the tests, long enough"
START_SECONDS = 60.0
STOP_SECONDS = 30.0
COMMAND_SECONDS = 120.0
PROGRAM = [str(Path(sys.executable).parent / "holdfast")]
KEPT = ("PATH", "HOME", "LANG", "TMPDIR")


@dataclass
class Machine:
    """A data directory with its settings, on which commands and servers run."""

    directory: Path
    settings: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        """Where its server answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What its processes see: nothing of the machine that runs the tests."""
        return {
            **{name: os.environ[name] for name in KEPT if name in os.environ},
            "HOME": str(self.directory),
            "HOLDFAST_DATA_DIR": str(self.directory / "data"),
            "HOLDFAST_PORT": str(self.port),
            "HOLDFAST_API_KEY": API_KEY,
            "HOLDFAST_NGINX_COMMAND": f"nginx -p {self.directory} -c {self.nginx_conf}",
            "HOLDFAST_BACKUP_INTERVAL_SECONDS": "0",
            **self.settings,
        }

    @property
    def nginx_conf(self) -> Path:
        """A main file for nginx that has our include line; nginx itself does not run."""
        path = self.directory / "nginx.conf"
        if not path.exists():
            include = f"{self.directory}/data/nginx/live/http.conf"
            path.write_text(
                f"pid {self.directory}/nginx.pid;\nerror_log {self.directory}/nginx.log;\n"
                f"events {{}}\nhttp {{\n    include {include};\n}}\n"
            )
        return path

    def run(
        self, *words: str, stdin: str = "", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return subprocess.run(
            [*PROGRAM, *words],
            env=self.environment | dict(env or {}),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command that stays; its output goes to a file in the directory."""
        with (self.directory / "out").open("a") as out:
            return subprocess.Popen(
                [*PROGRAM, *words], env=self.environment, stdout=out, stderr=out, text=True
            )

    @contextlib.contextmanager
    def serving(self, *options: str) -> Iterator[subprocess.Popen[str]]:
        """Its server, from ready to stopped."""
        process = self.start("serve", *options)
        try:
            self._wait_until_ready(process)
            yield process
        finally:
            stop(process)

    def _wait_until_ready(self, process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/api/ready", verify=NO_TLS).status_code == 200:
                    return
            time.sleep(0.05)
        raise RuntimeError("holdfast does not answer:\n" + (self.directory / "out").read_text())


def stop(process: subprocess.Popen[str]) -> int:
    """End a process as a service manager would, and give its status."""
    process.terminate()
    try:
        return process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
