"""``holdfast doctor``: what would go wrong, found before it does, each with its remedy."""

import asyncio
import ctypes
import os
import shutil
import stat
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from holdfast.kernel.clock import now
from holdfast.kernel.config import SECRET_SETTINGS, LoadedSettings, Settings, load_settings
from holdfast.kernel.config_file import check_config
from holdfast.kernel.contributors import Finding, Verdict, contributors
from holdfast.kernel.errors import AppError, Unavailable
from holdfast.kernel.nginx import Nginx
from holdfast.kernel.ports import check_free
from holdfast.kernel.services import Services
from holdfast.kernel.stores.doctor import rclone_findings
from holdfast.kernel.web.system_api import database_problem, schema_problem, write_problem

__all__ = ["Finding", "Verdict", "clock_findings", "disk_findings", "examine", "examine_server"]

LEAST_FREE_BYTES = 1024**3
LEAST_FREE_SHARE = 0.05
LARGEST_CLOCK_DIFFERENCE_SECONDS = 5.0
CLOCK_NOT_SYNCHRONISED = 5
"""What adjtimex answers then (TIME_ERROR)."""
CLOCK_REMEDY = "switch time synchronisation on: timedatectl set-ntp true"
PROGRAM_SECONDS = 20.0
CONNECT_SECONDS = 2.0

Check = Callable[[Services], Awaitable[Sequence[Finding]]]


async def examine(assemble: Callable[[LoadedSettings], Services]) -> list[Finding]:
    """Every check, also when an earlier one fails; ``assemble`` makes the services."""
    try:
        loaded = load_settings()
    except AppError as error:
        return [_finding("settings", Verdict.FAIL, error.message, error.hint)]
    findings = [_finding("settings", Verdict.OK, f"read, file: {loaded.config_file}")]
    findings += await asyncio.to_thread(_rights, loaded)
    if any(finding.verdict is Verdict.FAIL for finding in findings):
        return findings
    services = assemble(loaded)
    try:
        return [*findings, *await _all_checks(services, _ports)]
    finally:
        await services.database.close()


async def examine_server(services: Services) -> list[Finding]:
    """The same from within the server that is examined: its port is taken by itself."""
    loaded = services.loaded
    findings = [await asyncio.to_thread(_settings_file, loaded)]
    findings += await asyncio.to_thread(_rights, loaded)
    return [*findings, *await _all_checks(services, _served)]


async def _all_checks(services: Services, ports: Check) -> list[Finding]:
    checks: list[Check] = [ports, _nginx, _rclone, _disk, _schema, _clock]
    return [
        finding
        for check in [*checks, *contributors(services).checks]
        for finding in await _checked(check, services)
    ]


def _settings_file(loaded: LoadedSettings) -> Finding:
    path = loaded.config_file
    try:
        if path.exists():
            check_config(path.read_text(), path)
    except (AppError, OSError, UnicodeDecodeError) as error:
        remedy = "mend it before the next start: holdfast config edit"
        return _finding("settings", Verdict.FAIL, str(error), remedy)
    return _finding("settings", Verdict.OK, f"fit for the next start, file: {path}")


async def _checked(check: Check, services: Services) -> Sequence[Finding]:
    try:
        return await check(services)
    except AppError as error:
        return [_finding(_name(check), Verdict.FAIL, error.message, error.hint)]
    except (SQLAlchemyError, OSError) as error:
        remedy = "mend what is named above first, or start the server once"
        return [_finding(_name(check), Verdict.WARN, f"not checked: {error}", remedy)]


def _name(check: Check) -> str:
    return getattr(check, "__name__", "check").strip("_").removeprefix("check_")


def _rights(loaded: LoadedSettings) -> list[Finding]:
    settings = loaded.settings
    findings = [_writable("data directory", settings.data_dir)]
    findings.append(_writable("nginx directory", settings.nginx_root))
    findings.append(_writable("backup directory", settings.backup_root))
    private = [settings.data_dir / "secret", settings.data_dir / "holdfast.sqlite"]
    if any(origin == str(loaded.config_file) for origin in _secret_origins(loaded)):
        private.append(loaded.config_file)
    open_files = [path for path in private if path.exists() and _open_to_others(path)]
    findings += [
        _finding("rights", Verdict.FAIL, f"others may read {path}", f"chmod 600 {path}")
        for path in open_files
    ]
    if not open_files:
        findings.append(_finding("rights", Verdict.OK, "files with secrets are private"))
    return findings


def _secret_origins(loaded: LoadedSettings) -> list[str]:
    return [loaded.origins.get(name, "default") for name in SECRET_SETTINGS]


def _writable(name: str, directory: Path) -> Finding:
    existing = directory.absolute()
    while not existing.exists():
        existing = existing.parent
    problem = write_problem(str(existing))
    if problem:
        remedy = f"give the user {os.geteuid()} the right to write there"
        return _finding(name, Verdict.FAIL, problem, remedy)
    missing = "" if directory.exists() else " (made at the first start)"
    return _finding(name, Verdict.OK, f"{directory}{missing}")


def _open_to_others(path: Path) -> bool:
    return bool(stat.S_IMODE(path.stat().st_mode) & 0o077)


