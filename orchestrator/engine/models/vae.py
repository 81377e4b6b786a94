"""Pictures to latents and back, as ComfyUI's VAE object does it.

Pictures are float32 [B, H, W, C] in 0..1, latents float32 [B, 4, H / 8, W / 8] in the VAE's own
scale; both on the CPU.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product

import torch

from comfy_nodes.errors import OutOfMemory
from comfy_nodes.kernels import cpu_kernels
from comfy_nodes.settings import Toggle, VaeTiling

from .. import room
from ..handles.handles import LATENT_FACTOR, Part, Vae
from ..stopping import check_interrupted

_log = logging.getLogger(__name__)

# Pixels that go through the network at once on a CPU: a batch of large pictures goes one by one,
# which takes no longer there and needs no more memory than one does.
_PIXELS_AT_ONCE = 1024 * 1024
# Numbers that are held at the peak for each pixel of the picture, by a VAE that is 128 channels
# wide at the picture's size as Stable Diffusion's is: 1050 and 640 measured in fp32 on a CPU.
_DECODE_VALUES, _ENCODE_VALUES, _WIDTH = 1100, 650, 128
# Of the free memory, what a step may be expected to need.
_SHARE = 0.9

Convert = Callable[[torch.Tensor], torch.Tensor]


def decode(vae: Vae, latents: torch.Tensor) -> torch.Tensor:
    """Latents [B, 4, h, w] to pictures [B, 8h, 8w, 3]. Raises OutOfMemory."""
    height, width = (side * LATENT_FACTOR for side in latents.shape[-2:])
    pixels = height * width
    _check_room(len(latents), width, height, 3)
    need = _need(vae.part, pixels, _DECODE_VALUES)
    return _whole_or_tiled(
        vae,
        need,
        lambda: _whole(vae, latents, _decoder, pixels, need).movedim(1, -1),
        lambda: decode_tiled(vae, latents, *_tile(vae, LATENT_FACTOR)),
    )


def _check_room(batch: int, width: int, height: int, channels: float) -> None:
    """Raises OutOfMemory where not even the results fit, of which there are two for a moment."""
    need = room.of_tensors(batch, height, width, copies=2 * channels)
    room.check(f"{batch:,} pictures of {width} x {height}", need)


def _whole_or_tiled(
    vae: Vae, need: float, whole: Callable[[], torch.Tensor], tiled: Callable[[], torch.Tensor]
) -> torch.Tensor:
    """One of the two, as the VAE's tiling says; `need` is what one whole picture takes, in bytes.

    Raises OutOfMemory where tiles would help and are off.
    """
    tiling = vae.settings.vae_tiling
    if tiling is VaeTiling.ON:
        return tiled()
    if tiling is VaeTiling.AUTO and need > _SHARE * room.free(vae.part.device):
        _log.warning("the picture is worked on in tiles: whole, it would need %d MiB", need / 2**20)
        return tiled()
    if vae.part.device.type != "cuda":
        # An accelerator says when it is full; a system ends the process.
        room.check(
            "whole pictures, with vae_tiling off,",
            _SHARE * need,
            lambda: room.free(vae.part.device),
        )
    try:
        return whole()
    except torch.cuda.OutOfMemoryError as error:
        if tiling is VaeTiling.OFF:
            raise OutOfMemory(
                "There is not enough memory for the VAE to work on the whole picture, and "
                "vae_tiling is off: set it to auto or on, or make the picture smaller."
            ) from error
    _log.warning("out of memory: the picture is worked on again in tiles")
    return tiled()


def _need(part: Part, pixels: int, values: int) -> float:
    """Bytes at the peak for a picture of that many pixels, beside the weights."""
    width = part.module.config.block_out_channels[0]
    return pixels * values * part.dtype.itemsize * width / _WIDTH


def decode_tiled(vae: Vae, latents: torch.Tensor, tile: int, overlap: int) -> torch.Tensor:
    """As `decode`, in tiles of about `tile` x `tile` latent cells: the mean of three tilings.

    The three differ in the tiles' shape, so that no seam of one meets a seam of another.
    """
    height, width = (side * LATENT_FACTOR for side in latents.shape[-2:])
    # three tilings, and their mean
    _check_room(2 * len(latents), width, height, 3)
    shapes = [(tile // 2, tile * 2), (tile * 2, tile // 2), (tile, tile)]
    with _at_work(vae):
        run = _decoder(vae.part)
        layers = [
            in_tiles(latents, run, (high, wide), overlap, LATENT_FACTOR, 3) for wide, high in shapes
        ]
    return _to_picture(sum(layers[1:], layers[0]) / 3.0).movedim(1, -1)


def _tile(vae: Vae, scale: int) -> tuple[int, int]:
    """Side and overlap of the VAE's tiles, in cells of `scale` pixels of the picture."""
    return vae.settings.vae_tile // scale, vae.settings.vae_overlap // scale


