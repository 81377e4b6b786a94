"""The editor in other languages: what the nodes are called there, and their help pages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.comfyui

NODE = "SpriteworksSnap"
# ms; the editor reads all nodes anew when its language changes
PATIENCE = 120_000
LANGUAGE = "value => app.ui.settings.setSettingValueAsync('Comfy.Locale', value)"
CLASSIC = "() => app.ui.settings.setSettingValueAsync('Comfy.VueNodes.Enabled', false)"
# The node in the middle of an empty canvas, at its own scale.
ADD = """kind => {
  app.graph.clear();
  const node = LiteGraph.createNode(kind);
  app.graph.add(node);
  node.pos = [600, 400];
  app.canvas.ds.scale = 1;
  app.canvas.ds.offset = [0, 0];
  app.canvas.draw(true, true);
}"""
SHOWN = """() => {
  const [node] = app.graph.nodes;
  return {
    title: node.title,
    category: node.constructor.category ?? node.constructor.nodeData.category,
    inputs: Object.fromEntries(node.inputs.map(one => [one.name, one.label ?? one.localized_name])),
    widgets: Object.fromEntries(node.widgets.map(one => [one.name, one.label])),
    outputs: node.outputs.map(one => one.label ?? one.localized_name),
  };
}"""
PLACE = """name => {
  const [node] = app.graph.nodes;
  const {x, y} = app.canvas.canvas.getBoundingClientRect();
  const widget = node.widgets.find(one => one.name === name);
  return [x + node.pos[0] + node.size[0] / 3, y + node.pos[1] + widget.last_y + 10];
}"""
PICTURE = "() => document.querySelector('.node-help-content img')?.naturalWidth"
KNOWN = "name => LiteGraph.registered_node_types.SpriteworksSnap.title === name"


class Reader:
    """The editor, read by a person of some language."""

    def __init__(self, editor: Any, studio: Any, repository: Path) -> None:
        self.page, self.url, self.repository = editor.page, studio.url, repository
        self.refused: list[str] = []
        self.page.on("response", self._note)
        self.page.evaluate(CLASSIC)

    def _note(self, response: Any) -> None:
        if response.status >= 400 and "/extensions/" in response.url:
            self.refused.append(response.url)

    def definition(self, language: str) -> dict[str, Any]:
        path = self.repository / "locales" / language / "nodeDefs.json"
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))[NODE]
        return found

    def open(self, language: str) -> None:
        """Set the editor's language, and put the node on the canvas."""
        self.page.evaluate(LANGUAGE, language)
        name = self.definition("en" if language == "ko" else language)["display_name"]
        self.page.wait_for_function(KNOWN, arg=name, timeout=PATIENCE)
        self.page.evaluate(ADD, NODE)

    def tooltip(self, widget: str) -> str:
        """What the canvas shows beside the pointer when it rests on a widget."""
        x, y = self.page.evaluate(PLACE, widget)
        self.page.mouse.move(x - 5, y)
        self.page.mouse.move(x, y)
        shown = self.page.locator(".node-tooltip")
        shown.wait_for(state="visible", timeout=PATIENCE)
        text = str(shown.inner_text())
        self.page.mouse.move(5, 5)
        return text

    def help(self) -> tuple[str, int]:
        """The title of the node's help page, and the width of its picture once it is there."""
        self.page.evaluate("() => app.canvas.selectNode(app.graph.nodes[0])")
        self.page.locator("[data-testid=info-button]").click(timeout=PATIENCE)
        page = self.page.locator(".node-help-content")
        page.locator("h1").wait_for(timeout=PATIENCE)
        self.page.wait_for_function(PICTURE, timeout=PATIENCE)
        return str(page.locator("h1").inner_text()), self.page.evaluate(PICTURE)


@pytest.fixture(scope="module")
def reader(studio: Any, canvas_editor: Any, repository: Path) -> Iterator[Reader]:
    with canvas_editor.editor(studio.url) as editor:
        yield Reader(editor, studio, repository)


@pytest.mark.parametrize("language", ["zh", "ja", "es", "en"])
def test_a_node_its_inputs_and_tooltips_are_in_the_editors_language(
    reader: Reader, language: str
) -> None:
    reader.open(language)
    told, shown = reader.definition(language), reader.page.evaluate(SHOWN)
    assert shown["title"] == told["display_name"]
    labels = {name: entry["name"] for name, entry in told["inputs"].items()}
    assert {name: label for name, label in shown["inputs"].items() if name in labels} == labels
    assert shown["widgets"]["width"] == labels["width"]
    assert shown["outputs"][2] == told["outputs"]["2"]["name"]
    main = reader.repository / "locales" / language / "main.json"
    categories = json.loads(main.read_text(encoding="utf-8"))["nodeCategories"]
    assert shown["category"] == f"{categories['Spriteworks']}/{categories['Sprite']}"
    assert reader.tooltip("width") == told["inputs"]["width"]["tooltip"]


@pytest.mark.parametrize("language", ["zh", "en", "ko"])
def test_help_opens_with_its_picture_and_nothing_is_refused(reader: Reader, language: str) -> None:
    """Korean has no page: it gets the English one, and the nodes keep their English names."""
    own = "en" if language == "ko" else language
    reader.open(language)
    title, picture = reader.help()
    assert title == reader.definition(own)["display_name"]
    assert picture > 100
    assert reader.refused == []
