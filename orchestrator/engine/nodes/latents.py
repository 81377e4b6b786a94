"""Core nodes on latents."""

from __future__ import annotations

import torch

from .. import room
from ..handles.handles import LATENT_FACTOR
from ..host import CoreNode, io
from ..pictures.resizing import CROPS, LATENT_METHODS, resize
from ..sampling.sampling import Latent

MAX_SIDE = 16384
_LEAST_SIDE = 64


class EmptyLatentImage(CoreNode):
    """Zeros to start from."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="EmptyLatentImage",
            display_name="Empty Latent Image",
            category="model/latent",
            description="A batch of empty latents, for a sampler to fill.",
            inputs=[
                io.Int.Input(
                    "width", default=512, min=16, max=MAX_SIDE, step=8, tooltip="In pixels."
                ),
                io.Int.Input(
                    "height", default=512, min=16, max=MAX_SIDE, step=8, tooltip="In pixels."
                ),
                io.Int.Input("batch_size", default=1, min=1, max=4096, tooltip="How many."),
            ],
            outputs=[io.Latent.Output(tooltip="The empty batch.")],
        )

    @classmethod
    def execute(cls, width: int, height: int, batch_size: int = 1) -> io.NodeOutput:
        """Zeros [batch_size, 4, height // 8, width // 8]."""
        shape = (batch_size, 4, height // LATENT_FACTOR, width // LATENT_FACTOR)
        room.check(f"{batch_size:,} latents of {width} x {height}", room.of_tensors(*shape))
        return io.NodeOutput({"samples": torch.zeros(shape)})


class RepeatLatentBatch(CoreNode):
    """The same latents several times."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="RepeatLatentBatch",
            display_name="Repeat Latent Batch",
            category="model/latent/batch",
            inputs=[
                io.Latent.Input("samples"),
                io.Int.Input("amount", default=1, min=1, max=64),
            ],
            outputs=[io.Latent.Output()],
        )

    @classmethod
    def execute(cls, samples: Latent, amount: int) -> io.NodeOutput:
        """The batch `amount` times in a row; repeated places get noise of their own."""
        result = dict(samples)
        repeated = (amount, *samples["samples"].shape)
        count = amount * len(samples["samples"])
        room.check(f"{count:,} latents", room.of_tensors(*repeated))
        result["samples"] = _repeated(samples["samples"], amount)
        mask = samples.get("noise_mask")
        if mask is not None and len(mask) > 1:
            result["noise_mask"] = _repeated(mask, amount)
        places = samples.get("batch_index")
        if places is not None:
            span = max(places) - min(places) + 1
            result["batch_index"] = [place + i * span for i in range(amount) for place in places]
        return io.NodeOutput(result)


class LatentUpscale(CoreNode):
    """Latents of another size."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="LatentUpscale",
            display_name="Upscale Latent",
            category="model/latent",
            inputs=[
                io.Latent.Input("samples"),
                io.Combo.Input("upscale_method", options=LATENT_METHODS),
                io.Int.Input("width", default=512, min=0, max=MAX_SIDE, step=8),
                io.Int.Input("height", default=512, min=0, max=MAX_SIDE, step=8),
                io.Combo.Input("crop", options=CROPS),
            ],
            outputs=[io.Latent.Output()],
        )

    @classmethod
    def execute(
        cls, samples: Latent, upscale_method: str, width: int, height: int, crop: str
    ) -> io.NodeOutput:
        """Resized to width x height pixels, at least 64; 0 keeps the aspect, 0 and 0 the size."""
        if width == 0 and height == 0:
            return io.NodeOutput(samples)
        tall, wide = samples["samples"].shape[-2:]
        # The side that is given counts in pixels and the other follows in the same unit.
        given_height, given_width = max(_LEAST_SIDE, height), max(_LEAST_SIDE, width)
        if width == 0:
            given_width = max(_LEAST_SIDE, round(wide * given_height / tall))
        elif height == 0:
            given_height = max(_LEAST_SIDE, round(tall * given_width / wide))
        resized = resize(
            samples["samples"],
            given_width // LATENT_FACTOR,
            given_height // LATENT_FACTOR,
            upscale_method,
            crop,
        )
        return io.NodeOutput({**samples, "samples": resized})


class SetLatentNoiseMask(CoreNode):
    """Which part of a latent is made anew."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="SetLatentNoiseMask",
            display_name="Set Latent Noise Mask",
            category="model/latent",
            inputs=[io.Latent.Input("samples"), io.Mask.Input("mask")],
            outputs=[io.Latent.Output()],
        )

    @classmethod
    def execute(cls, samples: Latent, mask: torch.Tensor) -> io.NodeOutput:
        """The latent with the mask [B, 1, H, W] beside it."""
        return io.NodeOutput(
            {**samples, "noise_mask": mask.reshape(-1, 1, mask.shape[-2], mask.shape[-1])}
        )


def _repeated(tensor: torch.Tensor, amount: int) -> torch.Tensor:
    return tensor.repeat(amount, *[1] * (tensor.ndim - 1))


LATENT_NODES = [EmptyLatentImage, RepeatLatentBatch, LatentUpscale, SetLatentNoiseMask]
