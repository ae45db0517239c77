"""The file in which baricadr names its repositories, read into what stores and tiers are made of.

No value of it is repeated in a complaint but paths, globs and numbers: it has passwords in it.
"""

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import yaml

from holdfast.dropin.intervals import cron_of
from holdfast.kernel.errors import AppError, Invalid
from holdfast.tiers.filters import Filters
from holdfast.tiers.model import TierOptions

LARGEST_FILE = 1024 * 1024
DAYS = range(2, 10_001)
IDS = range(65_537)
DEFAULT_AGE = 180
_NAME = re.compile(r"[A-Za-z0-9._~/-]{1,100}")
DEFAULT_INTERVAL = 7
BACKENDS = {
    "sftp": ("url", "user", "password"),
    "s3": ("provider", "endpoint", "path", "access_key_id", "secret_access_key"),
}
COMMON = frozenset(
    {
        "backend",
        "exclude",
        "freezable",
        "freeze_age",
        "auto_freeze",
        "auto_freeze_interval",
        "chown_uid",
        "chown_gid",
        "disable_atime_test",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOf:
    """Where a repository's files are: equal ones are one store. Never log it."""

    kind: str
    root: str
    options: tuple[tuple[str, str], ...] = field(repr=False)
    label: str
    """What to name it after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """One of the file, as a tier."""

    path: str
    store: StoreOf
    prefix: str
    options: TierOptions
    notes: tuple[str, ...] = ()
    """What is not quite as it was."""


@dataclass(frozen=True, slots=True)
class Repositories:
    """All of a file, and what is wrong with it."""

    found: list[Repository]
    problems: list[str]


def read_repositories(text: str) -> Repositories:
    """Read a file. Raises ``Invalid`` when it names no repositories at all."""
    try:
        given = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe one
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise Invalid(f"{place}this is not YAML", hint="mend the file") from None
    except (yaml.YAMLError, RecursionError, ValueError, LookupError, TypeError, AttributeError):
        raise Invalid("this is not YAML", hint="mend the file") from None
    if not isinstance(given, dict) or not given:
        raise Invalid("Malformed repository definition: no path with its options is in the file")
    repositories = Repositories([], [])
    for path, options in given.items():
        try:
            repositories.found.append(_repository(path, options))
        except AppError as error:
            repositories.problems.append(f"{_shown(path, 'a path')}: {error.message}")
    return repositories


class _Loader(yaml.SafeLoader):
    """Refuses a name that stands twice, of which others would take the last.

    What stands for something else is not followed: a few lines of it can stand for gigabytes.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """The next node. Raises ``Invalid``."""
        event = self.peek_event()  # type: ignore[no-untyped-call]  # its stubs say nothing
        if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None) is not None:
            raise Invalid(
                f"line {event.start_mark.line + 1}: a name for other text (*) or a tag (!) is not "
                "taken over",
                hint="write out what is meant",
            )
        return super().compose_node(parent, index)

    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT001, FBT002 - as inherited
    ) -> dict[Hashable, Any]:
        """A mapping. Raises ``Invalid``."""
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = sorted(name for name, times in Counter(names).items() if times > 1)
        if "<<" in names:
            raise Invalid(f"line {node.start_mark.line + 1}: << is not taken over: write it out")
        if twice:
            raise Invalid(
                f"line {node.start_mark.line + 1}: {_shown(twice[0], 'one')} stands there twice"
            )
        return super().construct_mapping(node, deep=deep)


def _repository(path: object, given: object) -> Repository:
    if not isinstance(path, str) or not path.startswith("/"):
        raise Invalid("the path is not absolute")
    if ".." in path.split("/"):
        raise Invalid("the path has .. in it: write out where it leads")
    if not isinstance(given, Mapping) or "backend" not in given:
        raise Invalid("Malformed repository definition, missing backend")
    backend = given["backend"]
    if not isinstance(backend, str) or backend not in BACKENDS:
        raise Invalid("there is no such backend: it is sftp or s3")
    fields = BACKENDS[backend]
    unknown = sorted(_shown(name) for name in given if name not in {*COMMON, *fields})
    if unknown:
        raise Invalid(f"unknown option {', '.join(unknown)}: mend it, or take it out")
    texts = {name: _text(given, name) for name in fields}
    store, prefix = (_sftp if backend == "sftp" else _s3)(texts)
    options, notes = _options(PurePosixPath(path), given)
    return Repository(path=path, store=store, prefix=prefix, options=options, notes=tuple(notes))


