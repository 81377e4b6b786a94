"""The node that takes a sheet apart."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from .errors import BadInput
from .ops import pictures
from .schemas import Category, schema

# cells in a row or a column; `SpriteSheet` lays out as many
MOST = 1024


class SliceSheet(io.ComfyNode):
    """Cuts a picture into equal cells: a strip of frames into its frames."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return schema(
            node_id="SpriteworksSliceSheet",
            display_name="Slice Sheet",
            category=Category.FRAMES,
            description="Cuts a sheet into equal cells, row by row: a walk cycle in one wide "
            "picture into its frames, as one batch.",
            shown=("columns", "rows"),
            search_aliases=(
                "split sheet",
                "cut sprite sheet",
                "unpack",
                "grid to frames",
                "strip to frames",
            ),
            inputs=[
                io.Image.Input("image", tooltip="The sheet; of several, one after another."),
                io.Int.Input(
                    "columns", default=4, min=1, max=MOST, tooltip="Cells beside each other."
                ),
                io.Int.Input("rows", default=1, min=1, max=MOST, tooltip="Cells above each other."),
                io.Mask.Input("mask", optional=True, tooltip="1 where the sheet is transparent."),
            ],
            outputs=[
                io.Image.Output(display_name="IMAGE", tooltip="The cells, as one batch."),
                io.Mask.Output(display_name="MASK", tooltip="1 where they are transparent."),
            ],
        )

    @classmethod
    def execute(
        cls, image: torch.Tensor, columns: int, rows: int, mask: torch.Tensor | None = None
    ) -> io.NodeOutput:
        """IMAGE and MASK, [B * rows * columns, ...]. Raises BadInput where cells are not equal."""
        whole = pictures.with_alpha(image, mask)
        height, width = whole.shape[1:3]
        for side, name, count in ((width, "width", columns), (height, "height", rows)):
            if side % count:
                raise BadInput(
                    f"The picture's {name} of {side} px is no multiple of {count}: set columns and "
                    "rows to those of the sheet, or crop what is around its cells."
                )
        cells = (
            whole.reshape(-1, rows, height // rows, columns, width // columns, whole.shape[-1])
            .permute(0, 1, 3, 2, 4, 5)
            .reshape(-1, height // rows, width // columns, whole.shape[-1])
        )
        return io.NodeOutput(
            cells[..., : image.shape[-1]].contiguous(), pictures.transparency(cells)
        )
