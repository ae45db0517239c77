"""AWS Signature Version 4 for S3: headers and presigned URLs.

The signing key lives for a day and the time stamp for a second, so a signature costs two hashes.
"""

import hashlib
import hmac
import time
from collections.abc import Mapping
from urllib.parse import quote

UNSIGNED = "UNSIGNED-PAYLOAD"
ALGORITHM = "AWS4-HMAC-SHA256"


def quote_path(bucket: str, key: str = "") -> str:
    """The raw path of a bucket or an object; ``a/../b`` and ``//`` stay what they are."""
    path = "/" + quote(bucket, safe="-_.~")
    return f"{path}/{quote(key, safe='/-_.~')}" if key else path


def canonical_query(pairs: Mapping[str, str]) -> str:
    """The query in the order and the encoding that both the signature and the wire use."""
    encoded = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in pairs.items()
    )
    return "&".join(f"{name}={value}" for name, value in encoded)


class Signer:
    """Signs requests with one pair of keys for one region."""

    def __init__(self, access_key: str, secret_key: str, region: str, host: str) -> None:
        """``host``: as it is sent, with its port unless that is the scheme's default."""
        self._access_key = access_key
        self._secret = secret_key
        self._region = region
        self._host = host
        self._second = -1
        self._stamp = ""
        self._day = ""
        self._scope = ""
        self._key = b""

    def __repr__(self) -> str:
        return f"Signer(host={self._host!r})"

    def headers(
        self,
        method: str,
        path: str,
        query: str,
        extra: Mapping[str, str],
        *,
        payload: str = UNSIGNED,
    ) -> dict[str, str]:
        """``extra`` (names in lower case) with what makes the request a signed one."""
        self._tick()
        amz = {name: value for name, value in extra.items() if name.startswith("x-amz-")}
        amz["host"] = self._host
        amz["x-amz-content-sha256"] = payload
        amz["x-amz-date"] = self._stamp
        names = sorted(amz)
        lines = "".join(f"{name}:{' '.join(amz[name].split())}\n" for name in names)
        signed = ";".join(names)
        signature = self._sign(f"{method}\n{path}\n{query}\n{lines}\n{signed}\n{payload}")
        return {
            **extra,
            "host": self._host,
            "x-amz-content-sha256": payload,
            "x-amz-date": self._stamp,
            "authorization": f"{ALGORITHM} Credential={self._access_key}/{self._scope}, "
            f"SignedHeaders={signed}, Signature={signature}",
        }

    def presigned_query(self, method: str, path: str, *, expires_seconds: int) -> str:
        """The query that lets whoever has it do ``method`` on ``path`` for a while."""
        self._tick()
        query = canonical_query(
            {
                "X-Amz-Algorithm": ALGORITHM,
                "X-Amz-Credential": f"{self._access_key}/{self._scope}",
                "X-Amz-Date": self._stamp,
                "X-Amz-Expires": str(expires_seconds),
                "X-Amz-SignedHeaders": "host",
            }
        )
        signature = self._sign(f"{method}\n{path}\n{query}\nhost:{self._host}\n\nhost\n{UNSIGNED}")
        return f"{query}&X-Amz-Signature={signature}"

    def _sign(self, canonical_request: str) -> str:
        digest = hashlib.sha256(canonical_request.encode()).hexdigest()
        text = f"{ALGORITHM}\n{self._stamp}\n{self._scope}\n{digest}"
        return hmac.digest(self._key, text.encode(), "sha256").hex()

    def _tick(self) -> None:
        now = int(time.time())
        if now == self._second:
            return
        self._second = now
        self._stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        if self._stamp[:8] != self._day:
            self._day = self._stamp[:8]
            self._scope = f"{self._day}/{self._region}/s3/aws4_request"
            key = f"AWS4{self._secret}".encode()
            for word in (self._day, self._region, "s3", "aws4_request"):
                key = hmac.digest(key, word.encode(), "sha256")
            self._key = key
