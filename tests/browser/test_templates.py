"""Every template of the pack, as ComfyUI's editor opens and runs it, in both renderers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from orchestrator.client.client import Client
from orchestrator.protocol import files_of
from orchestrator.protocol.http import HistoryRecord, JobState
from orchestrator.sprites.inspecting import inspect

pytestmark = pytest.mark.comfyui

REPOSITORY = Path(__file__).resolve().parent.parent.parent
NAMES = sorted(path.stem for path in (REPOSITORY / "workflows").glob("*.json"))
BLUEPRINTS = sorted(path.stem for path in (REPOSITORY / "subgraphs").glob("*.json"))
PACK = "spriteworks"
# What ends as single sprites, which must be fit for a game.
SPRITES = ("sprite", "batch", "icons", "pixel_art", "img2img", "snap", "palette_swap")
# ms
PATIENCE = 180_000
# Below this the classic renderer leaves out the texts of nodes.
READABLE = 0.571
NOTE = "How to use it"

# Boxes [left, top, right, bottom] on the canvas: as the page has the nodes where they are elements
# of it, and else as the canvas draws them.
BOXES = """() => {
  const {scale, offset} = app.canvas.ds, origin = app.canvas.canvas.getBoundingClientRect();
  const element = id => document.querySelector(`[data-node-id="${id}"]`);
  const onCanvas = rect => {
    const left = (rect.left - origin.left) / scale - offset[0];
    const top = (rect.top - origin.top) / scale - offset[1];
    return [left, top, left + rect.width / scale, top + rect.height / scale];
  };
  const drawn = ({pos: [x, y], size: [width, height]}) => [x, y - 30, x + width, y + height];
  return {
    elements: app.graph.nodes.filter(node => element(node.id)).length,
    nodes: app.graph.nodes.map(node => [node.title, element(node.id)
      ? onCanvas(element(node.id).getBoundingClientRect()) : drawn(node)]),
    groups: app.graph.groups.map(({title, pos, size}) =>
      [title, [pos[0], pos[1], pos[0] + size[0], pos[1] + size[1]]]),
    view: [...app.canvas.visible_area], scale,
  };
}"""
# Show the advanced settings of all nodes, by the editor's own buttons or the pack's. How many.
OPEN = """() => {
  const buttons = [...document.querySelectorAll('[data-testid=advanced-inputs-button]')];
  const folded = LiteGraph.vueNodesMode ? [] : app.graph.nodes
    .flatMap(node => node.widgets ?? []).filter(one => one.name === 'spriteworks_advanced');
  buttons.forEach(one => one.click());
  folded.forEach(one => one.callback());
  return buttons.length + folded.length;
}"""
# px of the note's text that its box does not show; the field to edit it is not to be seen
HIDDEN = """() => {
  const node = app.graph.nodes.find(one => one.type === 'MarkdownNote');
  const roots = [document.querySelector(`[data-node-id="${node.id}"]`), node.widgets[0].element];
  const every = roots.filter(Boolean).flatMap(one => [one, ...one.querySelectorAll('*')]);
  const clips = one => /auto|scroll|hidden/.test(getComputedStyle(one).overflowY);
  const seen = one => one.checkVisibility({opacityProperty: true, visibilityProperty: true});
  return Math.max(0, ...every.filter(one => seen(one) && clips(one))
    .map(one => one.scrollHeight - one.clientHeight));
}"""
# px of the saved pictures that a node does not show without scrolling
UNSEEN = """() => Math.max(0, ...app.graph.nodes
  .filter(node => node.type === 'SpriteworksSaveSprite').flatMap(node => node.widgets)
  .filter(({name}) => name === 'spriteworks')
  .map(({element}) => element.scrollHeight - element.clientHeight))"""
# Where the blue gem is in the picture of inpaint: shares of its width and height.
GEM = (0.15, 0.82)

Box = list[float]


class Viewer:
    """The editor, and what goes wrong in its page."""

    def __init__(self, editor: Any, studio: Any) -> None:
        self.editor = editor
        self.page = editor.page
        self.studio = studio
        self.input: Path = studio.output.parent / "input"
        self.renderers = editor.renderers()
        self._told: list[str] = []
        self.page.on("pageerror", lambda error: self._told.append(str(error)))
        self.page.on("response", self._answered)
        self.page.on("console", self._said)

    def _answered(self, response: Any) -> None:
        if response.status >= 400:
            self._told.append(f"{response.status} {response.url}")

    def _said(self, message: Any) -> None:
        # The editor asks places outside, too, which are not there without a network.
        outside = not message.location.get("url", "").startswith(self.studio.url)
        if message.type == "error" and not outside:
            self._told.append(message.text)

    def open(self, name: str, modern: bool = False) -> None:
        """Open a template, and wait until its nodes stand where they stay."""
        self.editor.draw_with(modern)
        self._told.clear()
        self.editor.load_template(name)
        self.settle(modern)

    def settle(self, modern: bool) -> None:
        """Wait until nothing moves any more."""
        before = None
        for _ in range(PATIENCE // 500):
            self.page.wait_for_timeout(500)
            now = self.page.evaluate(BOXES)
            if now == before and bool(now["elements"]) == modern:
                return
            before = now
        raise AssertionError(f"the nodes do not come to rest: {now}")

    def boxes(self) -> dict[str, Any]:
        found: dict[str, Any] = self.page.evaluate(BOXES)
        return found

    def troubles(self) -> list[str]:
        """Whatever went wrong since a template was opened."""
        errors = self.page.evaluate("() => [app.lastNodeErrors, app.lastExecutionError]")
        return [
            *self._told,
            *self.editor.complaints(),
            *self.editor.dialogs(),
            *(str(error) for error in errors if error),
        ]

    def run(self) -> HistoryRecord:
        """Run what is open, to its end."""
        prompt_id = self.editor.run()
        with Client(self.studio.url) as client:
            return client.wait(prompt_id, timeout=PATIENCE / 1000)

    def picture(self) -> str:
        """The file that the first Load Image has."""
        found: str = self.page.evaluate(
            "() => app.graph.nodes.find(one => one.type === 'LoadImage').widgets[0].value"
        )
        return found


@pytest.fixture(scope="module")
def viewer(studio: Any, canvas_editor: Any) -> Iterator[Viewer]:
    with canvas_editor.editor(studio.url) as editor:
        yield Viewer(editor, studio)


def apart(a: Box, b: Box) -> bool:
    return a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def touching(found: dict[str, Any]) -> list[str]:
    """Which nodes or groups lie over each other, and which nodes over a second group."""
    nodes, groups = found["nodes"], found["groups"]
    over = [
        f"{a} {b}"
        for every in (nodes, groups)
        for (a, one), (b, other) in combinations(every, 2)
        if not apart(one, other)
    ]
    for title, box in nodes:
        if sum(not apart(box, around) for _, around in groups) != (title != NOTE):
            over.append(f"{title} and the groups")
    return over


def misplaced(found: dict[str, Any]) -> list[str]:
    """Which nodes lie over each other, or over the edge of a group."""
    over = touching(found)
    for title, box in found["nodes"]:
        inside = [
            around
            for _, around in found["groups"]
            if around[0] <= box[0]
            and around[1] <= box[1]
            and box[2] <= around[2]
            and box[3] <= around[3]
        ]
        if len(inside) != (title != NOTE):
            over.append(f"{title} and the edge of a group")
    return over


def in_view(found: dict[str, Any]) -> bool:
    left, top, width, height = found["view"]
    boxes = [box for _, box in (*found["nodes"], *found["groups"])]
    return (
        left <= min(box[0] for box in boxes)
        and top <= min(box[1] for box in boxes)
        and max(box[2] for box in boxes) <= left + width
        and max(box[3] for box in boxes) <= top + height
    )


@pytest.mark.parametrize("modern", [False, True], ids=["classic", "nodes2"])
@pytest.mark.parametrize("name", NAMES)
def test_a_template_opens_readable(name: str, modern: bool, viewer: Viewer) -> None:
    if modern not in viewer.renderers:
        pytest.skip("this editor has no Nodes 2.0")
    viewer.open(name, modern)
    assert viewer.troubles() == []
    found = viewer.boxes()
    assert misplaced(found) == []
    assert in_view(found)
    assert found["scale"] > READABLE
    assert viewer.page.evaluate(HIDDEN) <= 0
    assert viewer.page.evaluate(OPEN)
    viewer.settle(modern)
    shown = viewer.boxes()
    assert shown["nodes"] != found["nodes"]
    assert touching(shown) == []


def test_the_check_of_places_can_fail(viewer: Viewer) -> None:
    viewer.open("sprite")
    viewer.page.evaluate("() => { const [one, two] = app.graph.nodes; two.pos = [...one.pos]; }")
    assert misplaced(viewer.boxes()) != []


def test_the_list_of_templates_shows_a_picture_of_each(viewer: Viewer) -> None:
    page = viewer.page
    page.evaluate("() => app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    shown = page.get_by_role("dialog")
    shown.get_by_text(PACK, exact=True).first.click(timeout=PATIENCE)
    for name in NAMES:
        card = shown.get_by_test_id(f"template-workflow-{name}")
        card.scroll_into_view_if_needed(timeout=PATIENCE)
        picture = card.locator("img").first.element_handle(timeout=PATIENCE)
        page.wait_for_function("image => image.naturalWidth === 512", arg=picture, timeout=PATIENCE)
    viewer.editor.close_dialogs()


def test_example_pictures_are_copied_when_a_template_opens_and_never_over_a_file(
    viewer: Viewer,
) -> None:
    shutil.rmtree(viewer.input)
    viewer.input.mkdir()
    original = (REPOSITORY / "workflows" / "inputs" / "spriteworks_hero.png").read_bytes()
    viewer.open("palette_swap")
    kept = viewer.input / "spriteworks_hero.png"
    assert kept.read_bytes() == original
    viewer.open("palette_swap")
    assert [path.name for path in viewer.input.iterdir()] == [kept.name]

    Image.new("RGB", (8, 8), "red").save(kept)
    own = kept.read_bytes()
    viewer.open("palette_swap")
    assert kept.read_bytes() == own
    assert viewer.picture() != kept.name
    assert (viewer.input / viewer.picture()).read_bytes() == original
    assert viewer.troubles() == []


def test_what_was_saved_of_a_template_copies_nothing(viewer: Viewer) -> None:
    viewer.open("palette_swap")
    saved = viewer.page.evaluate("() => app.graph.serialize()")
    assert "pictures" not in saved["extra"].get("spriteworks", {})
    name = viewer.picture()
    Image.new("RGB", (8, 8), "red").save(viewer.input / name)
    before = sorted(viewer.input.iterdir())
    viewer.editor.load(saved)
    assert viewer.picture() == name
    assert sorted(viewer.input.iterdir()) == before
    viewer.open("sprite")  # which shows no picture that is missed
    (viewer.input / name).unlink()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NAMES)
def test_a_template_runs_as_it_opens(name: str, viewer: Viewer) -> None:
    viewer.open(name)
    record = viewer.run()
    assert record.state is JobState.SUCCEEDED
    viewer.page.wait_for_timeout(2000)
    files = [
        viewer.studio.output / image["subfolder"] / image["filename"]
        for output in record.outputs.values()
        for image in output.get("images", [])
        if image["type"] == "output"
    ]
    assert files
    for modern in viewer.renderers:
        viewer.editor.draw_with(modern)
        viewer.settle(modern)
        assert misplaced(viewer.boxes()) == []
        assert viewer.page.evaluate(UNSEEN) == 0
    assert viewer.troubles() == []
    single = [path for path in files if path.parent == viewer.studio.output]
    if name in SPRITES:
        for one in inspect(single).pictures:
            assert one.passed, one.failed


def test_a_mask_painted_in_the_mask_editor_is_what_is_repainted(viewer: Viewer) -> None:
    """One of the gems is painted over, and the bottle no longer."""
    page = viewer.page
    if not viewer.editor.has_mask_editor():
        pytest.skip("this editor has no command that opens the mask editor")
    viewer.open("inpaint_by_hand")
    viewer.editor.paint_over(*GEM)
    assert "clipspace" in viewer.picture()
    page.evaluate("() => put(app.graph.nodes.find(one => one.type === 'KSampler'), {denoise: 1})")
    record = viewer.run()
    ((_, file),) = files_of(record.outputs)
    with Image.open(viewer.studio.output / file.filename) as made:
        after = np.asarray(made.convert("RGB"))
    with Image.open(REPOSITORY / "workflows" / "inputs" / "spriteworks_potion.png") as given:
        before = np.asarray(given.convert("RGB"))
    rows, columns = np.nonzero((after != before).any(axis=2))
    assert len(rows)
    # all of it in the lower left, where the gem is
    assert rows.min() > before.shape[0] / 2
    assert columns.max() < before.shape[1] / 3


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_a_blueprint_is_offered_and_runs(name: str, viewer: Viewer) -> None:
    offered = requests.get(f"{viewer.studio.url}/global_subgraphs", timeout=60)
    if offered.status_code == 404:
        pytest.skip("this ComfyUI has no blueprints")
    ours = {key: one for key, one in offered.json().items() if PACK in one["info"]["node_pack"]}
    (key,) = (key for key, one in ours.items() if one["name"] == name)
    answer = requests.get(f"{viewer.studio.url}/global_subgraphs/{key}", timeout=60).json()
    content = json.loads(answer["data"])
    shutil.copy(REPOSITORY / "workflows" / "inputs" / "spriteworks_walk.png", viewer.input)
    viewer.editor.draw_with(False)
    viewer.editor.load(content)
    found = viewer.page.evaluate(
        """() => {
          const [blueprint] = app.graph.nodes;
          const loaded = add('LoadImage');
          put(loaded, {image: 'spriteworks_walk.png'});
          join(loaded, 0, blueprint, 'image');
          if (!blueprint.subgraph.nodes.some(one => one.constructor.nodeData?.output_node)) {
            const shown = add('SpriteworksSaveSprite');
            join(blueprint, 0, shown, 'image');
            join(blueprint, 1, shown, 'mask');
          }
          return blueprint.widgets.map(one => one.name);
        }"""
    )
    assert len(found) == len(content["nodes"][0]["properties"]["proxyWidgets"])
    record = viewer.run()
    assert record.state is JobState.SUCCEEDED
    assert any(output.get("images") for output in record.outputs.values())
