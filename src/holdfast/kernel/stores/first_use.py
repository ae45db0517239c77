"""Which keys of an SFTP host are trusted at first use: none that another store contradicts."""

import json
from collections.abc import Sequence

from holdfast.kernel.services import Services
from holdfast.kernel.stores.host_keys import HostKey, keys_in
from holdfast.kernel.stores.kinds import SSH_PORT
from holdfast.kernel.stores.rclone_words import HostKeyChanged
from holdfast.kernel.stores.tables import StoreRow, stores_of_kind


async def trusted_at_first(
    services: Services, host: str, port: int, shown: Sequence[HostKey]
) -> Sequence[HostKey]:
    """Of the keys that a host shows: all when no store knows it yet, else those that one trusts.

    Raises `HostKeyChanged` when that is none of them.
    """
    async with services.database.read() as session:
        rows = await stores_of_kind(session, "sftp")
    known: dict[HostKey, str] = {}
    for row in rows:
        if is_same(host_of(row), (host, port)):
            known |= dict.fromkeys(keys_in(row.host_keys), row.name)
    both = [key for key in shown if key in known]
    if both or not known:
        return both or shown
    store = next(iter(known.values()))
    error = HostKeyChanged(
        f"{host} port {port} shows another key than the one that the store {store!r} trusts: "
        f"{named(shown)} instead of {named(list(known))}; it is not spoken to",
        hint="ask whoever runs it; if the new key is theirs: "
        f"holdfast store trust {store} FINGERPRINT",
    )
    error.details = both_sides(list(known), shown)
    raise error


def host_of(row: StoreRow) -> tuple[str, int]:
    """Host and port of an SFTP store."""
    options = json.loads(row.options)
    return options["host"], int(options.get("port", SSH_PORT))


def is_same(one: tuple[str, int], other: tuple[str, int]) -> bool:
    """Whether two spellings are one host; rclone looks for the one that it was given."""
    return (one[0].lower(), one[1]) == (other[0].lower(), other[1])


def named(keys: Sequence[HostKey]) -> str:
    """Keys for people."""
    return ", ".join(key.fingerprint for key in keys) or "an unknown one"


def both_sides(trusted: Sequence[HostKey], shown: Sequence[HostKey]) -> dict[str, list[str]]:
    """Keys for the details of an error."""
    return {
        "trusted": [key.fingerprint for key in trusted],
        "shown": [key.fingerprint for key in shown],
    }
