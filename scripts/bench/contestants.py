"""Who is measured: ComfyUI with and without our nodes, the engine, diffusers; each in a process."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from orchestrator.bench.measuring import measure
from orchestrator.client.client import Client
from orchestrator.local import launch
from orchestrator.local.process import Command, python_environment, running
from orchestrator.protocol import Graph

# What a server gets to give its memory back, in s.
_SETTLE = 1.0

REPOSITORY = Path(__file__).resolve().parents[2]
_TEXTS = (
    "a red potion, pixel art, game sprite, centered, plain white background",
    "blurry, photo, text, watermark, frame, cropped, several objects",
)


@dataclass(frozen=True, kw_only=True)
class ContestantJob:
    """Pictures to make: sides in px, all with euler_ancestral, karras, CFG 8."""

    # name of the checkpoint file
    checkpoint: str
    size: int
    steps: int
    batch: int = 1
    seed: int = 1


@dataclass(frozen=True, kw_only=True)
class ContestantRun:
    """What one job took. Times in s, memory in bytes; None where it cannot be known."""

    seconds: float
    sampling: float | None
    decoding: float | None
    # held by torch on the GPU, at most
    device: int | None
    # resident set of the process, at most
    process: int | None
    pictures: tuple[bytes, ...] = ()


class ContestantSession(Protocol):
    """A contestant that is up."""

    # torch's and its own version, where it tells
    about: str

    def run(self, job: ContestantJob) -> ContestantRun:
        """Make a job's pictures, to the saved file."""
        ...

    def free(self) -> None:
        """Give back the models and the memory."""
        ...


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One way to make the same pictures."""

    name: str
    # "comfyui", "engine" or "diffusers"
    kind: str
    # settings of our loader; None: ComfyUI's own loader, and no custom nodes at all
    settings: Mapping[str, Any] | None = None
    # more arguments for ComfyUI's command line; for diffusers its number format
    arguments: tuple[str, ...] = field(default=())


@dataclass(frozen=True, kw_only=True)
class ContestantPlace:
    """Where everything is."""

    comfyui: Path | None
    # the Python for diffusers and the engine, which has what Spriteworks needs
    python: str
    models: Path
    # "cuda" or "cpu"
    device: str
    # for every ComfyUI, such as --front-end-root=DIR where its web packages are not installed
    comfyui_arguments: tuple[str, ...] = ()


@contextmanager
def session(contestant: Contestant, place: ContestantPlace) -> Iterator[ContestantSession]:
    """Start a contestant, and stop it at the end of the block."""
    with ExitStack() as stack:
        if contestant.kind == "diffusers":
            yield stack.enter_context(_diffusers(contestant, place))
            return
        process = stack.enter_context(
            _comfyui(contestant, place) if contestant.kind == "comfyui" else _engine(place)
        )
        client = stack.enter_context(Client(process.url, check=process.check))
        yield _Server(client, contestant)


# -------------------------------------------------------------------------------- servers


class _Server:
    """A server behind ComfyUI's protocol."""

    def __init__(self, client: Client, contestant: Contestant) -> None:
        self._client = client
        self._settings = contestant.settings
        self._stats = client.system_stats()
        self._info = client.catalogue()
        self.about = f"{self._stats.kind} {self._stats.version} on {self._stats.device}"

    def run(self, job: ContestantJob) -> ContestantRun:
        """Make a job's pictures; seconds are on the server's own clock."""
        graph = graph_of(job, self._settings)
        sample = measure(self._client, graph, self._info, self._stats, timeout=3600)
        peak = sample.memory.peak
        return ContestantRun(
            seconds=sample.seconds,
            sampling=sample.phases.get("sample"),
            decoding=sample.phases.get("decode"),
            device=peak.device,
            process=peak.process,
            pictures=sample.pictures,
        )

    def free(self) -> None:
        """Give back the models and the memory; servers do so between jobs."""
        self._client.free()
        time.sleep(_SETTLE)


def graph_of(job: ContestantJob, settings: Mapping[str, Any] | None) -> Graph:
    """The plain text-to-image graph, with ComfyUI's loader or with ours."""
    loader = "CheckpointLoaderSimple" if settings is None else "SpriteworksCheckpointLoader"
    size = {"width": job.size, "height": job.size, "batch_size": job.batch}
    sampler = {
        "model": ["1", 0],
        "positive": ["2", 0],
        "negative": ["3", 0],
        "latent_image": ["4", 0],
        "seed": job.seed,
        "steps": job.steps,
        "cfg": 8.0,
        "sampler_name": "euler_ancestral",
        "scheduler": "karras",
        "denoise": 1.0,
    }
    texts = {
        str(number): _node("CLIPTextEncode", text=text, clip=["1", 1])
        for number, text in enumerate(_TEXTS, start=2)
    }
    return {
        "1": _node(loader, ckpt_name=job.checkpoint, **_all(settings)),
        **texts,
        "4": _node("EmptyLatentImage", **size),
        "5": _node("KSampler", **sampler),
        "6": _node("VAEDecode", samples=["5", 0], vae=["1", 2]),
        "7": _node("SaveImage", images=["6", 0], filename_prefix="bench"),
    }


