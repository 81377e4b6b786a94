"""A batch on servers that misbehave as scripted: it completes, and the log says what happened."""

from __future__ import annotations

import errno
import io
import itertools
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from orchestrator.batch import production as batch
from orchestrator.batch.execution.fleet import Care
from orchestrator.batch.execution.store.folder_lock import held
from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.logic.jobs import State
from orchestrator.batch.logic.pace import PaceBounds
from orchestrator.client.wire import Timeouts
from orchestrator.errors import BatchBusy, OutputError, ServerUnreachable
from orchestrator.local.serving import Choice
from orchestrator.sprites.inspecting import inspect
from orchestrator.testing import FakeServer, Fault, Script, SocketMode

GRAPH = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
SAMPLED: dict[str, Any] = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "m.safetensors"}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["1", 1]}},
    "3": {
        "class_type": "EmptyLatentImage",
        "inputs": {"width": 64, "height": 64, "batch_size": 1},
    },
    "4": {
        "class_type": "KSampler",
        "inputs": {
            "model": ["1", 0],
            "positive": ["2", 0],
            "negative": ["2", 0],
            "latent_image": ["3", 0],
            "seed": 7,
            "steps": 4,
            "cfg": 5.0,
            "sampler_name": "euler",
            "scheduler": "normal",
            "denoise": 1.0,
        },
    },
    "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
    "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "x"}},
}
# Short enough for a test, long enough for a machine that is busy with others.
CARE = Care(
    timeouts=Timeouts(
        connect=2.0,
        read=2.0,
        poll=0.1,
        lost_polls=3,
        lost_after=0.5,
        tries=3,
        delays=lambda: itertools.repeat(0.05),
    ),
    patience=PaceBounds(first=30.0, least=30.0),
    grace=0.2,
)


