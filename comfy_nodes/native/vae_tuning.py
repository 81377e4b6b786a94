"""The settings of one VAE object of ComfyUI's; other VAEs stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import comfy.sd
import torch
from torch import nn

from ..errors import OutOfMemory
from ..kernels import cpu_kernels
from ..ops.dtypes import DTYPES
from ..ops.memory_format import has_memory_format, set_memory_format
from ..placing import PartPlacement
from ..settings import LoaderSettings, Toggle, VaeTiling
from .compat import is_dynamic
from .loaded_weights import count_dtypes, set_dtypes
from .patching import plain_patcher_like

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

    def decode_tiled(
        self,
        samples: torch.Tensor,
        tile_x: int | None = None,
        tile_y: int | None = None,
        overlap: int | None = None,
        **more: Any,
    ) -> torch.Tensor:
        """The host's, with this VAE's tiles where no others are asked for, and memory for one."""
        tiles = self._tiles(_PIXELS, tile_x, tile_y, overlap)
        with self._reserving("memory_used_decode", tiles):
            return super().decode_tiled(samples, **tiles, **more)

    def encode_tiled(
        self,
        pixel_samples: torch.Tensor,
        tile_x: int | None = None,
        tile_y: int | None = None,
        overlap: int | None = None,
        **more: Any,
    ) -> torch.Tensor:
        """The host's, with this VAE's tiles where no others are asked for, and memory for one."""
        tiles = self._tiles(1, tile_x, tile_y, overlap)
        with self._reserving("memory_used_encode", tiles):
            return super().encode_tiled(pixel_samples, **tiles, **more)

    def decode_tiled_(
        self,
        samples: torch.Tensor,
        tile_x: int | None = None,
        tile_y: int | None = None,
        overlap: int | None = None,
    ) -> torch.Tensor:
        """The host's tiling, with this VAE's tiles where no others are asked for."""
        self._refuse_tiles()
        with cpu_kernels(self.spriteworks.cpu_kernels):
            return super().decode_tiled_(samples, **self._tiles(_PIXELS, tile_x, tile_y, overlap))

    def encode_tiled_(
        self,
        pixel_samples: torch.Tensor,
        tile_x: int | None = None,
        tile_y: int | None = None,
        overlap: int | None = None,
    ) -> torch.Tensor:
        """The host's tiling, with this VAE's tiles where no others are asked for."""
        self._refuse_tiles()
        with cpu_kernels(self.spriteworks.cpu_kernels):
            return super().encode_tiled_(pixel_samples, **self._tiles(1, tile_x, tile_y, overlap))

    @contextmanager
    def _reserving(self, name: str, tiles: Mapping[str, int]) -> Iterator[None]:
        """While it works: `name` estimates the memory of one tile, and not of the whole picture.

        Without it other models leave the card for memory that nobody uses. The host's own estimate
        knows of tiles since 0.33, and only for decoding.
        """
        whole = getattr(self, name)

        def of_one_tile(shape: Any, dtype: torch.dtype) -> Any:
            *rest, high, wide = shape
            bounded = (min(high, tiles["tile_y"]), min(wide, tiles["tile_x"]))
            return whole((*rest, *bounded), dtype)

        setattr(self, name, of_one_tile)
        try:
            yield
        finally:
            setattr(self, name, whole)

    def _tiles(
        self, scale: int, tile_x: int | None, tile_y: int | None, overlap: int | None
    ) -> dict[str, int]:
        """The host's arguments: these tiles, and this VAE's own where none are asked for."""
        tile, shared = self.spriteworks.vae_tile // scale, self.spriteworks.vae_overlap // scale
        return {
            "tile_x": tile_x or tile,
            "tile_y": tile_y or tile,
            "overlap": shared if overlap is None else overlap,
        }

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
    """Makes this one VAE object work as the (resolved) settings say; its weights stay as they are.

    `store_vae` comes before where they shall not.
    """
    vae.__class__ = TunedVAE
    vae.spriteworks = settings


def store_vae(vae: Any, placement: PartPlacement) -> None:
    """Stores and orders the weights of a network of this VAE's own as its placement says.

    In dynamic memory they stay in their file's format, and are cast while they are used.
    """
    network, computed = vae.first_stage_model, DTYPES[placement.computed]
    if placement.in_dynamic_memory:
        set_dtypes(network, computed=computed, stored=None)
    else:
        if is_dynamic(vae.patcher):
            vae.patcher = plain_patcher_like(vae.patcher, network)
        store_network(network, placement)
    vae.vae_dtype = computed
    vae.patcher.size = 0  # to be counted again
    vae.size = None  # the VAE's own count, in newer versions


def store_network(network: nn.Module, placement: PartPlacement) -> None:
    """Stores and orders the weights of a VAE's network that nothing else uses."""
    set_dtypes(network, computed=DTYPES[placement.computed], stored=DTYPES[placement.dtype])
    set_memory_format(network, placement.memory_format)


def vae_fits(vae: Any, placement: PartPlacement) -> bool:
    """Whether its weights have the number format and order already."""
    return (
        vae.vae_dtype is DTYPES[placement.computed]
        and set(count_dtypes(vae.first_stage_model)) == {DTYPES[placement.dtype]}
        and has_memory_format(vae.first_stage_model, placement.memory_format)
    )
