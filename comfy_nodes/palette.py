"""The node that repaints pictures with few colours."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from .loaders import CATEGORY
from .ops import palette as _palette
from .ops import pictures
from .sets import PER_PICTURE


class Palette(io.ComfyNode):
    """Repaints a picture with few colours."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="SpriteworksPalette",
            display_name="Palette (Spriteworks)",
            category=CATEGORY,
            description="Repaints each picture with a given palette, or with the few colours that "
            "fit it best. Doing it twice changes nothing more.",
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip="The pictures; each gets colours of its own.",
                    extra_dict=PER_PICTURE,
                ),
                io.Int.Input(
                    "colors",
                    default=16,
                    min=2,
                    max=_palette.LARGEST,
                    tooltip="At most so many colours, when no palette is given.",
                ),
                io.String.Input(
                    "palette",
                    default="",
                    multiline=True,
                    placeholder="#1a1c2c #5d275d #b13e53 ...",
                    tooltip="Hex colours, one after another. Empty: find them in the picture.",
                ),
                io.Boolean.Input(
                    "dither",
                    default=False,
                    tooltip="Set colours that are between two of the palette as a pattern of both.",
                ),
            ],
            outputs=[io.Image.Output(display_name="IMAGE", tooltip="The repainted pictures.")],
        )

    @classmethod
    def execute(cls, image: torch.Tensor, colors: int, palette: str, dither: bool) -> io.NodeOutput:
        """The repainted pictures. Raises BadInput."""
        given = _palette.parse_palette(palette)

        def work(picture: pictures.Bytes) -> pictures.Bytes:
            chosen = _palette.find_palette(picture, colors) if given is None else given
            return _palette.repaint(picture, chosen, dither=dither)

        return io.NodeOutput(pictures.each(image, work))
