"""Commands that start a server of their own: the engine, and real ComfyUI."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from orchestrator.local.process import python_environment

GRAPH = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 255},
    },
    "2": {
        "class_type": "SpriteworksSaveSprite",
        "inputs": {"image": ["1", 0], "filename_prefix": "started"},
    },
}


@pytest.fixture
def workflow(tmp_path: Path) -> Path:
    path = tmp_path / "workflow.json"
    path.write_text(json.dumps(GRAPH), encoding="utf-8")
    return path


def line_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return ""


def environment(tmp_path: Path) -> dict[str, str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in ("SPRITEWORKS_SERVER", "COMFYUI_PATH")
    }
    # Servers of this test keep their files here, which tells them from those of others.
    return {**inherited, **python_environment(), "TMPDIR": str(tmp_path), "TEMP": str(tmp_path)}


def servers_in(tmp_path: Path) -> list[psutil.Process]:
    return [
        one for one in psutil.process_iter() if f"{tmp_path}{os.sep}spriteworks-" in line_of(one)
    ]


def assert_no_server_in(tmp_path: Path) -> None:
    # What is killed may take a moment to go on a busy machine.
    _, alive = psutil.wait_procs(servers_in(tmp_path), timeout=10)
    assert alive == []


def snapshot(folder: Path) -> dict[str, float]:
    """When each file of a ComfyUI was last written, its environment left out."""
    found = {}
    for base, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in (".venv", "venv", ".git")]
        for name in files:
            path = os.path.join(base, name)
            found[path] = os.stat(path).st_mtime
    return found


@pytest.mark.comfyui
def test_comfyui_is_started_watched_and_stopped_and_nothing_is_written_into_it(
    comfyui_dir: Path, workflow: Path, tmp_path: Path
) -> None:
    before = snapshot(comfyui_dir)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "orchestrator", "run", str(workflow)),
            *("--comfyui", str(comfyui_dir), "--out", str(tmp_path / "out"), "--json"),
        ],
        env=environment(temporary),
        capture_output=True,
        encoding="utf-8",
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"starting ComfyUI in {comfyui_dir}" in done.stderr
    record = json.loads(done.stdout)
    assert record["server"]["kind"] == "comfyui"
    assert (tmp_path / "out" / record["artifacts"][0]["file"]).is_file()
    assert snapshot(comfyui_dir) == before
    assert_no_server_in(temporary)
    assert list(temporary.glob("spriteworks-*")) == []


def test_the_engine_is_started_and_stopped(workflow: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "orchestrator", "run", str(workflow)),
            *("--out", str(tmp_path / "out"), "--json"),
        ],
        env=environment(temporary),
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "starting the embedded engine" in done.stderr
    record = json.loads(done.stdout)
    assert record["server"]["kind"] == "spriteworks-engine"
    assert_no_server_in(temporary)
    assert list(temporary.glob("spriteworks-*")) == []
    assert {path.name for path in tmp_path.iterdir()} == {"tmp", "out", "workflow.json"}


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
def test_ctrl_c_stops_the_engine_too(workflow: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "run", str(workflow)],
        env=environment(temporary),
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stderr is not None
    assert "starting the embedded engine" in process.stderr.readline()
    while not servers_in(temporary):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert_no_server_in(temporary)
    assert list(temporary.glob("spriteworks-*")) == []


def test_an_engine_that_dies_is_told_at_once(workflow: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "run", str(workflow)],
        env=environment(temporary),
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    while not (servers := servers_in(temporary)):
        assert process.poll() is None
    for server in servers:
        server.kill()
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "the engine ended with exit code" in stderr
    assert "Traceback" not in stderr
    assert not (tmp_path / "out").exists()


def test_a_truncated_checkpoint_is_named(repository: Path, tmp_path: Path) -> None:
    whole = next((repository / "comfy_nodes" / "model_files").glob("*/vae/*.safetensors"))
    checkpoints = tmp_path / "models" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "cut.safetensors").write_bytes(whole.read_bytes()[:5000])
    settings = dict.fromkeys(("precision", "attention", "vae_tiling", "offload"), "auto")
    graph = {
        "1": {
            "class_type": "SpriteworksCheckpointLoader",
            "inputs": {"ckpt_name": "cut.safetensors", **settings},
        },
        "2": {
            "class_type": "EmptyLatentImage",
            "inputs": {"width": 64, "height": 64, "batch_size": 1},
        },
        "3": {"class_type": "VAEDecode", "inputs": {"samples": ["2", 0], "vae": ["1", 2]}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "x"}},
    }
    workflow = tmp_path / "workflow.json"
    workflow.write_text(json.dumps(graph), encoding="utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "orchestrator", "run", str(workflow)),
            *("--models", str(tmp_path / "models"), "--out", str(tmp_path / "out")),
        ],
        env=environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    assert "cut.safetensors cannot be read" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