def encode(vae: Vae, pictures: torch.Tensor) -> torch.Tensor:
    """Pictures [B, H, W, 3], cropped around the middle to multiples of 8, to latents.

    Raises OutOfMemory.
    """
    cells = crop_to_cells(pictures[..., :3]).movedim(-1, 1)
    height, width = cells.shape[-2:]
    pixels = height * width
    _check_room(len(cells), width, height, 4 / LATENT_FACTOR**2)
    need = _need(vae.part, pixels, _ENCODE_VALUES)
    return _whole_or_tiled(
        vae,
        need,
        lambda: _whole(vae, cells, _encoder, pixels, need),
        lambda: _encode_tiled(vae, cells),
    )


def crop_to_cells(pictures: torch.Tensor) -> torch.Tensor:
    """The middle of [B, H, W, ...] whose height and width are multiples of 8."""
    for dim in (1, 2):
        size = pictures.shape[dim]
        rest = size % LATENT_FACTOR
        pictures = pictures.narrow(dim, rest // 2, size - rest)
    return pictures


def _encode_tiled(vae: Vae, pixels: torch.Tensor) -> torch.Tensor:
    tile, overlap = _tile(vae, 1)
    channels = int(vae.part.module.config.latent_channels)
    shapes = [(tile, tile), (tile * 2, tile // 2), (tile // 2, tile * 2)]
    with _at_work(vae):
        run = _encoder(vae.part)
        layers = [
            in_tiles(pixels, run, (high, wide), overlap, 1 / LATENT_FACTOR, channels)
            for wide, high in shapes
        ]
    return sum(layers[1:], layers[0]) / 3.0


def _whole(
    vae: Vae,
    samples: torch.Tensor,
    converter: Callable[[Part], Convert],
    pixels: int,
    need: float,
) -> torch.Tensor:
    """`converter` over the batch of pictures of `pixels` pixels, as many at once as may be."""
    with _at_work(vae):
        run = converter(vae.part)
        finish = _to_picture if converter is _decoder else _unchanged
        at_once = _at_once(vae, pixels, need)

        def converted(some: torch.Tensor) -> torch.Tensor:
            check_interrupted()
            return finish(run(some))

        return torch.cat(list(map(converted, samples.split(at_once))))


@contextmanager
def _at_work(vae: Vae) -> Iterator[None]:
    """The VAE on its device, with the kernels that it was given."""
    with vae.part.ready(), cpu_kernels(vae.settings.cpu_kernels):
        yield


def _at_once(vae: Vae, pixels: int, need: float) -> int:
    """Pictures that go through the network together."""
    if vae.settings.vae_slicing is Toggle.ON:
        return 1
    if vae.part.device.type == "cuda":
        return max(1, int(_SHARE * room.free(vae.part.device) / need))
    return max(1, _PIXELS_AT_ONCE // pixels)


def _decoder(part: Part) -> Convert:
    def run(latents: torch.Tensor) -> torch.Tensor:
        module = part.module
        return module.decode(latents.to(part.device, part.dtype)).sample.float().cpu()

    return run


def _encoder(part: Part) -> Convert:
    def run(pixels: torch.Tensor) -> torch.Tensor:
        scaled = (pixels * 2.0 - 1.0).to(part.device, part.dtype)
        # The mean, not a draw: encoding the same picture twice gives the same latent.
        return part.module.encode(scaled).latent_dist.mode().float().cpu()

    return run


def _to_picture(decoded: torch.Tensor) -> torch.Tensor:
    return ((decoded + 1.0) / 2.0).clamp(0.0, 1.0)


def _unchanged(encoded: torch.Tensor) -> torch.Tensor:
    return encoded


def in_tiles(
    samples: torch.Tensor,
    run: Convert,
    tile: tuple[int, int],
    overlap: int,
    scale: float,
    channels: int,
) -> torch.Tensor:
    """`run` over tiles (height, width), blended with weights that fall linearly at the edges."""
    height, width = (round(side * scale) for side in samples.shape[-2:])
    result = torch.empty(len(samples), channels, height, width)
    for i in range(len(samples)):
        sample = samples[i : i + 1]
        if all(side <= limit for side, limit in zip(sample.shape[-2:], tile, strict=True)):
            result[i : i + 1] = run(sample)
            continue
        total = torch.zeros(1, channels, height, width)
        weights = torch.zeros_like(total)
        for y, x in _places(sample, tile, overlap):
            check_interrupted()
            piece = run(sample[:, :, y : y + tile[0], x : x + tile[1]])
            weight = _feathered(piece, round(overlap * scale))
            top, left = round(y * scale), round(x * scale)
            window = (..., slice(top, top + piece.shape[-2]), slice(left, left + piece.shape[-1]))
            total[window] += piece * weight
            weights[window] += weight
        result[i : i + 1] = total / weights
    return result


def _places(sample: torch.Tensor, tile: tuple[int, int], overlap: int) -> Iterator[tuple[int, ...]]:
    """Top left corners of the tiles."""
    ranges = [
        range(0, side - overlap, limit - overlap) if side > limit else range(1)
        for side, limit in zip(sample.shape[-2:], tile, strict=True)
    ]
    return product(*ranges)


def _feathered(piece: torch.Tensor, feather: int) -> torch.Tensor:
    """Weights shaped as `piece`: 1 inside, falling to 1 / feather at all four edges."""
    weight = torch.ones_like(piece)
    for dim in (-2, -1):
        side = piece.shape[dim]
        if feather >= side:
            continue
        for step in range(feather):
            share = (step + 1) / feather
            weight.narrow(dim, step, 1).mul_(share)
            weight.narrow(dim, side - 1 - step, 1).mul_(share)
    return weight


def mask_for(pixels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """A mask of any size as [B, 1, H, W] of the pictures [B, H, W, C]."""
    flat = mask.reshape(-1, 1, *mask.shape[-2:])
    return torch.nn.functional.interpolate(flat, size=pixels.shape[1:3], mode="bilinear")


def grow(mask: torch.Tensor, by: int) -> torch.Tensor:
    """A mask [B, 1, H, W], rounded and grown by about `by` / 2 pixels on every side."""
    if by == 0:
        return mask
    kernel = torch.ones(1, 1, by, by)
    padding = math.ceil((by - 1) / 2)
    return torch.nn.functional.conv2d(mask.round(), kernel, padding=padding).clamp(0, 1)


def grey_out(pixels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Pictures [B, H, W, C] with middle grey where the mask [B, 1, H, W] rounds to 1."""
    keep = (1.0 - mask.round()).squeeze(1)[..., None]
    colours = (pixels[..., :3] - 0.5) * keep + 0.5
    return torch.cat([colours, pixels[..., 3:]], dim=-1)
