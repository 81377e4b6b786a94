"""However the pack came into custom_nodes: as the registry has it, under any name, twice."""

from __future__ import annotations

import json
import os
import re
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
import requests

from orchestrator.client.client import Client
from orchestrator.local.launch import has_gpu, python_of
from orchestrator.local.process import Command, running

pytestmark = [pytest.mark.comfyui, pytest.mark.timeout(900)]

# What people call a folder, which is part of addresses and of a module's name.
ODD = "Größe 画像 & sprite.works (1)"
PLAIN = "spriteworks"
REPOSITORY = Path(__file__).resolve().parents[2]
NODES = {
    name
    for path in (REPOSITORY / "comfy_nodes").glob("*.py")
    for name in re.findall(r'node_id="(Spriteworks\w+)"', path.read_text("utf-8"))
}


def published(repository: Path, target: Path) -> Path:
    """What `comfy node publish` packs: the files that git has, less those of .comfyignore."""

    def listed(*more: str) -> set[str]:
        command = ["git", "-C", str(repository), "ls-files", "-z", *more]
        found = subprocess.run(command, capture_output=True, check=True).stdout
        return set(found.decode().split("\0")) - {""}

    ignored = listed("--cached", "--ignored", f"--exclude-from={repository / '.comfyignore'}")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(listed() - ignored):
            archive.write(repository / name, name)
    return target


@dataclass(frozen=True)
class Host:
    """A ComfyUI that runs with what lies in its custom_nodes."""

    url: str
    log: Path
    output: Path
    custom_nodes: Path

    def get(self, path: str) -> Any:
        answer = requests.get(f"{self.url}{path}", timeout=120)
        answer.raise_for_status()
        return answer.json()

    def said(self) -> list[str]:
        lines = self.log.read_text("utf-8", errors="replace").splitlines()
        return [line for line in lines if "installed twice" in line]

    def of_pack(self) -> dict[str, str]:
        """Node class -> the pack that ComfyUI says it is from."""
        found = self.get("/object_info")
        return {name: one["python_module"] for name, one in found.items() if name in NODES}

    def scripts(self) -> dict[str, list[str]]:
        """Folder in custom_nodes -> its JavaScript, as the editor loads it."""
        found: dict[str, list[str]] = {}
        for address in self.get("/extensions"):
            _, _, name, file = unquote(address).split("/", 3)
            found.setdefault(name, []).append(file)
            if name in (ODD, PLAIN):
                assert requests.get(f"{self.url}{address}", timeout=60).ok, address
        return found


@contextmanager
def hosted(comfyui: Path, work: Path, custom_nodes: Path) -> Iterator[Host]:
    for part in ("input", "output", "user"):
        (work / part).mkdir(parents=True)
    paths = work / "paths.yaml"
    paths.write_text(json.dumps({"ours": {"custom_nodes": str(custom_nodes)}}), encoding="utf-8")
    arguments = [python_of(comfyui), "main.py", "--extra-model-paths-config", str(paths)]
    arguments += ["--database-url", f"sqlite:///{work / 'comfyui.db'}", "--disable-auto-launch"]
    for part, place in (("input", "input"), ("output", "output"), ("user", "user"), ("temp", "")):
        arguments += [f"--{part}-directory", str(work / place)]
    arguments += other_frontend()
    command = Command(
        name="ComfyUI",
        arguments=lambda port: [*arguments, *([] if has_gpu() else ["--cpu"]), "--port", str(port)],
        cwd=comfyui,
        env={"PYTHONDONTWRITEBYTECODE": "1", "PYTHONIOENCODING": "utf-8"},
    )
    with running(command, work / "server.log") as process:
        yield Host(process.url, work / "server.log", work / "output", custom_nodes)


@pytest.fixture(scope="module")
def archive(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (repository / ".git").exists():
        pytest.skip("what is published is what git has, and this is no clone")
    return published(repository, tmp_path_factory.mktemp("registry") / "node.zip")


def other_frontend() -> list[str]:
    """The editor that SPRITEWORKS_FRONTEND names, in place of ComfyUI's own."""
    folder = os.environ.get("SPRITEWORKS_FRONTEND")
    return ["--front-end-root", folder] if folder else []


def unpacked(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as found:
        found.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def odd(
    comfyui_dir: Path, archive: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Host]:
    """The registry's form under an odd name, alone."""
    work = tmp_path_factory.mktemp("odd")
    unpacked(archive, work / "custom_nodes" / ODD)
    with hosted(comfyui_dir, work / "server", work / "custom_nodes") as host:
        yield host


@pytest.fixture(scope="module")
def twice(
    comfyui_dir: Path, archive: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Host]:
    """The registry's form under two names."""
    work = tmp_path_factory.mktemp("twice")
    for name in (ODD, PLAIN):
        unpacked(archive, work / "custom_nodes" / name)
    with hosted(comfyui_dir, work / "server", work / "custom_nodes") as host:
        yield host


def saves_a_sprite(host: Host) -> None:
    graph = {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0xC02020},
        },
        "2": {
            "class_type": "SpriteworksSaveSprite",
            "inputs": {"image": ["1", 0], "filename_prefix": "any way"},
        },
    }
    needed = host.get("/object_info/SpriteworksSaveSprite")["SpriteworksSaveSprite"]["input"]
    for name, (_, options, *_) in needed["required"].items():
        if "default" in options:
            graph["2"]["inputs"].setdefault(name, options["default"])
    with Client(host.url) as client:
        client.wait(client.submit(graph).prompt_id, timeout=240)
    assert list(host.output.rglob("any way*.png"))