class Told:
    """Remembers what happened; `wait_for` lets a test act at a named moment."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._changed = threading.Condition()

    def happened(self, kind: str, **details: Any) -> None:
        if kind in ("tick", "progress"):
            return
        with self._changed:
            self.events.append((kind, details))
            self._changed.notify_all()

    def wait_for(self, kind: str, count: int = 1, **details: Any) -> None:
        """Wait for so many events of a kind, of which all of `details` are true."""

        def came() -> int:
            return sum(one == kind and details.items() <= had.items() for one, had in self.events)

        with self._changed:
            assert self._changed.wait_for(lambda: came() >= count, 30), f"no {kind}: {self.events}"


class Bench:
    """A manifest of dots, a folder, servers, and a run of it all."""

    def __init__(self, folder: Path, servers: list[FakeServer]) -> None:
        self.servers = servers
        self.out = folder / "out"
        self.told = Told()
        self.manifest = folder / "dots.yaml"
        (folder / "graph.json").write_text(json.dumps(GRAPH), encoding="utf-8")

    def want(self, count: int, **more: Any) -> None:
        text = {
            "name": "dots",
            "workflow": "graph.json",
            "items": [
                {"id": f"dot-{n}", "set": {"1.color": n}, "output": "{id}"}
                for n in range(1, count + 1)
            ],
            **more,
        }
        self.manifest.write_text(json.dumps(text), encoding="utf-8")

    def request(self, care: Care = CARE) -> batch.BatchRequest:
        choice = Choice(urls=tuple(server.url for server in self.servers))
        return batch.BatchRequest(manifest=self.manifest, out=self.out, choice=choice, care=care)

    def run(self, care: Care = CARE) -> batch.BatchResult:
        return batch.run(self.request(care), self.told)

    def in_background(self, care: Care = CARE) -> Callable[[], batch.BatchResult]:
        results: list[Any] = []

        def work() -> None:
            try:
                results.append(self.run(care))
            except BaseException as error:  # noqa: BLE001  (handed to the test's own thread)
                results.append(error)

        thread = threading.Thread(target=work)
        thread.start()

        def result() -> batch.BatchResult:
            thread.join(60)
            assert results, "the run does not end"
            if isinstance(results[0], BaseException):
                raise results[0]
            return results[0]  # type: ignore[no-any-return]

        return result

    def when_sent(self, *counts: int) -> threading.Event:
        """What is set once each server has been sent so many jobs.

        A gate for scripts: without one, the server that answers first may make all pictures.
        """
        sent = threading.Event()

        def watch() -> None:
            for server, count in zip(self.servers, counts, strict=True):
                server.requested("POST", "/prompt", count, timeout=60)
            sent.set()

        threading.Thread(target=watch, daemon=True).start()
        return sent

    def pictures(self) -> set[str]:
        return {path.name for path in self.out.glob("*.png")}

    def log(self) -> str:
        with Store.open(self.out) as store:
            return "\n".join(event.text for event in store.events())

    def sent(self) -> Counter[int]:
        return Counter(
            request.graph["1"]["inputs"]["color"]
            for server in self.servers
            for request in server.submissions
        )

    def assert_complete(self, count: int) -> None:
        assert self.pictures() == {f"dot-{n}.png" for n in range(1, count + 1)}
        assert list((self.out / ".parts").iterdir()) == []


def fill_disk(patch: pytest.MonkeyPatch, after: int) -> None:
    """Let there be room for `after` more pictures."""
    sync, calls = os.fsync, itertools.count()

    def full(number: int) -> None:
        if next(calls) >= after:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(number)

    patch.setattr(os, "fsync", full)


def again_at(url: str) -> FakeServer:
    """Another server at the address of one that dies, as soon as that has let go of it."""
    late = time.monotonic() + 20
    while True:
        try:
            return FakeServer(port=int(url.rsplit(":", 1)[1]))
        except OSError:
            assert time.monotonic() < late, "the first server does not die"
            time.sleep(0.01)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(tmp_path, [stack.enter_context(FakeServer()) for _ in range(2)])


@pytest.fixture
def single(tmp_path: Path) -> Iterator[Bench]:
    with FakeServer() as server:
        yield Bench(tmp_path, [server])


def test_a_batch_completes_and_a_second_run_does_nothing(bench: Bench) -> None:
    bench.want(12)
    both = bench.when_sent(1, 1)
    for server in bench.servers:
        server.script(Script(gates={"1": both}))
    assert bench.run().is_complete
    bench.assert_complete(12)
    assert bench.sent() == {n: 1 for n in range(1, 13)}
    assert all(server.submissions for server in bench.servers)
    assert bench.run().is_complete
    assert sum(bench.sent().values()) == 12


@pytest.mark.parametrize(
    ("method", "path", "fault"),
    [
        ("POST", "/prompt", Fault.ERROR_500),
        ("POST", "/prompt", Fault.TRUNCATED),
        ("POST", "/prompt", Fault.RESET_BEFORE),
        ("POST", "/prompt", Fault.RESET_AFTER),
        ("GET", "/history", Fault.ERROR_500),
        ("GET", "/history", Fault.TRUNCATED),
        ("GET", "/history", Fault.EMPTY),
        ("GET", "/queue", Fault.HTML),
        ("GET", "/view", Fault.ERROR_500),
        ("GET", "/view", Fault.TRUNCATED),
        ("GET", "/view", Fault.RESET_AFTER),
    ],
)
def test_spoilt_answers_cost_nothing_but_time(
    single: Bench, method: str, path: str, fault: Fault
) -> None:
    single.want(4)
    single.servers[0].break_next(method, path, fault, times=2)
    assert single.run().is_complete
    single.assert_complete(4)


def test_a_server_that_stumbles_for_long_is_set_aside_and_taken_back(single: Bench) -> None:
    single.want(4)
    single.servers[0].break_next("POST", "/prompt", Fault.ERROR_500, times=7)
    assert single.run().is_complete
    single.assert_complete(4)
    assert "is set aside" in single.log()
    assert "is back after" in single.log()


@pytest.mark.parametrize("mode", [SocketMode.SILENT, SocketMode.REFUSE])
def test_without_a_websocket_all_goes_on(single: Bench, mode: SocketMode) -> None:
    single.servers[0].sockets = mode
    single.want(4)
    assert single.run().is_complete
    single.assert_complete(4)


def test_the_websocket_is_cut_again_and_again(bench: Bench) -> None:
    bench.want(20)
    for server in bench.servers:
        server.pace = 0.02
    finished = bench.in_background()
    for count in range(1, 20, 3):
        bench.told.wait_for("done", count)
        for server in bench.servers:
            server.cut_sockets()
    assert finished().is_complete
    assert bench.sent() == {n: 1 for n in range(1, 21)}


def test_a_history_that_stays_empty_after_success_is_made_again(single: Bench) -> None:
    single.want(3)
    single.servers[0].script(Script(remembered=False))
    assert single.run().is_complete
    single.assert_complete(3)
    assert "neither in the queue nor in the history" in single.log()
    assert sum(single.sent().values()) == 4


def test_a_picture_that_the_server_has_lost_is_made_again_without_its_cache(single: Bench) -> None:
    single.want(2)
    single.servers[0].break_next("GET", "/view", Fault.NOT_FOUND)
    assert single.run().is_complete
    assert single.servers[0].freed
    assert "no longer has" in single.log()


def test_a_node_that_raises_once_is_tried_on_the_other_server(bench: Bench) -> None:
    bench.want(6)
    both = bench.when_sent(1, 1)
    bench.servers[0].script(Script(fail_in="1", gates={"1": both}))
    bench.servers[1].script(Script(gates={"1": both}))
    assert bench.run().is_complete
    bench.assert_complete(6)
    assert "it goes to another server" in bench.log()


def test_a_node_that_always_raises_fails_its_jobs_only(single: Bench) -> None:
    single.want(3)
    single.servers[0].script(Script(fail_in="1"), Script(), Script(), Script(fail_in="1"))
    result = single.run()
    assert not result.is_complete
    assert len(single.pictures()) == 2
    assert "it is given up" in single.log()
    found = batch.status(single.out)
    assert (found["done"], found["failed"]) == (2, 1)
    assert "it broke" in found["failures"][0]["reason"]
    assert batch.retry(single.out) == 1
    assert single.run().is_complete
    single.assert_complete(3)


def test_a_job_that_runs_out_of_memory_is_sent_again_after_freeing_it(single: Bench) -> None:
    single.want(2)
    memory = ("torch.OutOfMemoryError", "CUDA out of memory")
    single.servers[0].script(Script(fail_in="1", fail_as=memory))
    assert single.run().is_complete
    assert single.servers[0].freed == [{"unload_models": True, "free_memory": True}]
    assert "it is sent again with memory freed" in single.log()
    with Store.open(single.out) as store:
        attempts = [one for entry in store.entries() for one in store.attempts_of(entry.job.key)]
    assert [dict(one.degraded) for one in attempts if one.degraded] == [{"free": True}]


def test_a_server_that_lacks_what_the_workflow_needs_is_left_out(bench: Bench) -> None:
    bench.want(4)
    info = bench.servers[1].object_info
    bench.servers[1].object_info = {name: info[name] for name in info if name != "EmptyImage"}
    hold = threading.Event()
    bench.servers[0].script(Script(gates={"1": hold}))
    finished = bench.in_background()
    bench.told.wait_for("server", server=bench.servers[1].url, open=False)
    hold.set()
    assert finished().is_complete
    assert not bench.servers[1].submissions
    assert f"{bench.servers[1].url} is given up" in bench.log()
    assert batch.plan(bench.request()).servers[bench.servers[1].url]


def test_a_picture_that_passes_no_gate_fails_its_job(single: Bench) -> None:
    """The fake's pictures are plain, so a gate against blank ones rejects them all."""
    single.want(2, gates={"blank": {}})
    assert not single.run().is_complete
    found = batch.status(single.out)
    assert found["failed"] == 2
    assert "blank is 1" in found["failures"][0]["reason"]
    assert single.pictures() == set()


