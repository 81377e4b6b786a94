"""A PNG is whole where every check sum in it is right."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from orchestrator.batch.png import size_of_png


def png(mode: str = "RGBA", size: tuple[int, int] = (7, 3)) -> bytes:
    stream = io.BytesIO()
    Image.effect_noise(size, 50).convert(mode).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("mode", ["RGBA", "RGB", "L", "P", "1"])
def test_a_whole_one_tells_its_size(mode: str) -> None:
    assert size_of_png(png(mode)) == (7, 3)
    assert size_of_png(png(mode) + b"what some programs append") == (7, 3)


def test_one_that_is_cut_anywhere_is_not_whole() -> None:
    whole = png()
    assert [end for end in range(len(whole)) if size_of_png(whole[:end])] == []


def test_one_with_a_wrong_bit_is_not_whole() -> None:
    whole = png()
    for at in range(len(whole)):
        assert size_of_png(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]) is None


def test_other_files_are_none() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "JPEG")
    assert size_of_png(stream.getvalue()) is None
    assert size_of_png(b"") is None
