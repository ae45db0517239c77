"""What the gateway does every so often: discover buckets, ask members, look for drift."""

from holdfast.gateway.service import discovery, drift, silence
from holdfast.kernel.services import Services


async def discover_buckets(services: Services) -> None:
    """Ask every vhost's pools for their buckets."""
    await discovery.discover_all(services)


async def watch_members(services: Services) -> None:
    """Connect to every enabled member, and remember those that do not answer."""
    await silence.watch(services)


async def watch_drift(services: Services) -> None:
    """Look whether the files that nginx runs with are those that were written."""
    await drift.watch(services)
