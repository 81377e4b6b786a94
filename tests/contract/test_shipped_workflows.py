"""The shipped workflows on the embedded engine and on real ComfyUI: they run, and agree."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from orchestrator.client.client import Client
from orchestrator.library import Value, connect
from orchestrator.protocol import FileRef, files_of

PROMPTED = (
    "sprite",
    "batch",
    "pixel_art",
    "inpaint",
    "icons",
    "img2img",
    "inpaint_by_hand",
    "walk_cycle",
    "seamless_tile",
)
NAMES = (*PROMPTED, "frames", "snap", "palette_swap")
SHEETS = ("icons", "frames", "walk_cycle")
INPAINTING = ("inpaint", "inpaint_by_hand")
# Few steps and pictures: what is tested is the way through all nodes. After 2 steps a pixel lies
# between two of the colours that the palette finds, where 1 of 255 decides.
SETTINGS: dict[str, Value] = {"steps": 6, "seed": 11}
OWN: dict[str, dict[str, Value]] = {
    "batch.json": {**SETTINGS, "batch_size": 4},
    "icons.json": {**SETTINGS, "batch_size": 4},
    "frames.json": {},
    "snap.json": {},
    "palette_swap.json": {},
}

# Draw fresh noise on their way, which ComfyUI seeds otherwise since 0.7.0.
NOISY = ("euler_ancestral", "lcm")

Pictures = list[Image.Image]
Runner = Callable[[str, str], tuple[dict[str, Any], Pictures]]


@pytest.fixture(scope="module")
def runner(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """Run a workflow file at a server, once a pair; gives run.json and the pictures."""
    done: dict[tuple[str, str], tuple[dict[str, Any], Pictures]] = {}

    def start(url: str, file: str) -> tuple[dict[str, Any], Pictures]:
        if (url, file) not in done:
            path = repository / "workflows" / file
            with connect(url) as server:
                made = server.run(path, timeout=200, settings=OWN.get(file, SETTINGS))
            # Servers run outputs in an order of their own; names say which is which.
            named = sorted(made.pictures, key=lambda one: one.name)
            pictures = [one.image() for one in named if one.width is not None]
            done[url, file] = (made.to_json(), pictures)
        return done[url, file]

    return start


def distance(left: Pictures, right: Pictures) -> int:
    """The largest difference of any channel, of 255."""
    assert [(a.size, a.mode) for a in left] == [(b.size, b.mode) for b in right]
    pairs = zip(left, right, strict=True)
    return max(int(np.abs(np.asarray(a, int) - np.asarray(b, int)).max()) for a, b in pairs)


@pytest.mark.parametrize("name", PROMPTED)
def test_runs_on_the_engine(name: str, engine_url: str, runner: Runner) -> None:
    result, pictures = runner(engine_url, f"{name}.json")
    assert result["parameters"]["steps"] == 6
    seeds = [one["seed"] for one in result["artifacts"] if one["width"] is not None]
    assert seeds[: -1 if name == "icons" else None] == (
        list(range(11, 15)) if name in ("batch", "icons") else [11]
    )
    assert {picture.mode for picture in pictures} == {"RGB" if name in INPAINTING else "RGBA"}


@pytest.mark.comfyui
@pytest.mark.parametrize("name", NAMES)
def test_gives_the_same_pictures_on_comfyui(
    name: str, engine_url: str, comfyui_url: str, same_noise: bool, runner: Runner
) -> None:
    _, ours = runner(engine_url, f"{name}.json")
    result, theirs = runner(comfyui_url, f"{name}.json")
    assert result["server"]["kind"] == "comfyui"
    found = distance(ours, theirs)
    if found > 1 and not same_noise and result["parameters"].get("sampler") in NOISY:
        pytest.skip("this ComfyUI seeds the noise of steps as the starting noise, on a CPU")
    assert found <= 1


def test_a_picture_of_the_batch_is_the_sprite_of_its_seed(
    engine_url: str, runner: Runner, repository: Path
) -> None:
    """In colours of its own, as the sprite has; the batch's own are shared."""
    with connect(engine_url) as server:
        own: dict[str, Value] = {**SETTINGS, "batch_size": 4, "Palette.shared": False}
        made = server.run(repository / "workflows" / "batch.json", timeout=200, settings=own)
    _, (single,) = runner(engine_url, "sprite.json")
    assert distance([made.pictures[0].image()], [single]) <= 1


def test_a_batch_shares_one_palette(engine_url: str, runner: Runner) -> None:
    _, pictures = runner(engine_url, "batch.json")
    pixels = np.concatenate([np.asarray(one).reshape(-1, 4) for one in pictures])
    assert len(np.unique(pixels[pixels[:, 3] > 0], axis=0)) <= 16


def test_icons_stand_on_one_sheet_in_one_palette(engine_url: str, runner: Runner) -> None:
    _, (*icons, sheet) = runner(engine_url, "icons.json")
    drawn = np.asarray(sheet)
    colours = {tuple(one) for one in drawn[drawn[..., 3] > 0].tolist()}
    assert len(colours) <= 32
    assert {tuple(one[:3]) for one in colours} == {
        tuple(one)
        for icon in icons
        for one in np.asarray(icon)[np.asarray(icon)[..., 3] > 0][:, :3].tolist()
    }


