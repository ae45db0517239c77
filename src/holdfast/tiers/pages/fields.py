"""The fields of a tier's form."""

from collections.abc import Mapping, Sequence

from holdfast.kernel.web.console.forms import Field
from holdfast.tiers.model import Policy, Proof

_PATH = {"autocomplete": "off", "spellcheck": "false"}
_PERCENT = {"min": "0", "max": "100", "step": "any"}
_FROM_NOUGHT = {"min": "0", "step": "any"}
_WHOLE = {"min": "0"}
_LEAVING, _PULLED, _ITSELF, _RULES = "What may leave", "What is pulled", "By itself", "Rules"


def tier_fields(
    stores: Sequence[tuple[str, str]], lines: Sequence[int], *, is_new: bool
) -> Sequence[Field]:
    """All fields; ``lines``: the numbers of its rules."""
    rules = [field for place, line in enumerate(lines, 1) for field in _rule(line, place)]
    return (*_what(stores, is_new=is_new), *_leaves(), *_on_its_own(), *rules, *_more(stores))


def _what(stores: Sequence[tuple[str, str]], *, is_new: bool) -> Sequence[Field]:
    return (
        Field(
            name="name",
            label="Name",
            required=True,
            option="-" if is_new else "",
            help="Letters, digits, dot, dash and underscore.",
            attributes={"maxlength": "63", **_PATH},
        ),
        Field(
            name="path",
            label="Folder",
            required=True,
            option="-" if is_new else "",
            help="Its absolute path on this machine. It must be there already.",
            attributes={"placeholder": "/srv/data", **_PATH},
        ),
        Field(
            name="store_id",
            label="Store that has all of it",
            kind="select" if stores else "number",
            options=[("", "choose one"), *stores] if is_new and len(stores) > 1 else stores,
            required=True,
            option="store",
        ),
        Field(
            name="prefix",
            label="Folder of the store where it begins",
            help="Empty: at the store's own root.",
            attributes=_PATH,
        ),
        Field(name="description", label="Comment", help="Whatever helps the next person."),
    )


def _leaves() -> Sequence[Field]:
    return (
        Field(name="freezable", label="Files may leave", kind="checkbox", group=_LEAVING),
        Field(
            name="age_days",
            label="After so many days unread",
            kind="number",
            value=180,
            required=True,
            group=_LEAVING,
            attributes={"min": "0", "max": "36500"},
        ),
        Field(
            name="min_size_bytes",
            label="Smallest size, in bytes",
            kind="number",
            value=0,
            required=True,
            help="Smaller files stay. 1048576 is 1 MiB.",
            attributes=_WHOLE,
            group=_LEAVING,
        ),
        Field(
            name="filters",
            label="Filters",
            kind="textarea",
            option="filter",
            help="rclone's rules, one a line, the first that matches counts: - *.tmp. "
            "What they exclude is neither pulled nor frozen.",
            attributes={"rows": "3", "data-lines": "whole"},
            group=_LEAVING,
        ),
    )


def _on_its_own() -> Sequence[Field]:
    return (
        Field(
            name="auto_freeze_cron",
            label="Freeze by itself at",
            help="Minute, hour, day, month, weekday: 0 3 * * 1 is every Monday at 03:00.",
            attributes={"placeholder": "0 3 * * *", **_PATH},
            group=_ITSELF,
        ),
        Field(
            name="space_high_percent",
            label="Make room from this use of the disk on, in percent",
            kind="number",
            clears=True,
            attributes=_PERCENT,
            group=_ITSELF,
        ),
        Field(
            name="space_low_percent",
            label="Until it is below, in percent",
            kind="number",
            clears=True,
            attributes=_PERCENT,
            group=_ITSELF,
        ),
    )


def _rule(line: int, place: int) -> Sequence[Field]:
    name = f"rules.{line}"
    return (
        Field(
            name=f"{name}.pattern",
            label=f"Rule {place}: paths like",
            help="As in rclone's filters: /reference/**. The first rule that matches counts."
            if place == 1
            else "",
            attributes=_PATH,
            group=_RULES,
        ),
        Field(
            name=f"{name}.policy",
            label=f"Rule {place}: then",
            kind="select",
            options=(
                ("", "no rule"),
                (Policy.PIN.value, "it never leaves"),
                (Policy.FREEZE_AFTER.value, "it leaves after another age"),
            ),
            group=_RULES,
        ),
        Field(
            name=f"{name}.age_days",
            label=f"Rule {place}: that age, in days",
            kind="number",
            attributes=_WHOLE,
            group=_RULES,
        ),
    )


def _more(stores: Sequence[tuple[str, str]]) -> Sequence[Field]:
    return (
        Field(
            name="proof",
            label="Proof that the store has the same bytes",
            kind="select",
            value=Proof.HASH.value,
            required=True,
            options=(
                (Proof.HASH.value, "by hash; what has none there stays"),
                (Proof.COMPARE.value, "by hash, else by reading it there"),
            ),
            advanced=True,
        ),
        _number("undo_hours", "A freeze can be undone for, in hours", 24, _FROM_NOUGHT),
        _number("grace_hours", "What was pulled stays for, in hours", 24, _FROM_NOUGHT),
        _number(
            "max_files_percent",
            "Largest share of files that one freeze takes, in percent",
            50,
            _PERCENT,
        ),
        _number(
            "max_bytes_percent",
            "Largest share of bytes that one freeze takes, in percent",
            50,
            _PERCENT,
        ),
        Field(
            name="allow_noatime",
            label="Freeze although the disk keeps no times of reading",
            kind="checkbox",
            advanced=True,
        ),
        Field(
            name="second_store_id",
            label="Another store that must have the same bytes",
            kind="select" if stores else "number",
            options=[("", "none"), *stores] if stores else (),
            option="second-store",
            clears=True,
            advanced=True,
        ),
        Field(
            name="second_prefix",
            label="Folder of that store where it begins",
            attributes=_PATH,
            advanced=True,
        ),
        Field(
            name="uid",
            label="Owner of what is pulled, as a number",
            kind="number",
            clears=True,
            attributes=_WHOLE,
            advanced=True,
        ),
        Field(
            name="gid",
            label="Group of what is pulled, as a number",
            kind="number",
            clears=True,
            attributes=_WHOLE,
            advanced=True,
        ),
        Field(
            name="bandwidth",
            label="Bandwidth of a pull",
            help="Bytes a second, like 50M. Empty: any.",
            advanced=True,
        ),
        Field(
            name="auto_freeze_timezone",
            label="Time zone of the schedule",
            value="UTC",
            required=True,
            advanced=True,
        ),
    )


def _number(name: str, label: str, value: int, attributes: Mapping[str, str]) -> Field:
    return Field(
        name=name,
        label=label,
        kind="number",
        value=value,
        required=True,
        attributes=attributes,
        advanced=True,
    )
