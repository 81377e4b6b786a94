"""Files of a service: what is uploaded is hostile until it was looked at, and everybody sees only
what is theirs.
"""

from __future__ import annotations

import io
import os
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3
from PIL import Image

from orchestrator.batch.execution.store.database import Database
from orchestrator.errors import (
    BadValue,
    HashMismatch,
    InputError,
    NotFound,
    OutputError,
    RangeUnsatisfiable,
    SpriteworksError,
    TooLarge,
)
from orchestrator.service.assets import Asset, Assets, checked_name, disposition
from orchestrator.service.content_types import BYTES, TEXT
from orchestrator.service.ranges import range_of
from orchestrator.service.storage import ABANDONED, Storage
from service_parts import Clock, files_of, opened
from test_service_storage import small_disk
from wrong_pictures import EPS, SCRIPT, png, saved

PICTURE = saved(Image.effect_noise((16, 16), 90).convert("RGB"), "PNG")
TEXT_FILE = "a short text: ä\n".encode()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as database:
        yield database


@pytest.fixture
def assets(database: Database, tmp_path: Path, clock: Clock) -> Assets:
    return Assets(database, Storage(tmp_path / "files"), most_bytes=1_000_000, clock=clock)


def contents(assets: Assets) -> list[str]:
    return [path.name for path in files_of(assets.storage)]


def read(assets: Assets, owner: str, id: str, header: str | None = None) -> bytes:
    with assets.content(owner, id, header).chunks as chunks:
        return b"".join(chunks)


def nothing_is_kept(assets: Assets, database: Database) -> bool:
    with database.reading() as connection:
        rows = connection.exec_driver_sql("select count(*) from assets").scalar_one()
        known = connection.exec_driver_sql("select count(*) from contents").scalar_one()
    return contents(assets) == [] and rows == known == 0


# ----------------------------------------------------------------------------- in and out


def test_what_was_added_comes_back(assets: Assets, clock: Clock) -> None:
    made = assets.add("ann", PICTURE, "photo.png", "image/png", tags=["input", "a b"])
    assert made.hash == f"blake3:{blake3(PICTURE).hexdigest()}"
    assert (made.size, made.content_type, made.kind) == (len(PICTURE), "image/png", "image")
    assert (made.created_new, made.created_at, made.tags) == (True, clock.now, ("input", "a b"))
    found = assets.get("ann", made.id)
    assert (found.id, found.hash, found.name, found.tags) == (
        made.id,
        made.hash,
        "photo.png",
        ("input", "a b"),
    )
    assert read(assets, "ann", made.id) == PICTURE


def test_an_upload_is_written_as_it_comes(assets: Assets) -> None:
    with assets.receive() as part:
        for at in range(0, len(PICTURE), 7):
            part.write(PICTURE[at : at + 7])
        made = assets.add("ann", part, "photo.png")
    assert read(assets, "ann", made.id) == PICTURE


def test_equal_files_share_their_bytes_and_go_one_by_one(assets: Assets) -> None:
    first = assets.add("ann", PICTURE, "a.png")
    second = assets.add("ann", PICTURE, "b.png")
    other = assets.add("bob", PICTURE, "c.png")
    assert len(contents(assets)) == 1
    # whether somebody else has the bytes is nobody's business
    assert [one.created_new for one in (first, second, other)] == [True, False, True]
    assets.delete("ann", first.id)
    assets.delete("bob", other.id)
    assert read(assets, "ann", second.id) == PICTURE
    assets.delete("ann", second.id)
    assert contents(assets) == []


def test_the_right_hash_is_taken_and_a_wrong_one_is_not(assets: Assets, database: Database) -> None:
    right = f"blake3:{blake3(PICTURE).hexdigest()}"
    with pytest.raises(HashMismatch, match=right):
        assets.add("ann", PICTURE, "a.png", expected_hash="blake3:" + "0" * 64)
    for text in ("sha256:" + "0" * 64, "blake3:x", "", "../x"):
        with pytest.raises(BadValue, match="hash"):
            assets.add("ann", PICTURE, "a.png", expected_hash=text)
    assert nothing_is_kept(assets, database)
    assert assets.add("ann", PICTURE, "a.png", expected_hash=right).hash == right


