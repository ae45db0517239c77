"""What an S3 server tells about objects, uploads and parts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime

KEPT_HEADERS = (
    "content-type",
    "cache-control",
    "content-encoding",
    "content-disposition",
    "content-language",
    "expires",
    "x-amz-website-redirect-location",
)
"""Headers that belong to an object and are given back with it; ``x-amz-meta-*`` comes on top."""


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object as a listing shows it; ``etag`` without quotes, empty when the server has none."""

    key: str
    etag: str
    size_bytes: int
    modified: int = 0
    """Unix time in seconds of the last change, 0 when the server does not tell."""


@dataclass(frozen=True, slots=True)
class ListPage:
    """One answer of a listing."""

    objects: list[ListedObject]
    folders: list[str]
    next_token: str


@dataclass(frozen=True, slots=True)
class ObjectHead:
    """What a server tells about an object without its content."""

    etag: str
    """Without quotes."""
    size_bytes: int
    """Of the whole object, also when a range was asked for."""
    headers: dict[str, str]
    """The headers to give again to keep the object as it is (lower case names)."""
    modified: int = 0
    """Unix time in seconds of the last change, 0 when the server does not tell."""
    part_count: int = 0
    """Number of parts, when the server tells (``partNumber`` was asked for and understood)."""
    body_bytes: int = 0
    """Length of what is, or would be, in the answer's body."""
    has_tags: bool = False
    """What the server tells: many have no tags, and tell nothing."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart upload that was begun and not ended."""

    key: str
    upload_id: str


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an upload; ``etag`` without quotes."""

    number: int
    etag: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class BucketTotals:
    """How much is in a bucket."""

    objects: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """A small answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)

    @property
    def etag(self) -> str:
        """The ETag without its quotes, empty when there is none."""
        return bare_etag(self.headers.get("ETag", ""))


def bare_etag(text: str) -> str:
    """An ETag without quotes (and without the mark of a weak one)."""
    return text.removeprefix("W/").strip('"')


def listing_time(text: str) -> int:
    """Unix time in seconds of a time as listings write it, 0 when it is none."""
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except ValueError:
        return 0


def _http_time(text: str) -> int:
    try:
        return int(parsedate_to_datetime(text).timestamp()) if text else 0
    except ValueError:
        return 0


def head_of(headers: Mapping[str, str]) -> ObjectHead:
    """Read the headers of a GET or a HEAD; raises ``ValueError`` for what cannot be sent again."""
    length = int(headers.get("Content-Length") or 0)
    _, _, total = headers.get("Content-Range", "").rpartition("/")
    kept = {name: headers[name] for name in KEPT_HEADERS if name in headers}
    for name, value in headers.items():
        low = name.lower()
        if low.startswith("x-amz-meta-"):
            kept[low] = value
    for value in kept.values():
        if not value.isascii():
            value.encode()  # bytes that are not UTF-8 came in as surrogates, and cannot go out
    return ObjectHead(
        etag=bare_etag(headers.get("ETag", "")),
        size_bytes=int(total) if total.isdigit() else length,
        headers=kept,
        modified=_http_time(headers.get("Last-Modified", "")),
        part_count=int(headers.get("x-amz-mp-parts-count") or 0),
        body_bytes=length,
        has_tags=headers.get("x-amz-tagging-count", "0") != "0",
    )
