"""Contents in a folder: by their hash, whole or not at all."""

from __future__ import annotations

import io
import os
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from blake3 import blake3

from orchestrator.errors import BadValue, NotFound, OutputError, TooLarge, UsageError
from orchestrator.service.storage import ABANDONED, CHUNK, Storage
from service_parts import files_of

DATA = bytes(range(256)) * 5000


def hash_of(content: bytes) -> str:
    return f"blake3:{blake3(content).hexdigest()}"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path / "files")


@contextmanager
def small_disk(size: int) -> Iterator[None]:
    """Files of this process cannot grow beyond `size` bytes, as on a disk that is full."""
    resource = pytest.importorskip("resource", reason="this system limits no file sizes")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("kind", [bytes, io.BytesIO, lambda data: iter([data[:7], data[7:]])])
def test_what_was_put_is_read(storage: Storage, kind: type) -> None:
    stored = storage.put(kind(DATA))
    assert (stored.hash, stored.size) == (hash_of(DATA), len(DATA))
    assert storage.has(stored.hash)
    assert storage.size(stored.hash) == len(DATA)
    assert storage.read(stored.hash) == DATA
    for start, stop in ((0, 1), (5, 5), (100, len(DATA)), (CHUNK - 1, CHUNK + 1), (7, 10**9)):
        with storage.open(stored.hash, start, stop) as chunks:
            assert b"".join(chunks) == DATA[start:stop]


def test_equal_contents_are_one_file(storage: Storage) -> None:
    first, second = storage.put(DATA), storage.put(io.BytesIO(DATA))
    assert first == second
    assert len(files_of(storage)) == 1


def test_an_empty_content_is_one(storage: Storage) -> None:
    stored = storage.put(b"")
    assert stored.size == 0
    assert storage.read(stored.hash) == b""


def test_a_file_url_is_a_folder(tmp_path: Path) -> None:
    stored = Storage((tmp_path / "x").as_uri()).put(DATA)
    assert Storage(tmp_path / "x").read(stored.hash) == DATA


@pytest.mark.parametrize("url", ["nosuchkind://bucket/x", "s3x://bucket"])
def test_a_place_that_nobody_reaches_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match=r"files cannot be kept|package that is missing"):
        Storage(url)


@pytest.mark.parametrize("size", [0, 1, 999, 1000])
def test_up_to_the_limit_is_taken(storage: Storage, size: int) -> None:
    assert storage.put(b"x" * size, limit=1000).size == size


def test_what_is_too_large_is_refused_while_it_comes(storage: Storage) -> None:
    came = 0

    def endless() -> Iterator[bytes]:
        nonlocal came
        while True:
            came += CHUNK
            yield b"x" * CHUNK

    with pytest.raises(TooLarge, match="1,000,000 bytes"):
        storage.put(endless(), limit=1_000_000)
    assert came <= 1_000_000 + CHUNK
    assert files_of(storage) == []


def test_no_content_is_held_in_memory(storage: Storage) -> None:
    piece = os.urandom(CHUNK)
    storage.put(b"warm")
    tracemalloc.start()
    try:
        stored = storage.put(piece for _ in range(200))
        with storage.open(stored.hash) as chunks:
            assert sum(map(len, chunks)) == stored.size == 200 * CHUNK
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * CHUNK


@pytest.mark.parametrize(
    "name",
    [
        "",
        "blake3:",
        "blake3:../../etc/passwd",
        "blake3:" + "0" * 63,
        "blake3:" + "0" * 65,
        "blake3:" + "A" * 64,
        "blake3:" + "0" * 64 + "\n",
        "blake3:" + "0" * 62 + "/.",
        "0" * 64,
        "sha256:" + "0" * 64,
        "../" + "0" * 64,
    ],
)
def test_only_a_hash_names_a_content(storage: Storage, name: str) -> None:
    for ask in (storage.has, storage.open, storage.delete, storage.read):
        with pytest.raises(BadValue, match="64 lower-case hexadecimal digits"):
            ask(name)


def test_what_is_not_there_is_said(storage: Storage) -> None:
    nothing = hash_of(b"nothing")
    assert not storage.has(nothing)
    with pytest.raises(NotFound):
        storage.open(nothing)
    assert storage.delete(nothing)


def test_a_full_disk_leaves_nothing(storage: Storage) -> None:
    with small_disk(100_000), pytest.raises(OutputError, match="cannot be written"):
        storage.put(DATA)
    assert files_of(storage) == []
    assert storage.put(DATA).size == len(DATA)


def test_an_error_of_the_source_leaves_nothing(storage: Storage) -> None:
    def broken() -> Iterator[bytes]:
        yield DATA
        raise ConnectionResetError("the client went away")

    with pytest.raises(ConnectionResetError):
        storage.put(broken())
    assert files_of(storage) == []


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written"):
        Storage(tmp_path / "file")


def test_a_deleted_content_is_read_to_its_end(storage: Storage) -> None:
    stored = storage.put(DATA)
    with storage.open(stored.hash) as chunks:
        first = next(chunks)
        removed = storage.delete(stored.hash)
        assert first + b"".join(chunks) == DATA
    # Windows removes it when nobody reads it any more
    assert removed or (storage.has(stored.hash) and storage.delete(stored.hash))
    assert not storage.has(stored.hash)


def test_a_content_that_was_cut_is_not_taken_for_whole(storage: Storage) -> None:
    stored = storage.put(DATA)
    (path,) = files_of(storage)
    with storage.open(stored.hash) as chunks:
        os.truncate(path, 1000)
        with pytest.raises(OutputError, match="damaged"):
            b"".join(chunks)
    # and the next upload mends it
    assert storage.put(DATA) == stored
    assert storage.read(stored.hash) == DATA


def test_many_put_the_same_at_once(storage: Storage) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for number in range(20):
                content = bytes([number]) * 70_000
                assert storage.read(storage.put(content).hash) == content
        except BaseException as error:  # noqa: BLE001  (shown by the test)
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(files_of(storage)) == 20


def test_parts_of_dead_processes_go_and_those_of_the_living_stay(storage: Storage) -> None:
    with storage.receive() as dead, storage.receive() as living:
        dead.write(DATA)
        living.write(DATA)
        old = time.time() - ABANDONED - 60
        os.utime(dead.path, (old, old))
        storage.clear_parts()
        assert not dead.path.exists()
        assert storage.read(storage.keep(living).hash) == DATA


def test_old_contents_are_listed(storage: Storage) -> None:
    old, new = storage.put(b"old"), storage.put(b"new")
    (storage_file,) = (path for path in files_of(storage) if path.name in old.hash)
    hours_ago = time.time() - ABANDONED - 60
    os.utime(storage_file, (hours_ago, hours_ago))
    (Path(storage.url) / "ab").mkdir(exist_ok=True)
    foreign = Path(storage.url) / "ab" / "readme.txt"
    foreign.write_text("not ours", encoding="utf-8")
    os.utime(foreign, (hours_ago, hours_ago))
    assert list(storage.old()) == [old.hash]
    assert storage.has(new.hash)
