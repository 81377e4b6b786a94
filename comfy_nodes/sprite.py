"""The node that saves sprites."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from . import showing
from .saving import save_sprites
from .schemas import Category, schema
from .sets import PER_PICTURE


class SaveSprite(io.ComfyNode):
    """Saves sprites as RGBA PNGs that carry their workflow."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return schema(
            node_id="SpriteworksSaveSprite",
            display_name="Save Sprite",
            category=Category.SPRITE,
            description="Saves pictures with their transparency as PNG in the output folder. "
            "Dropped on the canvas, a picture brings its workflow back.",
            shown=("filename_prefix",),
            search_aliases=(
                "save image",
                "save png",
                "export png",
                "transparent png",
                "rgba png",
                "save icon",
            ),
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip="The pictures to save.",
                    extra_dict={**PER_PICTURE, **showing.RESULTS},
                ),
                io.String.Input(
                    "filename_prefix",
                    default="sprite",
                    tooltip="How the file names start; a / makes a subfolder, and %width%, "
                    "%height%, %year% and so on are filled in.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="1 where a picture is transparent, as Cutout and Outline gives it. "
                    "Without it pictures are opaque.",
                ),
            ],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls, image: torch.Tensor, filename_prefix: str, mask: torch.Tensor | None = None
    ) -> io.NodeOutput:
        """Writes the files and tells the host their names. Raises BadInput or SaveFailed."""
        texts: dict[str, object] = {}
        if cls.hidden.prompt is not None:
            texts["prompt"] = cls.hidden.prompt
        texts.update(cls.hidden.extra_pnginfo or {})
        return io.NodeOutput(ui={"images": save_sprites(image, mask, filename_prefix, texts)})
