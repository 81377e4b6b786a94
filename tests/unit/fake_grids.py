"""Pictures as diffusion models draw pixel art, of true pixels that are known: grids to be found.

All of it follows from a seed. `kind` says how the true pixels were enlarged:

int         whole pixels, one pitch
offset      int, and the first and last cells are cut by the picture's edge
frac        a fractional pitch, nearest neighbour
fracaa      a fractional pitch, borders anti-aliased (area average)
degraded    int, blurred, with noise, through JPEG
aniso       frac, with a pitch of its own on each axis
drift       cells of varying width: +-10%, neighbours alike
diffusion   drift, a shade of its own in each cell, soft borders, coarse texture, JPEG
hard        diffusion, more of each
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Pixels = NDArray[np.uint8]
Random = np.random.Generator

KINDS = ("int", "offset", "frac", "fracaa", "degraded", "aniso", "drift", "diffusion", "hard")


@dataclass(frozen=True)
class Fake:
    """A picture, its true pixels, and how it was made."""

    name: str
    kind: str
    picture: Pixels  # [H, W, 3]
    truth: Pixels  # [h, w, 3]
    pitch: tuple[float, float]  # on x and y, px


def fakes(
    seed: int, per_kind: int, sprites: Sequence[Pixels] = (), kinds: Sequence[str] = KINDS
) -> Iterator[Fake]:
    """`per_kind` pictures of each kind. `sprites` are uint8 [h, w, 4]; without them all are drawn.

    With them a third shows one of them, a third several side by side, a third is drawn.
    """
    for kind in kinds:
        for index in range(per_kind):
            random = np.random.default_rng([seed, KINDS.index(kind), index])
            sources: list[Callable[[], Pixels]] = [
                lambda random=random: blob(random),
                lambda random=random: figure(random),
                lambda random=random: scene(random, [figure(random, alpha=True) for _ in range(9)]),
            ]
            if len(sprites):
                picked = [sprites[i] for i in random.integers(0, len(sprites), 9)]
                sources[1] = lambda random=random, picked=picked: framed(random, picked[0])
                sources[2] = lambda random=random, picked=picked: scene(random, picked)
            truth = sources[index % 3]()
            picture, pitch = enlarge(truth, kind, random)
            yield Fake(f"{kind}-{index}", kind, picture, truth, pitch)


# ------------------------------------------------------------------------------ true pixels


def blob(random: Random, cells: int = 0) -> Pixels:
    """A disc of 16 to 64 cells, or as many as asked for, mirrored, of few colours, on white."""
    size = cells or int(random.choice([16, 24, 32, 48, 64]))
    colours = random.integers(0, 230, (int(random.integers(3, 13)), 3))
    grain = int(random.integers(1, 4))
    half = random.integers(0, len(colours), (-(-size // grain), -(-size // (2 * grain)) + size % 2))
    half = np.kron(half, np.ones((grain, grain), int))[:size, : -(-size // 2)]
    index = np.concatenate([half, half[:, ::-1][:, size % 2 :]], axis=1)
    picture = colours[index].astype(np.uint8)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    for _ in range(3):  # else blocks of 2x2 or 3x3 would be its true pixels
        across, down = (int(n) for n in random.integers(size // 4, size // 2, 2))
        picture[down, [across, size - 1 - across]] = random.integers(0, 230, 3)
    picture[np.hypot(x, y) > size * random.uniform(0.36, 0.47)] = 255
    return picture


def figure(random: Random, *, alpha: bool = False) -> Pixels:
    """A shaded shape with a dark outline and a few details, on a plain colour or transparent."""
    height, width = (int(n) for n in random.integers(20, 44, 2))
    y, x = np.mgrid[:height, :width].astype(float)
    angle = np.arctan2(y - height / 2, x - width / 2)
    edge = sum(
        random.normal(0, 0.09) * np.cos(k * angle + random.uniform(0, 6.28)) for k in range(1, 7)
    )
    radius = np.hypot((y - height / 2) / height, (x - width / 2) / width)
    shape = radius < random.uniform(0.3, 0.4) * (1 + edge)
    base = random.integers(40, 230, 3).astype(float)
    light = 0.5 + (width / 2 - x) / width * 0.5 + (height / 2 - y) / height * 0.6
    shade = np.floor(np.clip(light, 0, 1) * 5) / 5 * 1.1 + 0.3
    picture = np.clip(base * shade[..., None], 0, 255)
    for _ in range(int(random.integers(4, 14))):
        top, left = int(random.integers(0, height - 2)), int(random.integers(0, width - 2))
        tall, wide = (int(n) for n in random.integers(1, 5, 2))
        picture[top : top + tall, left : left + wide] = random.integers(0, 256, 3)
    picture[shape & ~ndimage.binary_erosion(shape)] = base * 0.15
    full = np.concatenate([picture, np.where(shape, 255, 0)[..., None]], axis=2).astype(np.uint8)
    return full if alpha else framed(random, full)


def framed(random: Random, sprite: Pixels) -> Pixels:
    """A sprite with margins of 0 to 6 cells, cut to what is opaque, on a plain colour."""
    opaque = np.argwhere(sprite[..., 3] > 127)
    if len(opaque):
        (top, left), (bottom, right) = opaque.min(axis=0), opaque.max(axis=0) + 1
        sprite = sprite[top:bottom, left:right]
    up, down, before, after = (int(n) for n in random.integers(0, 7, 4))
    ground = _ground(random)
    shape = (sprite.shape[0] + up + down, sprite.shape[1] + before + after, 3)
    picture = np.broadcast_to(ground, shape).copy()
    _lay(picture, sprite, up, before)
    return picture


def scene(random: Random, sprites: Sequence[Pixels]) -> Pixels:
    """A crop of 40 to 96 cells of sprites side by side, on a plain colour."""
    height, width = (int(n) for n in random.integers(40, 97, 2))
    picture = np.broadcast_to(_ground(random), (height, width, 3)).copy()
    top, left = (-int(n) for n in random.integers(0, 16, 2))
    for row in range(3):
        for column in range(3):
            _lay(picture, sprites[row * 3 + column], top + 34 * row, left + 34 * column)
    return picture


def _ground(random: Random) -> Pixels:
    plain = [(255, 255, 255), (255, 0, 255), (240, 232, 220), (110, 150, 200), (0, 0, 0)]
    return np.array(plain[int(random.integers(0, len(plain)))], dtype=np.uint8)


def _lay(picture: Pixels, sprite: Pixels, top: int, left: int) -> None:
    (first, last), (begin, end) = (
        (min(max(0, at), length), min(max(0, at + size), length))
        for at, size, length in zip((top, left), sprite.shape[:2], picture.shape[:2], strict=True)
    )
    part = sprite[first - top : last - top, begin - left : end - left]
    under = picture[first:last, begin:end]
    opaque = part[..., 3] > 127
    under[opaque] = part[..., :3][opaque]


# ------------------------------------------------------------------------------ enlarging


def enlarge(truth: Pixels, kind: str, random: Random) -> tuple[Pixels, tuple[float, float]]:
    """The true pixels as a picture of a kind, and the pitch on x and y in px."""
    height, width = truth.shape[:2]
    if kind in ("int", "offset", "degraded"):
        pitch = int(random.integers(3 if kind != "offset" else 4, 17))
        picture = truth.repeat(pitch, axis=0).repeat(pitch, axis=1)
        if kind == "offset":
            up, down, before, after = (int(n) for n in random.integers(1, pitch, 4))
            picture = picture[up : picture.shape[0] - down, before : picture.shape[1] - after]
        if kind == "degraded":
            picture = ndimage.gaussian_filter(picture.astype(float), (0.7, 0.7, 0))
            picture = jpeg(_bytes(picture + random.normal(0, 4, picture.shape)), 75)
        return picture, (float(pitch), float(pitch))
    low = 5.0 if kind == "aniso" else 3.0
    across = down_ = float(random.uniform(low, 16))
    if kind == "aniso":
        down_ = across * float(random.uniform(0.88, 1.12))
    size = (round(width * across), round(height * down_))
    if kind in ("frac", "aniso"):
        rows = _borders(height, size[1], None)
        columns = _borders(width, size[0], None)
        return _fill(truth, rows, columns), (across, down_)
    if kind == "fracaa":
        return _area(truth, size), (across, down_)
    rows, columns = _borders(height, size[1], random), _borders(width, size[0], random)
    if kind == "drift":
        return _fill(truth, rows, columns), (across, down_)
    much = 1.0 if kind == "diffusion" else 1.8
    shades = truth + random.normal(0, 4 * much, truth.shape)
    picture = _fill(_bytes(shades), rows, columns).astype(float)
    picture = ndimage.gaussian_filter(picture, (0.45 * much, 0.45 * much, 0))
    coarse = random.normal(0, 1, picture.shape)
    coarse = ndimage.gaussian_filter(coarse, (2, 2, 0))
    picture += coarse / coarse.std() * 3 * much + random.normal(0, 1.5 * much, picture.shape)
    return jpeg(_bytes(picture), 85 if kind == "diffusion" else 65), (across, down_)


def jpeg(picture: Pixels, quality: int) -> Pixels:
    """The picture after a journey as JPEG."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def _bytes(picture: NDArray[np.float64]) -> Pixels:
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _borders(cells: int, length: int, random: Random | None) -> NDArray[np.int64]:
    """The borders of cells over a length, 0 and `length` among them; all alike without `random`."""
    widths = np.ones(cells)
    if random is not None:
        noise = ndimage.gaussian_filter1d(random.normal(0, 1, cells), 1.0, mode="nearest")
        widths += 0.1 * noise / max(noise.std(), 1e-9)
    borders = np.concatenate([[0.0], widths.cumsum()])
    return np.rint(borders / borders[-1] * length).astype(np.int64)


def _fill(truth: Pixels, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Pixels:
    return truth.repeat(np.diff(rows), axis=0).repeat(np.diff(columns), axis=1)


def _area(truth: Pixels, size: tuple[int, int]) -> Pixels:
    """Each pixel the average of what lies under it: borders between pixels are anti-aliased."""

    def weights(cells: int, length: int) -> NDArray[np.float64]:
        edges = np.arange(length + 1) * (cells / length)
        low = np.maximum(edges[:-1, None], np.arange(cells)[None])
        high = np.minimum(edges[1:, None], np.arange(1, cells + 1)[None])
        return np.clip(high - low, 0, None) * (length / cells)

    rows, columns = weights(truth.shape[0], size[1]), weights(truth.shape[1], size[0])
    return _bytes(np.einsum("ik,klc,jl->ijc", rows, truth.astype(float), columns, optimize=True))
