"""The nodes Palette and Swap Ramp on the engine's host: lists of pictures, palettes, masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import fake_grids
from comfy_nodes.errors import BadInput
from comfy_nodes.formats.palettes import PaletteFormat, write
from comfy_nodes.formats.well_known import by_name
from comfy_nodes.ops.color import pack, unpack
from comfy_nodes.ops.palette import Dither, find_palette, repaint
from orchestrator.engine import host

Pixels = fake_grids.Pixels
GIVEN: dict[str, Any] = {"colors": [8], "palette": [""], "dither": [False]}


@pytest.fixture(scope="module")
def nodes() -> Any:
    """The module of the pack, on the engine's host."""
    host.install()
    from comfy_nodes import palette

    return palette


def batch(*pictures: Pixels) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures).astype(np.float32) / 255)


def bytes_of(image: torch.Tensor) -> Pixels:
    return (image * 255).round().to(torch.uint8).numpy()


def noise(seed: int, height: int = 12, width: int = 9, channels: int = 3) -> Pixels:
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (height, width, channels), dtype=np.uint8)


def painted(nodes: Any, *images: torch.Tensor, **given: list[Any]) -> list[Pixels]:
    (found,) = nodes.Palette.execute(image=list(images), **{**GIVEN, **given}).result
    return [bytes_of(image) for image in found]


def colors(*images: Pixels) -> set[int]:
    return {int(one) for image in images for one in np.unique(pack(image[..., :3]))}


def test_a_batch_comes_back_as_one_batch_of_pictures_with_colours_of_their_own(nodes: Any) -> None:
    first, second = noise(1), noise(2)
    (out,) = painted(nodes, batch(first, second))
    for picture, result in zip((first, second), out, strict=True):
        assert np.array_equal(result, repaint(picture, find_palette(picture, 8)))
    assert len(colors(out)) > 8


def test_pictures_of_different_sizes_share_one_palette(nodes: Any) -> None:
    images = [batch(noise(1), noise(2)), batch(noise(3, 30, 20)), batch(noise(4, 5, 5))]
    out = painted(nodes, *images, shared=[True])
    assert [one.shape for one in out] == [tuple(one.shape) for one in images]
    assert len(colors(*out)) == 8
    apart = painted(nodes, *images, shared=[False])
    assert len(colors(*apart)) > 8
    assert len(colors(apart[1])) == 8


@pytest.mark.parametrize("given", ["Game Boy", "0f380f 306230 8bac0f 9bbc0f", "hex", "gpl", "pal"])
def test_a_palette_is_colours_a_name_or_the_text_of_a_file(nodes: Any, given: str) -> None:
    known = by_name("game-boy")
    if len(given) == 3:
        given = write(known, PaletteFormat(given)).decode()
    (out,) = painted(nodes, batch(noise(1)), palette=[given], shared=[True])
    assert np.array_equal(out[0], repaint(noise(1), known.array()))


@pytest.mark.parametrize("pattern", [one for one in Dither if one is not Dither.NONE])
def test_the_pattern_is_that_of_dither(nodes: Any, pattern: Dither) -> None:
    picture, known = noise(5), by_name("game-boy")
    given = {"palette": ["game-boy"], "pattern": [pattern.value]}
    (out,) = painted(nodes, batch(picture), dither=[True], **given)
    assert np.array_equal(out[0], repaint(picture, known.array(), dither=pattern))
    (off,) = painted(nodes, batch(picture), **given)
    assert np.array_equal(off[0], repaint(picture, known.array()))


def test_graphs_from_before_the_patterns_get_the_one_of_4x4(nodes: Any) -> None:
    (out,) = painted(nodes, batch(noise(5)), palette=["game-boy"], dither=[True])
    expected = repaint(noise(5), by_name("game-boy").array(), dither=Dither.BAYER_4)
    assert np.array_equal(out[0], expected)


@pytest.mark.parametrize("shared", [True, False])
def test_what_is_masked_has_no_say_and_becomes_black(nodes: Any, shared: bool) -> None:
    picture = noise(6)
    picture[:3] = (200, 0, 40)
    mask = torch.ones(1, *picture.shape[:2])
    mask[:, :3] = 0
    (out,) = painted(nodes, batch(picture), mask=[mask], shared=[shared])
    assert out.shape == (1, *picture.shape)
    assert (out[0, :3] == (200, 0, 40)).all()
    assert not out[0, 3:].any()
    (nothing,) = painted(nodes, batch(picture), mask=[torch.ones_like(mask)], shared=[shared])
    assert not nothing.any()
    with pytest.raises(BadInput, match="mask"):
        painted(nodes, batch(picture), mask=[torch.ones(1, 4, 4)])