def test_a_hash_stands_for_bytes_only_where_their_owner_gives_it(assets: Assets) -> None:
    made = assets.add("ann", PICTURE, "a.png")
    assert assets.has_hash("ann", made.hash)
    again = assets.from_hash("ann", made.hash, "b.png", ["x"])
    assert (again.name, again.tags, again.created_new) == ("b.png", ("x",), False)
    assert assets.from_hash("ann", made.hash).name == "a.png"
    assets.delete("ann", made.id)
    assert read(assets, "ann", again.id) == PICTURE
    # bob would learn what ann has, and get it
    assert not assets.has_hash("bob", made.hash)
    with pytest.raises(NotFound):
        assets.from_hash("bob", made.hash)


def test_nobody_sees_or_deletes_what_is_anothers(assets: Assets) -> None:
    made = assets.add("ann", PICTURE, "a.png")
    for other in ("bob", "", "ann ", "ANN", "%"):
        with pytest.raises(NotFound):
            assets.get(other, made.id)
        with pytest.raises(NotFound):
            assets.content(other, made.id)
        with pytest.raises(NotFound):
            assets.delete(other, made.id)
    assert read(assets, "ann", made.id) == PICTURE


@pytest.mark.parametrize("id", ["", "..", "../../x", "' or 1=1 --", "\x00", "x" * 10_000])
def test_an_id_that_is_none_is_not_there(assets: Assets, id: str) -> None:
    for ask in (assets.get, assets.content, assets.delete):
        with pytest.raises(NotFound):
            ask("ann", id)


# ----------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("photo.png", "photo.png"),
        ("my photo (1).png", "my photo (1).png"),
        ("sub/photo.png", "sub/photo.png"),
        ("sub\\photo.png", "sub/photo.png"),
        ("..png", "..png"),
        ("Ritter – blau.png", "Ritter – blau.png"),
        ("e\u0301.png", "é.png"),
        ("剣.png", "剣.png"),
        ("%2e%2e%2fx.png", "%2e%2e%2fx.png"),
    ],
)
def test_names_that_stay_in_their_folder(name: str, kept: str) -> None:
    assert checked_name(name) == kept


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        ".",
        "..",
        "../x.png",
        "a/../../x.png",
        "a/..",
        "..\\..\\x.png",
        "a/ .. /x.png",
        "/etc/passwd",
        "\\\\server\\share\\x.png",
        "C:\\x.png",
        "c:x.png",
        "a//b.png",
        "a/",
        "x\x00.png",
        "x\r\nSet-Cookie: a=b.png",
        "x\n.png",
        "x\t.png",
        "x\x1b[2J.png",
        "x\x7f.png",
        "x\x85.png",
        "gpj.\u202egnp.exe",
        "x\u200b.png",
        "x\u2028.png",
        "x\ud800.png",
        "x" * 256 + ".png",
        "/".join(["x" * 200] * 10),
    ],
)
def test_names_that_do_not(assets: Assets, database: Database, name: str) -> None:
    with pytest.raises(BadValue) as caught:
        assets.add("ann", PICTURE, name)
    # the sentence goes into logs and answers
    assert str(caught.value).isprintable()
    assert str(caught.value).isascii()
    assert nothing_is_kept(assets, database)
    kept = assets.add("ann", PICTURE, "a.png")
    with pytest.raises(BadValue):
        assets.from_hash("ann", kept.hash, name)


@pytest.mark.parametrize("tags", [["x\r\ny"], [""], ["x" * 129], ["x"] * 33, ["\u202e"]])
def test_tags_are_for_reading(assets: Assets, database: Database, tags: list[str]) -> None:
    with pytest.raises(BadValue, match="tag"):
        assets.add("ann", PICTURE, "a.png", tags=tags)
    assert nothing_is_kept(assets, database)


