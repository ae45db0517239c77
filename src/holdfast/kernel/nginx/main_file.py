"""The operator's own nginx.conf: where it is, what it says, and whether it includes our files."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from holdfast.kernel.errors import Invalid
from holdfast.kernel.nginx.syntax import Node, parse

_MAX_DEPTH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What ``nginx -V`` says of the program."""

    version: tuple[int, ...]
    prefix: Path
    main: Path
    pid: str
    access_log: str
    error_log: str
    counts_requests: bool
    """Whether it has ``stub_status``."""

    @property
    def http2(self) -> str:
        """How a server block asks for HTTP/2: ``listen`` or, from 1.25.1 on, ``directive``."""
        return "directive" if self.version >= (1, 25, 1) else "listen"


@dataclass(frozen=True, slots=True, kw_only=True)
class MainFile:
    """What the operator's file says, as far as we need to know."""

    path: Path
    prefix: Path
    problem: str = ""
    """Why it could not be read; empty when it could."""
    include: Node | None = None
    """Our include line when it stands in the main file itself."""
    nested: bool = False
    """Our include line stands in a file that the main file includes."""
    pid: Path | None = None
    error_logs: tuple[Path, ...] = ()
    """Files that the master writes its own errors to."""
    access_logs: tuple[str, ...] = ()
    """Arguments of the ``access_log`` lines of its http block."""
    hash_sizes: bool = False
    """It sets the size of the server name table itself."""
    climbs: bool = False
    """It includes by a path with ``..``: a copy elsewhere would not find the same files."""

    @property
    def includes_us(self) -> bool:
        """Whether nginx reads our files at all."""
        return self.include is not None or self.nested


def parse_build(output: str) -> Build:
    """The parts of ``nginx -V``. Raises `Invalid` when it is no nginx."""
    version = re.search(r"nginx/([0-9]+(?:\.[0-9]+)*)", output)
    if version is None:
        raise Invalid("the nginx command does not answer -V like nginx", details=output)
    words = dict(re.findall(r"--([a-z0-9-]+)=('[^']*'|\S*)", output))
    prefix = Path(words.get("prefix", "/usr/local/nginx"))
    return Build(
        version=tuple(int(part) for part in version[1].split(".")),
        prefix=prefix,
        main=prefix / words.get("conf-path", "conf/nginx.conf"),
        pid=words.get("pid-path", "logs/nginx.pid"),
        access_log=words.get("http-log-path", "logs/access.log"),
        error_log=words.get("error-log-path", "logs/error.log"),
        counts_requests="--with-http_stub_status_module" in output.split(),
    )


def words_after(command: Sequence[str], option: str) -> str | None:
    """The value of ``-c`` or ``-p`` in a command, also written without a space."""
    for at, word in enumerate(command):
        if word == option and at + 1 < len(command):
            return command[at + 1]
        if word.startswith(option) and len(word) > len(option):
            return word[len(option) :]
    return None


def read_main(command: Sequence[str], build: Build, live_main: Path) -> MainFile:
    """Read the file that this command would use. ``live_main`` is what our include line names."""
    prefix = Path(words_after(command, "-p") or build.prefix)
    path = prefix / (words_after(command, "-c") or build.main)
    main = MainFile(
        path=path,
        prefix=prefix,
        pid=prefix / build.pid,
        error_logs=_files(prefix, [build.error_log]),
        access_logs=(build.access_log,),
    )
    try:
        nodes = parse(path.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        return replace(main, problem=f"cannot read {path}: {error.strerror}")
    except Invalid as error:
        return replace(main, problem=f"{path}: {error.message}")
    return _facts(main, nodes, live_main)


def _facts(main: MainFile, nodes: Sequence[Node], live_main: Path) -> MainFile:
    own = [node for top in nodes for node in top.walk()]
    everything = list(_with_includes(nodes, main.path.parent, live_main, depth=0))
    ours = [node for node in everything if _is_ours(node, main.path.parent, live_main)]
    direct = [node for node in ours if any(node is mine for mine in own)]
    pids = [node.arguments[0] for node in everything if node.name == "pid" and node.arguments]
    http = [child for top in nodes if top.name == "http" for child in top.block or ()]
    logs = [
        " ".join(_quoted(a) for a in node.arguments) for node in http if node.name == "access_log"
    ]
    errors = [top.arguments[0] for top in nodes if top.name == "error_log" and top.arguments]
    hash_sizes = any(node.name.startswith("server_names_hash_") for node in everything)
    return replace(
        main,
        include=direct[0] if direct else None,
        nested=bool(ours) and not direct,
        pid=main.prefix / pids[-1] if pids else main.pid,
        error_logs=_files(main.prefix, errors) if errors else main.error_logs,
        access_logs=tuple(logs) or main.access_logs,
        hash_sizes=hash_sizes,
        climbs=any(node.name == "include" and ".." in node.arguments[0] for node in own),
    )


def _files(prefix: Path, logs: Sequence[str]) -> tuple[Path, ...]:
    """Those that are files: not stderr, syslog or memory."""
    return tuple(prefix / log for log in logs if log != "stderr" and ":" not in log)


def _is_ours(node: Node, folder: Path, live_main: Path) -> bool:
    if node.name != "include" or not node.arguments:
        return False
    pattern = folder / node.arguments[0]
    return pattern in {live_main, live_main.parent / "*.conf"}


def _with_includes(
    nodes: Sequence[Node], folder: Path, live_main: Path, *, depth: int
) -> Iterator[Node]:
    for top in nodes:
        for node in top.walk():
            yield node
            if node.name != "include" or not node.arguments or depth >= _MAX_DEPTH:
                continue
            if not _is_ours(node, folder, live_main):
                for path in _matches(folder, node.arguments[0]):
                    yield from _with_includes(_read(path), folder, live_main, depth=depth + 1)


def _matches(folder: Path, pattern: str) -> list[Path]:
    path = folder / pattern
    root = Path(path.anchor)
    return sorted(found for found in root.glob(str(path.relative_to(root))) if found.is_file())


def _read(path: Path) -> list[Node]:
    try:
        return parse(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, Invalid):
        return []


def _quoted(argument: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_./:=$@,-]+", argument):
        return argument
    return '"' + argument.replace("\\", "\\\\").replace('"', '\\"') + '"'
