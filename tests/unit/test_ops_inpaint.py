import pytest
import torch

from comfy_nodes.errors import BadInput
from comfy_nodes.ops.inpaint import Box, crop, stitch
from comfy_nodes.ops.pictures import to_bytes


def scene(height: int = 60, width: int = 80, batch: int = 1) -> torch.Tensor:
    torch.manual_seed(0)
    return (torch.rand(batch, height, width, 3) * 255).round() / 255


def square(
    top: int, left: int, side: int, *, height: int = 60, width: int = 80, batch: int = 1
) -> torch.Tensor:
    mask = torch.zeros(batch, height, width)
    mask[:, top : top + side, left : left + side] = 1.0
    return mask


@pytest.mark.parametrize("place", [(20, 30), (0, 0), (50, 70), (0, 70)])
@pytest.mark.parametrize("grow", [0, 5])
@pytest.mark.parametrize("feather", [0, 3])
@pytest.mark.parametrize("size", [(64, 64), (32, 64)])
def test_outside_the_mask_every_value_is_the_sources(
    place: tuple[int, int], grow: int, feather: int, size: tuple[int, int]
) -> None:
    image, mask = scene(), square(*place, 10)
    cut, _, way_back = crop(image, mask, *size, grow=grow, feather=feather)
    result = stitch(way_back, 1.0 - cut)
    outside = mask[0] == 0
    assert torch.equal(result[0][outside], image[0][outside])
    assert not torch.equal(result[0][~outside], image[0][~outside])
    assert (to_bytes(result) == to_bytes(image))[0][outside.numpy()].all()


def test_the_crop_has_the_models_size_in_multiples_of_eight() -> None:
    cut, mask, _ = crop(scene(), square(20, 30, 10), 70, 60)
    assert cut.shape == (1, 56, 64, 3)
    assert mask.shape == (1, 56, 64)
    assert cut.min() >= 0.0
    assert cut.max() <= 1.0
    assert set(mask.unique().tolist()) == {0.0, 1.0}


def test_a_crop_that_is_no_number_is_not_put_back() -> None:
    cut, _, way_back = crop(scene(), square(20, 30, 10), 64, 64)
    with pytest.raises(BadInput, match="not numbers"):
        stitch(way_back, torch.full_like(cut, torch.nan))


def test_what_a_model_makes_outside_the_mask_never_shows() -> None:
    image, mask = scene(), square(20, 30, 10)
    cut, _, way_back = crop(image, mask, 64, 64)
    result = stitch(way_back, torch.full_like(cut, 1e30))
    outside = mask[0] == 0
    assert torch.equal(result[0][outside], image[0][outside])


def test_a_crop_of_the_boxes_own_size_is_exact_there_and_back() -> None:
    image, mask = scene(64, 64), square(16, 16, 32, height=64, width=64)
    cut, _, way_back = crop(image, mask, 64, 64, context=2.0)
    assert torch.equal(cut, image)
    assert torch.equal(stitch(way_back, cut), image)


def test_inside_the_mask_the_new_picture_shows() -> None:
    image, mask = scene(), square(20, 30, 12)
    cut, _, way_back = crop(image, mask, 64, 64)
    result = stitch(way_back, torch.zeros_like(cut))
    assert (result[0][mask[0] == 1] == 0).all()


def test_the_feather_rises_from_the_masks_edge_inwards() -> None:
    mask = square(20, 20, 20)
    _, _, way_back = crop(torch.zeros(1, 60, 80, 3), mask, 64, 64, feather=3)
    assert way_back.share[0, 30, 19:25].tolist() == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    # The picture's own edge is no edge of the mask.
    _, _, at_edge = crop(scene(), square(0, 0, 20), 64, 64, feather=3)
    assert at_edge.share[0, 0, 0] == 1.0


def test_the_sampled_mask_grows_and_what_goes_back_does_not() -> None:
    image = scene(64, 64)
    mask = square(24, 24, 16, height=64, width=64)
    _, cut_mask, way_back = crop(image, mask, 64, 64, context=4.0, grow=0)
    assert cut_mask.sum() == 16 * 16
    box = way_back.boxes[0]
    assert (box.width, box.height) == (64, 64)
    _, grown, _ = crop(image, mask, 64, 64, context=3.5, grow=4)
    assert grown.sum() == 24 * 24


