"""Pictures against what real ComfyUI's nodes made of them (tests/data/resized.safetensors)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from orchestrator.engine.handles.preview import Previewer
from orchestrator.engine.pictures.reading import read_mask, read_picture
from orchestrator.engine.pictures.resizing import CROPS, IMAGE_METHODS, repeat_to, resize, spread_to
from orchestrator.errors import InputError

DATA = Path(__file__).parent.parent / "data"
RECORDED = load_file(DATA / "resized.safetensors")
PICTURES = sorted(path.name for path in (DATA / "pictures").iterdir())


@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize("size", [(7, 5), (18, 20)])
@pytest.mark.parametrize("method", [*IMAGE_METHODS, "bislerp"])
def test_resizing_is_comfyuis(method: str, size: tuple[int, int], crop: str) -> None:
    found = resize(RECORDED["source"], *size, method, crop)
    expected = RECORDED[f"{method} {size[0]} {size[1]} {crop}"]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_read_as_comfyui_reads_them(name: str) -> None:
    image, mask = read_picture(DATA / "pictures" / name)
    if f"mask {name}" in RECORDED:
        expected = RECORDED[f"mask {name}"]
    else:
        expected = torch.zeros(*RECORDED[f"no mask {name}"].tolist())
    # Other versions of FFmpeg, and other processors, may round otherwise.
    torch.testing.assert_close(image, RECORDED[f"image {name}"], rtol=0, atol=1 / 255)
    torch.testing.assert_close(mask, expected, rtol=0, atol=1 / 255)


@pytest.mark.parametrize("name", ["rgb.png", "rgba.png", "film.gif"])
def test_a_mask_is_the_opacity_turned_round_or_a_colour(name: str) -> None:
    image, mask = read_picture(DATA / "pictures" / name)
    assert torch.equal(read_mask(DATA / "pictures" / name, "alpha"), mask)
    for index, channel in enumerate(("red", "green", "blue")):
        assert torch.equal(read_mask(DATA / "pictures" / name, channel), image[..., index])


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_what_is_no_picture_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "potion.png"
    path.write_bytes(content)
    for read in (lambda: read_picture(path), lambda: read_mask(path, "red")):
        with pytest.raises(InputError, match=r"potion\.png"):
            read()


def test_batches_are_repeated_or_spread() -> None:
    three = torch.arange(3.0)
    assert repeat_to(three, 5).tolist() == [0, 1, 2, 0, 1]
    assert repeat_to(three, 2).tolist() == [0, 1]
    assert spread_to(three, 6).tolist() == [0, 0, 1, 1, 2, 2]
    assert spread_to(torch.arange(5.0), 3).tolist() == [0, 2, 4]
    assert spread_to(three, 1).tolist() == [0]


def test_a_preview_finds_the_vaes_own_colours() -> None:
    weights = torch.tensor([[0.1, 0.0, 0.0], [0.0, 0.1, 0.0], [0.0, 0.0, 0.1], [0.05, 0.05, 0.05]])

    def decode(latents: torch.Tensor) -> torch.Tensor:
        small = torch.einsum("bchw,cd->bdhw", latents, weights) + 0.5
        return torch.nn.functional.interpolate(small, scale_factor=8)

    latents = torch.zeros(2, 4, 3, 5)
    latents[0, 0, 1, 2] = 4.0
    picture = Previewer(decode, 4).picture(latents)
    assert isinstance(picture, Image.Image)
    assert picture.size == (5, 3)
    assert picture.getpixel((0, 0)) == pytest.approx((127, 127, 127), abs=1)
    assert picture.getpixel((2, 1)) == pytest.approx((229, 127, 127), abs=1)