@pytest.mark.parametrize(
    "name", ['a".png', "a'; filename=evil.png", "ä–剣.png", "a\\b;c.png", "sub/a.png", "100%.png"]
)
def test_no_name_writes_a_header(assets: Assets, name: str) -> None:
    made = assets.add("ann", PICTURE, name)
    content = assets.content("ann", made.id)
    content.chunks.close()
    for key, value in content.headers().items():
        assert key.isascii()
        assert value.isascii()
        assert value.isprintable()
    said = content.headers()["Content-Disposition"]
    quoted = said.split('filename="', 1)[1].split('"', 1)[0]
    assert "/" not in quoted
    assert said == f"inline; filename=\"{quoted}\"; filename*=UTF-8''" + said.split("''", 1)[1]
    assert not set('"\\;\r\n /') & set(said.split("''", 1)[1])


def test_a_name_is_told_in_both_spellings() -> None:
    assert disposition("sub/ä b.png", inline=False) == (
        "attachment; filename=\"_ b.png\"; filename*=UTF-8''%C3%A4%20b.png"
    )


# ----------------------------------------------------------------------------- types


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("PNG", "image/png"),
        ("JPEG", "image/jpeg"),
        ("WEBP", "image/webp"),
        ("GIF", "image/gif"),
        ("BMP", "image/bmp"),
        ("TIFF", "image/tiff"),
    ],
)
@pytest.mark.parametrize("called", ["", "text/html", "image/svg+xml", "x\r\nSet-Cookie: a=b"])
def test_a_picture_is_what_it_is_whatever_it_is_called(
    assets: Assets, kind: str, found: str, called: str
) -> None:
    content = saved(Image.effect_noise((9, 5), 90).convert("RGB"), kind)
    assert assets.add("ann", content, "page.html", called).content_type == found


PAGE = b"<!doctype html><script>alert(1)</script>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