def test_rejected_pictures_are_rolled_again_with_seeds_that_follow_from_the_job(
    tmp_path: Path, repository: Path
) -> None:
    """The fake's pictures have one colour, so a gate that wants two rejects them all."""
    info = json.loads((repository / "tests/data/comfyui/object_info.json").read_text("utf-8"))
    info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0] = ["m.safetensors"]
    rolls = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        with FakeServer(object_info=info) as server:
            bench = Bench(folder, [server])
            (folder / "graph.json").write_text(json.dumps(SAMPLED), encoding="utf-8")
            text = {
                "name": "dots",
                "workflow": "graph.json",
                "items": [{"id": "dot", "prompt": "a dot", "seeds": [5]}],
                "gates": {"colours": {"min": 2}},
                "rerolls": 2,
            }
            bench.manifest.write_text(json.dumps(text), encoding="utf-8")
            assert not bench.run().is_complete
            rolls.append([one.graph["4"]["inputs"]["seed"] for one in server.submissions])
            assert batch.status(bench.out)["failed"] == 1
            assert "is rolled again (2 of 2): colours is 1" in bench.log()
    assert rolls[0] == rolls[1]
    assert rolls[0][0] == 5
    assert len(set(rolls[0])) == 3


def test_a_sprite_with_specks_is_rolled_again_until_one_is_clean(
    tmp_path: Path, repository: Path
) -> None:
    """The measures of `spriteworks inspect` are gates: the first two pictures do not pass them."""
    info = json.loads((repository / "tests/data/comfyui/object_info.json").read_text("utf-8"))
    info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0] = ["m.safetensors"]
    speck, soft, clean = (Script(alters=partial(_drawn, pixel=one)) for one in _PIXELS)
    with FakeServer(object_info=info) as server:
        server.script(speck, soft, clean)
        bench = Bench(tmp_path, [server])
        (tmp_path / "graph.json").write_text(json.dumps(SAMPLED), encoding="utf-8")
        text = {
            "name": "dots",
            "workflow": "graph.json",
            "items": [{"id": "dot", "prompt": "a dot", "seeds": [5], "output": "{id}"}],
            "gates": ["alpha_binary", "orphans", "outline", "specks"],
            "rerolls": 5,
        }
        bench.manifest.write_text(json.dumps(text), encoding="utf-8")
        assert bench.run().is_complete
        seeds = [one.graph["4"]["inputs"]["seed"] for one in server.submissions]
    assert len(set(seeds)) == 3
    log = bench.log()
    assert "is rolled again (1 of 5): specks is 1, and must be at most 0" in log
    assert "is rolled again (2 of 5): alpha_binary is 0.998264, and must be" in log
    assert not inspect(bench.out / "dot.png").pictures[0].failed
    with Store.open(bench.out) as store:
        ((kept,),) = [store.artifacts(entry.job.key) for entry in store.entries(State.DONE)]
    assert kept.measured == {"alpha_binary": 1, "orphans": 0, "outline": 1, "specks": 0}


