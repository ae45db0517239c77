"""Names instead of numbers: what a person calls a thing, found through the API."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.kernel.errors import NotFound

if TYPE_CHECKING:
    from holdfast.client.http import HoldfastClient


@dataclass(frozen=True, slots=True)
class Collection:
    """Where things of one sort are listed, and by which field people call them."""

    noun: str
    path: str
    """May hold ``{pool}`` or ``{vhost}``: the id of what they belong to."""
    field: str


COLLECTIONS = {
    each.noun: each
    for each in (
        Collection("pool", "/api/pools", "name"),
        Collection("member", "/api/pools/{pool}/members", "address"),
        Collection("vhost", "/api/vhosts", "server_name"),
        Collection("store", "/api/stores", "name"),
        Collection("tier", "/api/tiers", "name"),
        Collection("route", "/api/vhosts/{vhost}/routes", "path_prefix"),
    )
}


def find(
    client: "HoldfastClient", noun: str, reference: str, owners: dict[str, Any]
) -> dict[str, Any]:
    """The thing of this name, else of this id. Raises ``NotFound``."""
    collection = COLLECTIONS[noun]
    rows = list(client.pages(collection.path.format(**owners)))
    for wanted in (reference, reference.rstrip("/") + "/", reference.rstrip("/")):
        for row in rows:
            if str(row[collection.field]) == wanted:
                return dict(row)
    for row in rows:
        if str(row["id"]) == reference:
            return dict(row)
    raise NotFound(f"{noun} {reference!r} not found", hint=f"holdfast {noun} list")
