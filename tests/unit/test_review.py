"""What a person rejects is made again, with other seeds; nothing else is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestrator.batch import production as batch
from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.logic.jobs import State
from orchestrator.batch.recovery.recovery import Wish, recover
from orchestrator.batch.reporting.review import DIGITS, read_review
from orchestrator.cli import app
from orchestrator.errors import InputError, UsageError
from orchestrator.local.serving import Choice
from orchestrator.testing import FakeServer

GRAPH: dict[str, Any] = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "m.safetensors"}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["1", 1]}},
    "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
    "4": {
        "class_type": "KSampler",
        "inputs": {
            **{"model": ["1", 0], "positive": ["2", 0], "negative": ["2", 0]},
            **{"latent_image": ["3", 0], "seed": 7, "steps": 4, "cfg": 5.0, "denoise": 1.0},
            **{"sampler_name": "euler", "scheduler": "normal"},
        },
    },
    "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
    "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "x"}},
}


class Deaf:
    def happened(self, kind: str, **details: Any) -> None:
        """Take note of nothing."""


class Dots:
    """Three seeds of one text, on a server that counts what is sent."""

    def __init__(self, folder: Path, fake: FakeServer) -> None:
        self.folder, self.out, self.fake = folder, folder / "out", fake
        (folder / "graph.json").write_text(json.dumps(GRAPH), encoding="utf-8")
        self.want()

    def want(self, **more: Any) -> None:
        items = [{"id": "dot", "prompt": "a dot", "seeds": [5, 6, 7]}]
        text = {"name": "dots", "workflow": "graph.json", "items": items, **more}
        (self.folder / "dots.yaml").write_text(json.dumps(text), encoding="utf-8")

    def run(self) -> list[int]:
        """The seeds that were sent for it."""
        before = len(self.fake.submissions)
        choice = Choice(urls=(self.fake.url,))
        manifest = self.folder / "dots.yaml"
        batch.run(batch.BatchRequest(manifest=manifest, out=self.out, choice=choice), Deaf())
        return [one.graph["4"]["inputs"]["seed"] for one in self.fake.submissions[before:]]

    def digits(self, name: str) -> str:
        with Store.open(self.out) as store:
            hashes = {one.path: one.sha256 for one in store.artifacts()}
        return hashes[f"{name}.png"][:DIGITS]

    def review(self, *rejected: Any) -> Path:
        path = self.folder / "dots review.json"
        text = {"batch": "dots", "picked": [], "rejected": rejected}
        path.write_text(json.dumps(text), encoding="utf-8")
        return path

    def seen(self, name: str) -> dict[str, str]:
        """An entry as the report's page writes it."""
        return {"name": name, "file": f"{name}.png", "sha256": self.digits(name)}

    def states(self) -> dict[str, State]:
        with Store.open(self.out) as store:
            return {one.job.name: one.state for one in store.entries()}


@pytest.fixture
def dots(tmp_path: Path, repository: Path) -> Iterator[Dots]:
    info = json.loads((repository / "tests/data/comfyui/object_info.json").read_text("utf-8"))
    info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0] = ["m.safetensors"]
    with FakeServer(object_info=info) as server:
        yield Dots(tmp_path, server)


def test_what_is_rejected_is_made_again_with_another_seed_and_nothing_else(dots: Dots) -> None:
    assert dots.run() == [5, 6, 7]
    review = dots.review(dots.seen("dot-6"))
    arguments = ["batch", "retry", str(dots.out), "--rejected", str(review)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout == "1 job waits again, with new seeds; run the batch to make them\n"
    # Until the next one is there, the rejected picture stays.
    assert (dots.out / "dot-6.png").is_file()
    (seed,) = dots.run()
    assert seed not in (5, 6, 7)
    assert set(dots.states().values()) == {State.DONE}
    # The same review says nothing of the picture that is there now.
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 0
    assert again.stdout == "no job waits again\n"
    assert "dot-6 stays: its picture is another one by now" in again.stderr
    assert dots.run() == []


def test_a_rejected_picture_gets_another_seed_each_time(dots: Dots) -> None:
    dots.run()
    seeds = {6}
    for _ in range(3):
        found = batch.retry_rejected(dots.out, dots.review(dots.seen("dot-6")))
        assert found.again == ("dot-6",)
        seeds |= {*dots.run()}
    assert len(seeds) == 4


def test_what_a_person_rejects_is_not_counted_against_the_gates(dots: Dots) -> None:
    dots.run()
    batch.retry_rejected(dots.out, dots.review("dot-6"))
    # The fake's pictures have one colour: two seeds more, and then it is given up.
    dots.want(gates={"colours": {"min": 2}}, rerolls=2)
    dots.run()
    with Store.open(dots.out) as store:
        rolls = {one.job.name: (one.job.roll, one.job.asked_roll) for one in store.entries()}
    assert rolls == {"dot-5": (2, 0), "dot-6": (3, 1), "dot-7": (2, 0)}


def test_a_record_that_is_lost_is_rebuilt_with_what_was_made_for_a_review(dots: Dots) -> None:
    dots.run()
    batch.retry_rejected(dots.out, dots.review("dot-5", "dot-7"))
    dots.run()
    (dots.out / "batch.sqlite").unlink()
    found = recover(dots.out, Wish(), lambda *told: None)
    assert found.rebuilt
    assert set(dots.states().values()) == {State.DONE}
    assert dots.run() == []


def test_pictures_that_wait_or_are_not_wanted_stay(dots: Dots) -> None:
    dots.run()
    review = dots.review("dot-5", "dot-6")
    batch.retry_rejected(dots.out, review)
    assert batch.retry_rejected(dots.out, review).left == {
        "dot-5": "it is pending",
        "dot-6": "it is pending",
    }


def test_a_picture_without_a_seed_would_be_the_same(dots: Dots) -> None:
    size = {"width": 8, "height": 8, "batch_size": 1, "color": 0}
    graph = {
        "1": {"class_type": "EmptyImage", "inputs": size},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    (dots.folder / "graph.json").write_text(json.dumps(graph), encoding="utf-8")
    text = {"name": "dots", "workflow": "graph.json", "items": [{"id": "dot"}]}
    (dots.folder / "dots.yaml").write_text(json.dumps(text), encoding="utf-8")
    choice = Choice(urls=(dots.fake.url,))
    request = batch.BatchRequest(manifest=dots.folder / "dots.yaml", out=dots.out, choice=choice)
    batch.run(request, Deaf())
    found = batch.retry_rejected(dots.out, dots.review("dot"))
    assert not found.again
    assert "no seed" in found.left["dot"]


def test_a_review_of_another_batch_changes_nothing(dots: Dots) -> None:
    dots.run()
    with pytest.raises(UsageError, match=r"another batch.*potion-1"):
        batch.retry_rejected(dots.out, dots.review("dot-5", "potion-1"))
    assert dots.states()["dot-5"] is State.DONE


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\xff\xfe", b"[]", b"{}", b'{"rejected": 1}', b'{"rejected": [1]}', b"[" * 100_000),
        *(b'{"rejected": [{"sha256": "0"}]}', b'{"rejected": [{"name": "a", "sha256": 1}]}'),
    ],
)
def test_what_is_no_review_is_told_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "review.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is no review"):
        read_review(path)


def test_a_review_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_review(tmp_path / "none.json")
    with pytest.raises(UsageError, match="cannot be read"):
        read_review(tmp_path)


def test_names_and_a_review_exclude_each_other(dots: Dots) -> None:
    arguments = ["batch", "retry", str(dots.out), "dot-5", "--rejected", "x.json"]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, UsageError)
