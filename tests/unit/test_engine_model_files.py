"""A model file that is exchanged while the engine runs: what was made of it is made anew."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from comfy_nodes.settings import LoaderSettings
from orchestrator.engine.execution.executor import Executor
from orchestrator.engine.execution.jobs import GraphJob, Report
from orchestrator.engine.execution.validation import check
from orchestrator.engine.host import io
from orchestrator.engine.model_files import changed, noted, reads
from orchestrator.engine.models.loading import load_checkpoint, load_diffusers
from orchestrator.engine.models.lora import read_lora
from orchestrator.engine.sampling.conditioning import encode_text
from orchestrator.engine.serving.registry import by_name
from orchestrator.protocol import Event, Graph

calls: list[str] = []


class Load(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs = [io.String.Input("path")]
        return io.Schema(node_id="Load", category="", inputs=inputs, outputs=[io.String.Output()])

    @classmethod
    def execute(cls, path: str) -> io.NodeOutput:
        calls.append("load")
        reads(Path(path))
        return io.NodeOutput(Path(path).read_text(encoding="utf-8"))


class Use(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs = [io.String.Input("text", force_input=True)]
        return io.Schema(node_id="Use", category="", inputs=inputs, outputs=[], is_output_node=True)

    @classmethod
    def execute(cls, text: str) -> io.NodeOutput:
        calls.append(f"use {text}")
        return io.NodeOutput(ui={"text": [text]})


NODES = by_name([Load, Use])


class Nobody:
    def send(self, event: Event, client_id: str | None) -> None:
        """Nobody listens."""

    def listens(self, client_id: str | None) -> bool:
        return False


@pytest.fixture
def executor() -> Executor:
    calls.clear()
    return Executor(lambda: NODES, Nobody())


def run(executor: Executor, *paths: Path) -> Report:
    graph: Graph = {}
    for path in paths:
        graph[path.name] = {"class_type": "Load", "inputs": {"path": str(path)}}
        graph[f"{path.name}-2"] = {"class_type": "Load", "inputs": {"path": str(path)}}
        graph[f"{path.name}-3"] = {"class_type": "Use", "inputs": {"text": [f"{path.name}-2", 0]}}
        graph[f"{path.name}-4"] = {"class_type": "Use", "inputs": {"text": [path.name, 0]}}
    verdict = check(graph, NODES)
    assert verdict.error is None, verdict
    return executor.run(
        GraphJob(
            number=0, prompt_id="p", graph=verdict.graph, extra_data={}, outputs=verdict.outputs
        )
    )


def exchange(path: Path, text: str) -> None:
    """Put another file of the same length and time in its place."""
    before = path.stat()
    other = path.with_suffix(".new")
    other.write_text(text, encoding="utf-8")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


def test_what_was_made_of_it_and_all_behind_is_made_anew(
    executor: Executor, tmp_path: Path
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("a", encoding="utf-8")
    other.write_text("x", encoding="utf-8")
    run(executor, one, other)
    calls.clear()
    run(executor, one, other)
    assert calls == []
    exchange(one, "b")
    report = run(executor, one, other)
    # equal nodes run once, and those of the other file not at all
    assert calls == ["load", "use b"]
    assert report.outputs["one-3"] == {"text": ["b"]}
    calls.clear()
    run(executor, one, other)
    assert calls == []


def test_one_that_is_gone_is_told_and_one_that_comes_is_seen(
    executor: Executor, tmp_path: Path
) -> None:
    path = tmp_path / "one"
    path.write_text("a", encoding="utf-8")
    run(executor, path)
    path.unlink()
    assert not run(executor, path).success
    path.write_text("c", encoding="utf-8")
    assert run(executor, path).outputs["one-3"] == {"text": ["c"]}


def test_a_folder_is_all_that_is_in_it(tmp_path: Path) -> None:
    part = tmp_path / "unet" / "weights"
    part.parent.mkdir()
    part.write_text("a", encoding="utf-8")
    with noted() as found:
        reads(tmp_path)
    assert not changed(found)
    exchange(part, "b")
    assert changed(found)


def test_every_reader_of_the_engine_says_what_it_reads(tiny_models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    shutil.copytree(tiny_models / "tiny-sd1", folder)
    single = tmp_path / "single.safetensors"
    save_file({"a": torch.zeros(1)}, single)
    with noted() as found:
        loaded = load_diffusers(folder, LoaderSettings())
        read_lora(single)
        with pytest.raises(Exception, match="single"):
            load_checkpoint(single, LoaderSettings())
    assert set(found) == {folder, single}
    place = tmp_path / "embeddings"
    place.mkdir()
    clip = replace(loaded.clip, embeddings=(place,))
    with noted() as found:
        encode_text(clip, "embedding:style potion")
    assert set(found) == {place}
    width = int(loaded.clip.encoders[0].part.module.config.hidden_size)
    save_file({"emb_params": torch.zeros(1, width)}, place / "style.safetensors")
    assert changed(found)
    with noted() as found:
        encode_text(clip, "embedding:style potion")
    assert set(found) == {place / "style.safetensors"}
