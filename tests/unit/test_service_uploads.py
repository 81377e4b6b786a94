"""Forms with a file: read as they come, whatever they are."""

from __future__ import annotations

import asyncio
import os
import tracemalloc
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from orchestrator.errors import BadValue, SpriteworksError, TooLarge
from orchestrator.service.storage import CHUNK, Storage
from orchestrator.service.uploads import Upload, _Form, check_length, receive
from service_parts import files_of

BOUNDARY = "0123456789abcdef"
KIND = f"multipart/form-data; boundary={BOUNDARY}"


def part_of(head: str, body: bytes) -> bytes:
    return f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + body + b"\r\n"


def text(name: str, value: bytes) -> bytes:
    return part_of(f'Content-Disposition: form-data; name="{name}"', value)


def file(content: bytes, name: str = "photo.png", called: str = "image/png") -> bytes:
    head = f'Content-Disposition: form-data; name="file"; filename="{name}"'
    return part_of(f"{head}\r\nContent-Type: {called}", content)


END = f"--{BOUNDARY}--\r\n".encode()


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path / "files")


def upload(
    storage: Storage,
    body: bytes | Iterable[bytes],
    *,
    kind: str = KIND,
    step: int = 1000,
    limit: int = 10_000_000,
) -> tuple[Upload, bytes]:
    async def chunks() -> AsyncIterator[bytes]:
        if isinstance(body, bytes):
            for at in range(0, len(body), step):
                yield body[at : at + step]
        else:
            for chunk in body:
                yield chunk

    with storage.receive(limit) as part:
        found = asyncio.run(receive(chunks(), kind, part))
        stored = storage.keep(part)
    return found, storage.read(stored.hash)


@pytest.mark.parametrize("step", [1, 2, 7, 100, 10**6])
def test_a_form_is_read_however_it_is_cut(storage: Storage, step: int) -> None:
    content = b"--0123\r\n--0123456789abcde\r\n\r\n" + bytes(range(256))
    body = (
        text("content_type", b"image/png")
        + text("tags", "ä".encode())
        + file(content)
        + text("tags", b"b")
        + END
    )
    found, read = upload(storage, body, step=step)
    assert read == content
    assert (found.name, found.content_type) == ("photo.png", "image/png")
    assert found.texts == {"content_type": ["image/png"], "tags": ["ä", "b"]}
    assert (found.text("tags"), found.text("file_path")) == ("ä", None)


def test_an_empty_file_is_one(storage: Storage) -> None:
    assert upload(storage, file(b"") + END)[1] == b""


def test_no_file_is_held_in_memory(storage: Storage) -> None:
    piece = os.urandom(64 * 1024)

    def body() -> Iterable[bytes]:
        yield file(b"")[:-2]
        for _ in range(800):
            yield piece
        yield b"\r\n" + END

    upload(storage, file(b"warm") + END)
    with storage.receive() as part:
        tracemalloc.start()
        try:

            async def chunks() -> AsyncIterator[bytes]:
                for one in body():
                    yield one

            asyncio.run(receive(chunks(), KIND, part))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert part.size == 800 * len(piece)
    assert peak < 6 * CHUNK


def test_what_is_too_large_is_refused_while_it_comes(storage: Storage) -> None:
    came = 0

    def endless() -> Iterable[bytes]:
        nonlocal came
        yield file(b"")[:-2]
        while True:
            came += 65536
            yield b"x" * 65536

    with pytest.raises(TooLarge):
        upload(storage, endless(), limit=1_000_000)
    assert came <= 1_000_000 + 2 * CHUNK
    assert files_of(storage) == []


def test_a_length_that_is_too_large_is_refused_before() -> None:
    for header in (None, "", "x", "-5", "1000", "٣", "1" * 3):
        check_length(header, 1000)
    with pytest.raises(TooLarge):
        check_length("9" * 12, 1000)


HEAD = b'Content-Disposition: form-data; name="file"; filename="x"\r\n'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        END,
        file(b"x"),
        file(b"x")[:-1],
        file(b"x")[:40],
        text("other", b"x") + END,
        file(b"x") + file(b"y") + END,
        part_of("Content-Type: image/png", b"x") + END,
        part_of('Content-Disposition: attachment; name="file"', b"x") + END,
        part_of("Content-Disposition: form-data", b"x") + END,
        part_of("no header", b"x") + END,
        part_of(": x", b"x") + END,
        text("x", b"\xff\xfe") + file(b"x") + END,
        text("x", b"y" * 16_385) + file(b"x") + END,
        text("x", b"y") * 64 + file(b"x") + END,
        part_of("X: " + "y" * 10_000, b"x") + END,
        part_of("\r\n".join(f"X-{n}: y" for n in range(5000)), b"x") + END,
        b"--another\r\n" + HEAD + b"\r\nx\r\n--another--\r\n",
        f"--{BOUNDARY}\n".encode() + HEAD + b"\nx\n" + END,
    ],
)
def test_what_is_no_such_form_is_refused_and_not_kept(storage: Storage, body: bytes) -> None:
    with pytest.raises(BadValue) as caught:
        upload(storage, body)
    assert str(caught.value).isprintable()
    assert files_of(storage) == []


@pytest.mark.parametrize("header", ["on_header_field", "on_header_value"])
def test_heads_are_bounded_whatever_the_parser_lets_through(storage: Storage, header: str) -> None:
    with storage.receive() as part:
        callbacks = _Form(part, "file").callbacks()
        callbacks["on_part_begin"]()
        callbacks[header](b"x" * 8192, 0, 8192)
        with pytest.raises(BadValue, match="8,192 bytes"):
            callbacks[header](b"x", 0, 1)
        # the next part has a head of its own
        callbacks["on_part_begin"]()
        callbacks[header](b"x" * 8192, 0, 8192)


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/mixed; boundary=" + BOUNDARY,
        "multipart/form-data; boundary=" + "x" * 10_000,
        "text/plain; multipart/form-data; boundary=" + BOUNDARY,
    ],
)
def test_what_is_not_called_a_form_is_refused(storage: Storage, kind: str) -> None:
    with pytest.raises(BadValue):
        upload(storage, file(b"x") + END, kind=kind)


@given(st.binary(max_size=400), st.integers(1, 50))
def test_no_body_breaks_the_reader(
    tmp_path_factory: pytest.TempPathFactory, body: bytes, step: int
) -> None:
    storage = Storage(tmp_path_factory.getbasetemp() / "fuzzed")
    for sent in (body, file(body), file(b"x") + body, text("x", body) + END):
        try:
            upload(storage, sent, step=step)
        except SpriteworksError:
            continue


@given(st.binary(max_size=3000), st.integers(1, 300))
def test_any_content_comes_through(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, step: int
) -> None:
    assume(BOUNDARY.encode() not in content)
    storage = Storage(tmp_path_factory.getbasetemp() / "any")
    assert upload(storage, file(content) + END, step=step)[1] == content
