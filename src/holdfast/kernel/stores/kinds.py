"""What a store may be: its kind, its root and its options, checked before anything is kept."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from holdfast.kernel.errors import Invalid
from holdfast.kernel.secrets import mask
from holdfast.kernel.stores.place import s3_endpoint
from holdfast.kernel.stores.rclone_remote import (
    Remote,
    RemoteOption,
    has_login,
    names_secret,
)

SSH_PORT = 22
LARGEST_PORT = 65535
MOST_OPTIONS = 64
LONGEST_VALUE = 65536
LONGEST_ROOT = 1024
LONGEST_DESCRIPTION = 1000
HIDDEN = "****"
_NAME = re.compile(r"(?!\d+$)[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:-]{0,251}[A-Za-z0-9])?|::1?")
_LOGIN_IN_ADDRESS = re.compile(r"://[^/@]*:[^/@]*@")
_SAID_OPENLY = frozenset({"host", "user", "username", "url", "domain", "account"})
"""Options that rclone calls sensitive, and without which nobody can tell stores apart."""
_KEY_NAME = "access_key_id"
"""Sealed with the others; how it begins is shown."""
_SAYS_WHERE = re.compile(r"(?:.*_)?(?:host|port|url|endpoint|proxy|server|namenode|auth)")
"""Names of options that say who is spoken to."""
_OURS = frozenset({"known_hosts_file", "host_key_algorithms"})
_LOGINS = ("pass", "key_file", "key_pem")

KnownOptions = Mapping[str, RemoteOption]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreDraft:
    """A store as somebody wants it, its secrets in clear. Never log it."""

    name: str
    kind: str
    root: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    description: str = ""

    def __repr__(self) -> str:
        return f"StoreDraft({self.name!r}, {self.kind!r}, {self.root!r})"

    @property
    def host(self) -> tuple[str, int]:
        """Host and port of an SFTP store."""
        return self.options["host"], int(self.options.get("port", SSH_PORT))


def as_text(given: object, what: str = "options") -> dict[str, str | None]:
    """Options as they come in JSON: numbers and truths as rclone writes them. Raises ``Invalid``.

    No value is repeated in the error: it may be a secret.
    """
    if not isinstance(given, Mapping):
        raise Invalid(f"{what} must be an object of names and values", hint='{"host": "..."}')
    if len(given) > MOST_OPTIONS:
        raise Invalid(f"a store has at most {MOST_OPTIONS} options")
    found: dict[str, str | None] = {}
    for name, value in given.items():
        match value:
            case bool():
                found[name] = "true" if value else "false"
            case None | str():
                found[name] = value
            case int() | float():
                found[name] = str(value)
            case _:
                raise Invalid(f"the option {name!r} must be a text, a number, true or false")
        _check_text(f"{name}={found[name]}", "an option")
    return found


def checked_draft(draft: StoreDraft, known: KnownOptions) -> StoreDraft:
    """The draft in the form in which it is kept. Raises ``Invalid``."""
    _check_words(draft)
    options = {name: _normal(name, value) for name, value in draft.options.items() if value}
    _check_options(draft.kind, options, known)
    known_hosts = {"known_hosts_file": "given later"} if draft.kind == "sftp" else {}
    Remote(draft.kind, {**options, **known_hosts}, draft.root)  # refuses what no remote may have
    match draft.kind:
        case "s3":
            options = _checked_s3(options)
            root = _bucket_root(draft.root)
        case "sftp":
            options = _checked_sftp(options)
            root = _plain_root(draft.root)
        case "local":
            root = _local_root(draft.root)
        case _:
            root = _plain_root(draft.root)
    return replace(draft, root=root, options=options)


def secret_names(options: Mapping[str, str], known: KnownOptions) -> frozenset[str]:
    """The options whose values are sealed."""
    return frozenset(
        name
        for name, value in options.items()
        if known[name].is_password
        or (known[name].is_sensitive and name not in _SAID_OPENLY)
        or looks_secret(name, value)
    )


def looks_secret(name: str, value: str) -> bool:
    """Whether nobody should see it, whatever rclone says of the option."""
    return names_secret(name) or has_login(value)


def check_secrets_given(
    old: Mapping[str, str], new: Mapping[str, str], secret: Collection[str], given: Collection[str]
) -> None:
    """Whoever changes where a store is must know its secrets: they would be sent to a new place.

    ``secret``: names of options whose values are sealed; ``given``: names of options that came
    with the change. Raises ``Invalid``.
    """
    moved = [
        name
        for name in sorted(old.keys() | new.keys())
        if _SAYS_WHERE.fullmatch(name) and old.get(name) != new.get(name)
    ]
    kept = [name for name in sorted(secret) if name in old and name in new and name not in given]
    if moved and kept:
        raise Invalid(
            f"with another {', '.join(moved)} the store's secrets would go to another place: "
            f"give anew {', '.join(kept)}",
            hint="with the same change; nobody who does not know them can send them elsewhere",
        )


def masked(name: str, value: str) -> str:
    """What is shown of a sealed value; of a key's name, how it begins."""
    return mask(value) if name == _KEY_NAME else HIDDEN


