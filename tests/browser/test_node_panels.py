"""What the pack's JavaScript shows on its nodes: the same in both renderers, by mouse and keyboard.

Runs workflows that need no model, on frames and pictures that ship with the pack.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from comfy_nodes import showing
from comfy_nodes.formats.typed import palette_in
from comfy_nodes.formats.well_known import WELL_KNOWN
from orchestrator.client.client import Client
from orchestrator.protocol.events import StepProgress
from orchestrator.protocol.http import HistoryRecord

pytestmark = pytest.mark.comfyui

# ms
PATIENCE = 120_000
NAMES = {False: "classic", True: "nodes2"}
# Extensions are set up, and the workflow of last time is open.
UP = """() => window.app?.extensionManager?.workflow?.activeWorkflow
  && !window.app.extensionManager.spinner"""
# A panel that waits for a run says so in this element.
ALL_SHOWN = "() => !document.querySelector('.spriteworks .sw-empty')"
LOADED = "() => [...document.querySelectorAll('.spriteworks img')].every(one => one.naturalWidth)"
# What panels show, wherever the renderer has put them.
PANELS = """() => app.graph.nodes.flatMap(node => (node.widgets ?? [])
  .filter(widget => widget.name === 'spriteworks').map(({element}) => ({
    node: node.type,
    label: element.getAttribute('aria-label'),
    text: element.innerText.replace(/Frame \\d+/, 'Frame N'),
    pictures: [...element.querySelectorAll('img')].map(image => ({
      alt: image.alt, wide: image.naturalWidth, shown: image.width,
      smooth: getComputedStyle(image).imageRendering,
    })),
    nameless: [...element.querySelectorAll('button, select, input, canvas, img, table')]
      .filter(one => !one.hidden && !one.alt && !one.getAttribute('aria-label')
        && !/\\p{L}/u.test(one.textContent)).map(one => one.outerHTML),
  })))"""


class Bench:
    """The editor, used as a person uses it."""

    def __init__(self, editor: Any, studio: Any, repository: Path) -> None:
        self.page = editor.page
        self.editor = editor
        self.studio = studio
        self.troubles: list[str] = []
        self.renderers = editor.renderers()
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        file = repository / "workflows" / "frames.json"
        self.frames = json.loads(file.read_text(encoding="utf-8"))
        self.input = studio.output.parent / "input"
        shutil.copytree(repository / "workflows" / "inputs", self.input, dirs_exist_ok=True)

    def load(self, modern: bool) -> None:
        """The workflow that makes a sheet of an animation, with a file of that renderer's own."""
        self.editor.draw_with(modern)
        name = f"{NAMES[modern]}.png"
        shutil.copy(self.input / "spriteworks_walk.png", self.input / name)
        canvas = copy.deepcopy(self.frames)
        for node in canvas["nodes"]:
            if node["type"] == "LoadImage":
                node["widgets_values"][0] = name
        self.editor.load(canvas)

    def run(self) -> HistoryRecord:
        """Run what is loaded, to the end; the server's record of it."""
        prompt_id = self.editor.run()
        with Client(self.studio.url) as client:
            record = client.wait(prompt_id, timeout=PATIENCE / 1000)
        self.page.wait_for_function(ALL_SHOWN, timeout=PATIENCE)
        self.page.wait_for_function(LOADED, timeout=PATIENCE)
        return record

    def element(self, kind: str, widget: str = "spriteworks") -> Any:
        """What the first node of that class shows in that widget."""
        return self.page.evaluate_handle(
            "([kind, name]) => app.graph.nodes.find(one => one.type === kind).widgets"
            ".find(one => one.name === name).element",
            [kind, widget],
        ).as_element()

    def value(self, kind: str, widget: str) -> Any:
        return self.page.evaluate(
            "([kind, name]) => app.graph.nodes.find(one => one.type === kind).widgets"
            ".find(one => one.name === name).value",
            [kind, widget],
        )


@pytest.fixture(scope="module")
def bench(studio: Any, canvas_editor: Any, repository: Path) -> Iterator[Bench]:
    with canvas_editor.editor(studio.url) as editor:
        made = Bench(editor, studio, repository)
        yield made
        assert made.troubles == []


