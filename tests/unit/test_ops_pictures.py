import numpy as np
import pytest
import torch

from comfy_nodes.errors import BadInput
from comfy_nodes.ops.color import oklab, pack, unpack
from comfy_nodes.ops.pictures import checked, each, from_bytes, to_bytes


def test_every_byte_survives_the_way_through_floats() -> None:
    every = np.arange(256, dtype=np.uint8)
    assert np.array_equal(to_bytes(from_bytes(every)), every)
    assert np.array_equal(to_bytes(torch.arange(256) / 255.0), every)


def test_floats_out_of_range_are_clipped() -> None:
    assert to_bytes(torch.tensor([-0.5, 1.5])).tolist() == [0, 255]


@pytest.mark.parametrize("shape", [(8, 8, 3), (1, 8, 8, 1), (0, 8, 8, 3), (1, 0, 8, 3)])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match="picture"):
        checked(torch.zeros(shape))


def test_a_half_picture_is_the_same_one() -> None:
    every = from_bytes(np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, -1))
    found = checked(every.half())
    assert found.dtype is torch.float32
    assert np.array_equal(to_bytes(found), to_bytes(every))
    assert checked(every) is every


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_picture_that_would_be_black_is_refused(value: float) -> None:
    picture = torch.zeros(1, 2, 2, 3)
    picture[0, 1, 1, 2] = value
    with pytest.raises(BadInput, match=r"not numbers.*vae_precision"):
        checked(picture)


def test_each_works_on_bytes_of_every_picture() -> None:
    result = each(torch.zeros(2, 4, 4, 3), lambda picture: picture + 51)
    assert torch.allclose(result, torch.full((2, 4, 4, 3), 0.2))


def test_oklab_has_the_published_values() -> None:
    # Ottosson's own examples: white, and pure red, green and blue, to three digits.
    colors = np.array([[255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]], dtype=np.uint8)
    expected = [[1, 0, 0], [0.628, 0.225, 0.126], [0.866, -0.234, 0.179], [0.452, -0.032, -0.312]]
    assert np.allclose(oklab(colors), expected, atol=2e-3)


def test_packing_colours_can_be_undone() -> None:
    colors = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert np.array_equal(unpack(pack(colors)), colors)
