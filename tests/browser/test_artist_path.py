"""An artist's whole path, as one person goes it: from a template to a file that a shell runs.

Needs what test_canvas_editor.py needs. The pack lies in a custom_nodes folder as a clone would.
Every step is judged by what is on the screen.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from numpy.typing import NDArray
from PIL import Image

from comfy_nodes.formats.well_known import WELL_KNOWN
from orchestrator.client.client import Client
from orchestrator.local.process import python_environment
from orchestrator.protocol import files_of
from orchestrator.protocol.http import HistoryRecord, JobState

pytestmark = [pytest.mark.comfyui, pytest.mark.slow, pytest.mark.timeout(900)]

PACK = "spriteworks"
SLIME = "a red slime, pixel art, game sprite"
POTION = "a green potion, pixel art, game sprite"
PALETTE = "game-boy"
SAVED = "my potion"
# Where the blue gem is in the picture of inpaint: shares of its width and height.
GEM = (0.15, 0.82)
# ms
PATIENCE = 240_000

# The id of the next run, once it begins.
LISTEN = """() => {
  window.begun = new Promise(resolve => app.api.addEventListener('execution_start',
    ({detail}) => resolve(detail.prompt_id), {once: true}));
}"""
BEGUN = "() => window.begun"
# The page's elements [left, top] px from its corner, at the zoom at which 1 px is 1 px.
LOOK_AT = """id => {
  const {ds} = app.canvas, {pos} = node(id);
  ds.scale = 1;
  ds.offset = [400 - pos[0], 120 - pos[1]];
  app.canvas.setDirty(true, true);
}"""
# A palette and a sprite behind what inpainting gives, with room to look at it; the node that
# saves it.
FINISH = """() => {
  const one = kind => app.graph.nodes.find(node => node.type === kind);
  const whole = one('SaveImage'), [x, y] = whole.pos;
  const palette = add('SpriteworksPalette'), sprite = add('SpriteworksSaveSprite');
  palette.pos = [x + 500, y];
  sprite.pos = [x + 1000, y];
  sprite.setSize([460, 460]);
  join(one('SpriteworksInpaintStitch'), 0, palette, 'image');
  join(palette, 0, sprite, 'image');
  return Number(sprite.id);
}"""
ELEMENT = "([id, name]) => node(id).widgets.find(one => one.name === name).element"
VALUE = "([id, name]) => node(id).widgets.find(one => one.name === name).value"
# The player has its pictures.
DRAWN = """one => one.getContext('2d').getImageData(0, 0, one.width, one.height).data
  .some(value => value)"""
# What the editor says of itself.
ERRORS = ".p-toast-message-error, [data-toast-kind=error], [data-testid=error-overlay]"

Pixels = NDArray[np.uint8]


class Artist:
    """A person at the editor."""

    def __init__(self, editor: Any, studio: Any) -> None:
        self.editor = editor
        self.page = editor.page
        self.studio = studio

    def find(self, kind: str) -> int:
        """The one node of a class."""
        (found,) = self.page.evaluate(
            "kind => app.graph.nodes.filter(one => one.type === kind).map(one => Number(one.id))",
            kind,
        )
        return int(found)

    def element(self, node: int, widget: str = PACK) -> Any:
        """What a node shows in that widget, in the middle of the screen."""
        self.page.evaluate(LOOK_AT, node)
        found = self.page.evaluate_handle(ELEMENT, [node, widget]).as_element()
        found.wait_for_element_state("visible", timeout=PATIENCE)
        return found

    def write(self, title: str, text: str) -> None:
        """Type into the text of the node of that title, instead of what stands there."""
        node = self.page.evaluate(
            "title => Number(app.graph.nodes.find(one => one.title === title).id)", title
        )
        field = self.element(node, "text")
        field.click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.type(text)
        assert field.input_value() == text

    def run(self) -> HistoryRecord:
        """Press Run, and wait for the end."""
        self.page.evaluate(LISTEN)
        self.page.get_by_test_id("queue-button").click()
        prompt_id = self.page.evaluate(BEGUN)
        with Client(self.studio.url) as client:
            record = client.wait(prompt_id, timeout=PATIENCE / 1000)
        assert record.state is JobState.SUCCEEDED
        assert self.troubles() == []
        return record

    def made(self, record: HistoryRecord, node: int) -> list[Path]:
        """The files that a node saved in a run."""
        return [
            self.studio.output / file.subfolder / file.filename
            for saver, file in files_of(record.outputs)
            if saver == str(node)
        ]

    def save(self, name: str) -> Path:
        """Save by Ctrl+S, under a name; the file that the editor wrote."""
        self.page.keyboard.press("Control+s")
        asked = self.page.get_by_role("dialog").locator("input")
        asked.fill(name)
        asked.press("Enter")
        self.page.wait_for_function(
            "name => { const at = app.extensionManager.workflow.activeWorkflow;"
            " return at.filename === name && at.isPersisted && !at.isModified; }",
            arg=name,
            timeout=PATIENCE,
        )
        (file,) = (self.studio.output.parent / "user").rglob(f"{name}.json")
        return Path(file)

    def troubles(self) -> list[str]:
        """Red nodes, dialogs and messages of errors."""
        shown = self.page.locator(ERRORS).all_inner_texts()
        return [*self.editor.complaints(), *self.editor.dialogs(), *shown]


@pytest.fixture
def artist(studio: Any, canvas_editor: Any) -> Iterator[Artist]:
    with canvas_editor.editor(studio.url) as editor:
        if not editor.has_mask_editor():
            pytest.skip("this editor has no command that opens the mask editor")
        yield Artist(editor, studio)


def pixels(file: Path) -> Pixels:
    with Image.open(file) as image:
        return np.asarray(image.convert("RGBA"))


def assert_enlarged(shown: Any, true: Pixels) -> None:
    """Each opaque pixel stands on the screen as a square of a whole number of pixels."""
    height, width = true.shape[:2]
    with Image.open(io.BytesIO(shown.screenshot())) as image:
        seen = np.asarray(image.convert("RGB"))
    scale = seen.shape[1] // width
    assert scale > 1
    assert seen.shape[:2] == (scale * height, scale * width)
    opaque = true[..., 3] == 255
    assert opaque.any()
    middles = seen[scale // 2 :: scale, scale // 2 :: scale]
    assert np.array_equal(middles[opaque], true[..., :3][opaque])


def frames_of(sheet: Path) -> list[Pixels]:
    """The frames of a sheet by the JSON beside it, in Phaser's format."""
    whole = pixels(sheet)
    told = json.loads(sheet.with_suffix(".json").read_text(encoding="utf-8"))
    found = []
    for one in told["frames"].values():
        at, inside, size = one["frame"], one["spriteSourceSize"], one["sourceSize"]
        frame = np.zeros((size["h"], size["w"], 4), np.uint8)
        part = whole[at["y"] : at["y"] + at["h"], at["x"] : at["x"] + at["w"]]
        left, top = inside["x"], inside["y"]
        frame[top : top + at["h"], left : left + at["w"]] = part
        found.append(frame)
    return found