async def _ports(services: Services) -> Sequence[Finding]:
    settings = services.settings
    where = f"{settings.host}:{settings.port}"
    if settings.port == 0 or await asyncio.to_thread(_can_bind, settings.host, settings.port):
        return [_finding("port", Verdict.OK, f"{where} is free")]
    if await _is_holdfast(settings.host, settings.port):
        return [_finding("port", Verdict.OK, f"{where}: holdfast answers")]
    remedy = "stop the other program, or set another port: holdfast config set port ..."
    return [_finding("port", Verdict.FAIL, f"{where} is taken by another program", remedy)]


async def _served(services: Services) -> Sequence[Finding]:
    settings = services.settings
    where = f"{settings.host}:{settings.port}"
    return [_finding("port", Verdict.OK, f"{where}: this server answers")]


def _can_bind(host: str, port: int) -> bool:
    try:
        check_free(host, port)
    except Unavailable:
        return False
    return True


async def _is_holdfast(host: str, port: int) -> bool:
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - replaced, not bound
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(address, port)
            writer.write(b"GET /api/health HTTP/1.0\r\nHost: localhost\r\n\r\n")
            answer = await reader.read(65536)
            while not reader.at_eof():
                answer += await reader.read(65536)
            writer.close()
    except (OSError, TimeoutError):
        return False
    return b"nginx_config_dir" in answer


async def _nginx(services: Services) -> Sequence[Finding]:
    settings = services.settings
    nginx = Nginx(list(settings.nginx_command), settings.nginx_root)
    status = await nginx.status()
    if status.live:
        detail = f"nginx {status.version} runs with generation {status.loaded_generation}"
        return [_finding("nginx", Verdict.OK, detail)]
    remedy = status.remedy or f"put inside http {{ }}: {nginx.include_line}"
    detail = status.problem or f"nginx {status.version} does not run with our files"
    return [_finding("nginx", Verdict.WARN, detail, remedy)]


async def _rclone(_: Services) -> Sequence[Finding]:
    # Not the directory of a process that runs: a second daemon would take its socket away.
    with tempfile.TemporaryDirectory(prefix="holdfast-") as directory:
        return await rclone_findings(Path(directory))


async def _disk(services: Services) -> Sequence[Finding]:
    return disk_findings(services.settings)


def disk_findings(settings: Settings) -> list[Finding]:
    """How much room there is where Holdfast writes."""
    places = {
        "data": settings.data_dir,
        "nginx": settings.nginx_root,
        "backups": settings.backup_root,
    }
    return [_free(name, path) for name, path in places.items() if path.exists()]


def _free(name: str, path: Path) -> Finding:
    usage = shutil.disk_usage(path)
    free = f"{usage.free / 1024**3:.1f} GiB of {usage.total / 1024**3:.1f} free at {path}"
    if usage.free < min(LEAST_FREE_BYTES, usage.total * LEAST_FREE_SHARE):
        return _finding(f"disk {name}", Verdict.FAIL, free, "make room, or move the directory")
    if usage.free < max(LEAST_FREE_BYTES, usage.total * LEAST_FREE_SHARE):
        return _finding(f"disk {name}", Verdict.WARN, free, "make room before it runs full")
    return _finding(f"disk {name}", Verdict.OK, free)


async def _schema(services: Services) -> Sequence[Finding]:
    problem = await database_problem(services.database)
    if problem:
        remedy = "start the database, and see: holdfast config get database_url"
        return [_finding("database", Verdict.FAIL, f"no answer: {problem}", remedy)]
    behind = await schema_problem(services.database)
    if behind:
        remedy = "start holdfast serve once: it brings the schema up to date"
        return [_finding("schema", Verdict.WARN, behind, remedy)]
    return [_finding("schema", Verdict.OK, "up to date")]


async def _clock(services: Services) -> Sequence[Finding]:
    remedy = CLOCK_REMEDY
    away = await clock_findings(services)
    if away:
        return away
    if await asyncio.to_thread(_clock_state) == CLOCK_NOT_SYNCHRONISED:
        return [_finding("clock", Verdict.WARN, "the kernel's clock is not synchronised", remedy)]
    return [_finding("clock", Verdict.OK, "synchronised")]


async def clock_findings(services: Services) -> list[Finding]:
    """A failure when our clock and the database's differ; nothing when they agree."""
    if services.database.is_sqlite or await database_problem(services.database) is not None:
        return []
    difference = await _database_clock_difference(services)
    if difference <= LARGEST_CLOCK_DIFFERENCE_SECONDS:
        return []
    detail = f"{difference:.1f} s away from the database's clock"
    return [_finding("clock", Verdict.FAIL, detail, CLOCK_REMEDY)]


async def _database_clock_difference(services: Services) -> float:
    async with services.database.read() as session:
        theirs = (await session.execute(text("SELECT clock_timestamp()"))).scalar_one()
    return abs(float((now() - theirs).total_seconds()))


def _clock_state() -> int:
    """Ask the kernel without changing anything (``modes`` is zero)."""
    buffer = ctypes.create_string_buffer(512)
    return int(ctypes.CDLL(None).adjtimex(buffer))


def _finding(check: str, verdict: Verdict, detail: str, remedy: str = "") -> Finding:
    return Finding(check=check, verdict=verdict, detail=detail, remedy=remedy)
