"""Files in a bucket, on moto's server, which answers as S3 does: moto[server] and s3fs."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.batch.execution.store.database import Database
from orchestrator.errors import NotFound, OutputError, RangeUnsatisfiable, TooLarge
from orchestrator.service.assets import Assets
from orchestrator.service.storage import CHUNK, Storage
from orchestrator.testing import FakeServer
from sdk_pictures import picture
from service_parts import Clock, opened
from service_world import graph, serving, until

pytest.importorskip("s3fs", reason="needs the extra s3: pip install s3fs")
moto_server: Any = pytest.importorskip(
    "moto.server", reason="needs moto's server: pip install 'moto[server]'"
)

BUCKET = "sprites"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture
def storage(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """A bucket of its own, named and entered as people do it: by a URL and the environment."""
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    files = s3fs.S3FileSystem()
    if files.exists(BUCKET):
        files.rm(BUCKET, recursive=True)
    files.mkdir(BUCKET)
    return Storage(f"s3://{BUCKET}/files")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as database:
        yield database


def objects(storage: Storage) -> list[str]:
    place: Any = storage._place
    place._files.invalidate_cache()
    return sorted(place._files.find(BUCKET))


def parts(storage: Storage) -> list[Path]:
    return list(storage._place.parts.iterdir())


def test_what_was_put_is_read_and_goes(storage: Storage) -> None:
    content = os.urandom(3 * CHUNK + 17)
    stored = storage.put(io.BytesIO(content))
    assert stored.size == len(content)
    digits = stored.hash.partition(":")[2]
    assert objects(storage) == [f"{BUCKET}/files/{digits[:2]}/{digits}"]
    assert storage.read(stored.hash) == content
    for start, stop in ((0, 1), (5, 5), (CHUNK - 1, CHUNK + 1), (len(content) - 9, len(content))):
        with storage.open(stored.hash, start, stop) as chunks:
            assert b"".join(chunks) == content[start:stop]
    assert storage.put(content) == stored
    assert storage.delete(stored.hash)
    assert storage.delete(stored.hash)
    assert not storage.has(stored.hash)
    with pytest.raises(NotFound):
        storage.open(stored.hash)
    assert objects(storage) == parts(storage) == []


def test_a_large_content_goes_up_in_several_pieces(storage: Storage) -> None:
    """More than the 5 MiB from which S3 wants an upload in parts."""
    content = os.urandom(12 * 1024 * 1024)
    assert storage.read(storage.put(content).hash) == content


def test_an_empty_content_is_one(storage: Storage) -> None:
    assert storage.read(storage.put(b"").hash) == b""


def test_what_is_too_large_never_reaches_the_bucket(storage: Storage) -> None:
    with pytest.raises(TooLarge):
        storage.put(iter([b"x" * 1000] * 11), limit=10_000)
    assert objects(storage) == parts(storage) == []


def test_files_of_owners_share_a_content(storage: Storage, database: Database) -> None:
    clock = Clock()
    assets = Assets(database, storage, clock=clock)
    first = assets.add("ann", b"the same", "a.txt")
    second = assets.add("bob", b"the same", "b.txt", expires_at=clock.now + 5)
    assert len(objects(storage)) == 1
    with assets.content("bob", second.id, "bytes=-4").chunks as chunks:
        assert b"".join(chunks) == b"same"
    with pytest.raises(RangeUnsatisfiable):
        assets.content("bob", second.id, "bytes=8-")
    assets.delete("ann", first.id)
    clock.now += 5
    assert assets.expire() == 1
    # an upload of the same that began before may count on it
    assert len(objects(storage)) == 1
    clock.now += 3600
    assert assets.expire() == 0
    assert objects(storage) == []


def test_an_upload_on_its_way_keeps_its_content(storage: Storage, database: Database) -> None:
    clock = Clock()
    assets = Assets(database, storage, clock=clock)
    first = assets.add("ann", b"the same", "a.txt")
    clock.now += 7200
    with assets.receive() as part:
        part.write(b"the same")
        assets.prepare(part)
        assets.delete("ann", first.id)
        assets.expire()
        with database.transaction():
            made = assets.add_output(
                "ann", part, "a.txt", "text/plain", job_id="job", node_id="9", place=0
            )
    with assets.content("ann", made.id).chunks as chunks:
        assert b"".join(chunks) == b"the same"


def test_uploads_and_deletions_of_the_same_bytes_at_once(
    storage: Storage, database: Database
) -> None:
    clock = Clock()
    assets = Assets(database, storage, clock=clock)
    failures: list[BaseException] = []

    def work(owner: str) -> None:
        try:
            for _ in range(8):
                made = assets.add(owner, b"the same", "a.txt")
                with assets.content(owner, made.id).chunks as chunks:
                    assert b"".join(chunks) == b"the same"
                assets.delete(owner, made.id)
        except BaseException as error:  # noqa: BLE001  (shown by the test)
            failures.append(error)

    threads = [threading.Thread(target=work, args=(f"owner {n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    clock.now += 3601
    assets.expire()
    assert objects(storage) == []


def test_what_nobody_knows_is_listed_once_it_is_old(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = storage.put(b"lost")
    assert list(storage.old()) == []
    with later(monkeypatch, 2 * 3600):
        assert list(storage.old()) == [stored.hash]


@contextmanager
def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> Iterator[None]:
    from orchestrator.service import storage as module

    now = module.time.time
    with monkeypatch.context() as patch:
        patch.setattr(module.time, "time", lambda: now() + seconds)
        yield


def test_a_bucket_that_is_not_there_is_said_at_the_start(storage: Storage) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        Storage("s3://nosuchbucket/files")


def test_a_bucket_that_goes_away_is_an_error_and_leaves_nothing(
    storage: Storage, database: Database
) -> None:
    assets = Assets(database, storage)
    place: Any = storage._place
    place._files.rm(BUCKET, recursive=True)
    with pytest.raises(OutputError):
        assets.add("ann", b"content", "a.txt")
    assert parts(storage) == []
    with database.reading() as connection:
        assert connection.exec_driver_sql("select count(*) from assets").scalar_one() == 0


def test_no_transaction_waits_for_the_bucket(
    storage: Storage, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is everybody's, and an upload takes seconds."""
    place = type(storage._place)
    inside: list[str] = []

    def watched(name: str) -> None:
        real = getattr(place, name)

        def ask(self: Any, *arguments: Any) -> Any:
            if database._depth:
                inside.append(name)
            return real(self, *arguments)

        monkeypatch.setattr(place, name, ask)

    for name in ("size", "adopt"):
        watched(name)
    assets = Assets(database, storage)
    made = assets.add("ann", b"content", "a.txt")
    assets.add("ann", b"content", "b.txt")
    assets.from_hash("ann", made.hash)
    assert inside == []