def makes_a_sheet(artist: Artist) -> None:
    artist.editor.open_template(PACK, "walk_cycle")
    artist.write("Positive", SLIME)
    record = artist.run()
    node = artist.find("SpriteworksSaveSheet")
    (sheet,) = (file for file in artist.made(record, node) if file.suffix == ".png")
    with Image.open(sheet) as image:
        assert SLIME in image.info["prompt"]
    player = artist.element(node)
    player.wait_for_selector("[aria-label=Pause]", timeout=PATIENCE).click()
    canvas = player.query_selector("canvas")
    artist.page.wait_for_function(DRAWN, arg=canvas, timeout=PATIENCE)
    frames = frames_of(sheet)
    assert len(frames) == 4
    for _ in frames:
        number = int(player.query_selector(".sw-number").inner_text().split()[1].split("/")[0])
        assert_enlarged(canvas, frames[number - 1])
        player.query_selector("[aria-label=Next]").click()


def repaints_a_gem(artist: Artist) -> tuple[int, Pixels]:
    """Returns the node that saves sprites, and the picture that came."""
    artist.editor.open_template(PACK, "inpaint_by_hand")
    loader = [artist.find("LoadImage"), "image"]
    before = pixels(artist.studio.output.parent / "input" / artist.page.evaluate(VALUE, loader))
    artist.editor.paint_over(*GEM)
    assert "clipspace" in artist.page.evaluate(VALUE, loader)
    artist.write("Positive", POTION)
    # nothing of what was there is left in the noise, so that another seed paints another gem
    artist.page.evaluate("id => put(node(id), {denoise: 1})", artist.find("KSampler"))
    whole, sprite = artist.find("SaveImage"), artist.page.evaluate(FINISH)
    record = artist.run()
    (file,) = artist.made(record, whole)
    after = pixels(file)
    rows, columns = np.nonzero((after != before)[..., :3].any(axis=2))
    assert len(rows)
    # all of it in the lower left, where the gem is
    assert rows.min() > before.shape[0] / 2
    assert columns.max() < before.shape[1] / 3
    return sprite, after


