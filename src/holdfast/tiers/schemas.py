"""What crosses the border when somebody makes a tier, or asks something of one."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from holdfast.kernel.config import Bandwidth
from holdfast.kernel.errors import Invalid
from holdfast.tiers.model import PathRule, Policy, Proof, TierOptions
from holdfast.tiers.names import from_text
from holdfast.tiers.service.draft import TierDraft

LONGEST_AGE_DAYS = 36_500
MOST_ADDRESSES = 20
LARGEST_ID = 2**31 - 1
RowId = Annotated[int, Field(ge=-(2**31), le=LARGEST_ID)]
Percent = Annotated[float, Field(ge=0, le=100)]
Hours = Annotated[float, Field(ge=0, le=10 * 366 * 24)]
AgeDays = Annotated[int, Field(ge=0, le=LONGEST_AGE_DAYS)]
Words = Annotated[str, Field(max_length=4096)]
Address = Annotated[str, Field(max_length=2048)]
OwnerId = Annotated[int, Field(ge=0, le=2**32 - 2)]


def absolute_path(text: str) -> bytes:
    """The bytes of an absolute path in text form. Raises ``Invalid``."""
    if not text.startswith("/"):
        raise Invalid(f"{text!r} is no absolute path", hint="begin with a slash")
    parts = [part for part in text.split("/") if part not in {"", "."}]
    return b"/" + from_text("/".join(parts))


def _readable(text: str) -> str:
    """An absolute path in text form. Raises ``ValueError``."""
    try:
        absolute_path(text)
    except Invalid as error:
        raise ValueError(error.message) from None
    return text


PathText = Annotated[str, Field(max_length=16_384), AfterValidator(_readable)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RuleIn(_Body):
    """A rule for paths; the first that matches counts."""

    pattern: Annotated[str, Field(min_length=1, max_length=4096)] = Field(
        description="as in rclone's filters, relative to the tier's root"
    )
    policy: Policy
    age_days: AgeDays | None = Field(None, description="for freeze_after")

    def rule(self) -> PathRule:
        """As the model takes it."""
        return PathRule(pattern=self.pattern, policy=self.policy, age_days=self.age_days)


class OptionsIn(_Body):
    """How a tier is kept."""

    filters: Annotated[list[Words], Field(max_length=1000)] = Field(
        default_factory=list, description="rclone's filter rules (- *.tmp), for pull and freeze"
    )
    freezable: bool = False
    age_days: AgeDays = 180
    min_size_bytes: Annotated[int, Field(ge=0, le=2**62)] = 0
    rules: Annotated[list[RuleIn], Field(max_length=1000)] = Field(default_factory=list)
    uid: OwnerId | None = Field(None, description="owner of what is pulled")
    gid: OwnerId | None = Field(None, description="group of what is pulled")
    bandwidth: Bandwidth = Field("", description="bytes a second of a pull, like 50M; empty: any")
    grace_hours: Hours = Field(24.0, description="what was pulled stays so long")
    undo_hours: Hours = Field(24.0, description="how long what was frozen can be brought back")
    proof: Proof = Proof.HASH
    max_files_percent: Percent = 50.0
    max_bytes_percent: Percent = 50.0
    allow_noatime: bool = False
    space_high_percent: Percent | None = None
    space_low_percent: Percent | None = None
    auto_freeze_cron: Annotated[str, Field(max_length=200)] = ""
    auto_freeze_timezone: Annotated[str, Field(max_length=200)] = "UTC"


class TierIn(OptionsIn):
    """A tier to be made."""

    name: Annotated[str, Field(max_length=63)]
    path: PathText = Field(description="its root, an absolute path, in text form")
    store_id: RowId
    prefix: Words = Field("", description="where in the store the tree begins")
    second_store_id: RowId | None = Field(
        None, description="another store that must have the same bytes before a file leaves"
    )
    second_prefix: Words = ""
    description: Words = ""

    def draft(self) -> TierDraft:
        """As the service takes it."""
        given = fields_of(self, exclude_unset=False)
        own = {name: given.pop(name) for name in _OWN_FIELDS}
        return TierDraft(**own, options=TierOptions(**given))


class TierChange(_Body):
    """What to change of a tier; what is not given stays."""

    name: Annotated[str, Field(max_length=63)] | None = None
    path: PathText | None = None
    store_id: RowId | None = None
    prefix: Words | None = None
    second_store_id: RowId | None = None
    second_prefix: Words | None = None
    description: Words | None = None
    filters: Annotated[list[Words], Field(max_length=1000)] | None = None
    freezable: bool | None = None
    age_days: AgeDays | None = None
    min_size_bytes: Annotated[int, Field(ge=0, le=2**62)] | None = None
    rules: Annotated[list[RuleIn], Field(max_length=1000)] | None = None
    uid: OwnerId | None = None
    gid: OwnerId | None = None
    bandwidth: Bandwidth | None = None
    grace_hours: Hours | None = None
    undo_hours: Hours | None = None
    proof: Proof | None = None
    max_files_percent: Percent | None = None
    max_bytes_percent: Percent | None = None
    allow_noatime: bool | None = None
    space_high_percent: Percent | None = None
    space_low_percent: Percent | None = None
    auto_freeze_cron: Annotated[str, Field(max_length=200)] | None = None
    auto_freeze_timezone: Annotated[str, Field(max_length=200)] | None = None

    def given(self) -> dict[str, Any]:
        """The fields that were given; null is a value only where a tier may have none."""
        found = fields_of(self, exclude_unset=True)
        return {name: v for name, v in found.items() if v is not None or name in _MAY_BE_NONE}


class TellIn(_Body):
    """Who is told of the end of what is asked for."""

    notify: Annotated[list[Address], Field(max_length=MOST_ADDRESSES)] = Field(
        default_factory=list, description="e-mail or Apprise addresses to tell when it has ended"
    )


class VerifyIn(TellIn):
    """What of a tier is compared."""

    paths: Annotated[list[PathText], Field(max_length=1000)] = Field(
        default_factory=list, description="absolute, in text form, all of it; none: the whole tier"
    )

    def absolute(self) -> list[bytes]:
        """The paths as bytes."""
        return [absolute_path(text) for text in self.paths]


class ReportIn(TellIn):
    """What of a tier is reported."""

    path: PathText | None = Field(
        default=None, description="a folder of it, absolute, in text form; null: the whole tier"
    )

    def absolute(self) -> list[bytes]:
        """The path as bytes; none of them: the whole tier."""
        return [] if self.path is None else [absolute_path(self.path)]


class AskIn(TellIn):
    """Paths that something is asked for."""

    paths: Annotated[list[PathText], Field(min_length=1, max_length=1000)] = Field(
        description="absolute, in text form, all of one tier"
    )
    dry_run: bool = Field(
        default=False, description="say what would be done, and why not, and do nothing"
    )
    tier: RowId | None = Field(None, description="the tier that they must lie in")

    def absolute(self) -> list[bytes]:
        """The paths as bytes."""
        return [absolute_path(text) for text in self.paths]


class FreezeIn(AskIn):
    """Paths that shall be frozen."""

    confirm: bool = Field(
        default=False, description="go on although more would leave than the tier's limits allow"
    )


_OWN_FIELDS = tuple(name for name in TierIn.model_fields if name not in OptionsIn.model_fields)
_MAY_BE_NONE = {
    "second_store_id",
    "uid",
    "gid",
    "space_high_percent",
    "space_low_percent",
}


def fields_of(body: TierIn | TierChange, *, exclude_unset: bool) -> dict[str, Any]:
    """The fields of a body as the model takes them."""
    given = {
        name: getattr(body, name)
        for name in type(body).model_fields
        if not exclude_unset or name in body.model_fields_set
    }
    if given.get("path") is not None:
        given["path"] = absolute_path(given["path"])
    if given.get("filters") is not None:
        given["filters"] = tuple(rule for rule in given["filters"] if rule.strip())
    if given.get("rules") is not None:
        given["rules"] = tuple(rule.rule() for rule in given["rules"])
    return given
