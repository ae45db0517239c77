"""The console's own files: compressed once, and kept by browsers as long as their hash is right."""

import asyncio
import functools
import gzip
from pathlib import Path
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOR_EVER = "public, max-age=31536000, immutable"
ASK_AGAIN = "no-cache"
"""Without a hash in the address: kept, but asked for again each time."""
COMPRESSIBLE = frozenset({".css", ".js", ".json", ".map", ".svg", ".txt", ".html"})
SMALLEST_BYTES = 500


class Assets(StaticFiles):
    """Files of a directory. Those of text are compressed when first asked for, and kept so."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, or ``HTTPException`` 404."""
        response = await super().get_response(path, scope)
        if isinstance(response, FileResponse) and _wants_gzip(scope, response):
            response = await _compressed(response)
        hashed = bool(parse_qs(scope.get("query_string", b"")).get(b"v"))
        response.headers["Cache-Control"] = FOR_EVER if hashed else ASK_AGAIN
        return response


def _wants_gzip(scope: Scope, response: FileResponse) -> bool:
    headers = Headers(scope=scope)
    return (
        Path(response.path).suffix in COMPRESSIBLE
        and response.status_code == 200  # noqa: PLR2004 - HTTP
        and "range" not in headers
        and "gzip" in headers.get("accept-encoding", "")
        and int(response.headers["content-length"]) >= SMALLEST_BYTES
    )


async def _compressed(plain: FileResponse) -> Response:
    # The tag is made of time and size: another file under this name is compressed anew.
    tag = plain.headers["etag"]
    body = await asyncio.to_thread(_gzip, str(plain.path), tag)
    headers = {
        "ETag": f"W/{tag}",
        "Last-Modified": plain.headers["last-modified"],
        "Content-Encoding": "gzip",
        "Vary": "Accept-Encoding",
    }
    return Response(body, media_type=plain.media_type, headers=headers)


@functools.lru_cache(maxsize=256)
def _gzip(path: str, tag: str) -> bytes:
    del tag
    return gzip.compress(Path(path).read_bytes(), compresslevel=9, mtime=0)
