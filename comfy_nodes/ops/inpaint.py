"""Crops around a mask, and putting the repainted crop back so that nothing else changes.

IMAGE is float32 [B, H, W, C], MASK float32 [B, H, W], both in 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ..errors import BadInput
from .pictures import checked

MULTIPLE = 8
"""Sides of a crop are multiples of this: one latent pixel is 8 picture pixels."""


@dataclass(frozen=True)
class Box:
    """A rectangle in picture pixels; it may reach over the picture's edge."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Stitch:
    """What putting the crops back needs: the pictures, how much to take where, and the boxes.

    `share` is float32 [B, H, W]: 0 keeps the source's pixel exactly, 1 takes the repainted one.
    """

    source: torch.Tensor
    share: torch.Tensor
    boxes: tuple[Box, ...]


def crop(
    image: torch.Tensor,
    mask: torch.Tensor,
    width: int,
    height: int,
    *,
    context: float = 1.5,
    grow: int = 0,
    feather: int = 0,
) -> tuple[torch.Tensor, torch.Tensor, Stitch]:
    """The crops [B, height, width, C], their masks [B, height, width], and the way back.

    Each crop is centred on its mask, `context` times as large (1 = just the mask), in the shape
    of width x height, which are rounded down to multiples of 8. Where it reaches over the
    picture's edge, the edge pixels are repeated. The crop's mask is 0 or 1 and `grow` pixels
    wider than the given one, so that the model has room; what goes back stays within the given
    mask and fades over its outermost `feather` pixels.
    Raises BadInput for a mask of another size than the picture's, or an empty one.
    """
    image = checked(image)
    mask = _mask_for(image, mask)
    width, height = (max(side - side % MULTIPLE, MULTIPLE) for side in (width, height))
    boxes = tuple(_box(one, width / height, context, grow) for one in mask)
    grown = _grown(mask, grow)
    pictures = [_cut(one.movedim(-1, 0), box) for one, box in zip(image, boxes, strict=True)]
    masks = [_cut(one[None], box) for one, box in zip(grown, boxes, strict=True)]
    cropped = torch.cat([_resized(one, width, height) for one in pictures]).movedim(1, -1)
    cropped_mask = torch.cat([_resized(one, width, height) for one in masks])[:, 0]
    return (
        cropped.contiguous(),
        (cropped_mask >= 0.5).float(),
        Stitch(source=image, share=_faded(mask, feather), boxes=boxes),
    )


def stitch(way_back: Stitch, image: torch.Tensor) -> torch.Tensor:
    """The source pictures with the repainted crops put back: [N, H, W, C] for N crops.

    N may be a multiple of the sources (several tries of each batch); crop i then belongs to
    source i modulo their number. Every value outside the mask is the source's own.
    Raises BadInput when the numbers do not match.
    """
    image = checked(image)
    count = len(way_back.boxes)
    if image.shape[0] % count:
        raise BadInput(
            f"{image.shape[0]} repainted pictures cannot be put back into {count}: give as many "
            "as the crop node gave, or a multiple."
        )
    return torch.stack([_put_back(way_back, i % count, one) for i, one in enumerate(image)])


def _put_back(way_back: Stitch, index: int, crop_image: torch.Tensor) -> torch.Tensor:
    source, share, box = way_back.source[index], way_back.share[index], way_back.boxes[index]
    channels = source.shape[-1]
    painted = _resized(crop_image.to(source)[..., :3].movedim(-1, 0)[None], box.width, box.height)
    result = source.clone()
    rows = slice(max(box.top, 0), min(box.top + box.height, source.shape[0]))
    columns = slice(max(box.left, 0), min(box.left + box.width, source.shape[1]))
    new = painted[0].movedim(0, -1)
    new = new[
        rows.start - box.top : rows.stop - box.top,
        columns.start - box.left : columns.stop - box.left,
    ]
    old, part = source[rows, columns, :3], share[rows, columns, None]
    mixed = old + (new - old) * part
    # Not left to arithmetic: where nothing is taken, the source's value itself stays.
    result[rows, columns, :3] = torch.where(part > 0, mixed, old)
    if channels == 4:  # what was painted can be seen
        opacity = torch.maximum(source[rows, columns, 3:], part)
        result[rows, columns, 3:] = opacity
    return result