def test_all_nodes_are_known_here() -> None:
    assert len(NODES) > 20


def test_the_registrys_form_has_all_that_the_pack_needs(archive: Path, repository: Path) -> None:
    with zipfile.ZipFile(archive) as found:
        names = set(found.namelist())
    assert {"__init__.py", "pyproject.toml", "LICENSE", "README.md"} <= names
    # What ComfyUI reads beside __init__.py, wherever the repository has it.
    for folder in ("comfy_nodes", "workflows", "locales", "subgraphs"):
        there = {
            path.relative_to(repository).as_posix()
            for path in (repository / folder).rglob("*.*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert there <= names
    assert not {name.split("/")[0] for name in names} & {"tests", "scripts", ".github", ".ci"}
    # git writes other names in quotes, and `comfy node publish` then leaves them out.
    assert all(name.isascii() for name in names)


def test_any_folder_name_will_do(odd: Host) -> None:
    assert odd.of_pack() == dict.fromkeys(NODES, f"custom_nodes.{ODD}")
    assert not odd.said()
    assert "spriteworks.js" in odd.scripts()[ODD]
    saves_a_sprite(odd)


def test_help_and_templates_are_served_under_any_name(odd: Host) -> None:
    page = f"{odd.url}/extensions/{quote(ODD)}/docs/SpriteworksSaveSprite.md"
    assert requests.get(page, timeout=60).ok
    (names,) = (found for pack, found in odd.get("/workflow_templates").items() if pack == ODD)
    assert "sprite" in names
    template = f"{odd.url}/api/workflow_templates/{quote(ODD)}/sprite.json"
    assert requests.get(template, timeout=60).json()["nodes"]


def test_of_two_copies_one_is_used_and_the_log_says_which(twice: Host) -> None:
    (sentence,) = twice.said()
    (used,) = set(twice.of_pack().values())
    name = used.removeprefix("custom_nodes.")
    other = PLAIN if name == ODD else ODD
    first, _, second = sentence.partition(", and ")
    assert first.endswith(f"its nodes are those of {twice.custom_nodes / name}")
    assert second.startswith(f"{twice.custom_nodes / other} is not used; remove one of the two")
    assert set(twice.of_pack()) == NODES
    # The canvas has the JavaScript of the same copy, and one file that says the same.
    assert "spriteworks.js" in twice.scripts()[name]
    assert twice.scripts()[other] == ["twice.js"]
    saves_a_sprite(twice)


# ------------------------------------------------------------------ on the canvas

# Has the pack's own JavaScript come to life?
AT_HOME = "() => window.app?.extensions?.some(one => one.name === 'Spriteworks')"
PATIENCE = 240_000


@contextmanager
def canvas(canvas_editor: Any, host: Host) -> Iterator[tuple[Any, list[str]]]:
    """The editor, and the addresses of the pack that were refused."""
    refused: list[str] = []

    def heard(answer: Any) -> None:
        if answer.status >= 400 and "/docs/" not in answer.url:
            refused.append(answer.url)

    with canvas_editor.chromium() as browser:
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(PATIENCE)
        page.on("response", heard)
        page.goto(host.url, wait_until="domcontentloaded")
        page.wait_for_function(AT_HOME)
        yield page, refused


def test_the_canvas_has_the_packs_scripts_under_any_name(canvas_editor: Any, odd: Host) -> None:
    with canvas(canvas_editor, odd) as (_, refused):
        assert [url for url in refused if quote("Größe") in url] == []


def test_the_canvas_says_that_the_pack_is_there_twice(canvas_editor: Any, twice: Host) -> None:
    (used,) = set(twice.of_pack().values())
    unused = PLAIN if used.endswith(ODD) else ODD
    with canvas(canvas_editor, twice) as (page, refused):
        page.get_by_text("Spriteworks is installed twice").wait_for()
        sentence = f"The copy in custom_nodes/{unused} is not used. Remove one of the two folders"
        page.get_by_text(sentence).wait_for()
        assert [url for url in refused if "/extensions/" in url] == []
        names = page.evaluate("() => app.extensions.map(one => one.name)")
        assert names.count("Spriteworks") == 1