# What spoils a sprite at its upper left corner, or does not.
_PIXELS = ((200, 40, 40, 255), (200, 40, 40, 90), (0, 0, 0, 0))


def _drawn(right: bytes, pixel: tuple[int, ...]) -> bytes:
    """A sprite of 24x24 in the place of the fake's picture, with the graph of that."""
    given = Image.open(io.BytesIO(right))
    texts = PngInfo()
    for name, value in given.info.items():
        texts.add_text(name, value)
    sprite = Image.new("RGBA", (24, 24))
    sprite.paste((30, 10, 20, 255), (2, 2, 22, 22))
    sprite.paste((200, 40, 40, 255), (3, 3, 21, 21))
    sprite.putpixel((0, 0), pixel)
    stream = io.BytesIO()
    sprite.save(stream, "PNG", pnginfo=texts)
    return stream.getvalue()


def test_of_equal_pictures_the_first_of_the_manifest_stays(bench: Bench) -> None:
    """All pictures of the fake are equal; whichever server is faster, the first one stays."""
    bench.servers[0].pace = 0.1
    bench.want(3, gates={"duplicate": None})
    assert not bench.run().is_complete
    found = batch.status(bench.out)
    assert (found["done"], found["failed"]) == (1, 2)
    assert [one["name"] for one in found["failures"]] == ["dot-2", "dot-3"]
    assert len(bench.pictures()) == 3