@pytest.mark.parametrize(
    ("content", "found", "kind"),
    [
        (PAGE, TEXT, "text"),
        (SVG, TEXT, "text"),
        (SCRIPT, TEXT, "text"),
        (EPS, TEXT, "text"),
        (TEXT_FILE, TEXT, "text"),
        ("ä".encode() * 4096, TEXT, "text"),
        (b"", BYTES, "file"),
        (b"\x00\x01\x02", BYTES, "file"),
        (b"\xff\xfe\x00\x00", BYTES, "file"),
        (b"MZ\x90\x00\x03", BYTES, "file"),
        (b"\x7fELF\x02\x01", BYTES, "file"),
        (b"PK\x03\x04\x00\x00", BYTES, "file"),
        (b"%PDF-1.7\n\xe2\xe3\xcf\xd3", BYTES, "file"),
        (b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00", "video/mp4", "video"),
        (b"\x00\x00\x00\x20ftypM4A \x00\x00\x02\x00", "audio/mp4", "audio"),
        (b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01B\x82\x84webm", "video/webm", "video"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "audio/wav", "audio"),
        (b"fLaC\x00\x00\x00\x22", "audio/flac", "audio"),
        (b"OggS\x00\x02\x00\x00", "audio/ogg", "audio"),
        (b"ID3\x04\x00\x00", "audio/mpeg", "audio"),
    ],
)
@pytest.mark.parametrize("called", ["", "text/html", "application/javascript", "video/mp4"])
def test_another_file_has_a_type_that_nobody_runs(
    assets: Assets, content: bytes, found: str, kind: str, called: str
) -> None:
    made = assets.add("ann", content, "page.html", called)
    assert (made.content_type, made.kind) == (found, kind)
    opened = assets.content("ann", made.id)
    opened.chunks.close()
    headers = opened.headers()
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]
    shown = kind in ("video", "audio")
    assert headers["Content-Disposition"].startswith("inline" if shown else "attachment")


@pytest.mark.parametrize("content", [PAGE, SVG, EPS, b"", b"\x00\x01"])
@pytest.mark.parametrize(
    ("name", "called"), [("a.png", ""), ("a.JPEG", ""), ("a", "image/png"), ("a", " IMAGE/x ")]
)
def test_what_is_called_a_picture_and_is_none_is_refused(
    assets: Assets, database: Database, content: bytes, name: str, called: str
) -> None:
    with pytest.raises(InputError, match="is none"):
        assets.add("ann", content, name, called)
    assert nothing_is_kept(assets, database)


def bomb(side: int) -> bytes:
    """A PNG of a few KB that unpacks to `side` x `side` pixels."""
    row = b"\0" + bytes(side)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    return png(side, side, data)


def test_a_picture_that_unpacks_to_more_than_memory_is_refused(
    assets: Assets, database: Database
) -> None:
    content = bomb(8193)
    assert len(content) < 200_000
    with pytest.raises(InputError, match="unpacks to 67,125,249 pixels"):
        assets.add("ann", content, "a.png", "image/png")
    assert nothing_is_kept(assets, database)


@pytest.mark.parametrize("content", [PICTURE[:-1], PICTURE[:40], PICTURE[:100] + b"x" * 200])
def test_a_picture_that_is_cut_is_refused(
    assets: Assets, database: Database, content: bytes
) -> None:
    with pytest.raises(InputError, match="no whole PNG"):
        assets.add("ann", content, "a.bin")
    assert nothing_is_kept(assets, database)


def test_bytes_behind_a_picture_stay_the_owners_own(assets: Assets) -> None:
    """The hash that the client sent names all of them."""
    content = PICTURE + SCRIPT
    made = assets.add(
        "ann", content, "a.png", expected_hash=f"blake3:{blake3(content).hexdigest()}"
    )
    assert made.content_type == "image/png"
    assert read(assets, "ann", made.id) == content


# ----------------------------------------------------------------------------- sizes


def test_what_is_too_large_is_refused_and_not_kept(assets: Assets, database: Database) -> None:
    with pytest.raises(TooLarge):
        assets.add("ann", io.BytesIO(b"x" * 1_000_001), "a.bin")
    with assets.receive() as part:
        for _ in range(1000):
            part.write(b"x" * 1000)
        with pytest.raises(TooLarge):
            part.write(b"x")
    assert nothing_is_kept(assets, database)
    assert assets.add("ann", io.BytesIO(b"x" * 1_000_000), "a.bin").size == 1_000_000


def test_a_full_disk_leaves_nothing_behind(assets: Assets, database: Database) -> None:
    with small_disk(500_000), pytest.raises(OutputError, match="cannot be written"):
        assets.add("ann", b"x" * 900_000, "a.bin")
    assert nothing_is_kept(assets, database)


def test_a_content_that_cannot_get_its_name_leaves_nothing_behind(
    assets: Assets, database: Database
) -> None:
    hash = blake3(PICTURE).hexdigest()
    # a file where its folder would be
    (Path(assets.storage.url) / hash[:2]).write_bytes(b"")
    with pytest.raises(OutputError):
        assets.add("ann", PICTURE, "a.png")
    (Path(assets.storage.url) / hash[:2]).unlink()
    assert nothing_is_kept(assets, database)
    assert assets.add("ann", PICTURE, "a.png").created_new


# ----------------------------------------------------------------------------- ranges

SIZE = 1000


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=10-", 10, SIZE),
        ("bytes=-1", SIZE - 1, SIZE),
        ("bytes=-300", SIZE - 300, SIZE),
        ("bytes=-5000", 0, SIZE),
        ("bytes=999-5000", 999, SIZE),
        ("bytes= 5-9 ", 5, 10),
        ("BYTES=5-9", 5, 10),
    ],
)
def test_a_range_is_a_part(header: str, start: int, stop: int) -> None:
    found = range_of(header, SIZE)
    assert found is not None
    assert (found.start, found.stop) == (start, stop)
    assert found.content_range == f"bytes {start}-{stop - 1}/{SIZE}"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=9-5",
        "bytes=0-0,5-9",
        "bytes=" + ",".join(f"{n}-{n}" for n in range(5000)),
        "bytes=0x0-9",
        "bytes=+1-9",
        "bytes=1-9-12",
        "bytes=٣-٩",
        "bytes=" + "9" * 100 + "-",
        "lines=0-9",
    ],
)
def test_what_is_no_single_range_is_answered_with_the_whole(header: str | None) -> None:
    assert range_of(header, SIZE) is None


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=1000-1001", "bytes=5000-", "bytes=-0"])
def test_a_range_behind_the_end_is_unsatisfiable(assets: Assets, header: str) -> None:
    made = assets.add("ann", b"\0" * SIZE, "a.bin")
    with pytest.raises(RangeUnsatisfiable) as caught:
        assets.content("ann", made.id, header)
    assert caught.value.size == SIZE


