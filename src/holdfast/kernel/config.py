"""Settings: one frozen object, read once at start. Flag > environment > config.toml > default.

Of two environments ours wins over the older tool's.
"""

import os
import re
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from holdfast.kernel.addresses import address_elsewhere, address_here
from holdfast.kernel.config_older import OLD_PREFIX, OLDER_ENVIRONMENT, from_older_environment
from holdfast.kernel.errors import Invalid
from holdfast.kernel.mail_address import bare_mail
from holdfast.kernel.secrets import mask

PREFIX = "HOLDFAST_"
SECRET_SETTINGS = (
    "api_key",
    "secret",
    "s3_access_key",
    "s3_secret_key",
    "database_url",
    "mail_password",
)


def _default_data_dir() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/holdfast")
    return Path(os.environ.get("XDG_DATA_HOME", "~/.local/share")).expanduser() / "holdfast"


def check_bandwidth(text: str) -> str:
    """Accept ``""`` (no limit) or a number of bytes a second with an optional K, M or G."""
    number = text.rstrip("KMGkmg")
    if text and (len(text) - len(number) > 1 or not number.replace(".", "", 1).isdigit()):
        raise ValueError("must be empty or like 800K, 50M or 1G (bytes a second)")
    return text


Bandwidth = Annotated[str, AfterValidator(check_bandwidth)]


