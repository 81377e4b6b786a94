"""What it takes to start ComfyUI with our pack, or the embedded engine, for one run.

Nothing is written into the user's ComfyUI folder: pictures, inputs, database and settings go to a
temporary folder that is removed afterwards, and the pack is found through an extra-paths file.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ServerStartFailed, UsageError
from ..extras import missing
from .pack import SHIM_NAME, has_pack, renew_pack, write_package
from .process import Command, ServerProcess, own_python, python_environment, running

# Folders that may hold models, as ComfyUI names them.
_MODEL_KINDS = ("checkpoints", "loras", "vae", "embeddings", "diffusers", "upscale_models")


def check_comfyui(folder: Path) -> None:
    """Raise UsageError where a folder is no ComfyUI."""
    if not (folder / "main.py").is_file() or not (folder / "comfy").is_dir():
        raise UsageError(
            f"{folder} is no ComfyUI folder (it has no main.py); give the one that was cloned"
        )


def check_engine() -> None:
    """Raise UsageError where the embedded engine lacks what it runs on."""
    if importlib.util.find_spec("torch") is None:
        # Its process would say so, too, behind its exit code and its log.
        raise missing("engine", "the engine", "torch")


@contextmanager
def comfyui(
    folder: Path,
    *,
    models: Path | None = None,
    previews: bool = False,
    gpu: str | None = None,
    device: str = "",
    cancelled: threading.Event | None = None,
) -> Iterator[ServerProcess]:
    """Run the ComfyUI of `folder` with our pack until the block ends.

    `models` is a further folder of models, laid out as ComfyUI's; `gpu` is the number of the one
    GPU that the server shall see; `device` is "cpu" where it shall use none. Raises UsageError
    where `folder` is no ComfyUI and ServerStartFailed where it does not start, or `cancelled` is
    set before it is ready.
    """
    check_comfyui(folder)
    renew_pack(folder)
    with _workspace() as work:
        arguments = _comfyui_arguments(folder, work, models)
        if previews:
            arguments += ["--preview-method", "auto"]
        if device == "cpu" or not has_gpu():
            arguments.append("--cpu")
        command = Command(
            name=f"ComfyUI in {folder}",
            arguments=lambda port: [*arguments, "--port", str(port)],
            cwd=folder,
            env={"PYTHONUNBUFFERED": "1", **_byte_code(), **_seeing(gpu)},
        )
        with running(command, work / "server.log", cancelled) as process:
            _refuse_without_pack(process)
            yield process


@contextmanager
def engine(
    *,
    models: Path | None = None,
    gpu: str | None = None,
    device: str = "",
    cancelled: threading.Event | None = None,
) -> Iterator[ServerProcess]:
    """Run the embedded engine until the block ends; `gpu` and `cancelled` as for `comfyui`.

    `device` is cpu, cuda or mps, or "" for the accelerator where there is one.
    """
    check_engine()
    with _workspace() as work:
        arguments = engine_arguments(work, () if models is None else (models,), device)
        command = Command(
            name="the engine",
            arguments=lambda port: [*arguments, "--port", str(port)],
            env={**python_environment(), **_seeing(gpu)},
        )
        with running(command, work / "server.log", cancelled) as process:
            yield process


def engine_arguments(work: Path, models: Iterable[Path | str], device: str) -> list[str]:
    """The command line, but for the port, of an engine that writes into `work` only."""
    arguments = [own_python(), "-m", "orchestrator.engine", "--host", "127.0.0.1"]
    arguments += ["--output-directory", str(work / "output")]
    arguments += ["--input-directory", str(work / "input")]
    arguments += ["--temp-directory", str(work / "temp")]
    for folder in models:
        arguments += ["--models", str(folder)]
    return [*arguments, "--device", device] if device else arguments


def python_of(folder: Path) -> str:
    """The Python that a ComfyUI is meant to run with: its own environment's, else ours."""
    places = [folder / name for name in (".venv", "venv")]
    found = [place / tail for place in places for tail in ("bin/python", "Scripts/python.exe")]
    # ComfyUI's portable package for Windows keeps its Python beside it.
    found.append(folder.parent / "python_embeded" / "python.exe")
    return str(next((path for path in found if path.is_file()), own_python()))


def has_gpu() -> bool:
    """Guess, without importing torch, whether ComfyUI can start without --cpu."""
    if sys.platform == "darwin":
        return True
    if Path("/dev/kfd").exists():
        return True
    query = shutil.which("nvidia-smi")
    if query is None:
        return False
    listed = subprocess.run([query, "--list-gpus"], capture_output=True, check=False)
    return listed.returncode == 0 and b"GPU" in listed.stdout


def _byte_code() -> dict[str, str]:
    # Without a place of its own it would be written into the user's folder.
    placed = os.environ.get("PYTHONPYCACHEPREFIX")
    return {} if placed else {"PYTHONDONTWRITEBYTECODE": "1"}


def _seeing(gpu: str | None) -> dict[str, str]:
    return {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu, "HIP_VISIBLE_DEVICES": gpu}


@contextmanager
def _workspace() -> Iterator[Path]:
    # A server that was killed may still hold a file for a moment on Windows.
    with tempfile.TemporaryDirectory(prefix="spriteworks-", ignore_cleanup_errors=True) as name:
        work = Path(name)
        for part in ("output", "input", "user", "custom_nodes"):
            (work / part).mkdir()
        yield work


def _comfyui_arguments(folder: Path, work: Path, models: Path | None) -> list[str]:
    paths = write_extra_paths(folder, work, models)
    return [
        python_of(folder),
        str(folder / "main.py"),
        *("--listen", "127.0.0.1", "--disable-auto-launch"),
        *("--output-directory", str(work / "output")),
        *("--input-directory", str(work / "input")),
        *("--temp-directory", str(work)),
        *("--user-directory", str(work / "user")),
        *("--database-url", f"sqlite:///{work / 'comfyui.db'}"),
        *("--extra-model-paths-config", str(paths)),
    ]


def write_extra_paths(folder: Path, work: Path, models: Path | None) -> Path:
    """Write the file, in `work`, that tells the ComfyUI of `folder` of our pack and `models`."""
    section: dict[str, str] = {}
    if not has_pack(folder):
        write_package(work / "custom_nodes" / SHIM_NAME)
        section["custom_nodes"] = str(work / "custom_nodes")
    if models is not None:
        for kind in _MODEL_KINDS:
            section[kind] = str(models.resolve() / kind)
    path = work / "extra_model_paths.yaml"
    # JSON is YAML, and quotes every path safely.
    path.write_text(json.dumps({"spriteworks": section or None}), encoding="utf-8")
    return path


def _refuse_without_pack(process: ServerProcess) -> None:
    failed = [line for line in process.log().splitlines() if "(IMPORT FAILED)" in line]
    ours = os.path.join("custom_nodes", SHIM_NAME)
    if any(line.rstrip().endswith(ours) for line in failed):
        raise ServerStartFailed(
            f"ComfyUI could not load the Spriteworks nodes; its log says:\n{process.tail()}"
        )
