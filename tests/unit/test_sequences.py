"""Sixteen frames of one character, each with its own fake grid: one pitch, phase, size, palette."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

import fake_grids
from comfy_nodes.ops.color import pack, unpack
from comfy_nodes.ops.palette import paint
from comfy_nodes.ops.true_pixels import snap, snap_sequence
from orchestrator.__main__ import run

Pixels = fake_grids.Pixels
FRAMES, CELLS, PITCH = 16, 64, 8
WHITE = 255


def character(seed: int) -> Pixels:
    """A shaded shape of up to 40x40 cells on nothing: uint8 [h, w, 4]."""
    drawn = fake_grids.figure(np.random.default_rng(seed), alpha=True)
    rows, columns = (np.flatnonzero((drawn[..., 3] > 0).any(axis=axis)) for axis in (1, 0))
    return drawn[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1][:40, :40]


def true_frames(seed: int) -> list[Pixels]:
    """It walks to the right, a cell a frame."""
    sprite, frames = character(seed), []
    for step in range(FRAMES):
        frame = np.full((CELLS, CELLS, 3), WHITE, dtype=np.uint8)
        fake_grids._lay(frame, sprite, 14, 2 + step)
        frames.append(frame)
    return frames


def enlarged(truth: Pixels, kind: str, random: np.random.Generator) -> Pixels:
    """A frame as a model draws it, with a grid of its own."""
    if kind in ("int", "degraded"):
        picture = truth.repeat(PITCH, axis=0).repeat(PITCH, axis=1)
        if kind == "int":
            return picture
        blurred = ndimage.gaussian_filter(picture.astype(float), (0.7, 0.7, 0))
        noisy = blurred + random.normal(0, 4, blurred.shape)
        return fake_grids.jpeg(fake_grids._bytes(noisy), 75)
    length = round(CELLS * 7.37) if kind == "frac" else CELLS * PITCH
    own = random if kind == "drift" else None
    rows, columns = (fake_grids._borders(CELLS, length, own) for _ in range(2))
    return fake_grids._fill(truth, rows, columns)


def frames_of(kind: str, seed: int = 1) -> list[Pixels]:
    return [
        enlarged(truth, kind, np.random.default_rng([seed, number]))
        for number, truth in enumerate(true_frames(seed))
    ]


@pytest.mark.parametrize("kind", ["int", "frac", "degraded", "drift"])
def test_sixteen_frames_are_one_pitch_phase_size_and_palette(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, frame in enumerate(frames_of(kind)):
        (tmp_path / "walk").mkdir(exist_ok=True)
        Image.fromarray(frame).save(tmp_path / "walk" / f"{number}.png")
    command = ["--sequence", "--palette", "8", "--json"]
    assert run(["snap", str(tmp_path / "walk"), "--out", str(tmp_path / "out"), *command]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told) == FRAMES
    same = {json.dumps([one[key] for key in ("pitch", "offset", "palette")]) for one in told}
    assert len(same) == 1
    assert {(one["width"], one["height"]) for one in told} == {(CELLS, CELLS)}
    found = [np.asarray(Image.open(tmp_path / "out" / f"{n}.png")) for n in range(FRAMES)]
    assert len(np.unique(np.concatenate([pack(frame).ravel() for frame in found]))) == 8
    palette = unpack(np.array([int(one[1:], 16) for one in told[0]["palette"]]))
    for frame, truth in zip(found, true_frames(1), strict=True):
        if kind in ("int", "frac"):
            assert np.array_equal(frame, paint(truth, palette))
        elif kind == "degraded":  # noise decides between neighbours in the palette
            assert (np.abs(frame.astype(int) - truth).max(axis=-1) <= 40).mean() > 0.98
    # again changes nothing
    assert run(["snap", str(tmp_path / "out"), "--out", str(tmp_path / "again"), *command]) == 0
    for number, frame in enumerate(found):
        assert np.array_equal(np.asarray(Image.open(tmp_path / "again" / f"{number}.png")), frame)


@pytest.mark.parametrize("kind", ["int", "frac"])
def test_a_character_moved_by_parts_of_a_cell_gets_one_phase(kind: str) -> None:
    """The picture itself is moved by 0 to 15 px, and with it its grid."""
    still = enlarged(true_frames(2)[8], kind, np.random.default_rng(0))
    frames = snap_sequence([np.roll(still, step, axis=1) for step in range(FRAMES)])
    assert {(one.pitch, one.offset, one.width, one.height) for one in frames} == {
        (frames[0].pitch, (0.0, 0.0), CELLS, CELLS)
    }
    places = [int(np.flatnonzero((one.picture < 200).any(axis=(0, 2)))[0]) for one in frames]
    assert places == sorted(places)
    assert places[-1] - places[0] == 2
    assert all(one.sure for one in frames)


def test_noise_that_adds_up_over_frames_makes_no_smaller_grid() -> None:
    """All frames together would show a grid of half the pitch; each by itself does not."""
    frames = frames_of("degraded", seed=3)
    alone = [snap(frame) for frame in frames[:4]]
    assert {(one.width, one.height) for one in alone} == {(CELLS, CELLS)}
    together = snap_sequence(frames)
    assert {(one.width, one.height) for one in together} == {(CELLS, CELLS)}
    assert all(len(one.columns) == one.width + 1 for one in together)
