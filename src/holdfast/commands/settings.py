"""``holdfast config``: the settings of this machine, where each comes from, and their file."""

import os
import secrets
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from holdfast.commands import output
from holdfast.commands.output import Form, say
from holdfast.commands.processes import AsJson, Output
from holdfast.commands.verbs import choose_form, read_secret
from holdfast.kernel.errors import Invalid

Key = Annotated[str, typer.Argument(help="the setting's name")]
SECRET_BYTES = 32


def noun() -> typer.Typer:
    """The commands on the settings; the gateway adds those on nginx's files."""
    app = typer.Typer(
        name="config", help="Settings, and the files that nginx reads.", no_args_is_help=True
    )
    app.command("show")(show)
    app.command("get")(get)
    app.command("set")(change)
    app.command("unset")(unset)
    app.command("edit")(edit)
    app.command("generate-secret")(generate_secret)
    return app


def show(*, form: Output = Form.TABLE, as_json: AsJson = False) -> None:
    """Show every setting and where its value comes from; secrets are masked."""
    from holdfast.kernel.config import load_settings, shown_settings  # noqa: PLC0415 - slow

    choose_form(form, as_json=as_json)
    loaded = load_settings()
    rows = [
        {"setting": name, "value": value, "origin": loaded.origins[name]}
        for name, value in shown_settings(loaded).items()
    ]
    output.show(rows, ("setting", "value", "origin"))
    say(f"file: {loaded.config_file}" + ("" if loaded.config_file.exists() else " (not there)"))


def get(
    key: Key,
    *,
    reveal: Annotated[bool, typer.Option("--reveal", help="Print a secret as it is.")] = False,
    form: Output = Form.TABLE,
    as_json: AsJson = False,
) -> None:
    """Print the value of one setting; secrets are masked unless asked."""
    from holdfast.kernel.config import load_settings, shown_settings  # noqa: PLC0415 - slow
    from holdfast.kernel.config_file import setting_name  # noqa: PLC0415 - slow

    choose_form(form, as_json=as_json)
    name, loaded = setting_name(key), load_settings()
    value = shown_settings(loaded)[name]
    if reveal and hasattr(getattr(loaded.settings, name), "get_secret_value"):
        value = getattr(loaded.settings, name).get_secret_value()
    people = output.chosen() is Form.TABLE
    shown = " ".join(value) if isinstance(value, list) and people else value
    output.show(("" if shown is None else shown) if people else {name: value})


def change(
    key: Key,
    value: Annotated[
        str | None, typer.Argument(help="its value; leave it out for a secret: it is asked")
    ] = None,
) -> None:
    """Write one setting to config.toml; it holds from the next start of the server."""
    from holdfast.kernel.config import SECRET_SETTINGS, load_settings  # noqa: PLC0415 - slow
    from holdfast.kernel.config_file import set_setting, setting_name  # noqa: PLC0415 - slow

    name = setting_name(key)
    is_secret = name in SECRET_SETTINGS and not _is_old_path(key)
    if is_secret and value not in (None, "-"):
        raise Invalid(
            f"{name} is a secret, and every user of the machine can read arguments",
            hint=f"give it on stdin: holdfast config set {name} < file",
        )
    if value is None or (is_secret and value == "-"):
        value = read_secret(name)
    loaded = load_settings()
    changed = set_setting(loaded, key, value)
    say(f"{changed.name} = {changed.shown} in {loaded.config_file}; restart the server to use it")
    if changed.overridden_by:
        say(f"warning: the {changed.overridden_by} says otherwise and wins")


def unset(key: Key) -> None:
    """Take one setting out of config.toml; its default holds from the next start of the server."""
    from holdfast.kernel.config import load_settings  # noqa: PLC0415 - slow
    from holdfast.kernel.config_file import set_setting  # noqa: PLC0415 - slow

    loaded = load_settings()
    changed = set_setting(loaded, key, None)
    say(f"{changed.name} is not in {loaded.config_file}; restart the server to use its default")
    if changed.overridden_by:
        say(f"warning: the {changed.overridden_by} says otherwise and wins")


def edit() -> None:
    """Open config.toml in $EDITOR; what does not fit is not taken over."""
    from holdfast.kernel.config import load_settings  # noqa: PLC0415 - slow
    from holdfast.kernel.config_file import check_config, write_config  # noqa: PLC0415 - slow

    path = _config_path()
    before = path.read_text() if path.exists() else "# Settings: holdfast config show\n"
    after = _edited(before)
    if after == before:
        say("nothing changed")
        return
    check_config(after, path)
    write_config(path, after)
    load_settings()
    say(f"{path} written; restart the server to use it")


def generate_secret(
    *,
    store: Annotated[bool, typer.Option("--set", help="Store it in config.toml.")] = False,
) -> None:
    """Print a new sealing secret, or store it; what was sealed before needs the old one."""
    made = secrets.token_urlsafe(SECRET_BYTES)
    if not store:
        sys.stdout.write(made + "\n")
        return
    from holdfast.kernel.config import load_settings  # noqa: PLC0415 - slow
    from holdfast.kernel.config_file import set_setting  # noqa: PLC0415 - slow

    loaded = load_settings()
    present = loaded.settings.secret.get_secret_value()
    if present or (loaded.settings.data_dir / "secret").exists():
        raise Invalid(
            "there is a secret already, and what it sealed could not be read any more",
            hint="to replace it: holdfast config set secret < file, then store credentials anew",
        )
    set_setting(loaded, "secret", made)
    say(f"secret stored in {loaded.config_file}")


def _is_old_path(key: str) -> bool:
    return key.lower().endswith("db_path")


def _config_path() -> Path:
    """The file, also when its content cannot be read: that is what edit is for."""
    from holdfast.kernel.config import PREFIX, Settings, config_file_path  # noqa: PLC0415 - slow

    named = os.environ.get(PREFIX + "DATA_DIR")
    return config_file_path(Path(named) if named else Settings().data_dir)


def _edited(text: str) -> str:
    """What the person made of it. The editor needs the terminal, so it is not run by the kernel."""
    words = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    with tempfile.NamedTemporaryFile("w", prefix="holdfast-", suffix=".toml") as file:
        file.write(text)
        file.flush()
        status = os.spawnvp(os.P_WAIT, words[0], [*words, file.name])  # noqa: S606 - no shell
        if status != 0:
            raise Invalid(f"{words[0]} ended with {status}", hint="set EDITOR")
        return Path(file.name).read_text()
