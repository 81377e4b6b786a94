"""The node that takes a sheet apart."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from .ops import pictures
from .ops.frames import equal_cells
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
        cells = equal_cells(whole, columns, rows)
        return io.NodeOutput(
            cells[..., : image.shape[-1]].contiguous(), pictures.transparency(cells)
        )
