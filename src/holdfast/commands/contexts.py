"""Which server a command talks to: a stored context, the environment's, this machine's own."""

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from holdfast.commands.output import say
from holdfast.kernel.errors import Invalid, NotFound

if TYPE_CHECKING:
    from holdfast.client.http import HoldfastClient

URL_VARIABLE = "HOLDFAST_URL"
TOKEN_VARIABLES = ("HOLDFAST_TOKEN", "HOLDFAST_API_KEY")
FILE_MODE = 0o600
LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Context:
    """A server and the token for it."""

    name: str
    url: str
    token: str = ""


@dataclass(slots=True)
class Contexts:
    """The file's content."""

    current: str
    known: dict[str, Context]


def contexts_path() -> Path:
    """``$XDG_CONFIG_HOME/holdfast/config.toml``, ``~/.config`` by default."""
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path("~/.config").expanduser())
    return Path(home) / "holdfast" / "config.toml"


def load_contexts() -> Contexts:
    """What is stored; nothing is fine. Raises ``Invalid`` when the file cannot be read."""
    path = contexts_path()
    try:
        read: dict[str, Any] = tomllib.loads(path.read_text()) if path.exists() else {}
        known = {
            name: Context(name, str(entry["url"]), str(entry.get("token", "")))
            for name, entry in read.get("contexts", {}).items()
        }
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise Invalid(f"{path}: {error}", hint="mend or remove the file") from None
    return Contexts(str(read.get("current", "")), known)


def save_contexts(contexts: Contexts) -> None:
    """Write the file; only its owner may read it."""
    import tomlkit  # noqa: PLC0415 - only commands that write need it

    path = contexts_path()
    entries = {c.name: {"url": c.url, "token": c.token} for c in contexts.known.values()}
    text = tomlkit.dumps({"current": contexts.current, "contexts": entries})
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    part.replace(path)


def context_named(name: str) -> Context:
    """A stored context. Raises ``NotFound``."""
    known = load_contexts().known
    if name not in known:
        raise NotFound(f"context {name!r} not found", hint="holdfast context list")
    return known[name]


def chosen_context(name: str = "") -> Context:
    """The named context, else the environment's, else the current one, else this machine's."""
    url = os.environ.get(URL_VARIABLE, "")
    token = next((os.environ[v] for v in TOKEN_VARIABLES if os.environ.get(v)), "")
    if name:
        return context_named(name)
    if url:
        return Context("environment", url, token)
    stored = load_contexts()
    if stored.current:
        current = context_named(stored.current)
        return Context(current.name, current.url, token or current.token)
    return _local(token)


def is_this_machine(context: Context) -> bool:
    """Whether its server would be the one of this machine's settings, however it is written."""
    if context.name == LOCAL:
        return True
    there, here = urlsplit(context.url), urlsplit(_local("").url)
    hosts = {here.hostname, "127.0.0.1", "::1", "localhost"}
    return there.hostname in hosts and there.port == here.port


def connect(name: str = "") -> "HoldfastClient":
    """A client of the chosen server."""
    from holdfast.client.http import HoldfastClient  # noqa: PLC0415 - slow

    chosen = chosen_context(name)
    if not chosen.url.startswith(("http://", "https://")):
        raise Invalid(f"{chosen.url!r} is no address", hint="use http://host:port")
    return HoldfastClient(chosen.url, chosen.token, on_warning=_warn)


def connect_offline() -> "HoldfastClient":
    """A client that works on this machine's data without a server."""
    from holdfast.commands.offline import offline_client  # noqa: PLC0415 - slow

    say("no server runs here: working on its data directly")
    return offline_client(_warn)


def _warn(words: str) -> None:
    say(f"warning: {words}")


def _local(token: str) -> Context:
    from holdfast.kernel.config import load_settings  # noqa: PLC0415 - slow, and rarely needed

    settings = load_settings().settings
    return Context(LOCAL, settings.own_address, token or settings.api_key.get_secret_value())