def test_the_whole_service_keeps_its_files_in_the_bucket(storage: Storage, tmp_path: Path) -> None:
    with FakeServer() as fake:
        with serving(tmp_path, [fake.url], storage=storage.url) as world:
            files = {"file": ("in.png", picture(), "image/png")}
            asset = world.call("POST", "/api/v2/assets", files=files).json()
            given = {"__type": "core/ASSET", "info": {"id": asset["id"]}}
            saving = {
                "1": {"class_type": "LoadImage", "inputs": {"image": given}},
                "2": {
                    "class_type": "SaveImage",
                    "inputs": {"images": ["1", 0], "filename_prefix": "copy"},
                },
            }
            jobs = [world.ended(world.post(one).json()["id"]) for one in (saving, graph())]
            assert [job["status"] for job in jobs] == ["succeeded"] * 2
            # what was uploaded reached the server
            assert any(picture() == content for content in fake.files.values())
            outputs = [output for job in jobs for output in job["outputs"]]
            assert len(outputs) == 2
        hashes = {asset["hash"], *(one["hash"] for one in outputs)}
        wanted = {one.partition(":")[2] for one in hashes}
        assert {name.rpartition("/")[2] for name in objects(storage)} == wanted
        # none of it lies in the folder, and another process finds it
        local = {path.name for path in tmp_path.rglob("*") if path.is_file()}
        assert not wanted & local
        with serving(tmp_path, [fake.url], storage=storage.url) as world:
            for output in outputs:
                path = f"/api/v2/assets/{output['id']}/content"
                whole = world.call("GET", path)
                assert len(whole.content) == output["size_bytes"]
                part = world.call("GET", path, headers={"Range": "bytes=1-4"})
                assert (part.status_code, part.content) == (206, whole.content[1:5])


def test_a_bucket_that_goes_away_ends_nothing_for_good(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeServer() as fake, serving(tmp_path, [fake.url], storage=storage.url) as world:
        place: Any = world.service.assets.storage._place
        adopt, gone = place.adopt, threading.Event()
        gone.set()

        def adopted(part: Path, name: str) -> None:
            if gone.is_set():
                raise OutputError("the bucket does not answer")
            adopt(part, name)

        monkeypatch.setattr(place, "adopt", adopted)
        id = world.post(graph()).json()["id"]
        until(lambda: world.service._loop._dispatcher.stop_error, bool)
        refused = world.call("POST", "/api/v2/assets", files={"file": ("x.txt", b"x")})
        assert (refused.status_code, refused.json()["error"]["code"]) == (
            507,
            "insufficient_storage",
        )
        gone.clear()
        job = world.ended(id)
        assert job["status"] == "succeeded"
        assert len(fake.submissions) == 1
        content = world.call("GET", f"/api/v2/assets/{job['outputs'][0]['id']}/content")
        assert len(content.content) == job["outputs"][0]["size_bytes"]
