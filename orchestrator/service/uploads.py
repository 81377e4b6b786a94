"""A file on its way in: the body of a multipart/form-data request, written to a part as it comes.

The limit holds while it is read: of a body that is too large no more comes to the disk than a file
may have, and nothing of a file is held in memory but the pieces that are on their way to the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from ..errors import BadValue, TooLarge
from .storage import CHUNK, PendingContent

# parts of a form, bytes of a text in it, and bytes of what stands above each part
_MOST_PARTS = 64
_LONGEST_TEXT = 16 * 1024
_LONGEST_HEAD = 8 * 1024


@dataclass(frozen=True, kw_only=True)
class Upload:
    """What came beside the bytes of the file, unchecked."""

    # as the sender calls the file; "" where it does not
    name: str
    content_type: str
    # the texts of the form by their names, each as often as it came
    texts: dict[str, list[str]]

    def text(self, name: str) -> str | None:
        """The first text of a name."""
        return next(iter(self.texts.get(name, ())), None)


@dataclass
class _Form:
    """What the parser has told so far."""

    part: PendingContent
    # the name of the file in the form
    wanted: str
    # bytes of the file that are not written yet
    waiting: list[bytes] = field(default_factory=list)
    texts: dict[str, list[str]] = field(default_factory=dict)
    file: tuple[str, str] | None = None
    ended: bool = False
    _parts: int = 0
    _head: int = 0
    _header: tuple[bytearray, bytearray] = field(default_factory=lambda: (bytearray(), bytearray()))
    _headers: dict[bytes, str] = field(default_factory=dict)
    # of the part that comes: its name, and its bytes where it is a text
    _name: str = ""
    _text: bytearray | None = None

    def callbacks(self) -> dict[str, Callable[..., None]]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._add(0, data[start:end]),
            "on_header_value": lambda data, start, end: self._add(1, data[start:end]),
            "on_header_end": self._header_over,
            "on_headers_finished": self._headers_over,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._over,
        }

    def _begin(self) -> None:
        self._parts += 1
        self._head = 0
        self._headers = {}
        if self._parts > _MOST_PARTS:
            raise BadValue(f"a form has {_MOST_PARTS} parts at most")

    def _add(self, which: int, data: bytes) -> None:
        self._head += len(data)
        if self._head > _LONGEST_HEAD:
            raise BadValue(f"above a part of a form stand {_LONGEST_HEAD:,} bytes at most")
        self._header[which].extend(data)

    def _header_over(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = value.decode("latin-1")
        self._header = (bytearray(), bytearray())

    def _headers_over(self) -> None:
        kind, told = parse_options_header(self._headers.get(b"content-disposition"))
        if kind != b"form-data" or b"name" not in told:
            raise BadValue("a part of the form has no name")
        self._name = _text_of(told[b"name"])
        self._text = bytearray()
        if self._name != self.wanted:
            return
        if self.file is not None:
            raise BadValue(f"the form has several files called {self.wanted}; send one")
        self._text = None
        name = _text_of(told.get(b"filename", b""))
        self.file = (name, self._headers.get(b"content-type", ""))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._text is None:
            self.waiting.append(data[start:end])
            return
        self._text += data[start:end]
        if len(self._text) > _LONGEST_TEXT:
            raise BadValue(f"a text of a form has {_LONGEST_TEXT:,} bytes at most")

    def _end(self) -> None:
        if self._text is not None:
            self.texts.setdefault(self._name, []).append(_text_of(self._text))

    def _over(self) -> None:
        self.ended = True


async def receive(
    chunks: AsyncIterator[bytes], content_type: str, part: PendingContent, *, field: str = "file"
) -> Upload:
    """Write the file of a form on a part; returns what came beside it.

    `content_type` is the header of the request. Raises BadValue where the body is no such form or
    has no file called `field`, and what writing raises: TooLarge, OutputError.
    """
    kind, told = parse_options_header(content_type)
    boundary = told.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise BadValue("send the file as multipart/form-data")
    form = _Form(part, field)
    try:
        parser = MultipartParser(boundary, form.callbacks())  # type: ignore[arg-type]
        async for chunk in chunks:
            parser.write(chunk)
            if sum(map(len, form.waiting)) >= CHUNK:
                await _written(form)
        parser.finalize()
    except FormParserError as error:
        raise BadValue("the body is no form as its head says") from error
    await _written(form)
    if not form.ended:
        raise BadValue("the form ends before its end; send it again")
    if form.file is None:
        raise BadValue(f"the form has no file called {field}")
    name, called = form.file
    return Upload(name=name, content_type=called, texts=form.texts)


def check_length(header: str | None, most: int) -> None:
    """Raise TooLarge where Content-Length says that a form's file is larger than `most` bytes.

    Before anything is read. Where it says less than comes, `receive` finds that out.
    """
    room = _MOST_PARTS * (_LONGEST_TEXT + _LONGEST_HEAD)
    if header is not None and header.isascii() and header.isdigit() and int(header) > most + room:
        raise TooLarge(f"a file may have {most:,} bytes")


async def _written(form: _Form) -> None:
    waiting, form.waiting = form.waiting, []
    if waiting:
        await asyncio.to_thread(form.part.write, b"".join(waiting))


def _text_of(data: bytes | bytearray) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadValue("a text of the form is not UTF-8") from error