@pytest.mark.parametrize("server", ["engine", pytest.param("comfyui", marks=pytest.mark.comfyui)])
def test_frames_become_a_sheet_for_engines_without_a_model(
    server: str, request: pytest.FixtureRequest, repository: Path
) -> None:
    folder = repository / "workflows"
    graph = json.loads((folder / "api" / "frames.json").read_text(encoding="utf-8"))
    with Client(request.getfixturevalue(f"{server}_url")) as client:
        sent = client.upload(folder / "inputs" / "spriteworks_walk.png")
        graph["1"]["inputs"]["image"] = sent.filename
        record = client.wait(client.submit(graph).prompt_id, timeout=120)
        ((_, page),) = files_of(record.outputs)
        files = {
            kind: client.content(FileRef(filename=f"frames.{kind}", subfolder=page.subfolder))
            for kind in ("json", "anims.json", "tres", "tscn")
        }
    frames = json.loads(files["json"])["frames"].values()
    assert len(frames) == 8
    assert len({json.dumps([one["sourceSize"], one["pivot"]]) for one in frames}) == 1
    # in the pictures that go in the ground is at another height in each
    grounds = {one["spriteSourceSize"]["y"] + one["spriteSourceSize"]["h"] for one in frames}
    assert len(grounds) == 1
    (walk,) = json.loads(files["anims.json"])["anims"]
    assert [one["duration"] for one in walk["frames"]] == [100] * 8
    assert b'"name": &"walk"' in files["tres"]
    assert b"AnimatedSprite2D" in files["tscn"]


def test_inpainting_changes_nothing_outside_the_mask(
    engine_url: str, runner: Runner, repository: Path
) -> None:
    folder = repository / "workflows" / "inputs"
    before = np.asarray(Image.open(folder / "spriteworks_potion.png").convert("RGB"))
    mask = np.asarray(Image.open(folder / "spriteworks_potion_mask.png").convert("RGB"))[..., 0]
    _, (picture,) = runner(engine_url, "inpaint.json")
    after = np.asarray(picture)
    assert np.array_equal(after[mask == 0], before[mask == 0])
    assert not np.array_equal(after[mask == 255], before[mask == 255])


@pytest.mark.parametrize("settings", [{}, {"denoise": 1.0}, {"prompt": "a green potion"}])
def test_the_inpainted_example_keeps_its_grid_its_colours_and_its_outline(
    settings: dict[str, Value], engine_url: str, repository: Path
) -> None:
    before = np.asarray(Image.open(repository / "workflows/inputs/spriteworks_potion.png"))
    with connect(engine_url) as server:
        made = server.run(
            repository / "workflows" / "inpaint.json",
            timeout=200,
            settings={**SETTINGS, **settings},
        )
    after = np.asarray(made.pictures[0].image())
    assert not np.array_equal(after, before)
    # No half-mixed pixel: every true pixel of 2x2 has one colour.
    true = after[::2, ::2]
    assert np.array_equal(true.repeat(2, axis=0).repeat(2, axis=1), after)
    # No new colour.
    colours = {tuple(one) for one in before.reshape(-1, 3).tolist()}
    assert {tuple(one) for one in after.reshape(-1, 3).tolist()} <= colours
    # The outline is closed: its lines enclose what they enclosed before.
    lines = [(one[::2, ::2] == (43, 29, 58)).all(axis=-1) for one in (before, after)]
    assert (lines[1] | ~lines[0]).all()
    was, now = (ndimage.binary_fill_holes(one) for one in lines)
    assert was.sum() > 3 * lines[0].sum() / 2
    assert np.array_equal(was, now)


@pytest.mark.comfyui
def test_a_transparent_picture_is_inpainted_alike_on_comfyui(
    engine_url: str, comfyui_url: str, repository: Path
) -> None:
    path = repository / "workflows" / "inputs" / "potions" / "red.png"
    before = np.asarray(Image.open(path).convert("RGBA"))
    settings: dict[str, Value] = {
        **SETTINGS,
        "sampler": "euler",
        "image": str(path),
        '"Mask rule".rule': "opaque",
        "Stitch.new_colours": 2,
    }
    pictures = []
    for url in (engine_url, comfyui_url):
        with connect(url) as server:
            made = server.run(
                repository / "workflows" / "inpaint.json", timeout=200, settings=settings
            )
        pictures.append([picture.image() for picture in made.pictures])
    after = np.asarray(pictures[0][0])
    assert np.array_equal(after[..., 3], before[..., 3])
    assert not np.array_equal(after, before)
    assert distance(*pictures) <= 1


def test_pictures_carry_the_graph(engine_url: str, runner: Runner) -> None:
    _, (picture,) = runner(engine_url, "sprite.json")
    carried = json.loads(picture.info["prompt"])
    assert carried["6"]["inputs"]["seed"] == 11
    assert carried["2"]["_meta"]["title"] == "Positive"
    layout = json.loads(picture.info["workflow"])["nodes"]
    assert next(node["widgets_values"][0] for node in layout if node["id"] == 6) == 11


def test_a_run_brings_the_files_of_the_engines(
    engine_url: str, repository: Path, tmp_path: Path
) -> None:
    """In a folder of their own, where they name each other rightly."""
    with connect(engine_url) as server:
        path = repository / "workflows" / "frames.json"
        made = server.run(path, timeout=200, settings=OWN["frames.json"], out=tmp_path)
    sheet = [one for one in made.pictures if "/" in one.name]
    (folder,) = {one.path.parent for one in sheet}
    assert {one.path.name for one in sheet} == {file.name for file in folder.iterdir()}
    atlas = json.loads((folder / "frames.json").read_text("ascii"))
    with Image.open(folder / atlas["meta"]["image"]) as page:
        assert page.size == tuple(atlas["meta"]["size"].values())
    assert 'path="frames.png"' in (folder / "frames.tres").read_text("utf-8")
    assert [note for note in made.notes if "no picture" in note] == []
