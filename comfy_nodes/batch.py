"""A batch in which every picture has its own seed."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from .ops.seeds import LAST_SEED
from .schemas import Category, schema


class SeedBatch(io.ComfyNode):
    """Gives an empty latent batch and a model that samples each picture with its own seed."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return schema(
            node_id="SpriteworksSeedBatch",
            display_name="Seed Batch",
            category=Category.SPRITE,
            description="Picture i of the batch has the seed + i and equals the single run with "
            "that seed. Sample the LATENT with the MODEL; the sampler's own seed is not used.",
            shown=("width", "height", "seed", "batch_size"),
            search_aliases=(
                "seeds",
                "variations",
                "batch of seeds",
                "seed per image",
                "incremental seed",
                "empty latent",
            ),
            inputs=[
                io.Model.Input("model", tooltip="The model to sample with."),
                io.Int.Input(
                    "width", default=512, min=16, max=16384, step=8, tooltip="Width in pixels."
                ),
                io.Int.Input(
                    "height", default=512, min=16, max=16384, step=8, tooltip="Height in pixels."
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=LAST_SEED,
                    control_after_generate=True,
                    tooltip="Seed of the first picture; each further one has the next seed.",
                ),
                io.Int.Input(
                    "batch_size", default=8, min=1, max=4096, tooltip="How many pictures."
                ),
            ],
            outputs=[
                io.Model.Output(display_name="MODEL", tooltip="The model, with the seeds."),
                io.Latent.Output(display_name="LATENT", tooltip="The empty batch."),
            ],
        )

    @classmethod
    def execute(
        cls, model: Any, width: int, height: int, seed: int, batch_size: int
    ) -> io.NodeOutput:
        """The seeded model and zeros of shape [batch_size, 4, height // 8, width // 8]."""
        samples = torch.zeros([batch_size, 4, height // 8, width // 8])
        return io.NodeOutput(cls.seeded(model, seed), {"samples": samples})

    @classmethod
    def seeded(cls, model: Any, seed: int) -> Any:
        """A copy of the model that samples picture i of any batch with seed + i."""
        from .native.compat import require_host

        require_host()
        from .native.seeds import with_seeds

        return with_seeds(model, seed)