def test_a_gate_that_compares_also_sees_pictures_from_before_it(single: Bench) -> None:
    """Without such a gate nobody takes the pixels of a picture."""
    single.want(2)
    single.run()
    with Store.open(single.out) as store:
        assert len(store.unhashed()) == 2
    text = json.loads(single.manifest.read_text("utf-8"))
    text["items"][1]["gates"] = {"duplicate": None}
    single.manifest.write_text(json.dumps(text), encoding="utf-8")
    assert not single.run().is_complete
    assert [one["name"] for one in batch.status(single.out)["failures"]] == ["dot-2"]


def test_changed_gates_judge_the_pictures_that_are_there(single: Bench) -> None:
    single.want(2)
    single.run()
    sent = sum(single.sent().values())
    single.want(2, gates={"blank": None})
    assert not single.run().is_complete
    assert sum(single.sent().values()) == sent
    assert batch.status(single.out)["failed"] == 2
    assert "2 pictures are measured again" in single.log()


def test_a_refused_job_is_never_sent_again(single: Bench) -> None:
    single.want(3)
    single.servers[0].break_next("POST", "/prompt", Fault.REFUSED)
    assert not single.run().is_complete
    posted = [path for method, path in single.servers[0].requests if method == "POST"]
    assert posted.count("/prompt") == 3
    assert "refused" in batch.status(single.out)["failures"][0]["reason"]
    single.run()
    assert [path for method, path in single.servers[0].requests if method == "POST"] == posted


def test_a_job_that_somebody_interrupts_is_made_again(single: Bench) -> None:
    single.want(2)
    single.servers[0].script(Script(interrupted_in="1"))
    assert single.run().is_complete
    assert "was stopped on the server" in single.log()


def test_a_job_that_kills_two_servers_is_quarantined(tmp_path: Path) -> None:
    with FakeServer() as first, FakeServer() as second, FakeServer() as third:
        bench = Bench(tmp_path, [first, second, third])
        bench.want(1)
        for server in bench.servers:
            server.script(Script(die_in="1"))
        result = bench.run()
        assert batch.status(bench.out)["quarantined"] == 1
        assert not result.is_complete
        assert sum(bench.sent().values()) == 2
        assert "it is quarantined" in bench.log()


def test_a_server_dies_and_the_other_takes_over(bench: Bench) -> None:
    bench.want(10)
    bench.servers[0].script(Script(), Script(), Script(die_in="2"))
    bench.servers[1].script(Script(gates={"1": bench.when_sent(3, 1)}))
    assert bench.run().is_complete
    bench.assert_complete(10)
    assert f"{bench.servers[0].url} is set aside" in bench.log()


def test_a_server_dies_and_comes_back_at_its_address(single: Bench) -> None:
    single.want(6)
    first = single.servers[0]
    first.script(Script(), Script(die_in="1"))
    finished = single.in_background()
    with again_at(first.url) as second:
        single.servers.append(second)
        assert finished().is_complete
    single.assert_complete(6)


def test_a_frozen_job_is_interrupted_and_goes_elsewhere(bench: Bench) -> None:
    """The server answers every question, and its worker never moves on (pitfall 14)."""
    bench.want(8)
    for server in bench.servers:
        server.pace = 0.01
    bench.servers[0].script(Script(), Script(), Script(gates={"2": threading.Event()}))
    bench.servers[1].script(Script(gates={"1": bench.when_sent(3, 1)}))
    care = replace(CARE, patience=PaceBounds(first=1.0, least=1.0))
    assert bench.run(care).is_complete
    bench.assert_complete(8)
    assert "has not moved on for" in bench.log()
    assert bench.servers[0].submissions[2].prompt_id in bench.servers[0].cancelled


def test_two_orchestrators_the_second_says_so_and_does_nothing(single: Bench) -> None:
    single.want(2)
    with held(single.out):
        before = sorted(single.out.iterdir())
        with pytest.raises(BatchBusy, match="another orchestrator"):
            single.run()
        assert sorted(single.out.iterdir()) == before
    assert not single.servers[0].submissions
    assert single.run().is_complete


