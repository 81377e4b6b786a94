"""`spriteworks run` as a subprocess, on the fake server: what it leaves and what it prints."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from PIL import Image

from comfy_nodes.loras import LORAS
from orchestrator.local.process import python_environment
from orchestrator.testing import FakeServer, Fault, Script

GRAPH = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 8, "height": 6, "batch_size": 2, "color": 0},
        "_meta": {"title": "Blank"},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "sprite"}},
}


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
def workflow(tmp_path: Path) -> Path:
    path = tmp_path / "work flow.json"
    path.write_text(json.dumps(GRAPH), encoding="utf-8")
    return path


def spriteworks(
    *arguments: object, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in ("SPRITEWORKS_SERVER", "COMFYUI_PATH")
    }
    return subprocess.run(
        [sys.executable, "-m", "orchestrator", *map(str, arguments)],
        env={**inherited, **python_environment(), **(environment or {})},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_embeddings_that_the_server_lacks_are_told(fake: FakeServer, tmp_path: Path) -> None:
    text = {
        "class_type": "SaveImage",
        "inputs": {"images": ["1", 0], "filename_prefix": "embedding:style embedding:stile"},
    }
    path = tmp_path / "workflow.json"
    path.write_text(json.dumps({**GRAPH, "3": text}), encoding="utf-8")
    done = spriteworks("run", path, "--server", fake.url, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    said = "the server has no embedding 'stile', did you mean 'style'?; it is left out of the text"
    assert record["notes"] == [said]
    assert f"note: {said}" in done.stderr


def test_a_run_leaves_pictures_and_their_record(
    fake: FakeServer, workflow: Path, tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "out"
    done = spriteworks("run", workflow, "--server", fake.url, "--out", out, "--set", "1.color=7")
    assert done.returncode == 0, done.stderr
    assert f"using ComfyUI 0.33.0 at {fake.url} on fake" in done.stderr
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert list(record) == [
        "prompt_id",
        "server",
        "workflow",
        "notes",
        "parameters",
        "artifacts",
        "timings",
        "memory",
    ]
    assert record["prompt_id"] == fake.submissions[0].prompt_id
    assert record["server"] == {
        "url": fake.url,
        "kind": "comfyui",
        "version": "0.33.0",
        "device": "fake",
    }
    digest = hashlib.sha256(workflow.read_bytes()).hexdigest()
    assert record["workflow"] == {"file": str(workflow), "sha256": digest}
    names = [artifact["file"] for artifact in record["artifacts"]]
    assert sorted(path.name for path in out.iterdir()) == sorted([*names, "run.json"])
    for artifact in record["artifacts"]:
        content = (out / artifact["file"]).read_bytes()
        assert artifact == {
            "file": artifact["file"],
            "sha256": hashlib.sha256(content).hexdigest(),
            "node": "2",
            "width": 8,
            "height": 6,
            "seed": None,
        }
        with Image.open(out / artifact["file"]) as image:
            assert json.loads(image.info["prompt"])["1"]["inputs"]["color"] == 7
    assert list(record["memory"]) == ["before", "peak", "phases", "looks", "reports"]
    timings = record["timings"]
    assert list(timings) == ["queued_s", "total_s", "transfer_s", "nodes"]
    assert timings["total_s"] >= timings["transfer_s"] >= 0
    assert [list(node) for node in timings["nodes"]] == [
        ["id", "class_type", "title", "seconds", "cached"]
    ] * 2
    assert timings["nodes"][0]["title"] == "Blank"
    assert done.stdout.splitlines() == [str(out / name) for name in names]


def test_json_prints_the_record_alone(fake: FakeServer, workflow: Path, tmp_path: Path) -> None:
    done = spriteworks("run", workflow, "--server", fake.url, "--out", tmp_path / "o", "--json")
    printed = json.loads(done.stdout)
    assert printed == json.loads((tmp_path / "o" / "run.json").read_text(encoding="utf-8"))


def test_a_different_picture_of_the_same_name_is_kept(
    fake: FakeServer, workflow: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "sprite_00001_.png").write_bytes(b"mine")
    done = spriteworks("run", workflow, "--server", fake.url, "--out", out)
    assert done.returncode == 0, done.stderr
    assert (out / "sprite_00001_.png").read_bytes() == b"mine"
    assert {path.name for path in out.iterdir()} == {
        "sprite_00001_.png",
        "sprite_00002_.png",
        "sprite_00003_.png",
        "run.json",
    }


def test_the_same_run_again_leaves_the_same_files(
    fake: FakeServer, workflow: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        spriteworks("run", workflow, "--server", fake.url, "--out", tmp_path / "out")
    assert len(list((tmp_path / "out").glob("*.png"))) == 2
    record = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    assert [node["cached"] for node in record["timings"]["nodes"]] == [True, True]


def test_the_server_may_come_from_the_environment(
    fake: FakeServer, workflow: Path, tmp_path: Path
) -> None:
    environment = {"SPRITEWORKS_SERVER": fake.url}
    done = spriteworks("validate", workflow, environment=environment)
    assert done.returncode == 0, done.stderr
    assert "fine: 2 nodes" in done.stdout
    assert fake.submissions == []


def test_params_lists_the_roles(fake: FakeServer, workflow: Path) -> None:
    done = spriteworks("params", workflow, "--server", fake.url, "--json")
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout), dict)


def test_a_bad_day_of_the_network_is_survived(
    fake: FakeServer, workflow: Path, tmp_path: Path
) -> None:
    fake.break_next("POST", "/prompt", Fault.RESET_AFTER)
    fake.break_next("GET", "/history", Fault.ERROR_500, times=2)
    fake.break_next("GET", "/view", Fault.RESET_AFTER)
    fake.script(Script(steps=3, previews=2))
    done = spriteworks(
        "run", workflow, "--server", fake.url, "--out", tmp_path / "out", "--previews"
    )
    assert done.returncode == 0, done.stderr
    assert len(fake.submissions) == 1
    assert len(list((tmp_path / "out").glob("*.png"))) == 2
    assert not (tmp_path / "out" / "preview.png").exists()


def test_help_comes_without_the_heavy_imports() -> None:
    code = (
        "import sys; from orchestrator.__main__ import run; code = run(['--help']); "
        "heavy = {'torch', 'diffusers', 'numpy', 'requests', 'PIL'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_run_on_a_server_never_imports_torch(
    fake: FakeServer, workflow: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; from orchestrator.__main__ import run; code = run(sys.argv[1:]); "
        "heavy = {'torch', 'diffusers', 'numpy'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    arguments = ["run", str(workflow), "--server", fake.url, "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_larger_models_are_named_once_after_a_sprite_and_never_to_programs(
    repository: Path, tmp_path: Path
) -> None:
    classes = repository / "tests" / "data" / "canvas" / "object_info.json"
    state = tmp_path / "state"
    with FakeServer(object_info=json.loads(classes.read_text(encoding="utf-8"))) as fake:

        def run(*more: str) -> subprocess.CompletedProcess[str]:
            done = spriteworks(
                *("run", "sprite", "--server", fake.url, "--out", tmp_path / "out", *more),
                environment={"SPRITEWORKS_STATE": str(state)},
            )
            assert done.returncode == 0, done.stderr
            return done

        assert "models pull" not in run("--json").stderr
        first = run()
        assert first.stdout.strip().endswith(".png")
        assert first.stderr.count("models pull") == 1
        for lora in LORAS:
            assert lora.key in first.stderr
        assert "models pull" not in run().stderr
