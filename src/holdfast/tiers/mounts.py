"""Whether the file system that a tier lies on is mounted: without, its folder is an empty one.

A pull would fill the disk below. Known is where the file system was mounted when the tier was made,
or last used; the device has another number after each start of the machine.
"""

import os
import shlex

from holdfast.kernel.errors import Unavailable
from holdfast.tiers.model import Tier, relative_to
from holdfast.tiers.names import to_text


def mount_point(path: bytes) -> bytes:
    """The outermost folder of the file system that a folder lies on. Raises ``OSError``."""
    opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # mounts on demand
    try:
        device = os.fstat(opened).st_dev
    finally:
        os.close(opened)
    while path != b"/":
        parent = os.path.dirname(path)  # noqa: PTH120 - bytes
        if os.lstat(parent).st_dev != device:
            return path
        path = parent
    return path


def check_mounted(tier: Tier) -> bytes:
    """Where the tier's file system is mounted now; empty: its folder is not there.

    Raises ``Unavailable`` when it was mounted deeper before.
    """
    try:
        found = mount_point(tier.root)
    except OSError:
        return b""
    known = tier.mounted_at
    if known and known != found and relative_to(found, known) is not None:
        root = to_text(tier.root)
        raise Unavailable(
            f"the file system at {to_text(known)} is not mounted: {root} is a folder below it",
            hint="mount it; if the tier is to lie there from now on: "
            f"holdfast tier update {tier.name} --path {shlex.quote(root)}",
        )
    return found
