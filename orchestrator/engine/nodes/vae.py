"""Core nodes between pictures and latents."""

from __future__ import annotations

import torch

from ..handles.handles import LATENT_FACTOR, Vae
from ..host import CoreNode, io
from ..models.vae import crop_to_cells, decode, decode_tiled, encode, grey_out, grow, mask_for
from ..sampling.guidance import Conditioning
from ..sampling.sampling import Latent


class VAEDecode(CoreNode):
    """Latents to pictures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="VAEDecode",
            display_name="VAE Decode",
            category="model/latent",
            description="Turns latents into pictures.",
            inputs=[
                io.Latent.Input("samples", tooltip="What to turn into pictures."),
                io.Vae.Input("vae", tooltip="The VAE that does it."),
            ],
            outputs=[io.Image.Output(tooltip="The pictures.")],
        )

    @classmethod
    def execute(cls, samples: Latent, vae: Vae) -> io.NodeOutput:
        """IMAGE."""
        return io.NodeOutput(decode(vae, samples["samples"]))


class VAEDecodeTiled(CoreNode):
    """Latents to pictures, piece by piece."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="VAEDecodeTiled",
            display_name="VAE Decode (Tiled)",
            category="model/latent",
            inputs=[
                io.Latent.Input("samples"),
                io.Vae.Input("vae"),
                io.Int.Input("tile_size", default=512, min=64, max=4096, step=32, advanced=True),
                io.Int.Input("overlap", default=64, min=0, max=4096, step=32, advanced=True),
                io.Int.Input(
                    "temporal_size",
                    default=64,
                    min=8,
                    max=4096,
                    step=4,
                    tooltip="Frames at once; has a meaning for videos only.",
                    advanced=True,
                ),
                io.Int.Input(
                    "temporal_overlap",
                    default=8,
                    min=4,
                    max=4096,
                    step=4,
                    tooltip="Frames that overlap; has a meaning for videos only.",
                    advanced=True,
                ),
            ],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(
        cls,
        samples: Latent,
        vae: Vae,
        tile_size: int,
        overlap: int = 64,
        temporal_size: int = 64,
        temporal_overlap: int = 8,
    ) -> io.NodeOutput:
        """IMAGE; an overlap of more than a quarter of the tile is cut down to that."""
        if tile_size < overlap * 4:
            overlap = tile_size // 4
        tile = tile_size // LATENT_FACTOR
        return io.NodeOutput(decode_tiled(vae, samples["samples"], tile, overlap // LATENT_FACTOR))


class VAEEncode(CoreNode):
    """Pictures to latents."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="VAEEncode",
            display_name="VAE Encode",
            category="model/latent",
            inputs=[io.Image.Input("pixels"), io.Vae.Input("vae")],
            outputs=[io.Latent.Output()],
        )

    @classmethod
    def execute(cls, pixels: torch.Tensor, vae: Vae) -> io.NodeOutput:
        """LATENT."""
        return io.NodeOutput({"samples": encode(vae, pixels)})


class VAEEncodeForInpaint(CoreNode):
    """Pictures to latents, with what is masked left out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="VAEEncodeForInpaint",
            display_name="VAE Encode (for Inpainting)",
            category="model/latent",
            inputs=[
                io.Image.Input("pixels"),
                io.Vae.Input("vae"),
                io.Mask.Input("mask"),
                io.Int.Input("grow_mask_by", default=6, min=0, max=64, step=1),
            ],
            outputs=[io.Latent.Output()],
        )

    @classmethod
    def execute(
        cls, pixels: torch.Tensor, vae: Vae, mask: torch.Tensor, grow_mask_by: int = 6
    ) -> io.NodeOutput:
        """LATENT with a noise mask that reaches a little further than the grey area."""
        cropped, fitted = _crop_both(pixels, mask)
        samples = encode(vae, grey_out(cropped, fitted))
        height, width = cropped.shape[1:3]
        grown = grow(fitted, grow_mask_by)[:, :, :height, :width].round()
        return io.NodeOutput({"samples": samples, "noise_mask": grown})


class InpaintModelConditioning(CoreNode):
    """What an inpainting model is shown beside the noise."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="InpaintModelConditioning",
            display_name="InpaintModelConditioning",
            category="model/conditioning",
            inputs=[
                io.Conditioning.Input("positive"),
                io.Conditioning.Input("negative"),
                io.Vae.Input("vae"),
                io.Image.Input("pixels"),
                io.Mask.Input("mask"),
                io.Boolean.Input(
                    "noise_mask",
                    default=True,
                    tooltip="Sample inside the mask only. Helps some models and hurts others.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(display_name="positive"),
                io.Conditioning.Output(display_name="negative"),
                io.Latent.Output(display_name="latent"),
            ],
        )

    @classmethod
    def execute(
        cls,
        positive: Conditioning,
        negative: Conditioning,
        vae: Vae,
        pixels: torch.Tensor,
        mask: torch.Tensor,
        noise_mask: bool = True,
    ) -> io.NodeOutput:
        """Both texts with the masked picture, and the whole picture as a latent."""
        cropped, fitted = _crop_both(pixels, mask)
        shown = {
            "concat_latent_image": encode(vae, grey_out(cropped, fitted)),
            "concat_mask": fitted,
        }
        latent: Latent = {"samples": encode(vae, pixels)}
        if noise_mask:
            latent["noise_mask"] = fitted
        return io.NodeOutput(_with(positive, shown), _with(negative, shown), latent)


def _crop_both(pixels: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures and mask [B, 1, H, W], both cropped to multiples of 8."""
    fitted = mask_for(pixels, mask).movedim(1, -1)
    return crop_to_cells(pixels), crop_to_cells(fitted).movedim(-1, 1)


def _with(text: Conditioning, options: dict[str, torch.Tensor]) -> Conditioning:
    return [(states, {**before, **options}) for states, before in text]


VAE_NODES = [VAEDecode, VAEDecodeTiled, VAEEncode, VAEEncodeForInpaint, InpaintModelConditioning]
