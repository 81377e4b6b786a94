"""What the pack's JavaScript shows on its nodes: the same in both renderers, by mouse and keyboard.

Runs workflows that need no model, on frames and pictures that ship with the pack.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytestmark = pytest.mark.comfyui

# ms
PATIENCE = 120_000
RENDERER = "value => app.ui.settings.setSettingValueAsync('Comfy.VueNodes.Enabled', value)"
# What a panel shows, wherever the renderer has put it.
PANELS = """() => [...document.querySelectorAll('.spriteworks')].map(panel => ({
  label: panel.getAttribute('aria-label'),
  text: panel.innerText.replace(/Frame \\d+/, 'Frame N'),
  pictures: [...panel.querySelectorAll('img')].map(image => ({
    alt: image.alt, wide: image.naturalWidth, shown: image.width, loaded: image.complete,
    smooth: getComputedStyle(image).imageRendering,
  })),
}))"""


@dataclass
class Bench:
    """The editor with a workflow in it, that is run as a person runs it."""

    editor: Any
    studio: Any

    @property
    def page(self) -> Any:
        return self.editor.page

    def run(self) -> None:
        before = len(self.studio.history())
        self.page.evaluate("async () => { await app.queuePrompt(0); }")
        for _ in range(PATIENCE // 250):
            if len(self.studio.history()) > before:
                break
            self.page.wait_for_timeout(250)
        record = list(self.studio.history().values())[-1]
        assert record["status"]["status_str"] == "success", record["status"]
        self.page.wait_for_function(
            "() => ![...document.querySelectorAll('.spriteworks')]"
            ".some(one => one.querySelector('.sw-empty'))",
            timeout=PATIENCE,
        )
        # pictures and fetched seeds come after the message that told of them
        self.page.wait_for_load_state("networkidle")

    def panel(self, kind: str) -> Any:
        """The panel of the first node of that class."""
        return self.page.evaluate_handle(
            "kind => app.graph.nodes.find(one => one.type === kind).widgets"
            ".find(one => one.name === 'spriteworks').element",
            kind,
        ).as_element()

    def value(self, kind: str, widget: str) -> Any:
        return self.page.evaluate(
            "([kind, name]) => app.graph.nodes.find(one => one.type === kind).widgets"
            ".find(one => one.name === name).value",
            [kind, widget],
        )


@pytest.fixture(scope="module")
def editor(studio: Any, canvas_editor: Any, repository: Path) -> Iterator[Any]:
    inputs = repository / "workflows" / "inputs"
    shutil.copytree(inputs, studio.output.parent / "input", dirs_exist_ok=True)
    with canvas_editor.editor(studio.url) as at:
        at.troubles = []
        at.page.on("pageerror", lambda error: at.troubles.append(str(error)))
        yield at


@pytest.fixture(params=[False, True], ids=["classic", "nodes2"])
def frames(
    request: pytest.FixtureRequest, editor: Any, studio: Any, repository: Path
) -> Iterator[Bench]:
    """The workflow that makes a sheet of an animation, run, in one of the renderers."""
    editor.page.evaluate(RENDERER, request.param)
    canvas = json.loads((repository / "workflows" / "frames.json").read_text(encoding="utf-8"))
    editor.load(canvas)
    bench = Bench(editor, studio)
    bench.run()
    yield bench
    assert editor.troubles == []
    editor.page.evaluate(RENDERER, False)


def test_pictures_are_enlarged_by_whole_numbers_and_not_smoothed(frames: Bench) -> None:
    shown = frames.page.evaluate(PANELS)
    after = [one for panel in shown for one in panel["pictures"] if one["alt"].startswith("After")]
    assert len(after) == 3  # Snap, Cutout and Palette
    for one in after:
        assert one["loaded"]
        assert one["smooth"] == "pixelated"
        assert one["shown"] % one["wide"] == 0
    text = " ".join(panel["text"] for panel in shown)
    assert "Grid of 4 × 4 px, 32 × 38 true pixels" in text


def test_the_sheet_plays_and_stops_and_steps_by_keyboard(frames: Bench) -> None:
    panel = frames.panel("SpriteworksSaveSheet")
    assert panel.query_selector("select").inner_text().split("\n")[0] == "walk"
    panel.query_selector("[aria-label=Pause]").press("Enter")
    assert panel.query_selector("[aria-label=Play]")
    number = panel.query_selector(".sw-number")
    first = number.inner_text()
    panel.query_selector("[aria-label=Next]").press("Enter")
    assert number.inner_text() != first
    panel.query_selector("[aria-label=Previous]").press("Enter")
    assert number.inner_text() == first
    canvas = panel.query_selector("canvas")
    drawn = canvas.evaluate(
        "one => one.getContext('2d').getImageData(0, 0, one.width, one.height).data"
        ".filter((value, index) => index % 4 === 3 && value).length"
    )
    assert drawn > 100
    assert canvas.get_attribute("aria-label").startswith("walk, Frame ")


def test_both_renderers_show_the_same(editor: Any, studio: Any, repository: Path) -> None:
    canvas = json.loads((repository / "workflows" / "frames.json").read_text(encoding="utf-8"))
    shown = []
    for modern in (False, True):
        editor.page.evaluate(RENDERER, modern)
        editor.load(canvas)
        Bench(editor, studio).run()
        panels = editor.page.evaluate(PANELS)
        for panel in panels:
            for one in panel["pictures"]:
                del one["shown"]  # nodes are 4 px narrower in one of them
        shown.append(sorted(panels, key=lambda panel: panel["text"]))
    editor.page.evaluate(RENDERER, False)
    assert shown[0] == shown[1]
    assert editor.troubles == []


def test_a_palette_is_seen_and_changed_as_swatches(
    editor: Any, studio: Any, repository: Path, tmp_path: Path
) -> None:
    canvas = json.loads((repository / "workflows" / "frames.json").read_text(encoding="utf-8"))
    editor.load(canvas)
    bench = Bench(editor, studio)
    panel = editor.page.evaluate_handle(
        "() => app.graph.nodes.find(one => one.type === 'SpriteworksPalette').widgets"
        ".find(one => one.name === 'spriteworks_palette').element"
    ).as_element()
    panel.query_selector("select").select_option("game-boy")
    assert bench.value("SpriteworksPalette", "palette") == "game-boy"
    swatches = panel.query_selector_all("input[type=color]")
    assert [one.input_value() for one in swatches] == ["#0f380f", "#306230", "#8bac0f", "#9bbc0f"]
    swatches[1].focus()
    swatches[1].press("Delete")
    assert bench.value("SpriteworksPalette", "palette") == "#0f380f #8bac0f #9bbc0f"
    panel.query_selector("[aria-label='Add a colour']").press("Enter")
    assert bench.value("SpriteworksPalette", "palette").split()[3] == "#9bbc0f"

    picture = tmp_path / "two colours.png"
    two = Image.new("RGBA", (4, 4), (10, 20, 30, 255))
    two.putpixel((0, 0), (200, 100, 50, 255))
    two.putpixel((1, 0), (255, 0, 0, 0))  # not to be seen
    two.save(picture)
    panel.query_selector("input[type=file]").set_input_files(picture)
    editor.page.wait_for_timeout(500)
    assert bench.value("SpriteworksPalette", "palette") == "#0a141e #c86432"

    many = tmp_path / "many.png"
    Image.effect_noise((64, 64), 90).convert("RGB").save(many)
    noise = Image.merge("RGB", [Image.effect_noise((64, 64), 90) for _ in range(3)])
    noise.save(many)
    panel.query_selector("input[type=file]").set_input_files(many)
    editor.page.wait_for_function(
        "one => one.querySelector('[role=status]').textContent.includes('a palette has 1 to 256')",
        arg=panel,
    )
    assert bench.value("SpriteworksPalette", "palette") == "#0a141e #c86432"
    assert editor.troubles == []


def test_the_swatches_of_a_text_are_what_the_node_takes(editor: Any) -> None:
    """The JavaScript reads typed palettes and files as Python does."""
    from comfy_nodes.formats.typed import palette_in
    from comfy_nodes.formats.well_known import WELL_KNOWN

    texts = [
        "#1a1c2c, #5d275d #b13e53",
        "1a1c2c\n5d275d\n",
        "GIMP Palette\nName: two\n#\n  1   2   3\tdark\n200 100  50 Untitled\n",
        "JASC-PAL\r\n0100\r\n2\r\n1 2 3\r\n200 100 50\r\n",
        *WELL_KNOWN,
    ]
    presets = editor.page.evaluate(
        "async () => (await (await fetch('/api/object_info/SpriteworksPalette')).json())"
        ".SpriteworksPalette.input.required.palette[1].palettes"
    )
    read = editor.page.evaluate(
        "async ([texts, presets]) => { const { coloursOf } = await import("
        "'/extensions/spriteworks/swatches.js');"
        " return texts.map(text => coloursOf(text, presets)); }",
        [texts, presets],
    )
    for text, colours in zip(texts, read, strict=True):
        found = palette_in(text)
        assert found is not None
        assert colours == ["#{:02x}{:02x}{:02x}".format(*one) for one in found.colours], text


def test_the_seed_of_a_picture_is_that_of_its_graph(editor: Any) -> None:
    def seed(graph: Any, node: str) -> Any:
        return editor.page.evaluate(
            "async ([graph, node]) => { const { seedOf } = await import("
            "'/extensions/spriteworks/png.js'); return seedOf(graph, node); }",
            [graph, node],
        )

    sampler = {"class_type": "KSampler", "inputs": {"seed": 7, "model": ["1", 0]}}
    save = {"class_type": "SpriteworksSaveSprite", "inputs": {"image": ["2", 0], "mask": ["9", 1]}}
    assert seed({"2": sampler, "3": save}, "3") == {"node": "2", "input": "seed", "seed": 7}
    held = {"class_type": "PrimitiveInt", "inputs": {"value": 9}}
    linked = {"class_type": "KSampler", "inputs": {"noise_seed": ["5", 0]}}
    assert seed({"2": linked, "3": save, "5": held}, "3") == {
        "node": "5",
        "input": "value",
        "seed": 9,
    }
    circle = {"class_type": "KSampler", "inputs": {"seed": ["2", 0]}}
    assert seed({"2": circle, "3": save}, "3") is None
    assert seed({}, "3") is None
    assert seed(None, "3") is None


def test_the_page_keeps_no_global_of_the_pack(editor: Any) -> None:
    names = editor.page.evaluate("() => Object.keys(window)")
    assert [name for name in names if "sprite" in name.lower()] == []


def test_nodes_that_are_removed_leave_nothing(editor: Any, repository: Path) -> None:
    canvas = json.loads((repository / "workflows" / "frames.json").read_text(encoding="utf-8"))
    editor.load(canvas)
    editor.page.evaluate("() => app.graph.clear()")
    editor.page.wait_for_function("() => !document.querySelector('.spriteworks')")
