"""A picture of ours, dropped on ComfyUI's editor and run from the shell, is the workflow again."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from orchestrator.client.client import Client
from orchestrator.local.process import python_environment
from orchestrator.protocol import Graph, files_of, new_prompt_id

pytestmark = pytest.mark.comfyui

# Dropped as a file manager drops it, where there is no node.
DROP = """([name, content]) => {
  const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name, {type: 'image/png'}));
  const canvas = document.querySelector('#graph-canvas');
  const at = {bubbles: true, cancelable: true, dataTransfer: data, clientX: 1700, clientY: 900};
  canvas.dispatchEvent(new DragEvent('dragover', at));
  canvas.dispatchEvent(new DragEvent('drop', at));
}"""
SETTINGS = ("prompt=a blue sword", "seed=11", "steps=2", "width=64", "height=64")


@pytest.fixture(params=["sprite", "api/sprite"])
def picture(request: pytest.FixtureRequest, comfyui_url: str, tmp_path: Path) -> Path:
    """Made by `spriteworks run` of a canvas file, and of a graph in API format."""
    repository = Path(__file__).resolve().parents[2]
    workflow = repository / "workflows" / f"{request.param}.json"
    settings = [part for one in SETTINGS for part in ("--set", one)]
    return run(workflow, *settings, url=comfyui_url, out=tmp_path / "out")


def run(workflow: Path, *settings: str, url: str, out: Path) -> Path:
    words = ("run", workflow, *settings, "--server", url, "--out", out)
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", *map(str, words)],
        env={**os.environ, **python_environment()},
        capture_output=True,
        encoding="utf-8",
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.split("\n")[0])


def test_a_picture_is_the_workflow_again(
    picture: Path, canvas_editor: Any, comfyui_url: str, tmp_path: Path
) -> None:
    with Image.open(picture) as made:
        sent = json.loads(made.info["prompt"])
    content = base64.b64encode(picture.read_bytes()).decode()
    with canvas_editor.editor(comfyui_url) as at:
        at.load(json.loads('{"nodes": [], "links": [], "version": 0.4}'))
        at.page.evaluate(DROP, [picture.name, content])
        at.page.wait_for_function(f"() => app.graph.nodes.length >= {len(sent)}")
        assert at.complaints() == []
        graph = at.page.evaluate("async () => (await app.graphToPrompt()).output")
    assert told(graph) == told(sent)
    again = drawn(graph, comfyui_url, tmp_path)
    shell = run(picture, url=comfyui_url, out=tmp_path / "again")
    assert pixels(again) == pixels(shell) == pixels(picture)


def told(graph: Graph) -> Any:
    """A graph without titles."""
    return {key: (node["class_type"], node["inputs"]) for key, node in graph.items()}


def drawn(graph: Graph, url: str, folder: Path) -> Path:
    """What the editor's own graph gives, saved under a name that makes it a new job."""
    for node in graph.values():
        if "filename_prefix" in node["inputs"]:
            node["inputs"]["filename_prefix"] = "again"
    with Client(url) as client:
        accepted = client.submit(graph, prompt_id=new_prompt_id())
        record = client.wait(accepted.prompt_id, timeout=120)
        (file,) = (one for _, one in files_of(record.outputs) if one.type == "output")
        (folder / "again.png").write_bytes(client.content(file))
    return folder / "again.png"


def pixels(path: Path) -> tuple[tuple[int, int], bytes]:
    with Image.open(path) as image:
        return image.size, image.convert("RGBA").tobytes()