def test_no_part_of_an_empty_file_is_there(assets: Assets) -> None:
    made = assets.add("ann", b"", "a.bin")
    assert read(assets, "ann", made.id) == b""
    for header in ("bytes=0-", "bytes=-5"):
        with pytest.raises(RangeUnsatisfiable):
            assets.content("ann", made.id, header)


def test_a_part_is_sent_with_what_names_it(assets: Assets) -> None:
    made = assets.add("ann", PICTURE, "a.png")
    with assets.content("ann", made.id, "bytes=3-9").chunks as chunks:
        assert b"".join(chunks) == PICTURE[3:10]
    part = assets.content("ann", made.id, "bytes=-4")
    part.chunks.close()
    assert (part.status, part.length) == (206, 4)
    headers = part.headers()
    assert headers["Content-Range"] == f"bytes {made.size - 4}-{made.size - 1}/{made.size}"
    assert headers["Content-Length"] == "4"
    whole = assets.content("ann", made.id)
    whole.chunks.close()
    assert (whole.status, whole.length) == (200, made.size)
    assert "Content-Range" not in whole.headers()


def test_a_range_of_another_content_is_answered_with_the_whole(assets: Assets) -> None:
    made = assets.add("ann", PICTURE, "a.png")
    for tag, status in ((made.etag, 206), ('"other"', 200), (f"W/{made.etag}", 200)):
        found = assets.content("ann", made.id, "bytes=0-3", if_range=tag)
        found.chunks.close()
        assert found.status == status


# ----------------------------------------------------------------------------- removal


def test_a_file_goes_when_its_time_is_over(assets: Assets, clock: Clock) -> None:
    soon = assets.add("ann", PICTURE, "a.png", expires_at=clock.now + 10)
    later = assets.add("ann", PICTURE, "b.png", expires_at=clock.now + 20)
    never = assets.add("ann", TEXT_FILE, "c.txt")
    clock.now += 10
    # before anybody has come by to remove it
    with pytest.raises(NotFound):
        assets.get("ann", soon.id)
    assert assets.expire() == 1
    assert read(assets, "ann", later.id) == PICTURE
    clock.now += 10
    assert not assets.has_hash("ann", later.hash)
    assert assets.expire() == 1
    assert contents(assets) == [never.hash.partition(":")[2]]
    assert assets.expire() == 0


def test_an_expired_file_is_read_to_its_end_by_whoever_reads_it(
    assets: Assets, clock: Clock
) -> None:
    content = os.urandom(900_000)
    made = assets.add("ann", content, "a.bin", expires_at=clock.now + 1)
    found = assets.content("ann", made.id)
    first = next(found.chunks)
    clock.now += 1
    assert assets.expire() == 1
    with pytest.raises(NotFound):
        assets.content("ann", made.id)
    assert first + b"".join(found.chunks) == content
    # where a system keeps what somebody reads, the next round removes it
    assets.expire()
    assert contents(assets) == []