@pytest.fixture(scope="module")
def shown(bench: Bench) -> dict[bool, list[dict[str, Any]]]:
    """The panels after a run in the classic canvas (False) and in Nodes 2.0 (True), if offered."""
    found = {}
    for modern in bench.renderers:
        bench.load(modern)
        bench.run()
        found[modern] = bench.page.evaluate(PANELS)
    return found


def test_pictures_are_enlarged_by_whole_numbers_and_not_smoothed(
    shown: dict[bool, list[dict[str, Any]]],
) -> None:
    for panels in shown.values():
        every = [one for panel in panels for one in panel["pictures"]]
        after = [one for one in every if one["alt"].startswith("After")]
        assert len(after) == 3  # Snap, Cutout and Palette
        assert all(one["smooth"] == "pixelated" for one in every)
        assert all(one["shown"] % one["wide"] == 0 for one in after)
        (snap,) = (panel for panel in panels if panel["node"] == "SpriteworksSnap")
        assert "Grid of 4 × 4 px, 32 × 38 true pixels" in snap["text"]


def test_both_renderers_show_the_same(shown: dict[bool, list[dict[str, Any]]]) -> None:
    def told(modern: bool) -> list[Any]:
        panels = copy.deepcopy(shown[modern])
        for picture in (one for panel in panels for one in panel["pictures"]):
            del picture["shown"]  # nodes are 4 px narrower in one of them
        return panels

    if True not in shown:
        pytest.skip("this editor has the classic canvas only")
    assert len(told(True)) == 5
    assert told(False) == told(True)


def test_all_that_can_be_used_has_a_name(shown: dict[bool, list[dict[str, Any]]]) -> None:
    assert [one for panel in shown[False] for one in panel["nameless"]] == []
    assert {panel["label"] for panel in shown[False]} == {"Results"}


@pytest.mark.parametrize("modern", NAMES, ids=NAMES.values())
def test_the_sheet_plays_and_stops_and_steps_by_keyboard(bench: Bench, modern: bool) -> None:
    if modern not in bench.renderers:
        pytest.skip("this editor has the classic canvas only")
    bench.load(modern)
    bench.run()
    panel = bench.element("SpriteworksSaveSheet")
    assert panel.query_selector("select option:checked").text_content() == "walk"
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


def test_who_asked_for_less_motion_finds_the_player_still(bench: Bench) -> None:
    bench.page.emulate_media(reduced_motion="reduce")
    bench.load(False)
    bench.run()
    panel = bench.element("SpriteworksSaveSheet")
    bench.page.emulate_media(reduced_motion="no-preference")
    assert panel.query_selector("[aria-label=Play]")
    assert not panel.query_selector("[aria-label=Pause]")


def test_what_the_server_kept_is_shown_although_no_node_runs(
    bench: Bench, shown: dict[bool, list[dict[str, Any]]]
) -> None:
    bench.load(False)
    bench.run()
    bench.load(False)
    kinds = {str(node["id"]): node["type"] for node in bench.frames["nodes"]}
    assert bench.page.evaluate(ALL_SHOWN) is False
    record = bench.run()
    (cached,) = (data["nodes"] for kind, data in record.messages if kind == "execution_cached")
    assert "SpriteworksSnap" in {kinds[one] for one in cached}
    assert bench.page.evaluate(PANELS) == shown[False]


def test_a_run_that_no_editor_watches_tells_progress_and_makes_nothing_to_look_at(
    bench: Bench, shown: dict[bool, list[dict[str, Any]]]
) -> None:
    graph = bench.page.evaluate("async () => (await app.graphToPrompt()).output")
    for node in graph.values():
        if node["class_type"] == "LoadImage":
            shutil.copy(bench.input / "classic.png", bench.input / "alone.png")
            node["inputs"]["image"] = "alone.png"
    temp = bench.input.parent / "temp"
    before = sorted(temp.iterdir())
    assert before
    heard: list[Any] = []
    with Client(bench.studio.url) as client:
        sent = client.submit(graph)
        record = client.wait(sent.prompt_id, on_event=heard.append, timeout=PATIENCE / 1000)
    counted = {one.node for one in heard if isinstance(one, StepProgress) and one.max == 8}
    assert {graph[one]["class_type"] for one in counted} == {
        "SpriteworksCutout",
        "SpriteworksPalette",
    }
    assert sorted(temp.iterdir()) == before
    told = [key for output in record.outputs.values() for key in output]
    assert "images" in told
    assert showing.KEY not in told