@pytest.mark.parametrize(
    ("size", "context", "place", "box"),
    [
        # 1.5 times the mask of 10, in the shape of the crop, around its middle (35, 25)
        ((64, 64), 1.5, (20, 30), Box(28, 18, 15, 15)),
        ((32, 64), 1.5, (20, 30), Box(28, 10, 15, 30)),
        ((64, 32), 1.5, (20, 30), Box(20, 18, 30, 15)),
        # up to whole pixels, so that nothing of the mask is cut off
        ((64, 64), 1.01, (20, 30), Box(30, 20, 11, 11)),
        # moved into the picture at every edge
        ((64, 64), 2.0, (0, 0), Box(0, 0, 20, 20)),
        ((64, 64), 2.0, (50, 70), Box(60, 40, 20, 20)),
    ],
)
def test_the_box_is_around_the_mask_in_the_shape_of_the_crop(
    size: tuple[int, int], context: float, place: tuple[int, int], box: Box
) -> None:
    _, _, way_back = crop(scene(), square(*place, 10), *size, context=context)
    assert way_back.boxes == (box,)


def test_a_soft_mask_is_sampled_from_half_on() -> None:
    mask = torch.zeros(1, 64, 64)
    mask[0, 16:48, 16:48] = torch.tensor([0.4, 0.5, 0.6, 1.0]).repeat_interleave(8)
    _, cut_mask, way_back = crop(scene(64, 64), mask, 64, 64, context=2.0)
    assert way_back.boxes == (Box(0, 0, 64, 64),)
    assert cut_mask[0, 20, 16:48].tolist() == [0.0] * 8 + [1.0] * 24


def test_a_box_larger_than_the_picture_repeats_its_edge() -> None:
    image = scene(16, 16)
    cut, _, way_back = crop(image, torch.ones(1, 16, 16), 64, 64, context=4.0)
    assert way_back.boxes[0].width == 64
    assert torch.equal(cut[0, 0, 0], image[0, 0, 0])
    assert torch.equal(stitch(way_back, cut), image)


def test_one_mask_serves_a_batch_and_several_tries_go_back() -> None:
    image = scene(batch=2)
    cut, mask, way_back = crop(image, square(20, 30, 10), 64, 64)
    assert cut.shape[0] == mask.shape[0] == 2
    tries = torch.cat([cut, torch.zeros_like(cut)])
    result = stitch(way_back, tries)
    assert result.shape == (4, 60, 80, 3)
    # Crop i belongs to source i modulo their number.
    for index in range(4):
        assert torch.equal(result[index][0, 0], image[index % 2][0, 0])
    with pytest.raises(BadInput, match="3 repainted pictures"):
        stitch(way_back, tries[:3])


def test_half_pictures_come_back_whole() -> None:
    image = scene().half()
    cut, _, way_back = crop(image, square(20, 30, 10).half(), 64, 64)
    assert cut.dtype is torch.float32
    result = stitch(way_back, cut.half())
    assert result.dtype is torch.float32
    assert torch.equal(result[0, 0], image[0, 0].float())


def test_what_is_painted_on_a_transparent_picture_can_be_seen() -> None:
    image = torch.zeros(1, 60, 80, 4)
    mask = square(20, 30, 10)
    cut, _, way_back = crop(image, mask, 64, 64)
    result = stitch(way_back, torch.full_like(cut, 0.5))
    assert torch.equal(result[..., 3], mask)
    # What is left in the background's colour is not painted.
    assert torch.equal(stitch(way_back, torch.ones_like(cut)), image)


def test_bad_masks_are_refused_in_a_sentence() -> None:
    with pytest.raises(BadInput, match="Nothing is painted"):
        crop(scene(), torch.zeros(1, 60, 80), 64, 64)
    with pytest.raises(BadInput, match="64x64 pixels and the picture 80x60"):
        crop(scene(), torch.ones(1, 64, 64), 64, 64)
    with pytest.raises(BadInput, match="3 masks for 2 pictures"):
        crop(scene(batch=2), torch.ones(3, 60, 80), 64, 64)
