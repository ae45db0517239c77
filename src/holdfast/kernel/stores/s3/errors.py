"""What an S3 server refuses, as one of our errors: its code and status, never its body."""

import re

from holdfast.kernel.errors import BadGateway, Unavailable

_CODE = re.compile(r"[A-Za-z0-9.]{1,64}")

_HINTS = {
    "InvalidAccessKeyId": "the server does not know this access key: check the credentials",
    "SignatureDoesNotMatch": "check the secret key, the region, and both clocks",
    "AccessDenied": "the credentials may not do this on the server",
    "RequestTimeTooSkewed": "the clocks of this machine and the server differ too much",
    "NoSuchBucket": "the bucket is not on this server",
}


_LASTING_STATUS = frozenset({400, 401, 403, 405, 411, 413, 414, 501, 505})
_PASSING_CODES = frozenset(
    {
        "BadDigest",
        "IncompleteBody",
        "RequestTimeout",
        "RequestTimeTooSkewed",
        "XAmzContentSHA256Mismatch",
    }
)
"""Codes of a request that came broken or late: the next one may be fine."""


class S3Error(BadGateway):
    """An S3 server answered with an error. ``retryable``: the same request may succeed later."""

    def __init__(self, what: str, *, status: int, s3_code: str = "") -> None:
        """``what``: method and place; ``status``: of HTTP; ``s3_code``: such as NoSuchKey."""
        self.status = status
        self.s3_code = s3_code if _CODE.fullmatch(s3_code) else ""
        self.retryable = status not in _LASTING_STATUS or self.s3_code in _PASSING_CODES
        super().__init__(
            f"{what} failed: {self.s3_code or 'HTTP'} ({status})", hint=_HINTS.get(self.s3_code, "")
        )

    @property
    def is_missing(self) -> bool:
        """Whether the object, upload or bucket is not there."""
        return self.status == 404  # noqa: PLR2004 HTTP's not found


class S3Unreachable(Unavailable):
    """No answer came: refused, reset, cut off, or too slow.

    ``maybe_done``: the server may have carried out the request all the same. ``cut_off``: an answer
    began and did not come to its end.
    """

    def __init__(self, what: str, reason: str, *, maybe_done: bool, cut_off: bool = False) -> None:
        """``what``: method and place; ``reason``: the kind of failure."""
        self.maybe_done = maybe_done
        self.cut_off = cut_off
        super().__init__(f"{what}: {reason}", hint="is the server running and reachable from here?")