def test_a_picture_can_be_the_palette(nodes: Any) -> None:
    source = noise(7, 2, 3)
    (out,) = painted(nodes, batch(noise(8)), from_image=[batch(source)])
    assert np.array_equal(out[0], repaint(noise(8), source.reshape(-1, 3)))
    many = unpack(np.arange(900, dtype=np.int64)).reshape(30, 30, 3)
    with pytest.raises(BadInput, match="900 colours; it must have 1 to 256"):
        painted(nodes, batch(noise(8)), from_image=[batch(many)])
    with pytest.raises(BadInput, match="not both"):
        painted(nodes, batch(noise(8)), palette=["cga"], from_image=[batch(source)])


def test_lists_of_settings_go_with_their_pictures_and_the_last_serves_the_rest(nodes: Any) -> None:
    images = [batch(noise(seed)) for seed in range(3)]
    out = painted(nodes, *images, colors=[2, 5])
    assert [len(colors(one)) for one in out] == [2, 5, 5]


def test_what_is_no_palette_is_said(nodes: Any) -> None:
    with pytest.raises(BadInput, match="one of the names pico-8"):
        painted(nodes, batch(noise(1)), palette=["nice"])
    with pytest.raises(BadInput, match="'xyz' in the palette is no colour"):
        painted(nodes, batch(noise(1)), palette=["#123456 xyz"])


def test_clients_are_told_when_a_batch_is_one_set(nodes: Any) -> None:
    info = nodes.Palette.GET_NODE_INFO_V1()
    assert list(info["input"]["required"]) == ["image", "colors", "palette", "dither"]
    assert list(info["input"]["optional"]) == ["pattern", "shared", "mask", "from_image"]
    assert info["input"]["required"]["image"][1]["per_picture"] is True
    assert info["input"]["optional"]["shared"][1]["whole_set"] == [True]
    assert info["is_input_list"] is True
    assert info["output_is_list"] == [True]


# -------------------------------------------------------------------------------- Swap Ramp

RED, DARK_RED, BLUE, DARK_BLUE = (239, 60, 60), (130, 20, 30), (80, 120, 250), (20, 30, 140)


@pytest.fixture
def knight() -> Pixels:
    return np.array([[RED, DARK_RED, (0, 0, 0)], [BLUE, DARK_BLUE, (40, 200, 60)]], dtype=np.uint8)


def swapped(nodes: Any, picture: Pixels, **given: Any) -> list[list[tuple[int, int, int]]]:
    options = {"old": "red", "new": "blue", "both_ways": False, "palette": "", **given}
    (out,) = nodes.SwapRamp.execute(image=batch(picture), **options).result
    return [[tuple(pixel[:3]) for pixel in row] for row in bytes_of(out)[0].tolist()]


def test_red_becomes_blue_dark_to_dark(nodes: Any, knight: Pixels) -> None:
    rest = ((0, 0, 0), (40, 200, 60))
    blues = [BLUE, DARK_BLUE]
    assert swapped(nodes, knight) == [[*blues, rest[0]], [*blues, rest[1]]]
    both = [[*blues, rest[0]], [RED, DARK_RED, rest[1]]]
    assert swapped(nodes, knight, both_ways=True) == both


def test_ramps_can_be_colours_or_of_a_palette(nodes: Any, knight: Pixels) -> None:
    of_colours = swapped(nodes, knight, old="#ef3c3c, 82141e", new="#000 #888 #fff")
    assert of_colours[0][:2] == [(255, 255, 255), (0, 0, 0)]
    text = " ".join(bytes(one).hex() for one in (RED, DARK_RED, (90, 90, 90), (200, 200, 200)))
    of_palette = swapped(nodes, knight, new="grey", palette=text)
    assert of_palette[0][:2] == [(200, 200, 200), (90, 90, 90)]


def test_what_is_hidden_stays(nodes: Any, knight: Pixels) -> None:
    mask = torch.zeros(1, 2, 3)
    mask[0, 0, 0] = 1
    out = swapped(nodes, knight, old="ef3c3c", new="123456", mask=mask)
    assert out[0][0] == RED
    with pytest.raises(BadInput, match="There is no ramp 'red'"):
        swapped(nodes, knight, mask=torch.ones(1, 2, 3))


def test_what_is_no_ramp_is_said(nodes: Any, knight: Pixels) -> None:
    with pytest.raises(BadInput, match=r"'gold'\. Those there are: grey, red, green, blue"):
        swapped(nodes, knight, new="gold")
    with pytest.raises(BadInput, match="A ramp is missing"):
        swapped(nodes, knight, old=" ")
    with pytest.raises(BadInput, match="no ramps with names"):
        swapped(nodes, noise(1, 20, 20))
