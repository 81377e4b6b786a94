"""Crops around a mask, and putting the repainted crop back so that nothing else changes.

IMAGE is float32 [B, H, W, C], MASK float32 [B, H, W], both in 0..1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np
import torch
import torch.nn.functional as F

from ..errors import BadInput
from . import pixel_art as _pixel_art
from .arrays import Bytes, Flags
from .cells import Colour, colours
from .lattice import Axis, Lattice
from .pictures import checked, from_bytes, to_bytes
from .repaint import inside_outline, repaint_cells
from .seam import Match, matched

MULTIPLE = 8
"""Sides of a crop are multiples of this: one latent pixel is 8 picture pixels."""

# Cells on a side of a crop, at least: with fewer, each is so large that a model draws into it.
_FEWEST_CELLS = 16


class PixelArtMode(str, Enum):
    """Whether a picture is treated as pixel art; auto: where it is, see `pixel_art.find`."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


@dataclass(frozen=True)
class Box:
    """A rectangle in picture pixels, or in cells; it may reach over the picture's edge."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, eq=False)
class Cells:
    """A picture as pixel art, and which of its cells may be repainted: bool [h, w]."""

    art: _pixel_art.PixelArt
    taken: Flags


@dataclass(frozen=True, eq=False)
class Stitch:
    """What putting the crops back needs.

    `source` has the pictures. `share` is float32 [B, H, W]: 0 keeps the source's pixel exactly, 1
    takes the repainted one. `boxes` say where the crops are from, in px, or in cells where `cells`
    has pixel art in that place. `given`, uint8 [B, height, width, 3], are the crops as they were
    handed out: what comes back unchanged changes nothing. `background` is the colour behind what is
    transparent.
    """

    source: torch.Tensor
    share: torch.Tensor
    boxes: tuple[Box, ...]
    cells: tuple[Cells | None, ...]
    given: Bytes
    background: tuple[int, int, int]


def crop(
    image: torch.Tensor,
    mask: torch.Tensor,
    width: int,
    height: int,
    *,
    context: float = 1.5,
    grow: int = 0,
    feather: int = 0,
    pixel_art: PixelArtMode = PixelArtMode.OFF,
    background: tuple[int, int, int] = (255, 255, 255),
) -> tuple[torch.Tensor, torch.Tensor, Stitch]:
    """The crops [B, height, width, 3], their masks [B, height, width], and the way back.

    Each crop is centred on its mask, `context` times as large (1 = just the mask), in the shape
    of width x height, which are rounded down to multiples of 8. Where it reaches over the
    picture's edge, the edge pixels are repeated. The crop's mask is 0 or 1 and `grow` pixels
    wider than the given one, so that the model has room; what goes back stays within the given
    mask and fades over its outermost `feather` pixels. Crops have 8 bits a channel, and the
    background's colour where the picture is transparent.

    In pixel art the mask is narrowed to the cells of the picture's own grid that are wholly within
    it and nothing fades. The crop has the same whole number of pixels for each cell where one fits,
    so that it shows somewhat more than `context` says.
    Raises BadInput for a mask of another size than the picture's, an empty one, or one without a
    whole cell.
    """
    image = checked(image)
    mask = _mask_for(image, mask)
    width, height = (max(side - side % MULTIPLE, MULTIPLE) for side in (width, height))
    crops, masks, boxes, shares, cells = [], [], [], [], []
    for picture, own in zip(image, mask, strict=True):
        found = _cells(picture, own, pixel_art)
        if found is None:
            box = _box(own, width / height, context, grow)
            shown, grown = picture, _grown(own[None], grow)[0]
            shares.append(_faded(own[None], feather)[0])
        else:
            taken = torch.from_numpy(found.taken).to(image)
            around = math.ceil(grow / min(found.art.pitch))
            box = _cell_box(taken, width, height, context, around)
            shown, grown = from_bytes(found.art.true).to(image), _grown(taken[None], around)[0]
            shares.append(torch.from_numpy(found.art.spread(found.taken)).to(image))
        exact = found is not None
        crops.append(_resized(_cut(_opaque(shown, background), box), width, height, exact=exact))
        masks.append(_resized(_cut(grown[None], box), width, height, exact=exact)[:, 0])
        boxes.append(box)
        cells.append(found)
    given = to_bytes(torch.cat(crops).movedim(1, -1))
    return (
        from_bytes(given).to(image.device),
        (torch.cat(masks) >= 0.5).float(),
        Stitch(image, torch.stack(shares), tuple(boxes), tuple(cells), given, background),
    )


def stitch(
    way_back: Stitch,
    image: torch.Tensor,
    *,
    keep_outline: bool = False,
    new_colours: int = 0,
    match: Match = Match.OFF,
) -> torch.Tensor:
    """The source pictures with the repainted crops put back: [N, H, W, C] for N crops.

    N may be a multiple of the sources (several tries of each batch); crop i then belongs to
    source i modulo their number. Every value outside the mask is the source's own, and so is every
    one within for which the crop comes back as it was given, to 8 bits a channel.

    Pixel art gets one colour a cell, of its own palette and up to `new_colours` more; with
    `keep_outline` the sprite's outline and what is outside of it stay. Other pictures have the
    painted colours brought to those around the mask as `match` says.
    Raises BadInput when the numbers or sizes do not match.
    """
    image = checked(image)
    count = len(way_back.boxes)
    if image.shape[0] % count:
        raise BadInput(
            f"{image.shape[0]} repainted pictures cannot be put back into {count}: give as many "
            "as the crop node gave, or a multiple."
        )
    results = []
    for place, one in enumerate(image):
        index = place % count
        cells = way_back.cells[index]
        if cells is None:
            results.append(_put_back(way_back, index, one, match))
        else:
            results.append(_put_cells_back(way_back, index, cells, one, keep_outline, new_colours))
    return torch.stack(results)


# ------------------------------------------------------------------------- other pictures


def _put_back(way_back: Stitch, index: int, crop_image: torch.Tensor, match: Match) -> torch.Tensor:
    source, share, box = way_back.source[index], way_back.share[index], way_back.boxes[index]
    rows, columns, within = _place(box, source.shape[0], source.shape[1])
    painted = _resized(crop_image.to(source)[..., :3].movedim(-1, 0)[None], box.width, box.height)
    changed = _changed(way_back, index, crop_image, box).to(source.device)[within]
    result = source.clone()
    old, part = source[rows, columns, :3], share[rows, columns, None]
    part = part * changed[..., None]
    new = painted[0].movedim(0, -1)[within]
    if match is not Match.OFF:
        new = _matched(old, new, share[rows, columns] > 0, match)
    mixed = old + (new - old) * part
    # Not left to arithmetic: where nothing is taken, the source's value itself stays.
    result[rows, columns, :3] = torch.where(part > 0, mixed, old)
    if source.shape[-1] == 4:  # what was painted can be seen
        result[rows, columns, 3:] = torch.maximum(source[rows, columns, 3:], part)
    return result


def _matched(
    old: torch.Tensor, new: torch.Tensor, inside: torch.Tensor, match: Match
) -> torch.Tensor:
    """The new colours brought to the old ones around the mask, in 0..1."""
    wide = [one.cpu().double().numpy() for one in (old, new)]
    shifted = matched(wide[0], wide[1], inside.cpu().numpy(), match)
    return torch.from_numpy(shifted).to(old).clamp(0.0, 1.0)


def _changed(way_back: Stitch, index: int, crop_image: torch.Tensor, box: Box) -> torch.Tensor:
    """Where the crop came back otherwise than it was given, over the box: bool [height, width].

    A pixel of the box is changed where any pixel of the crop that is (partly) in it is. A crop of
    another size than was given counts as changed everywhere.
    """
    given, came = way_back.given[index], to_bytes(crop_image[..., :3])
    if given.shape != came.shape:
        return torch.ones(box.height, box.width, dtype=torch.bool)
    changed = torch.from_numpy((given != came).any(axis=-1)).float()[None, None]
    covered = F.adaptive_max_pool2d(changed, (box.height, box.width))
    return covered[0, 0] > 0


def _place(box: Box, height: int, width: int) -> tuple[slice, slice, tuple[slice, slice]]:
    """The rows and columns of the picture that the box covers, and those of the box itself."""
    rows = slice(max(box.top, 0), min(box.top + box.height, height))
    columns = slice(max(box.left, 0), min(box.left + box.width, width))
    within = (
        slice(rows.start - box.top, rows.stop - box.top),
        slice(columns.start - box.left, columns.stop - box.left),
    )
    return rows, columns, within


# ------------------------------------------------------------------------------ pixel art


def _cells(picture: torch.Tensor, mask: torch.Tensor, pixel_art: PixelArtMode) -> Cells | None:
    """The picture as pixel art with the cells that are wholly masked; None where it is none."""
    if pixel_art is PixelArtMode.OFF:
        return None
    known = to_bytes(picture)
    art = _pixel_art.find(known) if pixel_art is PixelArtMode.AUTO else _pixel_art.read(known)
    if art is None:
        return None
    taken = art.whole(mask.cpu().numpy() >= 0.5)
    if not taken.any():
        across, down = art.pitch
        raise BadInput(
            f"The mask covers no whole true pixel of the picture, which are {across:g}x{down:g} "
            "pixels large: paint over whole ones, or set pixel_art to off."
        )
    return Cells(art, taken)


def _put_cells_back(
    way_back: Stitch,
    index: int,
    cells: Cells,
    crop_image: torch.Tensor,
    keep_outline: bool,
    new_colours: int,
) -> torch.Tensor:
    source, box, art = way_back.source[index], way_back.boxes[index], cells.art
    height, width = art.true.shape[:2]
    rows, columns, within = _place(box, height, width)
    painted = np.zeros((height, width, 3), dtype=np.uint8)
    painted[rows, columns] = _cell_colours(crop_image, box)[within]
    changed = np.zeros((height, width), dtype=bool)
    changed[rows, columns] = _changed(way_back, index, crop_image, box)[within].numpy()
    taken = cells.taken & changed
    if keep_outline:
        taken = taken & inside_outline(art.true, cells.taken)
    new = repaint_cells(
        art, painted, taken, background=way_back.background, new_colours=new_colours
    )
    part = torch.from_numpy(art.spread(taken)).to(source.device)
    return torch.where(part[..., None], from_bytes(art.spread(new)).to(source), source)


def _cell_colours(crop_image: torch.Tensor, box: Box) -> Bytes:
    """One colour for each cell of the box: uint8 [height, width, 3]."""
    came = crop_image[..., :3]
    across, down = came.shape[1] / box.width, came.shape[0] / box.height
    if across == down and across.is_integer():
        axes = [Axis(across, np.arange(count + 1.0) * across) for count in (box.width, box.height)]
        return colours(to_bytes(came), Lattice(axes[0], axes[1], 0.0, False, 1.0), Colour.MEDIAN)
    planes = _resized(came.movedim(-1, 0)[None], box.width, box.height)
    return to_bytes(planes[0].movedim(0, -1))


def _cell_box(mask: torch.Tensor, width: int, height: int, context: float, around: int) -> Box:
    """The box in cells for a mask of cells.

    Its sides are the crop's by a whole number, the largest with which `context` is still shown, so
    that every cell is as many of the crop's pixels; where none is, as for other pictures.
    """
    tight = _box(mask, width / height, context, around)
    shared = math.gcd(width, height)
    fitting = [
        scale
        for scale in range(1, shared + 1)
        if shared % scale == 0
        and width // scale >= max(tight.width, _FEWEST_CELLS)
        and height // scale >= max(tight.height, _FEWEST_CELLS)
    ]
    if not fitting:
        return tight
    wide, tall = width // fitting[-1], height // fitting[-1]
    middle = (tight.left + tight.width / 2, tight.top + tight.height / 2)
    return Box(
        left=_placed(middle[0], wide, mask.shape[1]),
        top=_placed(middle[1], tall, mask.shape[0]),
        width=wide,
        height=tall,
    )


def _opaque(picture: torch.Tensor, background: tuple[int, int, int]) -> torch.Tensor:
    """The picture [H, W, C] before the background: [3, H, W]."""
    planes = picture.movedim(-1, 0)
    if len(planes) == 3:
        return planes
    behind = torch.tensor(background).to(picture)[:, None, None] / 255.0
    return planes[:3] * planes[3:] + behind * (1.0 - planes[3:])


# -------------------------------------------------------------------------------- masks


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
    for number, one in enumerate(mask, 1):
        if not bool((one > 0).any()):
            which = f" of picture {number} of {len(mask)}" if len(mask) > 1 else ""
            raise BadInput(
                f"Nothing is painted on the mask{which}: paint over what is to be changed."
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


def _resized(planes: torch.Tensor, width: int, height: int, *, exact: bool = False) -> torch.Tensor:
    """[1, C, h, w] at another size, in 0..1; the very same values at the same size.

    `exact`: enlarged by whole numbers the values are repeated, and not mixed.
    """
    if planes.shape[-2:] == (height, width):
        return planes
    if exact and height % planes.shape[-2] == 0 and width % planes.shape[-1] == 0:
        down, across = height // planes.shape[-2], width // planes.shape[-1]
        return planes.repeat_interleave(down, 2).repeat_interleave(across, 3)
    resized = F.interpolate(planes, (height, width), mode="bicubic", antialias=True)
    return resized.clamp(0.0, 1.0)
