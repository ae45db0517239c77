"""What the gateway tells of itself: drift in health, and its checks of ``doctor``."""

import asyncio
import grp
import os
import pwd
import stat
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from holdfast.gateway.context import Gateway
from holdfast.gateway.service import credentials, drift
from holdfast.gateway.service.follow import LOST
from holdfast.kernel.contributors import Finding, Verdict, contributors
from holdfast.kernel.errors import AppError
from holdfast.kernel.nginx.syntax import parse
from holdfast.kernel.services import Services

NAMES_SHOWN = 5
USUAL_USERS = ("www-data", "nginx", "nobody")


def contribute(services: Services) -> None:
    """Put drift into health and metrics, and the gateway's checks into ``doctor``."""
    told = contributors(services)

    async def alerts() -> int:
        async with services.database.read() as session:
            return await drift.alerts(services, session)

    told.drift_alerts.append(alerts)
    told.checks.extend([check_flags, check_drift, check_sealed])


async def check_drift(services: Services) -> Sequence[Finding]:
    """Whether the files are as they were written."""
    gateway = services.get(Gateway)
    if gateway.generations.current() is None:
        return []
    async with services.database.read() as session:
        found = await drift.find(session, gateway)
    if not found:
        return [Finding(check="drift", verdict=Verdict.OK, detail="files are as written")]
    detail = f"{len(found)} differ from what was written, first: {found[0].path}"
    remedy = "look: holdfast config drift; then config absorb, rewrite or rebuild"
    return [Finding(check="drift", verdict=Verdict.WARN, detail=detail, remedy=remedy)]


async def check_sealed(services: Services) -> Sequence[Finding]:
    """Whether the stored S3 keys can be read: after a restore with another secret they cannot."""
    gateway = services.get(Gateway)
    try:
        async with services.database.read() as session:
            names = await credentials.unreadable(session, gateway)
    except SQLAlchemyError:  # what is wrong with the database has a check of its own
        return []
    if not names:
        return [Finding(check="stored keys", verdict=Verdict.OK, detail="can be read")]
    shown = ", ".join(names[:NAMES_SHOWN]) + (" and others" if len(names) > NAMES_SHOWN else "")
    detail = f"the S3 keys of {shown} were sealed with another HOLDFAST_SECRET"
    remedy = "start with the secret of that time, or store the keys anew: holdfast credential set"
    return [Finding(check="stored keys", verdict=Verdict.FAIL, detail=detail, remedy=remedy)]


async def check_flags(services: Services) -> Sequence[Finding]:
    """Whether the user that nginx's workers run as can read the routing flags."""
    gateway = services.get(Gateway)
    if not gateway.flags.root.is_dir():
        return []
    if gateway.flags.lost:
        detail = f"{gateway.flags.root}: {LOST}"
        remedy = "mount it again, or: holdfast config rebuild"
        return [Finding(check="flags", verdict=Verdict.FAIL, detail=detail, remedy=remedy)]
    try:
        user = await worker_user(gateway)
    except AppError as error:
        return [Finding(check="flags", verdict=Verdict.WARN, detail=error.message)]
    closed = await asyncio.to_thread(first_closed, gateway.flags.root, user)
    if closed is None:
        detail = f"nginx's workers ({user}) can read the routing flags"
        return [Finding(check="flags", verdict=Verdict.OK, detail=detail)]
    detail = f"nginx's workers ({user}) cannot pass {closed}: routed buckets are answered with 503"
    remedy = f"chmod o+x {closed}"
    return [Finding(check="flags", verdict=Verdict.FAIL, detail=detail, remedy=remedy)]


async def worker_user(gateway: Gateway) -> str:
    """The user of nginx's workers: of the main file, else the usual one of this system."""
    main = await gateway.nginx.main_file()
    text = await asyncio.to_thread(main.path.read_text, encoding="utf-8", errors="replace")
    for node in parse(text):
        if node.name == "user" and node.arguments:
            return node.arguments[0]
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in USUAL_USERS if name in known)


def first_closed(folder: Path, user: str) -> Path | None:
    """The outermost directory on the way to ``folder`` that the user may not pass; None: open."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return folder
    groups = {entry.pw_gid, *(g.gr_gid for g in grp.getgrall() if user in g.gr_mem)}
    way = [*reversed(folder.resolve().parents), folder.resolve()]
    way += [path for path in sorted(folder.iterdir()) if path.is_dir()]
    return next((path for path in way if not _may_pass(path, entry.pw_uid, groups)), None)


def _may_pass(path: Path, uid: int, groups: set[int]) -> bool:
    found = path.stat()
    if uid == 0:
        return True
    if found.st_uid == uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid in groups:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)
