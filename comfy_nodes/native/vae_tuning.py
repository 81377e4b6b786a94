"""The settings of one VAE object of ComfyUI's; other VAEs stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import comfy.model_patcher
import comfy.sd
import torch

from ..errors import OutOfMemory
from ..kernels import cpu_kernels
from ..ops.memory_format import has_memory_format, set_memory_format
from ..settings import LoaderSettings, Toggle, VaePrecision, VaeTiling
from .compat import is_dynamic

DTYPES = {
    VaePrecision.FP32: torch.float32,
    VaePrecision.FP16: torch.float16,
    VaePrecision.BF16: torch.bfloat16,
}
_PIXELS = 8  # of a picture's side for one of the latent's


class TunedVAE(comfy.sd.VAE):
    """ComfyUI's VAE with tiling, size of tiles and slicing of its own.

    Nodes that ask for tiles of some size still get those.
    """

    spriteworks: LoaderSettings
    _whole = False

    def decode(self, samples_in: torch.Tensor, vae_options: Any = None) -> torch.Tensor:
        """[B, 4, h, w] latents to [B, 8h, 8w, 3] pictures. Raises OutOfMemory."""

        def work(samples: torch.Tensor) -> torch.Tensor:
            if self._needs_tiles(samples.shape[-2:], _PIXELS):
                return self.decode_tiled(samples)
            with self._in_one_piece():
                return super(TunedVAE, self).decode(samples, vae_options=vae_options or {})

        return self._by_slice(samples_in, work)

    def encode(self, pixel_samples: torch.Tensor) -> torch.Tensor:
        """[B, H, W, 3] pictures to [B, 4, H / 8, W / 8] latents. Raises OutOfMemory."""

        def work(pixels: torch.Tensor) -> torch.Tensor:
            if self._needs_tiles(pixels.shape[-3:-1], 1):
                return self.encode_tiled(pixels)
            with self._in_one_piece():
                return super(TunedVAE, self).encode(pixels)

        return self._by_slice(pixel_samples, work)

    def decode_tiled_(
        self,
        samples: torch.Tensor,
        tile_x: int | None = None,
        tile_y: int | None = None,
        overlap: int | None = None,
    ) -> torch.Tensor:
        """The host's tiling, with this VAE's tiles where no others are asked for."""
        self._refuse_tiles()
        tile, shared = self._tile(_PIXELS)
        with cpu_kernels(self.spriteworks.cpu_kernels):
            return super().decode_tiled_(
                samples, tile_x or tile, tile_y or tile, shared if overlap is None else overlap
            )

    def encode_tiled_(
        self,
        pixel_samples: torch.Tensor,
        tile_x: int | None = None,
        tile_y: int | None = None,
        overlap: int | None = None,
    ) -> torch.Tensor:
        """The host's tiling, with this VAE's tiles where no others are asked for."""
        self._refuse_tiles()
        tile, shared = self._tile(1)
        with cpu_kernels(self.spriteworks.cpu_kernels):
            return super().encode_tiled_(
                pixel_samples,
                tile_x or tile,
                tile_y or tile,
                shared if overlap is None else overlap,
            )

    def _tile(self, scale: int) -> tuple[int, int]:
        return self.spriteworks.vae_tile // scale, self.spriteworks.vae_overlap // scale

    def _needs_tiles(self, size: Any, scale: int) -> bool:
        """Whether it was told to use tiles, and one tile is not the whole picture."""
        wanted = self.spriteworks.vae_tiling is VaeTiling.ON
        return wanted and max(size) * scale > self.spriteworks.vae_tile

    def _by_slice(
        self, batch: torch.Tensor, work: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        if self.spriteworks.vae_slicing is not Toggle.ON or len(batch) < 2:
            return work(batch)
        return torch.cat([work(one) for one in batch.split(1)])

    @contextmanager
    def _in_one_piece(self) -> Iterator[None]:
        """While it works so: the host's own change to tiles is refused where tiling is off."""
        self._whole = self.spriteworks.vae_tiling is VaeTiling.OFF
        try:
            with cpu_kernels(self.spriteworks.cpu_kernels):
                yield
        finally:
            self._whole = False

    def _refuse_tiles(self) -> None:
        if self._whole:
            raise OutOfMemory(
                "There is not enough memory for the VAE to work on the whole picture, and "
                "vae_tiling is off: set it to auto or on, or make the picture smaller."
            )


def set_vae(vae: Any, settings: LoaderSettings) -> None:
    """Makes this one VAE object work as the (resolved) settings say."""
    vae.__class__ = TunedVAE
    vae.spriteworks = settings
    network = vae.first_stage_model
    if is_dynamic(vae.patcher):
        vae.patcher = comfy.model_patcher.ModelPatcher(
            network,
            load_device=vae.patcher.load_device,
            offload_device=vae.patcher.offload_device,
        )
    dtype = DTYPES.get(settings.vae_precision, vae.vae_dtype)
    if not vae_fits(vae, settings):
        network.to(dtype)
        set_memory_format(network, settings.memory_format)
        vae.vae_dtype = dtype
        vae.patcher.size = 0  # to be counted again


def vae_fits(vae: Any, settings: LoaderSettings) -> bool:
    """Whether its weights have the number format and order already."""
    dtype = DTYPES.get(settings.vae_precision, vae.vae_dtype)
    right = vae.vae_dtype is dtype
    return right and has_memory_format(vae.first_stage_model, settings.memory_format)
