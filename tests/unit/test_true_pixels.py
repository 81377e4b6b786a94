"""The solver on pictures whose true pixels are known, and on all that may come instead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from scipy import ndimage

import fake_grids
from comfy_nodes.errors import BadInput
from comfy_nodes.ops.true_pixels import Colour, Snapped, snap, snap_sequence

# Fakes with known truth that are no part of the project; see their README.
GRIDS = Path(__file__).parents[3] / "shared" / "grid"

Pixels = fake_grids.Pixels


def enlarged(truth: Pixels, pitch: int) -> Pixels:
    return truth.repeat(pitch, axis=0).repeat(pitch, axis=1)


def sprite(seed: int = 0) -> Pixels:
    return fake_grids.figure(np.random.default_rng(seed))


def judged(kind: str, picture: Pixels, truth: Pixels) -> tuple[bool, bool, Snapped]:
    """Whether the size is right, and whether 99% of the pixels are, too."""
    found = snap(picture)
    off = max(abs(found.width - truth.shape[1]), abs(found.height - truth.shape[0]))
    exact = off <= (kind == "offset")
    if not exact:
        return False, False, found
    return True, any(_alike(found.picture, truth, x, y) for x in _SHIFTS for y in _SHIFTS), found


_SHIFTS = (0, -1, 1)


def _alike(picture: Pixels, truth: Pixels, x: int, y: int) -> bool:
    if (x or y) and picture.shape == truth.shape:
        return False
    moved = truth[max(0, y) :, max(0, x) :]
    own = picture[max(0, -y) :, max(0, -x) :]
    height, width = min(own.shape[0], moved.shape[0]), min(own.shape[1], moved.shape[1])
    apart = np.abs(own[:height, :width].astype(int) - moved[:height, :width]).max(axis=2)
    return float((apart <= 40).mean()) >= 0.99


def test_the_fakes_with_known_truth_are_solved() -> None:
    if not GRIDS.is_dir():
        pytest.skip(f"the 108 fakes with known truth are not there: {GRIDS}")
    exact: Counter[str] = Counter()
    solved: Counter[str] = Counter()
    unsure: Counter[bool] = Counter()
    for name, told in json.loads((GRIDS / "truth.json").read_text()).items():
        pictures = [
            np.asarray(Image.open(GRIDS / folder / f"{name}.png").convert("RGB"))
            for folder in ("in", "truth")
        ]
        size_right, pixels_right, found = judged(told["kind"], *pictures)
        exact[told["kind"]] += size_right
        solved[told["kind"]] += pixels_right
        unsure[size_right] += not found.sure
    least = dict.fromkeys(("int", "frac", "fracaa", "degraded", "aniso"), 11)
    least |= {"offset": 10, "diffusion": 10, "drift": 8}
    assert all(exact[kind] >= count for kind, count in least.items()), exact
    assert exact.total() >= 100
    assert solved.total() >= 96
    assert unsure[True] <= 0.05 * exact.total()


@pytest.mark.parametrize("kind", fake_grids.KINDS)
def test_own_fakes_are_solved(kind: str) -> None:
    fakes = list(fake_grids.fakes(5, 6, kinds=[kind]))
    right = [judged(kind, fake.picture, fake.truth)[:2] for fake in fakes]
    least = {"drift": 4, "diffusion": 4, "hard": 3}.get(kind, 5)
    assert sum(exact for exact, _ in right) >= least
    assert sum(solved for _, solved in right) >= least - 1


def test_true_pixels_come_back_as_they_were() -> None:
    for seed in range(30):
        small = sprite(seed)
        assert np.array_equal(snap(small).picture, small)


@pytest.mark.parametrize("scale", [2, 3, 8])
def test_an_enlarged_sprite_is_the_sprite_and_can_be_enlarged_again(scale: int) -> None:
    small = sprite(3)
    found = snap(enlarged(small, scale), scale=scale)
    assert (found.pitch, found.offset) == ((scale, scale), (0.0, 0.0))
    assert (found.width, found.height) == small.shape[1::-1]
    assert found.sure
    assert np.array_equal(found.picture, enlarged(small, scale))


def test_what_is_found_is_told() -> None:
    small = sprite(4)
    picture = enlarged(small, 7)[3:, 5:]
    found = snap(picture)
    assert found.pitch == (7.0, 7.0)
    assert found.offset == (2.0, 4.0)
    assert found.colours == len(np.unique(small.reshape(-1, 3), axis=0))
    assert found.alpha_binary


def test_a_size_that_is_known_is_kept() -> None:
    fake = next(fake_grids.fakes(3, 1, kinds=["hard"]))
    for width in (fake.truth.shape[1], fake.truth.shape[1] + 3):
        found = snap(fake.picture, size=(width, None))
        assert found.width == width
    found = snap(fake.picture, size=(20, 31))
    assert (found.width, found.height) == (20, 31)
    assert np.array_equal(snap(found.picture, size=(20, 31)).picture, found.picture)


def test_a_pitch_that_is_known_is_kept() -> None:
    small = sprite(5)
    found = snap(enlarged(small, 6), pitch=6)
    assert np.array_equal(found.picture, small)
    assert snap(enlarged(small, 6), pitch=(12, 6)).width == pytest.approx(small.shape[1] / 2, abs=1)


@pytest.mark.parametrize("colour", list(Colour))
def test_every_colour_of_clean_cells_is_their_own(colour: Colour) -> None:
    small = sprite(6)
    assert np.array_equal(snap(enlarged(small, 8)[2:], colour=colour).picture, small)
    noise = np.random.default_rng(1).normal(0, 5, (*(8 * n for n in small.shape[:2]), 3))
    noisy = np.clip(enlarged(small, 8) + noise, 0, 255).astype(np.uint8)
    found = snap(noisy, colour=colour)
    assert np.abs(found.picture.astype(int) - small).mean() < 4


def test_transparency_is_kept_and_hides_the_colour_below() -> None:
    small = fake_grids.figure(np.random.default_rng(8), alpha=True)
    picture = enlarged(small, 9)
    hidden = picture[..., 3] == 0
    picture[hidden, :3] = np.random.default_rng(0).integers(0, 256, (int(hidden.sum()), 3))
    found = snap(picture)
    assert (found.width, found.height) == small.shape[1::-1]
    assert np.array_equal(found.picture[..., 3], small[..., 3])
    seen = small[..., 3] > 0
    assert np.array_equal(found.picture[seen], small[seen])
    assert found.alpha_binary
    half = picture.copy()
    half[..., 3] //= 2
    assert not snap(half).alpha_binary


def test_frames_get_one_pitch_phase_and_size() -> None:
    ground = np.full((64, 64, 3), 255, dtype=np.uint8)
    small = fake_grids.figure(np.random.default_rng(9), alpha=True)
    frames, truths = [], []
    for step in range(6):
        truth = ground.copy()
        part = truth[10 : 10 + small.shape[0], 2 + step : 2 + step + small.shape[1]]
        part[small[..., 3] > 0] = small[..., :3][small[..., 3] > 0]
        big = Image.fromarray(truth).resize((857, 857), Image.Resampling.NEAREST)
        # each frame begins elsewhere on its own grid
        frames.append(np.asarray(big)[: 857 - 13, step : 857 - 13 + step])
        truths.append(truth)
    found = snap_sequence(frames)
    assert len({(one.pitch, one.offset, one.width, one.height) for one in found}) == 1
    assert found[0].pitch == pytest.approx((857 / 64, 857 / 64), rel=0.01)
    again = snap_sequence([one.picture for one in found])
    for one, same in zip(found, again, strict=True):
        assert np.array_equal(one.picture, same.picture)
    alone = [snap(frame) for frame in frames]
    assert len({one.offset for one in alone}) > 1


_shapes = st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([3, 4]))


@settings(deadline=None, max_examples=60)
@given(arrays.arrays(np.uint8, _shapes), st.integers(1, 9), st.sampled_from(list(Colour)))
def test_snapping_twice_changes_nothing(small: Pixels, pitch: int, colour: Colour) -> None:
    picture = enlarged(small, pitch)
    once = snap(picture, colour=colour)
    twice = snap(once.picture, colour=colour)
    assert np.array_equal(twice.picture, once.picture)
    assert once.picture.shape[:2] == (once.height, once.width)
    assert 0 <= once.confidence <= 1


@pytest.mark.parametrize("kind", ["frac", "degraded", "diffusion", "hard"])
def test_snapping_a_fake_twice_changes_nothing(kind: str) -> None:
    for fake in fake_grids.fakes(11, 4, kinds=[kind]):
        for scale in (1, 3):
            once = snap(fake.picture, scale=scale)
            assert np.array_equal(snap(once.picture, scale=scale).picture, once.picture)


@pytest.mark.parametrize(
    "shape", [(1, 1, 3), (1, 1, 4), (1, 8192, 3), (8192, 1, 4), (2, 3, 3), (5, 700, 3), (30, 31, 4)]
)
@pytest.mark.parametrize("what", ["flat", "noise", "ramp", "clear"])
def test_any_picture_gets_an_answer(shape: tuple[int, int, int], what: str) -> None:
    picture = np.zeros(shape, dtype=np.uint8)
    if what == "flat":
        picture[...] = 200
    elif what == "noise":
        picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    elif what == "ramp":
        picture[...] = (np.arange(shape[1]) // 3 % 256)[None, :, None]
    for colour in Colour:
        for options in ({}, {"size": (1, 1)}, {"pitch": 1}, {"size": (1, None)}):
            found = snap(picture, colour=colour, **options)
            assert found.picture.shape == (found.height, found.width, shape[2])
    assert np.array_equal(snap(snap(picture).picture).picture, snap(picture).picture)


def test_a_picture_without_a_grid_is_unsure() -> None:
    noise = np.random.default_rng(0).normal(0, 1, (300, 260, 3))
    smooth = ndimage.gaussian_filter(noise, (9, 9, 0)) * 1500 + 128
    smooth = np.clip(smooth, 0, 255).astype(np.uint8)
    flat = np.full((64, 64, 3), 7, dtype=np.uint8)
    assert not snap(smooth).sure
    found = snap(flat, scale=4)
    assert not found.sure
    assert np.array_equal(found.picture, flat)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": (65, None)}, "1 to 64 true pixels"),
        ({"size": (0, None)}, "not 0"),
        ({"size": (4, 999)}, "high"),
        ({"size": (4, 4), "pitch": 3}, "Give the size or the pitch"),
        ({"pitch": 0.5}, "The pitch is"),
        ({"pitch": 1000}, "The pitch is"),
        ({"scale": 0}, "The scale"),
        ({"scale": 65}, "The scale"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(options: dict[str, object], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        snap(np.zeros((64, 64, 3), dtype=np.uint8), **options)  # type: ignore[arg-type]


def test_frames_of_several_sizes_are_refused() -> None:
    frames = [np.zeros((4, 4, 3), dtype=np.uint8), np.zeros((4, 5, 3), dtype=np.uint8)]
    with pytest.raises(BadInput, match="one size: one is 5x4, the first 4x4"):
        snap_sequence(frames)
    with pytest.raises(BadInput, match="no picture"):
        snap_sequence([])


def test_many_threads_give_the_same_bytes() -> None:
    """Frames side by side in threads, and one after another."""
    pictures = [fake.picture for fake in fake_grids.fakes(21, 3, kinds=["diffusion", "frac"])]
    alone = [snap(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(snap, pictures * 2))
    for one, other in zip(alone * 2, together, strict=True):
        assert np.array_equal(one.picture, other.picture)
        assert (one.pitch, one.offset, one.confidence) == (
            other.pitch,
            other.offset,
            other.confidence,
        )


def test_the_result_does_not_hang_on_the_libraries_threads(tmp_path: Path) -> None:
    fake = next(fake_grids.fakes(22, 1, kinds=["hard"]))
    np.save(tmp_path / "picture.npy", fake.picture)
    code = (
        "import hashlib, sys, numpy; from comfy_nodes.ops.true_pixels import snap\n"
        "found = snap(numpy.load(sys.argv[1]))\n"
        "print(hashlib.sha256(found.picture.tobytes()).hexdigest(), found.pitch, found.confidence)"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "picture.npy")],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for count in ("1", "2", "7")
    }
    assert len(told) == 1


def test_a_picture_of_a_megapixel_takes_a_moment() -> None:
    """0.05 to 0.1 s of CPU on a slow machine; the bound leaves room for a busy one."""
    truth = fake_grids.blob(np.random.default_rng(1), 100)
    picture = np.asarray(Image.fromarray(truth).resize((1024, 1024), Image.Resampling.NEAREST))
    begin = time.process_time()
    found = snap(picture)
    assert time.process_time() - begin < 1
    assert np.array_equal(found.picture, truth)


@pytest.mark.parametrize("kind", ["gradient", "dithered"])
def test_where_nothing_speaks_of_a_grid_the_picture_stays(kind: str) -> None:
    y, x = np.mgrid[:400, :500] if kind == "gradient" else np.mgrid[:90, :120]
    ramps = (x // 2, y // 2, (x + y) // 4)
    flat = [np.where((x + y) % 2, light, light - 10) for light in (136, 95, 109)]
    picture = np.stack(ramps if kind == "gradient" else flat, axis=-1).astype(np.uint8)
    found = snap(picture)
    assert (found.confidence, found.sure) == (0, False)
    assert np.array_equal(found.picture, picture)
