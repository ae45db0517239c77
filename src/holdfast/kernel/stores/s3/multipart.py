"""Uploads in parts."""

from collections.abc import AsyncIterator, Mapping, Sequence
from urllib.parse import unquote_plus

from holdfast.kernel.errors import BadGateway
from holdfast.kernel.stores.s3.errors import S3Error
from holdfast.kernel.stores.s3.model import Part, Upload, bare_etag
from holdfast.kernel.stores.s3.objects import ObjectCalls, object_path
from holdfast.kernel.stores.s3.signing import quote_path
from holdfast.kernel.stores.s3.transport import TRIES
from holdfast.kernel.stores.s3.xml import Document, complete_body, read_xml


class MultipartCalls(ObjectCalls):
    """What is asked of an upload in parts."""

    async def create_multipart(
        self, bucket: str, key: str, *, headers: Mapping[str, str] | None = None
    ) -> str:
        """Begin an upload (one attempt) and return its id; ``headers`` go to the object."""
        reply = await self.call(
            "POST", object_path(bucket, key), {"uploads": ""}, headers=headers, tries=1
        )
        upload_id = read_xml(reply.body).fields.get("UploadId", "")
        if not upload_id:
            raise BadGateway("the server began an upload without giving its id")
        return upload_id

    async def upload_part(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        body: bytes | AsyncIterator[bytes],
        *,
        size_bytes: int | None = None,
        headers: Mapping[str, str] | None = None,
        tries: int = TRIES,
    ) -> str:
        """Send a part and return its ETag without quotes.

        An iterator needs ``size_bytes`` and is sent once.
        """
        query = {"partNumber": str(number), "uploadId": upload_id}
        return await self._send(
            object_path(bucket, key), query, body, size_bytes, headers or {}, tries
        )

    async def complete_multipart(
        self, bucket: str, key: str, upload_id: str, parts: Sequence[tuple[int, str]]
    ) -> str:
        """Make the object from its parts (number, ETag) and return its ETag. One attempt."""
        path = object_path(bucket, key)
        headers = {"content-type": "application/xml"}
        body = complete_body(parts)
        reply = await self.call(
            "POST", path, {"uploadId": upload_id}, headers=headers, body=body, tries=1
        )
        document = read_xml(reply.body)
        if document.root == "Error":  # S3 answers 200 first and may fail later
            raise S3Error(f"POST {path}", status=500, s3_code=document.fields.get("Code", ""))
        return bare_etag(document.fields.get("ETag", ""))

    async def abort_multipart(self, bucket: str, key: str, upload_id: str) -> None:
        """Throw an upload away; that it is gone already is no failure."""
        try:
            await self.call("DELETE", object_path(bucket, key), {"uploadId": upload_id})
        except S3Error as error:
            if not error.is_missing:
                raise

    async def list_parts(self, bucket: str, key: str, upload_id: str) -> list[Part]:
        """The parts of an upload, in their order (at most 10,000)."""
        parts: list[Part] = []
        marker = ""
        while True:
            query = {"uploadId": upload_id} | ({"part-number-marker": marker} if marker else {})
            reply = await self.call("GET", object_path(bucket, key), query)
            document = read_xml(reply.body)
            parts.extend(_part(record) for name, record in document.records if name == "Part")
            marker = _next(document, "NextPartNumberMarker", marker)
            if not marker:
                return sorted(parts, key=lambda part: part.number)

    async def list_uploads(self, bucket: str, *, prefix: str = "") -> AsyncIterator[list[Upload]]:
        """Uploads begun and not ended, a page at a time."""
        key_marker = id_marker = ""
        while True:
            query = {"uploads": "", "encoding-type": "url"}
            optional = {"prefix": prefix, "key-marker": key_marker, "upload-id-marker": id_marker}
            query |= {name: value for name, value in optional.items() if value}
            document = read_xml((await self.call("GET", quote_path(bucket), query)).body)
            if document.root != "ListMultipartUploadsResult":
                raise BadGateway("the server did not answer with its uploads")
            decode = unquote_plus if document.fields.get("EncodingType") == "url" else str
            records = [record for name, record in document.records if name == "Upload"]
            if records:
                yield [
                    Upload(decode(record.get("Key", "")), record.get("UploadId", ""))
                    for record in records
                ]
            id_marker = document.fields.get("NextUploadIdMarker", "")
            next_key = decode(_next(document, "NextKeyMarker", ""))
            if not next_key:
                return
            key_marker = next_key


def _next(document: Document, field: str, before: str) -> str:
    if document.fields.get("IsTruncated") != "true":
        return ""
    marker = document.fields.get(field, "")
    if not marker or marker == before:
        raise BadGateway("the server's list is cut off and names no next page")
    return marker


def _part(record: Mapping[str, str]) -> Part:
    try:
        return Part(int(record["PartNumber"]), bare_etag(record["ETag"]), int(record["Size"]))
    except (KeyError, ValueError) as error:
        raise BadGateway(
            "the server's list of parts has one without number, ETag or size"
        ) from error
