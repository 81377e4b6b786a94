"""The chain on arrays: what holds of every result, whatever the picture and the options."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fake_grids
from comfy_nodes.formats.palettes import Palette
from comfy_nodes.formats.well_known import by_name
from comfy_nodes.ops.color import pack
from comfy_nodes.ops.cutout import CutoutOptions as Cutout
from comfy_nodes.ops.cutout import Outline
from comfy_nodes.ops.palette import Dither
from orchestrator.errors import UsageError
from orchestrator.sprites.finishing import Finish, KnownGrid

Pixels = fake_grids.Pixels


def share(picture: Pixels, palette: Palette) -> float:
    """Of what can be seen, how much is of the palette."""
    seen = picture[picture[..., 3] > 0] if picture.shape[-1] == 4 else picture
    return float(np.isin(pack(seen), pack(palette.array())).mean())


def figure(seed: int, *, alpha: bool = False) -> Pixels:
    return fake_grids.figure(np.random.default_rng(seed), alpha=alpha)


def enlarged(pixels: Pixels, pitch: int) -> Pixels:
    return pixels.repeat(pitch, axis=0).repeat(pitch, axis=1)


@st.composite
def sprites(draw: st.DrawFn) -> Pixels:
    """A sprite, opaque or cut out, at its true size or of fake pixels, with hidden colours."""
    picture = figure(draw(st.integers(0, 40)), alpha=draw(st.booleans()))
    if picture.shape[-1] == 4:
        hidden = np.random.default_rng(1).integers(0, 256, picture.shape, dtype=np.uint8)
        hidden[..., 3] = 0
        picture = np.where(picture[..., 3:] > 0, picture, hidden)
    return enlarged(picture, draw(st.sampled_from([1, 3, 8])))


PALETTES = st.one_of(
    st.integers(1, 24), st.sampled_from(["pico-8", "game-boy", "dawnbringer-32"]).map(by_name)
)


@given(
    sprites(),
    PALETTES,
    st.sampled_from(Dither),
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from([None, Cutout(), Cutout(soft=True), Cutout(outline=Outline.INSIDE)]),
)
def test_all_that_is_seen_is_of_the_palette_and_again_changes_nothing(
    picture: Pixels,
    palette: Palette | int,
    dither: Dither,
    scale: int,
    snaps: bool,
    cutout: Cutout | None,
) -> None:
    if cutout is not None and cutout.outline is not Outline.NONE:
        dither = Dither.NONE  # a dithered outline is of two colours, and would be given one again
    finish = Finish(
        grid=KnownGrid() if snaps else None,
        cutout=cutout,
        palette=palette,
        dither=dither,
        scale=scale if snaps else 1,
    )
    (once,) = finish.applied([picture])
    assert once.palette is not None
    assert share(once.picture, once.palette) == 1.0
    if isinstance(palette, int):
        assert len(once.palette.colours) <= palette
    if once.picture.shape[-1] == 4:
        assert not once.picture[once.picture[..., 3] == 0].any()
    (twice,) = finish.applied([once.picture])
    assert np.array_equal(twice.picture, once.picture)
    assert twice.found.colours == once.found.colours <= len(once.palette.colours)


def test_the_steps_are_those_by_themselves_and_enlarging_is_the_last() -> None:
    truth = figure(3)
    (plain,) = Finish(scale=4).applied([enlarged(truth, 7)])
    assert np.array_equal(plain.picture, enlarged(truth, 4))
    assert plain.palette is None
    # a pattern of single true pixels, not of single pixels of the enlarged picture
    dithered = Finish(palette=by_name("game-boy"), dither=Dither.BAYER_2)
    (small,) = dithered.applied([enlarged(truth, 7)])
    (large,) = Finish(palette=by_name("game-boy"), dither=Dither.BAYER_2, scale=4).applied(
        [enlarged(truth, 7)]
    )
    assert np.array_equal(large.picture, enlarged(small.picture, 4))
    assert (large.found.width, large.found.height) == truth.shape[1::-1]


def test_colours_that_nobody_sees_take_no_place_in_a_palette() -> None:
    picture = np.zeros((8, 8, 4), dtype=np.uint8)
    picture[:2, :2] = (200, 30, 30, 255)
    picture[4:] = np.random.default_rng(2).integers(0, 256, (4, 8, 4), dtype=np.uint8)
    picture[4:, :, 3] = 0
    (one,) = Finish(grid=None, palette=4).applied([picture])
    assert one.palette == Palette("", ((200, 30, 30),))
    assert one.found.colours == 1


def test_frames_get_one_palette_and_no_more_colours_than_asked_for() -> None:
    frames = [np.full((30, 30, 3), shade, dtype=np.uint8) for shade in (0, 80, 90, 255)]
    done = Finish(grid=None, palette=3).applied(frames)
    assert len({one.palette for one in done}) == 1
    assert len(np.unique(np.concatenate([pack(one.picture).ravel() for one in done]))) == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"palette": 0}, "1 to 256"),
        ({"palette": 300}, "1 to 256"),
        ({"dither": Dither.BAYER_2}, "without a palette"),
        ({"scale": 0}, "1 to 64"),
    ],
)
def test_what_cannot_be_done_is_said_before_any_picture(
    options: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        Finish(**options)  # type: ignore[arg-type]