def _shown(name: object, what: str = "") -> str:
    """A name of the file; ``password:secret`` without a space after the colon is one too."""
    if not isinstance(name, str):
        return f"{what} that is no text".strip()
    return (
        name if name.startswith("/") or _NAME.fullmatch(name) else f"{what} that is no name".strip()
    )


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if value is None or value == "":
        raise Invalid(f"Missing {name!r} in backend config")
    if not isinstance(value, str):
        raise Invalid(f"{name} is not a text: put it in quotes")
    return value


def _sftp(texts: Mapping[str, str]) -> tuple[StoreOf, str]:
    host, colon, folder = texts["url"].partition(":")
    if not colon:
        raise Invalid("url has no colon: it is host:folder")
    if ":" in folder:
        raise Invalid("url has a second colon: only host:folder can be taken over, without a port")
    if not host or "@" in host or folder.startswith("//"):
        raise Invalid("url is no host:folder; its user is in the option user")
    options = {"host": host, "user": texts["user"], "pass": texts["password"]}
    root = "/" if folder.startswith("/") else ""
    return _store("sftp", root, options, host), folder.strip("/")


def _s3(texts: Mapping[str, str]) -> tuple[StoreOf, str]:
    bucket, slash, folder = texts["path"].lstrip("/").partition("/")
    if "//" in texts["path"]:
        raise Invalid("path has two slashes in a row, so keys had a folder without a name")
    if not slash or (folder and not folder.endswith("/")):
        raise Invalid(
            "path does not end with a slash, so names were glued to its last part: "
            "put one there if its files lie in that folder"
        )
    names = ("provider", "endpoint", "access_key_id", "secret_access_key")
    return _store("s3", bucket, {name: texts[name] for name in names}, bucket), folder.strip("/")


def _store(kind: str, root: str, options: Mapping[str, str], label: str) -> StoreOf:
    return StoreOf(kind=kind, root=root, options=tuple(options.items()), label=f"{kind}-{label}")


def _options(root: PurePosixPath, given: Mapping[str, Any]) -> tuple[TierOptions, list[str]]:
    notes: list[str] = []
    freezable, automatic = _truth(given, "freezable"), _truth(given, "auto_freeze")
    if automatic and not freezable:
        raise Invalid("auto_freeze without freezable: it never froze anything")
    cron = ""
    if automatic:
        days = _number(given, "auto_freeze_interval", DAYS, DEFAULT_INTERVAL)
        cron, note = cron_of(days or DEFAULT_INTERVAL)
        notes += [note] if note else []
    elif given.get("auto_freeze_interval") is not None:
        _number(given, "auto_freeze_interval", DAYS, DEFAULT_INTERVAL)
    age = _number(given, "freeze_age", DAYS, DEFAULT_AGE)
    options = TierOptions(
        filters=tuple(_filters(root, given.get("exclude"), notes.append)),
        freezable=freezable,
        age_days=DEFAULT_AGE if age is None else age,
        uid=_number(given, "chown_uid", IDS, None),
        gid=_number(given, "chown_gid", IDS, None),
        allow_noatime=_truth(given, "disable_atime_test"),
        auto_freeze_cron=cron,
    )
    return options, notes


def _truth(given: Mapping[str, Any], name: str) -> bool:
    value = given.get(name)
    if value is not None and not isinstance(value, bool):
        raise Invalid(f"{name} is neither true nor false")
    return bool(value)


def _number(given: Mapping[str, Any], name: str, allowed: range, default: int | None) -> int | None:
    value = given.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
        raise Invalid(f"{name} is not a number from {allowed.start} to {allowed.stop - 1}")
    return value


def _filters(root: PurePosixPath, exclude: object, note: Callable[[str], None]) -> Iterator[str]:
    """Each glob as ``rclone --exclude`` takes it; one of full local paths begins at the root."""
    if exclude is None:
        return
    if not isinstance(exclude, str):
        raise Invalid("exclude is not one text with commas between its globs")
    for glob in filter(None, (each.strip() for each in exclude.split(","))):
        rule = f"- {glob}"
        if glob.startswith(f"{root}/"):  # only freezing knew these, and its stars crossed slashes
            rule = f"- {re.sub(r'[*]+', '**', glob.removeprefix(str(root)))}"
        elif "/" in glob:
            note(f"exclude {glob}: as a pull took it, now for freezing too")
        Filters([rule])
        yield rule
