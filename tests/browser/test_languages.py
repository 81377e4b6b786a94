"""The editor in other languages: what the nodes are called there, and their help pages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.comfyui

NODE = "SpriteworksSnap"
# ms
PATIENCE, POLLING = 120_000, 200
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
UP = """name => {
  const found = window.app?.extensionManager;
  return window.LiteGraph?.registered_node_types.SpriteworksSnap?.title === name
    && Boolean(found?.workflow?.activeWorkflow) && !found.spinner;
}"""


class Reader:
    """The editor, read by a person of some language."""

    def __init__(self, editor: Any, repository: Path) -> None:
        self.editor, self.page, self.repository = editor, editor.page, repository
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
        """Set the editor's language, open it anew, and put the node on the canvas.

        A page that stays open may ask for the nodes before it has the words of its new language.
        """
        self.page.evaluate(LANGUAGE, language)
        self.page.reload(wait_until="domcontentloaded")
        name = self.definition("en" if language == "ko" else language)["display_name"]
        self.page.wait_for_function(UP, arg=name, timeout=PATIENCE, polling=POLLING)
        self.editor.close_dialogs()
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
        self.page.wait_for_function(PICTURE, timeout=PATIENCE, polling=POLLING)
        return str(page.locator("h1").inner_text()), self.page.evaluate(PICTURE)


@pytest.fixture(scope="module")
def reader(studio: Any, canvas_editor: Any, repository: Path) -> Iterator[Reader]:
    with canvas_editor.editor(studio.url) as editor:
        yield Reader(editor, repository)


@pytest.mark.parametrize(
    "language", ["en", "zh", *(pytest.param(one, marks=pytest.mark.slow) for one in ("ja", "es"))]
)
def test_names_tooltips_and_help_are_in_the_editors_language(reader: Reader, language: str) -> None:
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
    help_opens(reader, told["display_name"])


@pytest.mark.slow
def test_a_language_without_translations_has_english_help(reader: Reader) -> None:
    reader.open("ko")
    help_opens(reader, reader.definition("en")["display_name"])


def help_opens(reader: Reader, title: str) -> None:
    """The page that an editor asks for first is there in every language, with its picture."""
    shown, picture = reader.help()
    assert shown == title
    assert picture > 100
    assert reader.refused == []
