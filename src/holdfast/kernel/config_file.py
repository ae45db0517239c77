"""Change one setting in config.toml: checked first, comments kept, written whole or not at all."""

import os
import secrets
import tomllib
from dataclasses import dataclass
from pathlib import Path

import tomlkit
from pydantic import SecretStr
from tomlkit.exceptions import TOMLKitError

from holdfast.kernel.config import (
    PREFIX,
    SECRET_SETTINGS,
    LoadedSettings,
    Settings,
    mask_setting,
    validate_settings,
)
from holdfast.kernel.config_older import GONE_NAMES, OLD_NAMES, OLD_PREFIX
from holdfast.kernel.errors import Invalid, NotFound

KEPT_FILES = 5
"""Earlier contents of the file that are kept beside it."""
_FILE_MODE = 0o644
_SECRET_FILE_MODE = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A setting as it stands in the file now; it holds from the next start."""

    name: str
    shown: str | None
    """Its value; masked when it is a secret."""
    overridden_by: str | None
    """What hides the file's value from the server: the environment, for example."""


class UnknownSetting(NotFound):
    """No setting has this name; scripts of the older tool's users expect exit code 1 of it."""

    code, exit_code = "unknown_setting", 1


def setting_name(given: str) -> str:
    """The setting of this name: ours, an environment variable's, or the older tool's.

    Raises ``NotFound``.
    """
    name = given.removeprefix(PREFIX).removeprefix(OLD_PREFIX).lower().replace("-", "_")
    name = OLD_NAMES.get(name, name)
    if name not in Settings.model_fields:
        why = f": {GONE_NAMES[name]}" if name in GONE_NAMES else ""
        raise UnknownSetting(f"Unknown setting: {given!r}{why}", hint="holdfast config show")
    return name


def set_setting(
    loaded: LoadedSettings, given: str, value: object, *, dry_run: bool = False
) -> Changed:
    """Write one setting to the file; text is read as the setting's type, ``None`` removes it.

    Raises ``NotFound`` and ``Invalid``; then nothing was written, nor in a dry run.
    """
    name = setting_name(given)
    if name == "database_url" and given.removeprefix(OLD_PREFIX).lower() == "db_path":
        value = f"sqlite:///{Path(str(value)).absolute()}"
    path = loaded.config_file
    document = _read(path)
    if value is None:
        document.pop(name, None)
    else:
        checked = validate_settings({**document.unwrap(), name: value}, {name: "the new value"})
        document[name] = _for_toml(getattr(checked, name))
    if not dry_run:
        write_config(path, tomlkit.dumps(document))
    origin = loaded.origins.get(name, "default")
    ours = origin in ("default", str(path))
    return Changed(name=name, shown=_shown(document, name), overridden_by=None if ours else origin)


def check_config(text: str, path: Path) -> None:
    """Raises ``Invalid`` when this cannot be the content of a config.toml."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Invalid(f"{path}: {error}", hint="mend the line that is named") from None
    validate_settings(values, dict.fromkeys(values, str(path)))


def write_config(path: Path, text: str) -> None:
    """Put ``text`` in the file's place at once; with secrets in it only the owner may read it.

    What was there before is kept beside it as ``.1``, older ones as ``.2`` and so on.
    """
    values = tomllib.loads(text)
    mode = _SECRET_FILE_MODE if any(values.get(name) for name in SECRET_SETTINGS) else _FILE_MODE
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        mode &= path.stat().st_mode
        if text != (before := path.read_text(errors="surrogateescape")):
            _keep(path, before)
    _put(path, text, mode)


def _keep(path: Path, text: str) -> None:
    """Only for its owner: whoever could read the file may not read what it once held."""
    for number in range(KEPT_FILES - 1, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number + 1}"))
    _put(path.with_name(f"{path.name}.1"), text, _SECRET_FILE_MODE)


def _put(path: Path, text: str, mode: int) -> None:
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", errors="surrogateescape") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _read(path: Path) -> tomlkit.TOMLDocument:
    if not path.exists():
        return tomlkit.document()
    try:
        return tomlkit.parse(path.read_text())
    except TOMLKitError as error:
        raise Invalid(f"{path}: {error}", hint="mend the file: holdfast config edit") from None


def _for_toml(value: object) -> object:
    match value:
        case SecretStr():
            return value.get_secret_value()
        case Path():
            return str(value)
        case tuple():
            return list(value)
        case _:
            return value


def _shown(document: tomlkit.TOMLDocument, name: str) -> str | None:
    value = document.unwrap().get(name)
    if value is None or (name in SECRET_SETTINGS and not value):
        return None
    return mask_setting(str(value)) if name in SECRET_SETTINGS else str(value)
