"""The fields of a store's form: its kind says which."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from holdfast.kernel.stores.kinds import KnownOptions, secret_names
from holdfast.kernel.stores.service import ShownStore
from holdfast.kernel.web.console.forms import Field

KINDS = (
    ("s3", "S3", "A bucket on any S3 server."),
    ("sftp", "SFTP", "A folder on a host that is reached by SSH."),
    ("local", "Local folder", "A folder of this machine, also a mounted one."),
    ("other", "Another kind", "Whatever rclone reaches: WebDAV, SMB, Azure, Google, and more."),
)
OWN = ("name", "kind", "root", "description")
FORGET = "forget-"
_INTO = {"data-into": "options", "autocomplete": "off", "spellcheck": "false"}
_SECRET = _INTO | {"autocomplete": "new-password"}
_KEPT = "Kept sealed, never shown again."
_REFUSED = frozenset({"remote", "upstreams", "known_hosts_file", "host_key_algorithms"})
_STANDS_ON_OTHERS = frozenset({"remote", "upstreams"})
_PROGRAMS = ("ssh", "command")
_ROOTS = {
    "s3": ("Bucket, or bucket/prefix", ""),
    "sftp": ("Folder on the host", "Empty: where the login begins."),
    "local": ("Folder", "An absolute path."),
}
_CURATED: Mapping[str, Sequence[Field]] = {
    "s3": (
        Field(
            name="endpoint",
            label="Endpoint",
            required=True,
            help="http://10.0.0.5:9000 or https://s3.example.org",
            attributes=_INTO,
        ),
        Field(name="access_key_id", label="Access key", attributes=_INTO),
        Field(
            name="secret_access_key",
            label="Secret key",
            kind="password",
            help=_KEPT,
            attributes=_SECRET,
        ),
        Field(name="region", label="Region", attributes=_INTO),
    ),
    "sftp": (
        Field(name="host", label="Host", required=True, attributes=_INTO),
        Field(
            name="port",
            label="Port",
            kind="number",
            help="Empty: 22.",
            attributes=_INTO | {"min": "1", "max": "65535"},
        ),
        Field(name="user", label="User", required=True, attributes=_INTO),
        Field(
            name="pass",
            label="Password",
            kind="password",
            help=f"Or a key, below. {_KEPT}",
            attributes=_SECRET,
        ),
        Field(
            name="key_pem",
            label="Private key",
            kind="textarea",
            help=f"The whole PEM text. {_KEPT}",
            attributes=_INTO | {"rows": "4", "data-secret": ""},
        ),
        Field(
            name="key_file",
            label="Private key's file",
            help="Its path on this machine.",
            attributes=_INTO,
            advanced=True,
        ),
        Field(
            name="key_file_pass",
            label="Private key's password",
            kind="password",
            help=_KEPT,
            attributes=_SECRET,
            advanced=True,
        ),
    ),
    "local": (),
}


class StoreForm(BaseModel):
    """What a form of every kind has; the options are read by their fields."""

    name: str = ""
    kind: str = ""
    root: str = ""
    description: str = ""


def offered_kinds(known: Mapping[str, KnownOptions]) -> list[str]:
    """Kinds of rclone that can be a store and have no form of their own here."""
    return sorted(
        kind
        for kind, options in known.items()
        if kind not in _CURATED and not _STANDS_ON_OTHERS & options.keys() and kind != "memory"
    )


def store_fields(kind: str, known: KnownOptions, shown: ShownStore | None) -> list[Field]:
    """The fields for a kind; ``shown``: the store that is edited."""
    label, root_help = _ROOTS.get(kind, ("Folder", "Where the store begins; empty: at its top."))
    name = Field(
        name="name",
        label="Name",
        required=True,
        option="" if shown else "-",
        help="Letters, digits, dot, dash and underscore.",
        attributes={"maxlength": "63", "autocomplete": "off", "spellcheck": "false"},
    )
    root = Field(
        name="root",
        label=label,
        required=kind in {"s3", "local"},
        help=root_help,
        attributes={"maxlength": "1024", "autocomplete": "off", "spellcheck": "false"},
    )
    words = Field(
        name="description",
        label="Comment",
        kind="textarea",
        help="Whatever helps the next person.",
        attributes={"rows": "2"},
    )
    options = list(_CURATED[kind]) if kind in _CURATED else _told_by_rclone(known)
    if shown:
        named = {one.name for one in options} | set(OWN)
        more = [one for one in shown.options if one not in named]
        options += [_field(one, known, advanced=True) for one in more]
        options = [field for one in options for field in _edited(one, shown.sealed)]
    given = [] if shown else [Field(name="kind", label="", kind="hidden", value=kind)]
    local = (root, *options) if kind in {"local", "s3"} else (*options, root)
    return [name, *given, *local, words]


def option_values(shown: ShownStore) -> dict[str, Any]:
    """What the form of a store holds before anybody typed: no secret, but how its key begins."""
    values = {
        name: value
        for name, value in shown.options.items()
        if name not in shown.sealed or name == "access_key_id"
    }
    own = {"name": shown.name, "root": shown.root, "description": shown.description}
    return {**values, **own}


def options_sent(
    fields: Sequence[Field], values: Mapping[str, Any], sealed: Collection[str] = ()
) -> dict[str, str | None]:
    """The options of a form. A sealed one left empty stays, another one left empty goes away."""
    found: dict[str, str | None] = {}
    for one in fields:
        value = values.get(one.name)
        if one.name.startswith(FORGET):
            if value:
                found[one.name.removeprefix(FORGET)] = None
        elif "data-into" in one.attributes:
            if value not in (None, ""):
                found[one.name] = str(value)
            elif one.name not in sealed:
                found[one.name] = None
    return found


def without_secrets(fields: Sequence[Field], values: dict[str, Any]) -> None:
    """Let nothing secret that was typed be in the page that answers."""
    for one in fields:
        if "data-secret" in one.attributes:
            values[one.name] = ""


def _edited(one: Field, sealed: Collection[str]) -> list[Field]:
    """The field as an edit has it; a sealed value can stay, be replaced, or go."""
    if one.name not in sealed:
        return [one]
    kept = one.help if one.name == "access_key_id" else "Sealed. Empty: as it is."
    if one.required or one.name == "access_key_id":
        return [replace(one, required=False, help=kept)]
    forget = Field(
        name=f"{FORGET}{one.name}",
        label=f"Forget: {one.label.lower()}",
        kind="checkbox",
        attributes={"data-local": ""},
        advanced=True,
    )
    return [replace(one, help=kept), forget]


def _told_by_rclone(known: KnownOptions) -> list[Field]:
    """Fields for each option that rclone has for a kind, those that it requires first."""
    names = [
        name
        for name in known
        if name not in _REFUSED and name not in OWN and not name.endswith(_PROGRAMS)
    ]
    names.sort(key=lambda name: (known[name].is_advanced, not known[name].is_required))
    return [_field(name, known) for name in names]


def _field(name: str, known: KnownOptions, *, advanced: bool = False) -> Field:
    option = known.get(name)
    is_secret = option is not None and bool(secret_names({name: ""}, known))
    told = option.help if option else ""
    return Field(
        name=name,
        label=name,
        kind="password" if is_secret else "text",
        required=bool(option and option.is_required),
        help=f"{told} {_KEPT}".strip() if is_secret else told,
        attributes=_SECRET if is_secret else _INTO,
        advanced=advanced or bool(option and option.is_advanced),
    )