def test_a_full_disk_stops_the_run_and_the_next_one_goes_on(
    single: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    single.want(6)
    with monkeypatch.context() as patch:
        fill_disk(patch, after=2)
        with pytest.raises(OutputError, match="No space left on device"):
            single.run()
    assert "the run stops" in single.log()
    assert len(single.pictures()) == 2
    assert single.run().is_complete
    single.assert_complete(6)
    # What the server had made was only fetched.
    assert sum(single.sent().values()) == 6


def test_an_output_folder_that_cannot_be_written_is_told_at_once(single: Bench) -> None:
    single.want(1)
    single.out.write_text("a file where a folder should be", encoding="utf-8")
    with pytest.raises(OutputError):
        single.run()
    assert not single.servers[0].submissions


def test_a_clock_that_jumps_back_breaks_nothing(
    single: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    single.want(6)
    moments = itertools.count(1_800_000_000, -3600)
    monkeypatch.setattr(time, "time", lambda: float(next(moments)))
    assert single.run().is_complete
    single.assert_complete(6)


def test_a_changed_manifest_makes_only_what_changed(single: Bench) -> None:
    single.want(4)
    single.run()
    before = {path.name: path.stat().st_mtime_ns for path in single.out.glob("*.png")}
    text = json.loads(single.manifest.read_text(encoding="utf-8"))
    text["items"] = [*text["items"][1:], {"id": "new", "set": {"1.color": 9}, "output": "{id}"}]
    text["items"][0]["set"] = {"1.color": 77}
    single.manifest.write_text(json.dumps(text), encoding="utf-8")
    assert single.run().is_complete
    assert single.sent() == {1: 1, 2: 1, 3: 1, 4: 1, 77: 1, 9: 1}
    after = {path.name: path.stat().st_mtime_ns for path in single.out.glob("*.png")}
    assert set(after) == {*before, "new.png"}
    assert [name for name in before if before[name] != after[name]] == ["dot-2.png"]
    assert "1 are no longer wanted, and their files stay" in single.log()


def test_missing_and_damaged_pictures_are_made_again(single: Bench) -> None:
    single.want(4)
    single.run()
    (single.out / "dot-1.png").unlink()
    (single.out / "dot-2.png").write_bytes(b"half a picture")
    assert single.run().is_complete
    assert single.sent() == {1: 2, 2: 2, 3: 1, 4: 1}
    single.assert_complete(4)


def test_no_server_at_all_is_said_at_once(single: Bench) -> None:
    single.want(1)
    single.servers[0].die()
    with pytest.raises(ServerUnreachable, match="no server answers"):
        single.run()


def test_cancelled_jobs_are_left_out_while_the_batch_runs(single: Bench) -> None:
    single.want(300)
    hold = threading.Event()
    single.servers[0].script(Script(gates={"1": hold}))
    finished = single.in_background()
    single.servers[0].reached("1")
    cancelled = batch.cancel(single.out)
    assert cancelled >= 298
    hold.set()
    assert not finished().is_complete
    found = batch.status(single.out)
    assert (found["done"], found["cancelled"]) == (300 - cancelled, cancelled)


def test_servers_and_resumes_never_change_the_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same manifest on one server, on three, and resumed on another: the same hashes."""
    found = []
    for name, servers in (("one", 1), ("three", 3), ("resumed", 2)):
        folder = tmp_path / name
        folder.mkdir()
        with ExitStack() as stack:
            bench = Bench(folder, [stack.enter_context(FakeServer()) for _ in range(servers)])
            bench.want(15)
            if name == "resumed":
                with monkeypatch.context() as patch:
                    fill_disk(patch, after=5)
                    with pytest.raises(OutputError):
                        bench.run()
                bench.servers = [stack.enter_context(FakeServer())]
            assert bench.run().is_complete
            with Store.open(bench.out) as store:
                found.append({one.path: (one.sha256, one.seed) for one in store.artifacts()})
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 15
