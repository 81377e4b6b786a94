"""docs/python.md: every example runs as it stands, on servers that are really there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import orchestrator
from orchestrator import errors
from orchestrator.local import launch

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "python.md").read_text(encoding="utf-8")
# {heading: its examples}
EXAMPLES = [
    pytest.param(code, id=f"{heading.strip()} {number}")
    for heading, text in re.findall(r"^## (.+)\n((?:(?!^## ).*\n?)*)", PAGE, re.MULTILINE)
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", text, re.DOTALL), 1)
]


@pytest.fixture(scope="module")
def second_engine_url() -> Iterator[str]:
    with launch.engine() as process:
        yield process.url


@pytest.fixture
def place(tmp_path: Path, repository: Path) -> Iterator[Path]:
    """A folder with what the examples name; the working directory while they run."""
    for folder in ("sketches", "generated", "walk", "run", "terrain"):
        (tmp_path / folder).mkdir()
        for number in range(2):
            picture = Image.new("RGB", (64, 64), (200, 40 * number, 40))
            picture.save(tmp_path / folder / f"{number}.png")
    Image.new("RGB", (64, 16), (200, 40, 40)).save(tmp_path / "run.png")
    graph = json.loads((repository / "workflows/api/sprite.json").read_text(encoding="utf-8"))
    sampler = next(node for node in graph.values() if node["class_type"] == "KSampler")
    loader = next(key for key, node in graph.items() if "Loader" in node["class_type"])
    graph["load"] = {"class_type": "LoadImage", "inputs": {"image": "0.png"}}
    graph["encode"] = {
        "class_type": "VAEEncode",
        "inputs": {"pixels": ["load", 0], "vae": [loader, 2]},
    }
    sampler["inputs"]["latent_image"] = ["encode", 0]
    sampler["inputs"]["steps"] = 4
    (tmp_path / "img2img.json").write_text(json.dumps(graph), encoding="utf-8")
    canvas = (repository / "workflows/sprite.json").read_text(encoding="utf-8")
    (tmp_path / "my-canvas.json").write_text(canvas, encoding="utf-8")
    (tmp_path / "potions.yaml").write_text(
        "name: potions\nworkflow: sprite\ndefaults: {steps: 4}\n"
        "items: [{id: potion, prompt: a potion, seeds: {base: 1, count: 3}}]\n",
        encoding="utf-8",
    )
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("code", EXAMPLES)
def test_every_example_runs(code: str, place: Path, request: pytest.FixtureRequest) -> None:
    if "8188" in code:
        code = code.replace("http://127.0.0.1:8188", request.getfixturevalue("engine_url"))
    if "8189" in code:
        code = code.replace("http://127.0.0.1:8189", request.getfixturevalue("second_engine_url"))
    exec(compile(code, "docs/python.md", "exec"), {"__name__": "example"})


def test_what_dir_shows_is_the_public_api() -> None:
    """Public names are there, none is that of a module, and type checkers see the same ones."""
    shown = dir(orchestrator)
    assert shown == sorted(set(shown))
    for name in shown:
        assert getattr(orchestrator, name) is not None
    folder = Path(orchestrator.__file__).parent
    modules = {path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert not modules & set(shown)
    source = (folder / "__init__.py").read_text(encoding="utf-8")
    typed = re.findall(r"^    from \S+ import (\w+) as \1$", source, re.MULTILINE)
    assert sorted([*typed, "__version__"]) == shown


def test_every_error_is_public() -> None:
    ours = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert ours <= set(dir(orchestrator))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        orchestrator.nothing  # noqa: B018


def test_importing_it_is_light() -> None:
    """The command answers Ctrl-C from its first line on only if the package brings nothing."""
    code = "import sys, orchestrator; print(sorted(m for m in sys.modules if 'requests' in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