def _check_text(text: str, what: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Invalid(f"{what} has half a surrogate pair in it, which is no character") from None
    if "\0" in text:
        raise Invalid(f"{what} has a NUL character in it")


def _check_words(draft: StoreDraft) -> None:
    if not _NAME.fullmatch(draft.name):
        raise Invalid(
            "a store's name has letters, digits, '.', '_' and '-', at most 63 of them",
            hint="for example archive-1; only digits would be an id",
        )
    _check_text(draft.root, "the root")
    _check_text(draft.description, "the description")
    if len(draft.root) > LONGEST_ROOT:
        raise Invalid(f"a store's root has at most {LONGEST_ROOT} characters")
    if len(draft.description) > LONGEST_DESCRIPTION:
        raise Invalid(f"a description has at most {LONGEST_DESCRIPTION} characters")


def says_where(name: str, root: str) -> bool:
    """Whether an option says where a store's root is; a relative one lies in its user's home."""
    is_home = name == "user" and not root.startswith("/")
    return is_home or _SAYS_WHERE.fullmatch(name) is not None


def _check_options(kind: str, options: Mapping[str, str], known: KnownOptions) -> None:
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise Invalid(
            f"rclone's {kind} has no option {', '.join(unknown)[:200]}",
            hint="https://rclone.org/docs has the options of each kind",
        )
    if kind == "sftp" and (ours := sorted(_OURS & set(options))):
        raise Invalid(
            f"{', '.join(ours)} cannot be given: the host's keys are kept with the store",
            hint="see them with: holdfast store show",
        )
    for name, value in options.items():
        if len(value) > LONGEST_VALUE:
            raise Invalid(f"the option {name!r} has more than {LONGEST_VALUE} characters")
        if name in _SAID_OPENLY and _LOGIN_IN_ADDRESS.search(value):
            raise Invalid(
                f"the option {name!r} has a password in its address, which everybody would see",
                hint="give it in the option for it, such as pass",
            )


def _normal(name: str, value: str) -> str:
    """A key of several lines is one line for rclone."""
    return value.strip().replace("\r", "").replace("\n", "\\n") if name == "key_pem" else value


def _checked_s3(options: dict[str, str]) -> dict[str, str]:
    both = ("access_key_id" in options) + ("secret_access_key" in options)
    if both == 1:
        raise Invalid("access_key_id and secret_access_key belong together", hint="give both")
    filled = {"provider": "Other", **options}
    endpoint = s3_endpoint(filled)
    if not endpoint:
        raise Invalid("an S3 store needs its endpoint", hint="for example https://s3.example.org")
    if not re.fullmatch(r"https?://[A-Za-z0-9.:_\[\]-]+", endpoint):
        raise Invalid("the endpoint is no address of a server", hint="http(s)://host[:port]")
    return {**filled, "endpoint": endpoint} if options.get("endpoint") else filled


def _plain_root(root: str) -> str:
    if any(part in {".", ".."} for part in root.split("/")) or "\0" in root:
        raise Invalid("a store's root has no part that is '.' or '..'")
    return root.rstrip("/") or root[:1]


def _bucket_root(root: str) -> str:
    checked = _plain_root(root).strip("/")
    if not checked or "//" in checked:
        raise Invalid("the root of an S3 store is bucket or bucket/prefix")
    return checked


def _checked_sftp(options: dict[str, str]) -> dict[str, str]:
    host, port = options.get("host", ""), options.get("port", str(SSH_PORT))
    if not _HOST.fullmatch(host):
        raise Invalid("an SFTP store needs the name or address of its host in the option host")
    if not (_PORT.fullmatch(port) and int(port) <= LARGEST_PORT):
        raise Invalid(f"port is a number from 1 to {LARGEST_PORT}")
    if not options.get("user"):
        raise Invalid("an SFTP store needs the option user")
    if not any(options.get(name) for name in _LOGINS):
        raise Invalid(
            "an SFTP store needs a password or a key",
            hint="one of the options pass, key_file, key_pem",
        )
    return options


def _local_root(root: str) -> str:
    path = PurePosixPath(_plain_root(root))
    if not path.is_absolute():
        raise Invalid("the root of a local store is the absolute path of a directory")
    return str(path)
