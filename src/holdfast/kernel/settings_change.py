"""Change a setting from the running server: written to the file, and told in the audit."""

import asyncio
import tomllib
from collections.abc import Mapping
from typing import Any

from holdfast.kernel.config import LoadedSettings, Settings, shown_settings, validate_settings
from holdfast.kernel.config_file import Changed, set_setting, setting_name
from holdfast.kernel.errors import Invalid
from holdfast.kernel.work import Work


async def change_setting(
    work: Work, loaded: LoadedSettings, given: str, value: object | None
) -> Changed:
    """Write one setting to config.toml, or take it out with ``None``; it holds from the next start.

    Raises ``NotFound``, ``Invalid``; then nothing was written, nor in a dry run. Secrets are masked
    in the audit.
    """
    name = setting_name(given)
    before = shown_file(loaded).get(name)
    changed = await asyncio.to_thread(set_setting, loaded, given, value, dry_run=work.dry_run)
    after = {"value": changed.shown}
    work.audit("set", "setting", name, before={"value": before}, after=after)
    return changed


def file_settings(loaded: LoadedSettings) -> Mapping[str, Any]:
    """What the settings file holds now. Raises ``Invalid`` when it cannot be read."""
    path = loaded.config_file
    if not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise Invalid(f"{path}: {error}", hint="mend the file: holdfast config edit") from None


def shown_file(loaded: LoadedSettings) -> dict[str, Any]:
    """The settings of the file in JSON types; secrets are masked. Raises ``Invalid``."""
    values = file_settings(loaded)
    checked = validate_settings(values, dict.fromkeys(values, str(loaded.config_file)))
    shown = shown_settings(LoadedSettings(checked, {}, loaded.config_file))
    return {name: shown[name] for name in values if name in shown}


def waiting_settings(loaded: LoadedSettings) -> dict[str, Any]:
    """Settings that the next start changes, with their value then; secrets are masked.

    Raises ``Invalid`` when the next start could not read the file.
    """
    values, ours = file_settings(loaded), {"default", str(loaded.config_file)}
    checked = validate_settings(values, dict.fromkeys(values, str(loaded.config_file)))
    then = shown_settings(LoadedSettings(checked, {}, loaded.config_file))
    found = {}
    for name in Settings.model_fields:
        origin = loaded.origins.get(name, "default")
        if origin not in ours or (name not in values and origin == "default"):
            continue
        if getattr(checked, name) != getattr(loaded.settings, name):
            found[name] = then[name]
    return found
