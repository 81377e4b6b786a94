"""Nodes that an artist finds by what he types, and that show first what is reached for first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

pytestmark = pytest.mark.comfyui

# ms
PATIENCE = 120_000
SET = "([name, value]) => app.ui.settings.setSettingValueAsync(name, value)"
# What people type, and the node that they mean.
SEARCHES = {
    "sprite sheet": "SpriteworksSpriteSheet",
    "spritesheet": "SpriteworksSpriteSheet",
    "texture atlas": "SpriteworksSpriteSheet",
    "pixel perfect": "SpriteworksSnap",
    "dither": "SpriteworksPalette",
    "palette": "SpriteworksPalette",
    "indexed colors": "SpriteworksPalette",
    "outline": "SpriteworksCutout",
    "cutout": "SpriteworksCutout",
    "low memory": "SpriteworksOptimizeModel",
    "walk cycle": "SpriteworksAlignFrames",
    "save sprite": "SpriteworksSaveSprite",
}
# And where nodes of ComfyUI's own, which the editor puts before all others, are as right.
AMONG = {
    "remove background": "SpriteworksCutout",
    "transparent": "SpriteworksCutout",
    "grid": "SpriteworksSnap",
    "animation": "SpriteworksSpriteSheet",
    "pixelate": "SpriteworksSnap",
    "downscale": "SpriteworksSnap",
    "inpaint": "SpriteworksInpaintCrop",
    "recolor": "SpriteworksSwapRamp",
}
# The field that is written to, and the names of what was found, in both search boxes.
BOXES = {
    "default": ("input[aria-controls=results-list]", "[data-testid=result-item]"),
    "v1 (legacy)": (".comfy-vue-node-search-container input", ".option-display-name"),
}
TOGGLE = "() => app.extensionManager.command.execute('Workspace.SearchBox.Toggle')"
LISTED = "css => [...document.querySelectorAll(css)].map(one => one.innerText).join('\\t')"
# The list that stays, of what is typed: it is another than that of what was typed before.
SETTLED = f"""([css, before, patience]) => new Promise((resolve, reject) => {{
  const begun = performance.now();
  let last = '', since = begun;
  const look = () => {{
    const at = performance.now(), now = ({LISTED})(css);
    if (at - begun > patience) return reject(new Error(`nothing new is listed: ${{now}}`));
    if (!now || now === before || now !== last) [last, since] = [now, at];
    else if (at - since > 800) return resolve(now);
    setTimeout(look, 50);
  }};
  look();
}})"""
WIDGETS = """kind => {
  const node = LiteGraph.createNode(kind);
  app.graph.add(node);
  const found = (node.widgets ?? []).filter(one => node.isWidgetVisible(one)).map(one => one.name);
  const button = node.widgets?.find(one => one.name === 'spriteworks_advanced');
  const told = {found, label: button?.label ?? null, folded: node.size[1]};
  button?.callback();
  told.all = node.widgets.filter(one => node.isWidgetVisible(one)).length;
  told.open = node.size[1];
  button?.callback();
  told.again = node.size[1];
  app.graph.remove(node);
  return told;
}"""


@pytest.fixture(scope="module")
def info(studio: Any) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(f"{studio.url}/object_info", timeout=60).json()
    return found


@pytest.fixture(scope="module")
def page(studio: Any, canvas_editor: Any) -> Iterator[Any]:
    with canvas_editor.editor(studio.url) as editor:
        yield editor.page


@contextmanager
def opened(page: Any, box: str) -> Iterator[None]:
    """Show a search box until the block ends."""
    page.evaluate(SET, ["Comfy.NodeSearchBoxImpl", box])
    page.evaluate(TOGGLE)
    field = page.locator(BOXES[box][0]).first
    field.wait_for(timeout=PATIENCE)
    try:
        yield
    finally:
        page.evaluate(TOGGLE)
        field.wait_for(state="hidden", timeout=PATIENCE)


def found_by(page: Any, box: str, text: str) -> list[str]:
    """The titles of what the search box finds, best first."""
    field, items = BOXES[box]
    written = page.locator(field).first
    listed = ""
    for typed in ("load image", text):
        before = page.evaluate(LISTED, items)
        written.fill("")
        written.press_sequentially(typed)
        listed = page.evaluate(SETTLED, [items, before, PATIENCE])
    titles = listed.replace("\xa0", " ").split("\t")
    return [one.split("\n")[0].strip() for one in titles]


@pytest.mark.parametrize("box", BOXES)
def test_what_people_type_finds_the_right_node(
    page: Any, info: dict[str, Any], studio: Any, box: str
) -> None:
    if info["SpriteworksSnap"].get("search_aliases") is None:
        pytest.skip("this ComfyUI's schema has no search words")
    with opened(page, box):
        first = {text: found_by(page, box, text)[0] for text in SEARCHES}
        among = {text: found_by(page, box, text) for text in AMONG}
    assert first == {text: info[kind]["display_name"] for text, kind in SEARCHES.items()}
    missed = [text for text, kind in AMONG.items() if info[kind]["display_name"] not in among[text]]
    assert missed == []


def test_settings_that_are_rarely_needed_are_folded(page: Any, info: dict[str, Any]) -> None:
    page.evaluate(SET, ["Comfy.VueNodes.Enabled", False])
    for kind in (name for name in info if name.startswith("Spriteworks")):
        inputs = info[kind]["input"]
        specs = {**inputs["required"], **inputs.get("optional", {})}
        folded = {name for name, spec in specs.items() if spec[1].get("advanced")}
        told = page.evaluate(WIDGETS, kind)
        assert folded.isdisjoint(told["found"]), kind
        # The button is one of those that are seen, and no value of the node.
        assert told["all"] == len(told["found"]) + len(folded), kind
        assert (told["label"] is not None) == bool(folded), kind
        if folded:
            assert told["folded"] < told["open"], kind
            assert told["again"] < told["open"], kind


def test_a_button_counts_the_settings_of_its_own_node(page: Any, info: dict[str, Any]) -> None:
    """The editor keeps what widgets show by the ids of nodes, which files share."""
    page.evaluate(SET, ["Comfy.VueNodes.Enabled", False])
    for kind in ("SpriteworksDiffusersLoader", "SpriteworksSnap", "SpriteworksDiffusersLoader"):
        inputs = info[kind]["input"]
        specs = {**inputs["required"], **inputs.get("optional", {})}
        count = sum(bool(spec[1].get("advanced")) for spec in specs.values())
        page.evaluate("kind => app.loadApiJson({5: {class_type: kind, inputs: {}}}, 'a')", kind)
        label = page.evaluate(
            "() => app.graph.getNodeById(5).widgets"
            ".find(one => one.name === 'spriteworks_advanced')?.label ?? null"
        )
        if count:
            assert label == f"Show {count} advanced settings", kind
        else:
            assert label is None, "this editor cannot fold"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("SpriteworksCheckpointLoader", "ckpt_name"),
        ("SpriteworksDiffusersLoader", "model_name"),
        ("SpriteworksStableDiffusionLoader", "version"),
    ],
)
def test_a_loader_shows_its_model_and_nothing_else(
    page: Any, info: dict[str, Any], kind: str, name: str
) -> None:
    page.evaluate(SET, ["Comfy.VueNodes.Enabled", False])
    assert page.evaluate(WIDGETS, kind)["found"] == [name, "spriteworks_advanced"]
    if page.evaluate("() => app.ui.settings.settingsLookup['Comfy.VueNodes.Enabled']?.type") != (
        "boolean"
    ):
        return
    page.evaluate(SET, ["Comfy.VueNodes.Enabled", True])
    page.evaluate(
        "kind => { app.graph.clear(); const one = LiteGraph.createNode(kind); one.pos = [100, 100];"
        "app.graph.add(one); }",
        kind,
    )
    shown = page.locator("[data-node-id]").filter(has_text=info[kind]["display_name"])
    shown.get_by_test_id("advanced-inputs-button").wait_for(timeout=PATIENCE)
    page.wait_for_function(
        "() => document.querySelectorAll('[data-node-id] .lg-node-widget').length === 1",
        timeout=PATIENCE,
    )
    page.evaluate(SET, ["Comfy.VueNodes.Enabled", False])
