"""What a process has built at start, handed to the edges and to jobs."""

from dataclasses import dataclass, field
from typing import Any, TypeVar

from holdfast.kernel.config import LoadedSettings, Settings
from holdfast.kernel.db import Database
from holdfast.kernel.secrets import Sealer, read_or_create_secret

Part = TypeVar("Part")
PRIVATE_FILES = ("holdfast.sqlite", "jobs.sqlite")


@dataclass(slots=True)
class Services:
    """Settings, database and sealer, and one object a slice or kernel part, found by its class."""

    loaded: LoadedSettings
    database: Database
    sealer: Sealer
    _parts: dict[type, Any] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """The frozen settings."""
        return self.loaded.settings

    def add(self, part: Part) -> Part:
        """Keep ``part`` under its class, and give it back."""
        self._parts[type(part)] = part
        return part

    def get(self, kind: type[Part]) -> Part:
        """The part of this class. A missing one is a fault of ours: ``KeyError``."""
        found: Part = self._parts[kind]
        return found

    def find(self, kind: type[Part]) -> Part | None:
        """The part of this class, if this process has one."""
        return self._parts.get(kind)


def build_services(loaded: LoadedSettings) -> Services:
    """The kernel's parts; makes the data directory and the secret when absent.

    nginx's workers must pass through the directory to the routing flags, and may read nothing else
    of it, so it is made with mode 0711 and the databases in it with 0600.
    """
    settings = loaded.settings
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o711)
    for name in PRIVATE_FILES:
        (settings.data_dir / name).touch(mode=0o600)
    secret = settings.secret.get_secret_value() or read_or_create_secret(
        settings.data_dir / "secret"
    )
    return Services(loaded, Database(settings.effective_database_url), Sealer(secret))
