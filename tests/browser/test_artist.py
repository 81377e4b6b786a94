"""What an artist does: open a template, write a prompt, run it, drop the picture on the canvas.

Needs what test_canvas_editor.py needs. The pack lies in a custom_nodes folder as a clone would.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from orchestrator.local.process import python_environment

pytestmark = pytest.mark.comfyui

PROMPT = "a blue sword, pixel art"
SPRITE = Path("workflows") / "sprite.json"
# ms
PATIENCE = 180_000

# A file that falls on an empty place of the canvas, as the browser would tell the page.
DROP = """([name, content]) => {
  const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], name, {type: 'image/png'}));
  const options = {dataTransfer: carried, bubbles: true, cancelable: true};
  for (const type of ['dragenter', 'dragover', 'drop'])
    document.querySelector('#graph-canvas').dispatchEvent(
      new DragEvent(type, {...options, clientX: 900, clientY: 950}));
}"""
# Where older editors say what is wrong, and newer ones; dialogs aside.
COMPLAINT = ".p-toast-message-error, [data-toast-kind=error], [data-testid=error-overlay]"
OPENED = "name => app.extensionManager.workflow.activeWorkflow?.filename === name"


@dataclass(frozen=True)
class Work:
    """What came of a run: the graph that was run and the picture."""

    graph: dict[str, Any]
    picture: Path


class Desk:
    """The editor, used the way a person does."""

    def __init__(self, editor: Any) -> None:
        self.editor = editor
        self.page = editor.page

    def write(self, node: int, text: str) -> None:
        field = self.page.evaluate_handle(f"() => node({node}).widgets[0].element")
        field.as_element().fill(text)

    def drop(self, path: Path) -> None:
        content = base64.b64encode(path.read_bytes()).decode()
        self.page.evaluate(DROP, [path.name, content])
        self.page.wait_for_function(OPENED, arg=path.stem, timeout=PATIENCE)

    def graph(self) -> Any:
        return self.page.evaluate("async () => (await app.graphToPrompt()).output")

    def places(self) -> dict[int, list[float]]:
        found = self.page.evaluate("() => app.graph.nodes.map(n => [Number(n.id), [...n.pos]])")
        return dict(found)

    def troubles(self) -> list[str]:
        """Red nodes, dialogs and error messages."""
        shown = self.page.locator(COMPLAINT).all_inner_texts()
        errors = self.page.evaluate("() => [app.lastNodeErrors, app.lastExecutionError]")
        return [
            *self.editor.complaints(),
            *self.editor.dialogs(),
            *shown,
            *(str(error) for error in errors if error),
        ]


@pytest.fixture(scope="module")
def desk(studio: Any, canvas_editor: Any) -> Iterator[Desk]:
    with canvas_editor.editor(studio.url) as editor:
        yield Desk(editor)


@pytest.fixture(scope="module")
def drawn(desk: Desk, studio: Any) -> Work:
    """The template with a prompt of one's own and two steps, run from the editor."""
    desk.editor.open_template("spriteworks", "sprite")
    desk.write(2, PROMPT)
    desk.page.evaluate("() => { cut(node(6), 'steps'); put(node(6), {steps: 2}); }")
    desk.page.evaluate("async () => { await app.queuePrompt(0); }")
    for _ in range(PATIENCE // 1000):
        if studio.history():
            break
        desk.page.wait_for_timeout(1000)
    (record,) = studio.history().values()
    assert record["status"]["status_str"] == "success", record["status"]
    (image,) = record["outputs"]["11"]["images"]
    return Work(graph=record["prompt"][2], picture=studio.output / image["filename"])


@pytest.fixture(scope="module")
def commanded(studio: Any, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Work:
    """The same workflow with values from the command line."""
    out = tmp_path_factory.mktemp("out")
    arguments = ["run", str(SPRITE), "--server", studio.url, "--out", str(out)]
    arguments += [f"--set={one}" for one in (f"prompt={PROMPT}", "seed=7", "steps=2")]
    subprocess.run(
        [sys.executable, "-m", "orchestrator", *arguments],
        env=python_environment(),
        cwd=repository,
        timeout=PATIENCE / 1000,
        check=True,
    )
    (picture,) = out.glob("*.png")
    with Image.open(picture) as image:
        return Work(graph=json.loads(image.info["prompt"]), picture=picture)


def test_a_template_runs_from_the_editor(desk: Desk, drawn: Work) -> None:
    assert desk.troubles() == []
    assert drawn.graph["2"]["inputs"]["text"] == PROMPT
    assert drawn.graph["6"]["inputs"]["steps"] == 2
    with Image.open(drawn.picture) as image:
        assert image.mode == "RGBA"


def test_the_seed_of_a_picture_is_shown_and_can_be_used_again(desk: Desk, drawn: Work) -> None:
    seed = drawn.graph["6"]["inputs"]["seed"]
    desk.page.evaluate("seed => put(node(6), {seed: seed + 1})", seed)
    panel = desk.page.evaluate_handle(
        "() => node(11).widgets.find(one => one.name === 'spriteworks').element"
    ).as_element()
    button = panel.wait_for_selector("button", timeout=PATIENCE)
    with Image.open(drawn.picture) as image:
        assert f"{image.width} × {image.height} · seed {seed} " in panel.inner_text()
    button.press("Enter")
    assert desk.graph()["6"]["inputs"]["seed"] == seed
    after = "() => node(6).widgets.find(one => one.name === 'control_after_generate').value"
    assert desk.page.evaluate(after) == "fixed"


def test_a_picture_dropped_on_the_canvas_is_its_workflow(desk: Desk, drawn: Work) -> None:
    desk.page.evaluate("() => app.graph.clear()")
    desk.drop(drawn.picture)
    assert desk.troubles() == []
    assert desk.graph() == drawn.graph


def test_a_picture_of_the_command_brings_layout_and_values(
    desk: Desk, commanded: Work, repository: Path
) -> None:
    desk.drop(commanded.picture)
    assert desk.troubles() == []
    assert desk.graph() == commanded.graph
    assert commanded.graph["2"]["inputs"]["text"] == PROMPT
    assert commanded.graph["6"]["inputs"]["seed"] == 7
    canvas = json.loads((repository / SPRITE).read_text(encoding="utf-8"))
    assert desk.places() == {node["id"]: node["pos"] for node in canvas["nodes"]}


def test_a_picture_with_the_graph_alone_is_laid_out_anew(
    desk: Desk, commanded: Work, tmp_path: Path
) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("prompt", json.dumps(commanded.graph))
    with Image.open(commanded.picture) as image:
        image.save(tmp_path / "graph_alone.png", pnginfo=texts)
    desk.drop(tmp_path / "graph_alone.png")
    assert desk.troubles() == []
    assert desk.graph() == commanded.graph
    assert len({tuple(place) for place in desk.places().values()}) == len(commanded.graph)


def test_the_editor_says_what_a_run_lacks(desk: Desk, repository: Path) -> None:
    """And so the other tests, that nothing was wrong, can fail."""
    desk.editor.load(json.loads((repository / SPRITE).read_text(encoding="utf-8")))
    desk.page.evaluate("async () => { cut(node(6), 'latent_image'); await app.queuePrompt(0); }")
    desk.page.wait_for_function("() => app.lastNodeErrors?.[6]", timeout=PATIENCE)
    assert any("latent_image" in trouble for trouble in desk.troubles())
