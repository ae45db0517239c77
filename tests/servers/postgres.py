"""A throw-away PostgreSQL cluster on a free loopback port."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psycopg

from holdfast.kernel.ports import free_port

START_SECONDS = 30
STOP_SECONDS = 20
TEMPLATE = "holdfast_template"
UNPRIVILEGED = ("postgres", "nobody")
"""Who the server runs as when we are root, which PostgreSQL refuses; the first that exists."""

FAST_NOT_DURABLE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
SMALL = ("shared_buffers=32MB", "max_connections=200", "unix_socket_directories=")

END_OTHERS = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
SHAPE = """
    SELECT relnamespace::text, relname, relkind FROM pg_class WHERE oid >= 16384
    UNION SELECT 'revision', version_num, '' FROM alembic_version ORDER BY 1, 2
"""
EMPTY = """
    DO $$
    DECLARE one record;
    BEGIN
        SET LOCAL session_replication_role = replica;  -- foreign keys are not looked at
        FOR one IN SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
            WHERE relkind = 'r' AND nspname = 'public' AND relname <> 'alembic_version'
        LOOP EXECUTE format('DELETE FROM %I', one.relname); END LOOP;
        FOR one IN SELECT sequencename FROM pg_sequences WHERE last_value IS NOT NULL
        LOOP EXECUTE format('ALTER SEQUENCE %I RESTART', one.sequencename); END LOOP;
    END $$
"""


class Cluster:
    """One server process with its own data; databases in it come and go with the tests."""

    def __init__(self, directory: Path, port: int, process: subprocess.Popen[bytes]) -> None:
        self.directory = directory
        self.port = port
        self.process = process
        self._made = 0
        self._returned: list[str] = []
        self._shape: list[tuple[object, ...]] = []

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of ``database``."""
        return f"postgresql+psycopg://holdfast@127.0.0.1:{self.port}/{database}"

    def create(self, template: str = "template0") -> str:
        """Make a database like ``template``, to which nobody is connected; give back its URL."""
        self._made += 1
        name = f"test_{self._made}"
        with self.admin() as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    @contextlib.contextmanager
    def lent(self) -> Iterator[str]:
        """A database like `TEMPLATE`, emptied afterwards for the next: a new one costs more."""
        name = self._returned.pop() if self._returned else self._name(self.create(TEMPLATE))
        self._shape = self._shape or self._shape_of(name)
        yield self.url(name)
        with self._to(name) as connection:  # one connection for all: each is a process
            connection.execute(END_OTHERS)
            is_as_made = connection.execute(SHAPE).fetchall() == self._shape
            if is_as_made:
                connection.execute(EMPTY)
        if is_as_made:
            self._returned.append(name)
        else:
            self.drop(self.url(name))

    def drop(self, url: str) -> None:
        """Remove the database of ``url``, and end whoever is still connected to it."""
        with self.admin() as connection:
            connection.execute(f'DROP DATABASE "{self._name(url)}" WITH (FORCE)')

    def admin(self) -> psycopg.Connection[tuple[object, ...]]:
        """A connection for CREATE and DROP DATABASE, which run outside transactions."""
        return self._to("postgres")

    def _to(self, name: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="holdfast", dbname=name, autocommit=True
        )

    def _shape_of(self, name: str) -> list[tuple[object, ...]]:
        with self._to(name) as connection:
            return connection.execute(SHAPE).fetchall()

    @staticmethod
    def _name(url: str) -> str:
        return url.rsplit("/", 1)[-1]

    def wait(self) -> Self:
        """Give the cluster back when it answers."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.admin().close()
            except psycopg.OperationalError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    log = (self.directory / "log").read_text(errors="replace")
                    raise RuntimeError(f"PostgreSQL did not start:\n{log}") from None
                time.sleep(0.02)
            else:
                return self

    def stop(self) -> None:
        """End the server at once: nothing in it is worth keeping."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(2)
        self.process.send_signal(3)  # SIGQUIT: leave without a shutdown checkpoint
        self.process.wait(STOP_SECONDS)


def binaries() -> Path | None:
    """The folder of ``initdb`` and ``postgres``: Debian keeps them out of the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


@contextlib.contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Start a cluster, and remove every trace of it afterwards."""
    programs = binaries()
    if programs is None:
        raise RuntimeError("PostgreSQL is not installed: run `make setup`")
    directory = Path(tempfile.mkdtemp(prefix="holdfast-postgres-"))
    as_user = _as_unprivileged(directory)
    try:
        _init(programs, directory, as_user)
        cluster = _start(programs, directory, as_user)
        try:
            yield cluster.wait()
        finally:
            cluster.stop()
    finally:
        shutil.rmtree(directory)


def _as_unprivileged(directory: Path) -> list[str]:
    """The words before a command that make it die with us, and not be root."""
    dies_with_us = ["setpriv", "--pdeathsig", "QUIT"]
    if os.geteuid() != 0:
        return dies_with_us
    known = {user.pw_name: user for user in pwd.getpwall()}
    user = next(known[name] for name in UNPRIVILEGED if name in known)
    os.chown(directory, user.pw_uid, user.pw_gid)
    ids = ["--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"]
    return [*dies_with_us, *ids]


def _init(programs: Path, directory: Path, as_user: list[str]) -> None:
    options = ["--username=holdfast", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"]
    subprocess.run(
        [*as_user, programs / "initdb", *options, directory / "data"],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=directory,
        timeout=120,
    )


def _start(programs: Path, directory: Path, as_user: list[str]) -> Cluster:
    port = free_port()
    settings = [word for setting in (*FAST_NOT_DURABLE, *SMALL) for word in ("-c", setting)]
    where = ["-D", str(directory / "data"), "-h", "127.0.0.1", "-p", str(port)]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [*as_user, programs / "postgres", *where, *settings],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=directory,
        )
    return Cluster(directory, port, process)