def test_a_palette_is_seen_and_changed_as_swatches(bench: Bench, tmp_path: Path) -> None:
    bench.load(False)
    panel = bench.element("SpriteworksPalette", "spriteworks_palette")
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
    bench.page.wait_for_function(
        "() => app.graph.nodes.find(one => one.type === 'SpriteworksPalette').widgets"
        ".find(one => one.name === 'palette').value === '#0a141e #c86432'"
    )

    many = tmp_path / "many.png"
    noise = Image.merge("RGB", [Image.effect_noise((64, 64), 90) for _ in range(3)])
    noise.save(many)
    panel.query_selector("input[type=file]").set_input_files(many)
    bench.page.wait_for_function(
        "one => one.querySelector('[role=status]').textContent.includes('a palette has 1 to 256')",
        arg=panel,
    )
    assert bench.value("SpriteworksPalette", "palette") == "#0a141e #c86432"


def test_the_swatches_of_a_text_are_what_the_node_takes(bench: Bench) -> None:
    """The JavaScript reads typed palettes and files as Python does."""
    texts = [
        "#1a1c2c, #5d275d #b13e53",
        "1a1c2c\n5d275d\n",
        "\ufeff#FFF; 1A2b3c,,",
        "Game Boy",
        "GIMP Palette\nName: two\n#\n  1   2   3\tdark\n200 100  50 Untitled\n",
        "JASC-PAL\r\n0100\r\n2\r\n1 2 3\r\n200 100 50\r\n",
        *WELL_KNOWN,
    ]
    presets = bench.page.evaluate(
        "async () => (await (await fetch('/api/object_info/SpriteworksPalette')).json())"
        ".SpriteworksPalette.input.required.image[1].swatches.presets"
    )
    read = bench.page.evaluate(
        "async ([texts, presets]) => { const { coloursOf } = await import("
        "'/extensions/spriteworks/swatches.js');"
        " return texts.map(text => coloursOf(text, presets)); }",
        [texts, presets],
    )
    for text, colours in zip(texts, read, strict=True):
        found = palette_in(text)
        assert found is not None
        assert colours == ["#{:02x}{:02x}{:02x}".format(*one) for one in found.colours], text


def test_the_seed_of_a_picture_is_that_of_its_graph(bench: Bench) -> None:
    def seed(graph: Any, node: str, index: int = 0, count: int = 1) -> Any:
        return bench.page.evaluate(
            "async ([graph, ...which]) => { const { seedOf } = await import("
            "'/extensions/spriteworks/png.js'); return seedOf(graph, ...which); }",
            [graph, node, index, count],
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
    seeds = {"class_type": "SpriteworksSeedBatch", "inputs": {"seed": 20, "batch_size": 4}}
    between = {"class_type": "LoraLoaderModelOnly", "inputs": {"model": ["8", 0]}}
    graph = {"1": between, "2": sampler, "3": save, "8": seeds}
    assert seed(graph, "3", 2, 4) == {"node": "8", "input": "seed", "seed": 22}
    assert seed(graph, "3", 2, 3) is None  # one of them is missing, and nobody knows which
    circle = {"class_type": "KSampler", "inputs": {"seed": ["2", 0]}}
    assert seed({"2": circle, "3": save}, "3") is None
    assert seed({}, "3") is None
    assert seed(None, "3") is None


def test_the_pack_adds_no_global_to_the_page(bench: Bench) -> None:
    """The page has the same names where the pack's JavaScript is refused."""

    def names(refused: bool) -> set[str]:
        page = bench.page.context.browser.new_page()
        asked: list[str] = []
        try:
            page.on("request", lambda request: asked.append(request.url))
            if refused:
                page.route("**/extensions/spriteworks/**", lambda route: route.abort())
            page.goto(bench.studio.url, wait_until="domcontentloaded")
            page.wait_for_function(UP, timeout=PATIENCE)
            assert any(one.endswith("/spriteworks.js") for one in asked)
            return set(page.evaluate("() => Object.getOwnPropertyNames(window)"))
        finally:
            page.close()

    assert names(refused=False) - names(refused=True) == set()


def test_nodes_that_are_removed_leave_nothing(bench: Bench) -> None:
    bench.load(False)
    bench.page.evaluate("() => app.graph.clear()")
    bench.page.wait_for_function("() => !document.querySelector('.spriteworks')")
