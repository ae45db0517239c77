"""Buckets and listings."""

from collections.abc import AsyncIterator, Callable
from urllib.parse import unquote_plus

from holdfast.kernel.errors import BadGateway
from holdfast.kernel.stores.s3.errors import S3Error
from holdfast.kernel.stores.s3.model import (
    BucketTotals,
    ListedObject,
    ListPage,
    bare_etag,
    listing_time,
)
from holdfast.kernel.stores.s3.signing import quote_path
from holdfast.kernel.stores.s3.transport import S3Transport
from holdfast.kernel.stores.s3.xml import Document, Record, read_xml

PAGE_KEYS = 1000
_BUCKET_DEPTH = 3


class BucketCalls(S3Transport):
    """What is asked of a whole bucket."""

    async def list_buckets(self) -> list[str]:
        """The names of all buckets that these credentials see."""
        reply = await self.call("GET", "/")
        document = read_xml(reply.body, record_depth=_BUCKET_DEPTH)
        return [
            record["Name"]
            for name, record in document.records
            if name == "Bucket" and "Name" in record
        ]

    async def create_bucket(self, bucket: str) -> bool:
        """Create a bucket; false when these credentials own it already."""
        try:
            await self.call("PUT", quote_path(bucket))
        except S3Error as error:
            # Some servers do not tell "it is yours" from "it is somebody's": looking at it does.
            taken = error.s3_code in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}
            if taken and await self.head_bucket(bucket):
                return False
            raise
        return True

    async def head_bucket(self, bucket: str) -> bool:
        """Whether the bucket is there; raises when it may not be looked at."""
        try:
            await self.call("HEAD", quote_path(bucket))
        except S3Error as error:
            if error.is_missing:
                return False
            raise
        return True

    async def delete_bucket(self, bucket: str) -> bool:
        """Delete an empty bucket; false when it was not there."""
        try:
            await self.call("DELETE", quote_path(bucket))
        except S3Error as error:
            if error.s3_code == "NoSuchBucket":
                return False
            raise
        return True

    async def list_page(
        self,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        token: str = "",
        start_after: str = "",
        max_keys: int = PAGE_KEYS,
    ) -> ListPage:
        """One answer of ListObjectsV2; ``next_token`` is empty on the last one."""
        query = {"list-type": "2", "max-keys": str(max_keys), "encoding-type": "url"}
        optional = {
            "prefix": prefix,
            "delimiter": delimiter,
            "continuation-token": token,
            "start-after": start_after,
        }
        query |= {name: value for name, value in optional.items() if value}
        reply = await self.call("GET", quote_path(bucket), query)
        return _page(read_xml(reply.body))

    async def list_objects(
        self, bucket: str, *, prefix: str = "", by_folder: bool = False
    ) -> AsyncIterator[list[ListedObject]]:
        """All objects, a page at a time, in no promised order.

        ``by_folder`` asks folder by folder: some servers lose keys where a flat listing is cut into
        pages, because they walk directories, whose order is not the order of keys. A key may come
        twice when objects change meanwhile. Memory holds one page and the folders not yet visited.
        """
        delimiter = "/" if by_folder else ""
        waiting = [prefix]
        while waiting:
            folder = waiting.pop()
            token = ""
            seen: set[str] = set()
            while True:
                page = await self.list_page(bucket, prefix=folder, delimiter=delimiter, token=token)
                if page.objects:
                    yield page.objects
                seen.update(page.folders)
                if not page.next_token:
                    break
                if page.next_token == token:
                    raise BadGateway(
                        f"the listing of {bucket} does not get on: the same page token twice"
                    )
                token = page.next_token
            seen.discard(folder)
            waiting.extend(sorted(seen, reverse=True))

    async def totals(
        self, bucket: str, *, prefix: str = "", by_folder: bool = True
    ) -> BucketTotals:
        """Count objects and bytes by listing; never held in memory."""
        objects = size_bytes = 0
        async for page in self.list_objects(bucket, prefix=prefix, by_folder=by_folder):
            objects += len(page)
            size_bytes += sum(listed.size_bytes for listed in page)
        return BucketTotals(objects, size_bytes)

    async def versioning(self, bucket: str) -> str:
        """``Enabled``, ``Suspended``, or empty: never on, or the server does not know versions.

        Some servers ignore the sub-resource and answer with a listing (asked to be of one key), so
        the root element decides.
        """
        try:
            reply = await self.call("GET", quote_path(bucket), {"versioning": "", "max-keys": "1"})
        except S3Error as error:
            if error.status in {400, 405, 501} or error.s3_code in {
                "NotImplemented",
                "MethodNotAllowed",
            }:
                return ""
            raise
        document = read_xml(reply.body)
        return (
            document.fields.get("Status", "") if document.root == "VersioningConfiguration" else ""
        )


def _decode(text: str) -> str:
    return unquote_plus(text, errors="strict")


def _listed(record: Record, decode: Callable[[str], str]) -> ListedObject:
    return ListedObject(
        decode(record["Key"]),
        bare_etag(record.get("ETag", "")),
        int(record["Size"]),
        listing_time(record.get("LastModified", "")),
    )


def _page(document: Document) -> ListPage:
    if document.root != "ListBucketResult":
        raise BadGateway("the server did not answer with a listing")
    # The answer says whether keys are encoded; a server may ignore that it was asked to.
    decode = _decode if document.fields.get("EncodingType") == "url" else str
    objects: list[ListedObject] = []
    folders: list[str] = []
    try:
        for name, record in document.records:
            if name == "Contents":
                objects.append(_listed(record, decode))
            elif name == "CommonPrefixes":
                folders.append(decode(record["Prefix"]))
    except (KeyError, ValueError) as error:
        raise BadGateway("the server's listing has an object without key or size") from error
    truncated = document.fields.get("IsTruncated") == "true"
    token = document.fields.get("NextContinuationToken", "")
    if truncated and not token:
        raise BadGateway("the server's listing is cut off and names no next page")
    return ListPage(objects, folders, token if truncated else "")