def test_a_content_that_cannot_be_removed_now_is_removed_later(
    assets: Assets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where a file that is read cannot be removed."""
    made = assets.add("ann", PICTURE, "a.png")
    with monkeypatch.context() as patch:
        patch.setattr(type(assets.storage), "delete", lambda self, hash: False)
        assets.delete("ann", made.id)
    assert len(contents(assets)) == 1
    with pytest.raises(NotFound):
        assets.get("ann", made.id)
    # an upload in between takes it up again
    again = assets.add("ann", PICTURE, "b.png")
    assert again.created_new
    assets.expire()
    assert read(assets, "ann", again.id) == PICTURE
    assets.delete("ann", again.id)
    assert contents(assets) == []


def test_many_expire_in_steps(assets: Assets, clock: Clock) -> None:
    for number in range(450):
        assets.add("ann", str(number // 3).encode(), f"{number}.txt", expires_at=1.0)
    assert len(contents(assets)) == 150
    assert assets.expire() == 450
    assert contents(assets) == []


def test_uploads_and_deletions_of_the_same_bytes_at_once(assets: Assets) -> None:
    """A file whose row is there has its bytes, whoever removes what meanwhile."""
    failures: list[BaseException] = []
    kept: list[Asset] = []

    def work(number: int) -> None:
        owner = f"owner {number}"
        try:
            for _ in range(25):
                made = assets.add(owner, TEXT_FILE, "a.txt")
                assert read(assets, owner, made.id) == TEXT_FILE
                assets.delete(owner, made.id)
            kept.append(assets.add(owner, TEXT_FILE, "a.txt"))
        except BaseException as error:  # noqa: BLE001  (shown by the test)
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for made in kept:
        assert read(assets, made.owner, made.id) == TEXT_FILE
        assets.delete(made.owner, made.id)
    assert contents(assets) == []


def test_what_a_dead_process_left_is_removed(assets: Assets) -> None:
    made = assets.add("ann", PICTURE, "a.png")
    # a process that died between the rename and the commit
    lost = assets.storage.put(b"lost")
    long_ago = time.time() - ABANDONED - 60
    for path in files_of(assets.storage):
        os.utime(path, (long_ago, long_ago))
    young = assets.storage.put(b"young")
    assert assets.tidy() == 1
    assert not assets.storage.has(lost.hash)
    assert assets.storage.has(young.hash)
    assert read(assets, "ann", made.id) == PICTURE


# ----------------------------------------------------------------------------- outputs


def output(assets: Assets, content: bytes, *, place: int = 0, job: str = "job-1") -> Asset:
    return assets.add_output(
        "ann", content, "sprite_00001_.png", "image/png", job_id=job, node_id="9", place=place
    )


def test_what_a_job_made_is_found_by_the_job(assets: Assets) -> None:
    second, first = output(assets, b"second", place=1), output(assets, b"first", place=0)
    other = output(assets, b"other", job="job-2")
    assert [one.id for one in assets.of_job("job-1")] == [first.id, second.id]
    found = assets.of_jobs(["job-1", "job-2", "job-3"])
    assert {job: len(files) for job, files in found.items()} == {"job-1": 2, "job-2": 1}
    assert (other.job_id, other.node_id) == ("job-2", "9")
    assert assets.get("ann", first.id).job_id == "job-1"
    assert assets.delete_of_job("job-1") == 2
    assert assets.of_job("job-1") == []
    assert len(contents(assets)) == 1


def test_a_second_try_takes_the_place_of_the_first(assets: Assets) -> None:
    first = output(assets, b"first try")
    second = output(assets, b"second try")
    assert first.id == second.id
    assert [one.hash for one in assets.of_job("job-1")] == [second.hash]
    assets.expire()
    assert read(assets, "ann", second.id) == b"second try"
    assert len(contents(assets)) == 1


def test_who_comes_too_late_writes_nothing(assets: Assets, database: Database) -> None:
    """A transaction that fails takes back the row, and the winner's bytes are still there."""
    winner = output(assets, b"winner")

    class LateError(SpriteworksError):
        pass

    def late() -> None:
        with database.transaction():
            output(assets, b"loser")
            raise LateError

    with pytest.raises(LateError):
        late()
    assets.expire()
    assert [one.hash for one in assets.of_job("job-1")] == [winner.hash]
    assert read(assets, "ann", winner.id) == b"winner"
