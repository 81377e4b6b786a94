"""`spriteworks bench` as a subprocess: on the engine, and where it is ended on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from orchestrator.local.process import python_environment
from orchestrator.testing import OBJECT_INFO, FakeServer, Script


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "orchestrator", "bench", *map(str, arguments)]


def environment() -> dict[str, str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in ("SPRITEWORKS_SERVER", "COMFYUI_PATH")
    }
    return {**inherited, **python_environment()}


def bench(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=200,
        check=False,
    )


def test_settings_of_the_starter_model_are_measured_on_the_engine(
    repository: Path, tmp_path: Path
) -> None:
    out = tmp_path / "figures"
    options = ("--set", "steps=2", "--out", out, "--batch-sizes", "1", "--repeats", "1")
    tries = ("--try", "precision=bf16", "--try", "attention=xformers")
    done = bench(repository / "workflows" / "sprite.json", *options, *tries, "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record == json.loads((out / "bench.json").read_text(encoding="utf-8"))
    rows = {row["name"]: row for row in record["rows"]}
    assert list(rows) == [
        "baseline",
        "auto",
        "precision=bf16",
        "attention=xformers",
        "baseline again",
    ]
    for name in ("baseline", "auto", "precision=bf16", "baseline again"):
        row = rows[name]
        assert row["status"] == "measured", row
        assert row["seconds"]["median"] > 0
        assert (row["iterations_per_s"] or 0) > 0, row
        assert row["memory"]["peak"]["process"] > 100 << 20
    # The starter model stays in fp32 on a CPU, so auto is the baseline's own picture.
    assert rows["auto"]["difference"] == {"db": None, "largest": 0}
    assert rows["precision=bf16"]["difference"]["db"] < 60
    assert rows["attention=xformers"]["status"] == "unsupported"
    assert "xformers" in rows["attention=xformers"]["reason"]
    assert "[5/5] baseline again" in done.stderr
    assert "| precision=bf16 | 1 |" in (out / "bench.md").read_text(encoding="utf-8")
    with Image.open(out / "bench.png") as plot:
        assert plot.format == "PNG"
    again = bench(repository / "workflows" / "sprite.json", *options, *tries)
    assert "5 of them measured before" in again.stderr
    assert "precision=bf16" in again.stdout


def test_a_workflow_without_our_loader_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "blank.json"
    size = {"width": 8, "height": 8, "batch_size": 1, "color": 0}
    graph = {
        "1": {"class_type": "EmptyImage", "inputs": size},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "b"}},
    }
    path.write_text(json.dumps(graph), encoding="utf-8")
    with FakeServer() as fake:
        done = bench(path, "--server", fake.url, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "has no Spriteworks loader" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("sizes", ["one", "0", ""])
def test_sizes_that_are_none_are_refused(tmp_path: Path, sizes: str) -> None:
    done = bench(tmp_path / "any.json", "--batch-sizes", sizes)
    assert done.returncode == 2
    assert "--batch-sizes" in done.stderr


def node_class(name: str, inputs: dict[str, Any], outputs: list[str]) -> dict[str, Any]:
    return {
        **OBJECT_INFO["EmptyImage"],
        "input": {"required": inputs},
        "input_order": {"required": list(inputs)},
        "output": outputs,
        "output_is_list": [False] * len(outputs),
        "output_name": outputs,
        "name": name,
        "display_name": name,
    }


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGTERM to one process")
def test_it_stops_its_job_when_it_is_ended_and_goes_on_later(tmp_path: Path) -> None:
    info = {
        **OBJECT_INFO,
        "SpriteworksLoader": node_class(
            "SpriteworksLoader", {"precision": [["auto", "fp32", "bf16"]]}, ["MODEL"]
        ),
        "KSampler": node_class(
            "KSampler",
            {"model": ["MODEL"], "latent_image": ["LATENT"], "seed": ["INT", {"default": 0}]},
            ["IMAGE"],
        ),
        "EmptyLatentImage": node_class("EmptyLatentImage", {}, ["LATENT"]),
    }
    sampler = {"model": ["1", 0], "latent_image": ["2", 0], "seed": 1}
    graph = {
        "1": {"class_type": "SpriteworksLoader", "inputs": {"precision": "auto"}},
        "2": {"class_type": "EmptyLatentImage", "inputs": {}},
        "3": {"class_type": "KSampler", "inputs": sampler},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "b"}},
    }
    path = tmp_path / "graph.json"
    path.write_text(json.dumps(graph), encoding="utf-8")
    arguments = (path, "--out", tmp_path / "out", "--repeats", "1")
    with FakeServer(object_info=info) as fake:
        # The baseline's three runs pass, and the first of auto waits.
        for _ in range(3):
            fake.script(Script())
        hold = threading.Event()
        fake.script(Script(gates={"3": hold}))
        with subprocess.Popen(
            command(*arguments, "--server", fake.url),
            env=environment(),
            stderr=subprocess.PIPE,
            encoding="utf-8",
        ) as process:
            fake.requested("POST", "/prompt", times=4, timeout=60)
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=60)
            hold.set()
        assert process.returncode == 143, said
        assert set(fake.cancelled) == {fake.submissions[3].prompt_id}
        kept = json.loads((tmp_path / "out" / "bench.json").read_text(encoding="utf-8"))
        assert [row["name"] for row in kept["rows"]] == ["baseline"]
        done = bench(*arguments, "--server", fake.url)
        assert done.returncode == 0, done.stderr
        assert "1 of them measured before" in done.stderr
        whole = json.loads((tmp_path / "out" / "bench.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in whole["rows"]] == [
        "baseline",
        "auto",
        "precision=bf16",
        "baseline again",
    ]
    assert whole["rows"][0] == kept["rows"][0]
