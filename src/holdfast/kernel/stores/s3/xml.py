"""The XML of S3: answers are read without document types, every key is written escaped."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pyexpat import ErrorString, ExpatError, ParserCreate, XMLParserType
from typing import NoReturn
from xml.sax.saxutils import escape

from holdfast.kernel.errors import BadGateway

Record = dict[str, str]


@dataclass(slots=True)
class Document:
    """An answer, flat: the names of S3 never need more than one level of records."""

    root: str = ""
    fields: Record = field(default_factory=dict)
    """Text of the elements right below the root."""
    records: list[tuple[str, Record]] = field(default_factory=list)
    """Elements that have elements, in order, with the text of what is in them (at any depth)."""


class _Reader:
    """Builds a ``Document`` from parser events."""

    def __init__(self, record_depth: int) -> None:
        self.document = Document()
        self._record_depth = record_depth
        self._path: list[str] = []
        self._record: Record = {}
        self._text: list[str] = []

    def start(self, name: str, _attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        self._path.append(name)
        self._text.clear()
        depth = len(self._path)
        if depth == 1:
            self.document.root = name
        elif depth == self._record_depth:
            self._record = {}

    def text(self, text: str) -> None:
        self._text.append(text)

    def end(self, _name: str) -> None:
        depth = len(self._path)
        name = self._path.pop()
        if depth > self._record_depth:
            self._record[name] = "".join(self._text)
        elif depth == self._record_depth and self._record:
            self.document.records.append((name, self._record))
        elif depth == 2:  # noqa: PLR2004 right below the root
            self.document.fields[name] = "".join(self._text)
        self._text.clear()


def read_xml(body: bytes, *, record_depth: int = 2) -> Document:
    """Read an answer; ``record_depth`` is the depth (root = 1) of the elements that are records.

    Raises ``BadGateway`` when it is not XML, or brings a document type (entities come no other
    way).
    """
    parser = ParserCreate("UTF-8")
    parser.buffer_text = True
    reader = _Reader(record_depth)
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(body, True)  # noqa: FBT003 expat takes its "last piece" by position
    except ExpatError as error:
        raise BadGateway(f"the server's answer is not XML: {ErrorString(error.code)}") from None
    return reader.document


def _refuse(*_declaration: object) -> NoReturn:
    raise BadGateway("the server's answer brings a document type, which S3 never does")


def error_code(body: bytes) -> str:
    """The code in an error's body, or an empty string."""
    try:
        return read_xml(body).fields.get("Code", "")
    except BadGateway:
        return ""


_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def can_be_in_xml(key: str) -> bool:
    """Whether a key may stand in an XML body: some control characters may not, in any spelling."""
    return not _FORBIDDEN.search(key)


def delete_body(keys: Iterable[str]) -> bytes:
    """The body of DeleteObjects; only failures are asked for."""
    objects = "".join(f"<Object><Key>{_text(key)}</Key></Object>" for key in keys)
    return f"<Delete><Quiet>true</Quiet>{objects}</Delete>".encode()


def complete_body(parts: Iterable[tuple[int, str]]) -> bytes:
    """The body of CompleteMultipartUpload from part numbers and ETags."""
    rows = "".join(
        f'<Part><PartNumber>{number}</PartNumber><ETag>"{_text(etag)}"</ETag></Part>'
        for number, etag in parts
    )
    return f"<CompleteMultipartUpload>{rows}</CompleteMultipartUpload>".encode()


def _text(value: str) -> str:
    return escape(value, {"\r": "&#13;", "\n": "&#10;", "\t": "&#9;"})


__all__ = [
    "Document",
    "Record",
    "XMLParserType",
    "can_be_in_xml",
    "complete_body",
    "delete_body",
    "error_code",
    "read_xml",
]
