"""Commands for stores, as calls of the API. Secrets are asked for, or read from stdin."""

from collections.abc import Sequence

import typer

from holdfast.commands.verbs import DRY_RUN, Field, Verb, noun

COLUMNS = ("id", "name", "kind", "root", "options", "reachable", "description")
_STORE = "/api/stores/{store}"

FIELDS = (
    Field(name="root", help="Where it begins: bucket/prefix for s3, a path for the others."),
    Field(
        name="set",
        kind="pairs",
        into="options",
        help="An option of rclone, as NAME=VALUE or NAME=@FILE; repeatable.",
    ),
    Field(
        name="secret",
        kind="secrets",
        into="options",
        help="The name of an option that is asked for, or a line of stdin; repeatable.",
    ),
    Field(name="description", help="Whatever helps the next person."),
    DRY_RUN,
)

STORES = (
    Verb(
        name="list",
        path="/api/stores",
        columns=COLUMNS,
        fields=(Field(name="search", query=True, help="Only those with this in their name."),),
        help="List stores.",
    ),
    Verb(name="show", path=_STORE, help="Show a store, and what uses it; its secrets are masked."),
    Verb(
        name="create",
        method="POST",
        path="/api/stores",
        fields=(
            Field(name="name", argument=True, help="Its name."),
            Field(name="kind", required=True, help="s3, sftp, local, or another of rclone's."),
            *FIELDS,
        ),
        help="Add a place where bytes live.",
    ),
    Verb(
        name="update",
        method="PUT",
        path=_STORE,
        fields=(Field(name="name", help="Its new name."), *FIELDS),
        help="Change a store; options that are not given stay.",
    ),
    Verb(
        name="delete",
        method="DELETE",
        path=_STORE,
        confirm=True,
        fields=(DRY_RUN,),
        done="done",
        help="Forget a store that nothing uses; what lies on it stays.",
    ),
    Verb(
        name="check",
        method="POST",
        path=f"{_STORE}/check",
        help="Find out whether a store can be listed, and what it can do.",
    ),
    Verb(
        name="host-key",
        method="POST",
        path=f"{_STORE}/host-key",
        rows="keys",
        columns=("kind", "fingerprint", "trusted", "shown"),
        help="Show the keys of an SFTP host: those trusted, and those that it shows now.",
    ),
    Verb(
        name="trust",
        method="POST",
        path=f"{_STORE}/host-key",
        rows="keys",
        columns=("kind", "fingerprint", "trusted", "shown"),
        fields=(
            Field(name="fingerprint", argument=True, help="SHA256:..., as its owner confirmed."),
            DRY_RUN,
        ),
        help="Trust the key of this fingerprint in place of those trusted before.",
    ),
)


def nouns() -> Sequence[typer.Typer]:
    """The noun ``store``."""
    return (noun("store", "Places where bytes live.", STORES),)