def _all(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """With the four that every loader of ours demands; none for ComfyUI's own."""
    if settings is None:
        return {}
    required = dict.fromkeys(("precision", "attention", "vae_tiling", "offload"), "auto")
    return {**required, **settings}


def _node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def _engine(place: ContestantPlace) -> Any:
    return launch.engine(models=place.models, gpu="" if place.device == "cpu" else None)


@contextmanager
def _comfyui(contestant: Contestant, place: ContestantPlace) -> Iterator[Any]:
    assert place.comfyui is not None, "asked for before"
    folder = place.comfyui
    with tempfile.TemporaryDirectory(prefix="spriteworks-", ignore_cleanup_errors=True) as name:
        work = Path(name)
        for part in ("output", "input", "user", "custom_nodes"):
            (work / part).mkdir()
        command = Command(
            name=f"ComfyUI in {folder}",
            arguments=lambda port: [
                *_comfyui_arguments(contestant, place, folder, work),
                *("--port", str(port)),
            ],
            cwd=folder,
            env={"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"},
        )
        with running(command, work / "server.log") as process:
            yield process


def _comfyui_arguments(
    contestant: Contestant, place: ContestantPlace, folder: Path, work: Path
) -> Sequence[str]:
    stock = contestant.settings is None
    return [
        launch.python_of(folder),
        str(folder / "main.py"),
        *("--listen", "127.0.0.1", "--disable-auto-launch"),
        *("--output-directory", str(work / "output")),
        *("--input-directory", str(work / "input")),
        *("--temp-directory", str(work)),
        *("--user-directory", str(work / "user")),
        *("--database-url", f"sqlite:///{work / 'comfyui.db'}"),
        *("--extra-model-paths-config", str(launch.write_extra_paths(folder, work, place.models))),
        *(["--disable-all-custom-nodes"] if stock else []),
        *(["--cpu"] if place.device == "cpu" else []),
        *contestant.arguments,
        *place.comfyui_arguments,
    ]


# ------------------------------------------------------------------------------ diffusers


class _Diffusers:
    """diffusers in a process of its own, asked line by line."""

    def __init__(self, process: subprocess.Popen[str], models: Path) -> None:
        self._process = process
        self._models = models
        self.about = str(self._answer()["about"])

    def run(self, job: ContestantJob) -> ContestantRun:
        """Make a job's pictures; seconds contain the encoding of the texts and saving."""
        path = self._models / "checkpoints" / job.checkpoint
        assert self._process.stdin is not None
        order = {**vars(job), "checkpoint": str(path), "texts": _TEXTS}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return ContestantRun(**self._answer())

    def free(self) -> None:
        """Nothing to ask for: another checkpoint takes the place of the one before."""

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise RuntimeError("diffusers ended; its messages stand above")


@contextmanager
def _diffusers(contestant: Contestant, place: ContestantPlace) -> Iterator[_Diffusers]:
    worker = Path(__file__).with_name("diffusers_worker.py")
    arguments = [place.python, str(worker), place.device, *contestant.arguments]
    with subprocess.Popen(
        arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**_environment(), **python_environment(), "HF_HUB_OFFLINE": "1"},
    ) as process:
        try:
            yield _Diffusers(process, place.models)
        finally:
            process.kill()


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def add_comfyui_options(parser: argparse.ArgumentParser) -> None:
    """The options that say which ComfyUI, and how it is started."""
    parser.add_argument("--comfyui", type=Path, metavar="DIR", help="folder of a real ComfyUI")
    parser.add_argument(
        "--comfyui-argument",
        action="append",
        default=[],
        metavar="ARGUMENT",
        help="for every ComfyUI, such as --comfyui-argument=--front-end-root=DIR; repeatable",
    )


def wanted(contestant: Contestant, options: argparse.Namespace) -> bool:
    """Whether the options (`--only`, and a ComfyUI to measure) leave this contestant in."""
    if contestant.kind == "comfyui" and options.comfyui is None:
        return False
    return not options.only or any(re.search(one, contestant.name) for one in options.only)


def end_servers_on_sigterm() -> None:
    """Let SIGTERM unwind this program, so that the servers that it started end with it."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def place_of(options: argparse.Namespace, device: str) -> ContestantPlace:
    """Where everything is, as the options say."""
    folder = options.comfyui
    return ContestantPlace(
        comfyui=None if folder is None else folder.expanduser().resolve(),
        python=sys.executable,
        models=options.models,
        device=device,
        comfyui_arguments=tuple(options.comfyui_argument),
    )
