"""Gates: measures on pictures whose answer is known."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from comfy_nodes.ops.measures.catalogue import MEASURES as OF_PIXELS
from comfy_nodes.ops.measures.measure import Needs, Of
from comfy_nodes.ops.measures.subject import Subject
from orchestrator.batch.execution.judging import read_picture
from orchestrator.batch.logic.gates import (
    MEASURES,
    JudgedPicture,
    gate,
    judge,
    measure,
    pixels_sha256,
)
from orchestrator.batch.logic.jobs import Gate
from orchestrator.errors import InputError


def picture(
    width: int = 8, height: int = 4, colour: tuple[int, ...] = (200, 0, 0, 255)
) -> JudgedPicture:
    return JudgedPicture(rgba=np.full((height, width, 4), colour, np.uint8))


def noise(seed: int = 1) -> JudgedPicture:
    rgba = np.random.default_rng(seed).integers(0, 256, (16, 16, 4), np.uint8)
    rgba[..., 3] = 255
    return JudgedPicture(rgba=rgba)


def value(name: str, of: JudgedPicture) -> float:
    (verdict,) = judge(of, [Gate(name=name)])
    return verdict.value


def test_opaque_is_the_share_of_pixels_that_are_there() -> None:
    half = picture()
    half.rgba[:, :4, 3] = 127
    half.rgba[:, 4:, 3] = 128
    assert value("opaque", half) == 0.5
    assert value("opaque", picture(colour=(9, 9, 9, 0))) == 0
    assert value("opaque", noise()) == 1


def test_colours_are_counted_where_something_is() -> None:
    some = picture()
    some.rgba[0, 0] = (0, 0, 0, 255)
    some.rgba[0, 1] = (1, 2, 3, 0)
    assert value("colours", some) == 2
    assert value("colours", picture(colour=(9, 9, 9, 0))) == 0


@pytest.mark.parametrize(
    ("shown", "blank"),
    [
        (picture(), True),
        (picture(colour=(0, 0, 0, 255)), True),
        (picture(colour=(7, 8, 9, 0)), True),
        (noise(), False),
    ],
)
def test_blank(shown: JudgedPicture, blank: bool) -> None:
    (verdict,) = judge(shown, [gate("blank")])
    assert verdict.passed is not blank


def test_a_sprite_on_nothing_is_not_blank_whatever_colour_the_nothing_hides() -> None:
    rgba = noise().rgba.copy()
    rgba[..., 3] = 0
    assert value("blank", JudgedPicture(rgba=rgba)) == 1
    rgba[4:10, 4:10] = (200, 30, 30, 255)
    (verdict,) = judge(JudgedPicture(rgba=rgba), [gate("blank")])
    assert verdict.passed
    assert verdict.value == pytest.approx(1 - 36 / 256)


def test_a_flat_picture_with_slight_noise_is_blank() -> None:
    rgba = picture(64, 64, (120, 120, 120, 255)).rgba.copy()
    rgba[..., :3] += np.random.default_rng(1).integers(0, 4, (64, 64, 3), np.uint8)
    assert value("blank", JudgedPicture(rgba=rgba)) == 1


def test_duplicate_counts_twins() -> None:
    (alone, twin) = (
        judge(JudgedPicture(rgba=noise().rgba, twins=n), [gate("duplicate")]) for n in (0, 1)
    )
    assert alone[0].passed
    assert not twin[0].passed


@given(st.floats(0, 1), st.none() | st.floats(0, 1), st.none() | st.floats(0, 1))
def test_a_verdict_is_the_value_between_the_bounds(
    share: float, low: float | None, high: float | None
) -> None:
    shown = picture(100, 1)
    shown.rgba[:, : int(share * 100), 3] = 0
    (verdict,) = judge(shown, [Gate(name="opaque", minimum=low, maximum=high)])
    inside = (low is None or low <= verdict.value) and (high is None or verdict.value <= high)
    assert verdict.passed == inside


def test_a_verdict_says_value_and_bound() -> None:
    low, high, fine = judge(
        picture(),
        [
            Gate(name="colours", minimum=2, maximum=9),
            Gate(name="opaque", maximum=0.9),
            Gate(name="opaque", minimum=0.9),
        ],
    )
    assert str(low) == "colours is 1, and must be at least 2"
    assert str(high) == "opaque is 1, and must be at most 0.9"
    assert str(fine) == "opaque is 1"
    (wide,) = judge(picture(9), [Gate(name="width", minimum=8, maximum=8)])
    assert str(wide) == "width is 9, and must be 8"


def test_the_size_is_that_of_the_pixels() -> None:
    assert (value("width", picture(8, 4)), value("height", picture(8, 4))) == (8, 4)


def test_the_gate_for_a_graph_asks_for_one() -> None:
    (lacking,) = judge(picture(), [gate("graph")])
    assert not lacking.passed
    (fine,) = judge(JudgedPicture(rgba=picture().rgba, has_graph=True), [gate("graph")])
    assert fine.passed


def test_a_value_that_is_no_number_passes_no_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.batch.logic.gates.MEASURES", MEASURES.copy())
    measure("odd", "never a number")(lambda _: float("nan"))
    (verdict,) = judge(picture(), [Gate(name="odd", minimum=0)])
    assert not verdict.passed
    assert "nan" in str(verdict)


def test_a_gate_without_bounds_has_those_of_its_measure() -> None:
    assert gate("colours") == Gate(name="colours", minimum=2)
    assert gate("colours", maximum=64) == Gate(name="colours", maximum=64)


def test_pictures_of_all_kinds_are_read_as_rgba(tmp_path: Path) -> None:
    for mode in ("RGBA", "RGB", "L", "P", "1"):
        Image.new(mode, (3, 2)).save(tmp_path / "a.png")
        assert read_picture(tmp_path / "a.png").rgba.shape == (2, 3, 4)


def test_a_file_that_is_cut_off_is_no_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(noise().rgba).save(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"a\.png is not a picture"):
        read_picture(path)


def test_equal_pixels_have_equal_hashes_whatever_else_the_file_says(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("prompt", "x")
    image = Image.fromarray(noise().rgba)
    image.save(tmp_path / "a.png")
    image.save(tmp_path / "b.png", pnginfo=info, compress_level=1)
    hashes = {pixels_sha256(read_picture(tmp_path / name)) for name in ("a.png", "b.png")}
    assert len(hashes) == 1
    # the same bytes in another shape are another picture
    turned = JudgedPicture(rgba=noise().rgba.reshape(8, 32, 4))
    assert pixels_sha256(turned) not in hashes


def test_every_measure_says_what_it_is() -> None:
    assert all(entry.about and entry.name == name for name, entry in MEASURES.items())


def sprite() -> np.ndarray:
    """A red box with a dark outline on nothing, 24x24."""
    rgba = np.zeros((24, 24, 4), np.uint8)
    rgba[2:22, 2:22] = (30, 10, 20, 255)
    rgba[3:21, 3:21] = (200, 40, 40, 255)
    return rgba


def test_measures_of_pixels_are_gates() -> None:
    """All that a name alone asks for; what needs a palette, cells or guides is none."""
    alone = {
        name
        for name, one in OF_PIXELS.items()
        if one.of is Of.PICTURE and one.needs in (Needs.NOTHING, Needs.TILE)
    }
    assert set(MEASURES) == {"graph", "duplicate", *alone}
    assert {"specks", "orphans", "alpha_binary", "fringe", "outline", "seam"} <= set(MEASURES)
    assert not {"bleed", "in_palette", "flicker"} & set(MEASURES)


@pytest.mark.parametrize("name", ["specks", "alpha_binary", "outline"])
def test_a_gate_is_its_measure(name: str) -> None:
    spoiled = sprite()
    spoiled[0, 0] = (200, 40, 40, 100) if name == "alpha_binary" else (200, 40, 40, 255)
    spoiled[2, 3:21] = (200, 40, 40, 255)
    (fine,), (bad,) = (
        judge(JudgedPicture(rgba=sprite()), [gate(name)]),
        judge(JudgedPicture(rgba=spoiled), [gate(name)]),
    )
    assert fine.passed
    assert not bad.passed
    assert bad.value == OF_PIXELS[name].function(Subject(spoiled))


def test_a_gate_that_does_not_apply_lets_pass_and_says_so() -> None:
    (verdict,) = judge(noise(), [gate("outline")])
    assert (verdict.value, verdict.passed) == (None, True)
    assert str(verdict) == "outline does not apply"


def test_gates_are_known_without_numpy() -> None:
    code = (
        "import sys; from orchestrator.batch.logic.gates import MEASURES;"
        "assert 'specks' in MEASURES;"
        "sys.exit(bool({'numpy', 'scipy', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