def picks_a_palette(artist: Artist, sprite: int) -> Pixels:
    """Returns what came, of the seed that was seen before."""
    shown = artist.element(sprite)
    shown.wait_for_selector("button", timeout=PATIENCE).click()  # Use this seed
    palette = artist.find("SpriteworksPalette")
    panel = artist.element(palette, "spriteworks_palette")
    panel.query_selector("select").select_option(PALETTE)
    swatches = [one.input_value() for one in panel.query_selector_all("input[type=color]")]
    colours = [tuple(colour) for colour in WELL_KNOWN[PALETTE].palette.colours]
    assert swatches == ["#{:02x}{:02x}{:02x}".format(*colour) for colour in colours]
    (file,) = artist.made(artist.run(), sprite)
    made = pixels(file)
    opaque = made[..., 3] == 255
    assert {tuple(map(int, one)) for one in made[opaque][:, :3]} <= set(colours)
    panel = artist.element(sprite)
    picture = panel.wait_for_selector(f'img[src*="{file.name}"]', timeout=PATIENCE)
    artist.page.wait_for_function("one => one.naturalWidth", arg=picture, timeout=PATIENCE)
    assert_enlarged(picture, made)
    return made


def run_in_the_shell(file: Path, out: Path, *options: str) -> list[Pixels]:
    """All that comes of a saved file, on the package's own engine where no server is named."""
    subprocess.run(
        [sys.executable, "-m", "orchestrator", "run", str(file), "--out", str(out), *options],
        env=python_environment(),
        timeout=PATIENCE / 1000,
        check=True,
    )
    return [pixels(one) for one in sorted(out.glob("*.png"))]


def same(one: Pixels, other: Pixels, within: int = 0) -> bool:
    """Whether no value is further away than that, of 255."""
    return one.shape == other.shape and bool(
        (np.abs(one.astype(int) - other.astype(int)) <= within).all()
    )


def test_from_a_template_to_a_file_that_the_shell_runs(artist: Artist, tmp_path: Path) -> None:
    makes_a_sheet(artist)
    sprite, repainted = repaints_a_gem(artist)
    recoloured = picks_a_palette(artist, sprite)
    file = artist.save(SAVED)
    saved = json.loads(file.read_text(encoding="utf-8"))
    assert any(POTION in node.get("widgets_values", []) for node in saved["nodes"])
    url = artist.studio.url
    # so that it remembers nothing of an earlier run
    requests.post(f"{url}/free", json={"unload_models": True, "free_memory": True}, timeout=60)
    made = run_in_the_shell(file, tmp_path / "out", "--server", url)
    assert len(made) == 2
    assert all(any(same(one, other) for one in made) for other in (repainted, recoloured))
    others = run_in_the_shell(file, tmp_path / "other", "--server", url, "--set", "seed=12")
    assert not any(same(one, repainted) for one in others)
    # The pictures that the file names lie in the input folder of that ComfyUI.
    alone = tmp_path / "alone"
    shutil.copytree(artist.studio.output.parent / "input", alone / "inputs")
    made = run_in_the_shell(Path(shutil.copy(file, alone)), tmp_path / "engine")
    # Not the sprite: a colour that is off by 1 may have another nearest one in the palette.
    assert any(same(one, repainted, within=1) for one in made)