class Settings(BaseSettings):
    """Every setting of the server. Each is read from ``HOLDFAST_<NAME>`` too."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    data_dir: Path = Field(
        default_factory=_default_data_dir, description="Where Holdfast keeps its own data."
    )
    host: str = Field("127.0.0.1", description="Address that the API listens on.")
    port: int = Field(8080, ge=0, le=65535, description="Port that the API listens on.")
    database_url: SecretStr = Field(
        SecretStr(""), description="SQLAlchemy URL; empty: SQLite in the data directory."
    )
    api_key: SecretStr = Field(
        SecretStr(""), description="An admin token given by the operator; empty: none."
    )
    secret: SecretStr = Field(
        SecretStr(""), description="Seals stored credentials; empty: made in the data directory."
    )
    public_url: str = Field(
        "",
        description="Console's address in links; empty: host (or the machine's name) and port.",
    )
    mail_server: str = Field("", description="Host of the mail server (SMTP); empty: no mail.")
    mail_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port of the mail server; 0: 587 with starttls, 465 with tls, 25 with none.",
    )
    mail_security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="How the connection to the mail server is sealed."
    )
    mail_ca_file: Path | None = Field(
        None, description="Certificates (PEM) to trust of the mail server; default: the system's."
    )
    mail_user: str = Field("", description="Login at the mail server; empty: none.")
    mail_password: SecretStr = Field(SecretStr(""), description="Password of that login.")
    mail_sender: str = Field(
        "holdfast@localhost", description="From whom mail comes, like holdfast@example.org."
    )
    mail_admin: str = Field(
        "", description="Who is told by mail of failed jobs that nobody asked for; empty: nobody."
    )
    nginx_dir: Path | None = Field(
        None, description="Generations and the live link; default: nginx in the data directory."
    )
    nginx_command: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Words of the nginx command; empty: found, with sudo unless root."
    )
    generations_kept: int = Field(50, ge=2, description="Old nginx generations kept for rollback.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe log event written."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="Form of the log; auto: console on a terminal."
    )
    session_ttl_seconds: int = Field(
        28800, ge=60, description="How long a console login lasts, in seconds."
    )
    session_idle_seconds: int = Field(
        7200, ge=300, description="A console login ends when nothing was asked for so long."
    )
    s3_access_key: SecretStr = Field(
        SecretStr(""), description="Access key for pools without credentials of their own."
    )
    s3_secret_key: SecretStr = Field(
        SecretStr(""), description="Secret key for pools without credentials of their own."
    )
    s3_region: str = Field(
        "us-east-1", description="Region for pools without credentials of their own."
    )
    s3_request_timeout_seconds: int = Field(
        3600,
        ge=1,
        description="Longest time one request to a pool may take when buckets are listed, counted, "
        "made or purged, in seconds. The copies of a migration end after a minute of silence only.",
    )
    bucket_sync_interval_seconds: int = Field(
        300, ge=0, description="Pause between bucket discoveries, in seconds; 0: never."
    )
    member_check_interval_seconds: int = Field(
        30, ge=0, description="Pause between connections to the members, in seconds; 0: never."
    )
    drift_interval_seconds: int = Field(
        60, ge=0, description="Pause between drift checks, in seconds; 0: never."
    )
    migration_max_parallel: int = Field(
        2, ge=1, le=64, description="Migrations that may run at once."
    )
    migration_bandwidth_limit: Bandwidth = Field(
        "",
        description="Bytes a second for one migration, copied or read to compare, like 50M; empty: "
        "no limit.",
    )
    migration_checkers: int = Field(
        8,
        ge=1,
        le=256,
        description="Objects that a migration with verify=hash reads and compares at once.",
    )
    migration_transfers: int = Field(
        16, ge=1, le=256, description="Objects copied at once in a migration."
    )
    migration_max_copy_passes: int = Field(
        10, ge=1, le=1000, description="Full passes a migration may take until both sides agree."
    )
    migration_max_hold_seconds: float = Field(
        5.0,
        gt=0.1,
        le=60,
        description="Longest pause of writes in one attempt at the switch, in seconds. "
        "nginx itself follows at the next change of the configuration.",
    )
    migration_probation_seconds: float = Field(
        2.0,
        ge=0,
        le=86400,
        description="How long the way back stays instant after a switch, in seconds.",
    )
    worker_concurrency: int = Field(4, ge=1, le=256, description="Jobs that run at once.")
    job_retention_days: int = Field(
        30, ge=1, description="Days that finished jobs, their logs and events are kept."
    )
    backup_dir: Path | None = Field(
        None, description="Where database backups go; default: backups in the data directory."
    )
    backup_interval_seconds: int = Field(
        300, ge=0, description="Pause between database backups, in seconds; 0: never."
    )
    backup_rotate: int = Field(3, ge=1, le=1000, description="Database backups kept.")
    dropin: Annotated[tuple[Literal["baricadr"], ...], NoDecode] = Field(
        (), description="Older tools whose clients are answered, with commas between; empty: none."
    )
    dropin_allow: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Networks like 10.1.0.0/16, with commas between, from which those clients need "
        "no login.",
    )
    dropin_port: int = Field(
        0, ge=0, le=65535, description="Another port, for those clients alone; 0: none."
    )

    @field_validator("nginx_command", mode="before")
    @classmethod
    def _split_words(cls, value: object) -> object:
        return tuple(shlex.split(value)) if isinstance(value, str) else value

    @field_validator("dropin", "dropin_allow", mode="before")
    @classmethod
    def _split_list(cls, value: object) -> object:
        return tuple(re.findall(r"[^\s,]+", value)) if isinstance(value, str) else value

    @field_validator("dropin_allow")
    @classmethod
    def _check_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(ip_network(network)) for network in value)

    @field_validator("dropin_port")
    @classmethod
    def _check_other_port(cls, value: int, known: ValidationInfo) -> int:
        if value and known.data.get("dropin") and value == known.data.get("port"):
            raise ValueError("it is the port of Holdfast itself, which would answer nothing else")
        return value

    @field_validator("mail_admin")
    @classmethod
    def _check_admin(cls, value: str) -> str:
        """A name before the address is left out; one of Apprise is taken as it is."""
        return value if not value or "://" in value else bare_mail(value.removeprefix("mailto:"))

    @property
    def public_address(self) -> str:
        """Where people reach the console, without a slash at the end."""
        return (self.public_url or address_elsewhere(self.host, self.port)).rstrip("/")

    @property
    def own_address(self) -> str:
        """Where this server can be opened from its own machine."""
        return address_here(self.host, self.port)

    @property
    def nginx_root(self) -> Path:
        """Directory of the generations and of the ``live`` link."""
        return (self.nginx_dir or self.data_dir / "nginx").absolute()

    @property
    def backup_root(self) -> Path:
        """Directory of the database backups."""
        return (self.backup_dir or self.data_dir / "backups").absolute()

    @property
    def effective_database_url(self) -> str:
        """The database's URL with the async driver named."""
        url = self.database_url.get_secret_value()
        if not url:
            return f"sqlite+aiosqlite:///{self.data_dir.absolute() / 'holdfast.sqlite'}"
        for plain, driver in (
            ("sqlite://", "sqlite+aiosqlite://"),
            ("postgresql://", "postgresql+psycopg://"),
            ("postgres://", "postgresql+psycopg://"),
        ):
            if url.startswith(plain):
                return driver + url.removeprefix(plain)
        return url

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what ``load_settings`` has gathered: it knows where each value came from."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """The settings, where each value came from, and the file that the API and CLI may change."""

    settings: Settings
    origins: Mapping[str, str]
    config_file: Path


def config_file_path(data_dir: Path) -> Path:
    """``HOLDFAST_CONFIG``, else ``/etc/holdfast/config.toml``, else one in the data directory."""
    named = os.environ.get("HOLDFAST_CONFIG")
    if named:
        return Path(named)
    system = Path("/etc/holdfast/config.toml")
    return system if system.exists() else data_dir / "config.toml"


def load_settings(flags: Mapping[str, Any] | None = None) -> LoadedSettings:
    """Read the settings of this process. Raises ``Invalid`` naming the setting and its origin."""
    given = {k: v for k, v in (flags or {}).items() if v is not None}
    data_dir = Path(
        given.get("data_dir") or os.environ.get(PREFIX + "DATA_DIR") or _default_data_dir()
    )
    path = config_file_path(data_dir)
    values: dict[str, Any] = {}
    origins: dict[str, str] = dict.fromkeys(Settings.model_fields, "default")
    layers: tuple[tuple[str, Mapping[str, Any]], ...] = (
        (str(path), _from_file(path)),
        (OLDER_ENVIRONMENT, from_older_environment()),
        ("environment", _from_environment()),
        ("file named in the environment", _from_secret_files()),
        ("credentials directory", _from_credentials_directory()),
        ("flag", given),
    )
    for origin, layer in layers:
        values |= layer
        origins |= dict.fromkeys(layer, origin)
    return LoadedSettings(validate_settings(values, origins), origins, path)


def validate_settings(
    values: Mapping[str, Any], origins: Mapping[str, str] | None = None
) -> Settings:
    """Check a whole set of values. Raises ``Invalid``; secret values are never in the message."""
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        origin = (origins or {}).get(name, "the call")
        variable = f"{PREFIX}{name.upper()}"
        if origin == OLDER_ENVIRONMENT:
            variable = f"the variable of {OLD_PREFIX}* for it"
        hint = f"see: holdfast config show, or unset {variable}"
        wrong = first["msg"].removeprefix("Value error, ")
        raise Invalid(f"setting {name!r} (from {origin}): {wrong}", hint=hint) from None


def shown_settings(loaded: LoadedSettings) -> dict[str, Any]:
    """Every setting in JSON types; secrets are masked, unset secrets are ``None``."""
    shown: dict[str, Any] = {}
    for name in Settings.model_fields:
        value = getattr(loaded.settings, name)
        if isinstance(value, SecretStr):
            text = value.get_secret_value()
            shown[name] = mask_setting(text) if text else None
        elif isinstance(value, Path):
            shown[name] = str(value)
        else:
            shown[name] = list(value) if isinstance(value, tuple) else value
    return shown


def mask_setting(text: str) -> str:
    """First four characters and four stars: tells settings apart, keeps the length hidden."""
    return mask(text)[:4] + "****"


def _from_file(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"{path}: {error}", hint="mend the file: holdfast config edit") from None


def _from_environment() -> dict[str, str]:
    return {
        n: os.environ[PREFIX + n.upper()]
        for n in Settings.model_fields
        if PREFIX + n.upper() in os.environ
    }


def _from_secret_files() -> dict[str, str]:
    found = {}
    for name in SECRET_SETTINGS:
        variable = f"{PREFIX}{name.upper()}_FILE"
        if variable in os.environ:
            found[name] = _read_secret(Path(os.environ[variable]), variable)
    return found


def _from_credentials_directory() -> dict[str, str]:
    """Systemd's ``LoadCredential=holdfast_api_key:...`` and the like."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        return {}
    paths = {name: Path(directory) / f"holdfast_{name}" for name in SECRET_SETTINGS}
    return {n: _read_secret(p, "CREDENTIALS_DIRECTORY") for n, p in paths.items() if p.exists()}


def _read_secret(path: Path, named_by: str) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise Invalid(
            f"{named_by}: cannot read {path}: {error.strerror}", hint="check the path and its mode"
        ) from None