def _mask_for(image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mask as [B, H, W] for the image's batch."""
    if mask.ndim == 2:
        mask = mask[None]
    if mask.shape[-2:] != image.shape[1:3]:
        raise BadInput(
            f"The mask is {mask.shape[-1]}x{mask.shape[-2]} pixels and the picture "
            f"{image.shape[2]}x{image.shape[1]}: they must be of one size."
        )
    if mask.shape[0] not in (1, image.shape[0]):
        raise BadInput(
            f"There are {mask.shape[0]} masks for {image.shape[0]} pictures: give one for all, "
            "or one for each."
        )
    mask = mask.to(image.device).float().clamp(0.0, 1.0).expand(image.shape[0], -1, -1)
    for index, one in enumerate(mask):
        if not bool((one > 0).any()):
            raise BadInput(
                f"The mask of picture {index} is empty: paint over what is to be changed."
            )
    return mask


def _box(mask: torch.Tensor, shape: float, context: float, grow: int) -> Box:
    """The box around a mask's pixels, widened, with `shape` as its width by its height."""
    rows = torch.nonzero(mask.amax(dim=1) > 0)[:, 0]
    columns = torch.nonzero(mask.amax(dim=0) > 0)[:, 0]
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    left, right = int(columns[0]), int(columns[-1]) + 1
    width = (right - left) * context + 2 * grow
    height = (bottom - top) * context + 2 * grow
    width, height = max(width, height * shape), max(height, width / shape)
    wide, tall = _rounded(width, shape >= 1), _rounded(height, shape <= 1)
    return Box(
        left=_placed((left + right) / 2, wide, mask.shape[1]),
        top=_placed((top + bottom) / 2, tall, mask.shape[0]),
        width=wide,
        height=tall,
    )


def _rounded(side: float, up: bool) -> int:
    """Whole pixels, at least one; the longer side is rounded up so that the mask stays inside."""
    return max(1, int(-(-side // 1)) if up else round(side))


def _placed(center: float, side: int, limit: int) -> int:
    """Where a box of that side starts: around the centre, moved into the picture if it fits."""
    start = round(center - side / 2)
    if side >= limit:
        return start
    return min(max(start, 0), limit - side)


def _grown(mask: torch.Tensor, pixels: int) -> torch.Tensor:
    """The mask widened by a square of `pixels` on every side: [B, H, W]."""
    if pixels == 0:
        return mask
    return F.max_pool2d(mask[:, None], 2 * pixels + 1, stride=1, padding=pixels)[:, 0]


def _faded(mask: torch.Tensor, pixels: int) -> torch.Tensor:
    """The mask falling off linearly over its outermost pixels, never reaching outside: [B, H, W].

    A pixel d steps inside gets d / (pixels + 1) of its value, up to all of it. The picture's own
    edge is no edge of the mask.
    """
    total, layer = mask.clone(), mask
    for _ in range(pixels):
        layer = -F.max_pool2d(-layer[:, None], 3, stride=1, padding=1)[:, 0]
        total += layer
    return total / (pixels + 1)


def _cut(planes: torch.Tensor, box: Box) -> torch.Tensor:
    """The box out of [C, H, W] as [1, C, h, w]; outside the picture its edge is repeated."""
    rows = torch.arange(box.top, box.top + box.height, device=planes.device)
    columns = torch.arange(box.left, box.left + box.width, device=planes.device)
    rows, columns = rows.clamp(0, planes.shape[1] - 1), columns.clamp(0, planes.shape[2] - 1)
    return planes[:, rows][:, :, columns][None]


def _resized(planes: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """[1, C, h, w] at another size, in 0..1; the very same values at the same size."""
    if planes.shape[-2:] == (height, width):
        return planes
    resized = F.interpolate(planes, (height, width), mode="bicubic", antialias=True)
    return resized.clamp(0.0, 1.0)
