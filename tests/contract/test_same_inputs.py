"""The same file as an input picture: the engine and real ComfyUI see the same pixels and mask.

Pictures of every kind that decoders tell apart (tests/data/pictures) go through both, to 1 of 255.
An older ComfyUI decodes by Pillow: what it sees otherwise is skipped there.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orchestrator.client.client import Client
from orchestrator.protocol import Graph, files_of

pytestmark = pytest.mark.comfyui

PICTURES = Path(__file__).parents[1] / "data" / "pictures"
GREY16 = PICTURES / "grey16.png"
LOSSY = PICTURES / "lossy.webp"
CASE = Path(__file__).parents[3] / "shared" / "cases" / "17-gray16" / "gray16.png"
FILES = [*sorted(PICTURES.iterdir()), CASE]
# What is looked at: the picture, its mask, and one of its colours as a mask.
VIEWS = ("image", "alpha", "green")
# How often a file is looked at again that is seen otherwise.
_LOOKS = 8

# Pictures by file name and view.
Seen = dict[tuple[str, str], list[np.ndarray]]


def viewing(file: str, uploaded: str) -> Graph:
    """A graph that saves every view of an uploaded picture, under node ids of its own."""
    prefix = {view: f"seen {view}" for view in VIEWS}
    return {
        f"{file} load": {"class_type": "LoadImage", "inputs": {"image": uploaded}},
        f"{file} green mask": {
            "class_type": "LoadImageMask",
            "inputs": {"image": uploaded, "channel": "green"},
        },
        f"{file} alpha mask": {
            "class_type": "MaskToImage",
            "inputs": {"mask": [f"{file} load", 1]},
        },
        f"{file} green grey": {
            "class_type": "MaskToImage",
            "inputs": {"mask": [f"{file} green mask", 0]},
        },
        **{
            f"{file} {view}": {
                "class_type": "SaveImage",
                "inputs": {"images": [f"{file} {source}", 0], "filename_prefix": prefix[view]},
            }
            for view, source in zip(VIEWS, ("load", "alpha mask", "green grey"), strict=True)
        },
    }


def look(client: Client, folder: Path, paths: Sequence[Path] = FILES) -> Seen:
    """Everything as the server sees it."""
    graph: Graph = {}
    for path in paths:
        if path.is_file():
            graph |= viewing(path.name, client.upload(path).filename)
    accepted = client.submit(graph)
    assert not accepted.problems
    record = client.wait(accepted.prompt_id, timeout=120)
    seen: Seen = {}
    for node_id, file in sorted(files_of(record.outputs), key=lambda found: found[1].filename):
        (folder / file.filename).write_bytes(client.content(file))
        name, _, view = node_id.rpartition(" ")
        pixels = np.asarray(Image.open(folder / file.filename), int)
        seen.setdefault((name, view), []).append(pixels)
    return seen


@dataclass(frozen=True)
class Both:
    """What either server sees."""

    engine: Seen
    comfyui: Seen
    comfyui_url: str

    def is_unsteady(self, path: Path, view: str, folder: Path) -> bool:
        """Whether this ComfyUI sees one file otherwise from one time to the next.

        Some versions decode pictures whose width is no multiple of 32 with what the memory held
        before.
        """
        seen = self.comfyui[path.name, view]
        with Client(self.comfyui_url) as client:
            for number in range(_LOOKS):
                # Under another name, or the answer would come from the cache.
                copy = folder / f"{number} {path.name}"
                shutil.copyfile(path, copy)
                if apart(look(client, folder, [copy])[copy.name, view], seen) > 0:
                    return True
        return False

    def older_decoder(self) -> bool:
        """Whether this ComfyUI makes 16-bit greys black and white, as Pillow alone does."""
        truth = np.asarray(Image.open(GREY16), int) // 257
        (found,) = self.comfyui[GREY16.name, "image"]
        return bool(np.abs(found[..., 0] - truth).max() > 1)

    def other_range(self) -> bool:
        """Whether this ComfyUI takes a lossy WebP's narrow range of numbers for the whole one.

        It is then far from what Pillow sees; else only a few of 255.
        """
        with Image.open(LOSSY) as picture:
            truth = np.asarray(picture.convert("RGB"), int)
        (found,) = self.comfyui[LOSSY.name, "image"]
        return bool(np.abs(found[..., :3] - truth).max() > 16)


@pytest.fixture(scope="module")
def both(engine_url: str, comfyui_url: str, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """Loads all pictures once on each server."""

    def run(url: str) -> Seen:
        with Client(url) as client:
            return look(client, tmp_path_factory.mktemp("pictures"))

    with ThreadPoolExecutor(2) as workers:
        return Both(*workers.map(run, (engine_url, comfyui_url)), comfyui_url)


def apart(ours: list[np.ndarray], theirs: list[np.ndarray]) -> int:
    """The largest difference of any channel of any pixel, of 255; 255 for other sizes."""
    if [image.shape for image in ours] != [image.shape for image in theirs]:
        return 255
    return max(int(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_same_pixels_and_masks(path: Path, view: str, both: Both, tmp_path: Path) -> None:
    if not path.is_file():
        pytest.skip(f"there is no {path.name} beside this repository")
    ours, theirs = both.engine[path.name, view], both.comfyui[path.name, view]
    found = apart(ours, theirs)
    if found > 1 and both.older_decoder():
        pytest.skip("this ComfyUI decodes pictures by Pillow, and sees this one otherwise")
    if found > 1 and path.suffix == ".webp" and both.other_range():
        pytest.skip("this ComfyUI takes lossy WebP for another range of colours")
    if found > 1 and both.is_unsteady(path, view, tmp_path):
        pytest.skip("this ComfyUI does not see small pictures alike from one time to the next")
    assert [image.shape for image in ours] == [image.shape for image in theirs]
    assert found <= 1


def test_a_16_bit_grey_is_no_black_and_white(both: Both) -> None:
    truth = np.asarray(Image.open(GREY16), int) // 257
    (found,) = both.engine[GREY16.name, "image"]
    assert np.abs(found - truth[..., None]).max() <= 1
