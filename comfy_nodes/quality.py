"""The node that measures sprites."""

from __future__ import annotations

import json
from typing import Any

import torch
from comfy_api.latest import io

from . import sets, showing
from .errors import BadInput
from .ops import pictures
from .ops.measures.measure import Asked, Mend
from .ops.measures.taking import Reading, of_picture
from .ops.palette import parse_palette
from .saving import rgba
from .schemas import Category, schema
from .sets import PER_PICTURE

# The nodes that mend; what has none is said in words.
_NODES = {
    Mend.SNAP: "the node Snap to Grid",
    Mend.CUT_OUT: "the node Cutout and Outline",
    Mend.CLEAN: "the node Cutout and Outline, on the picture with its background",
    Mend.OUTLINE: "the node Cutout and Outline, with its outline closed",
    Mend.PALETTE: "the node Palette",
    Mend.SHARED_PALETTE: "the node Palette, on all frames as one",
    Mend.ALIGN: "the node Align Frames",
    Mend.CLOSE: "spriteworks tile, on the file",
    Mend.DRAW: "draw it anew there",
    Mend.NEW_SEED: "another seed",
}


class Quality(io.ComfyNode):
    """Measures sprites, and says what mends their faults."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return schema(
            node_id="SpriteworksQuality",
            display_name="Quality",
            category=Category.SPRITE,
            description="Measures sprites: grid, colours, cut-out, outline, stray pixels. Gives "
            "them on as they are, with a report and whether each passes, or stops where one fails.",
            has_intermediate_output=True,
            shown=("stop", "colours"),
            search_aliases=(
                "quality check",
                "inspect",
                "validate sprite",
                "measure",
                "stray pixels",
                "orphan pixels",
                "seamless",
                "tile",
                "tileable",
            ),
            inputs=[
                io.Image.Input(
                    "image", tooltip="The pictures.", extra_dict={**PER_PICTURE, **showing.MEASURES}
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="1 where a picture is transparent.",
                    extra_dict=PER_PICTURE,
                ),
                # One that fails ends the run of all that share it.
                sets.whole_set(
                    "stop",
                    "End the run with an error where a picture fails, naming its faults.",
                    optional=True,
                ),
                io.Int.Input(
                    "colours",
                    default=0,
                    min=0,
                    max=65536,
                    optional=True,
                    tooltip="Most colours that a picture may have. 0: any number.",
                ),
                io.String.Input(
                    "palette",
                    default="",
                    optional=True,
                    tooltip="Hex colours like #1a2b3c, which are all that a picture may have.",
                ),
                io.Boolean.Input(
                    "tile",
                    default=False,
                    optional=True,
                    tooltip="The pictures are tiles: their opposite edges must fit.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="IMAGE", tooltip="The pictures as they came."),
                io.String.Output(
                    display_name="report",
                    tooltip="For each picture all measures, with their bounds, as JSON.",
                    is_output_list=True,
                ),
                io.Boolean.Output(
                    display_name="passes",
                    tooltip="For each picture, whether all measures are within their bounds.",
                    is_output_list=True,
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, palette: str | None = None) -> bool:
        """Check the palette. Raises BadInput."""
        if palette is not None:
            parse_palette(palette)
        return True

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        mask: torch.Tensor | None = None,
        stop: bool = False,
        colours: int = 0,
        palette: str = "",
        tile: bool = False,
    ) -> io.NodeOutput:
        """The IMAGE, and lists of JSON and BOOLEAN, one a picture. Raises BadInput."""
        checked = pictures.checked(image)
        given = pictures.to_bytes(checked) if mask is None else rgba(checked, mask)
        asked = Asked(tile=tile, palette=parse_palette(palette))
        found = [
            [reading.with_colours(colours or None) for reading in of_picture(one, asked)]
            for one in showing.counted(list(given))
        ]
        passes = [all(reading.passed for reading in each) for each in found]
        if stop and not all(passes):
            raise BadInput(_faults(found))
        reports = [_report(each) for each in found]
        told = [json.dumps(report) for report in reports]
        return io.NodeOutput(image, told, passes, ui=showing.measured(reports))


def _report(readings: list[Reading]) -> dict[str, Any]:
    rows = [
        one.to_json() if one.passed else {**one.to_json(), "mend": _NODES[one.measure.mend]}
        for one in readings
    ]
    return {"passed": all(one.passed for one in readings), "measures": rows}


def _faults(found: list[list[Reading]]) -> str:
    """What is wrong with each picture that fails, in one sentence."""
    told = []
    for number, readings in enumerate(found, 1):
        faults = [
            f"{one.measure.name} is {one.value:.4g} ({one.bound}; {_NODES[one.measure.mend]})"
            for one in readings
            if not one.passed
        ]
        if faults:
            told.append(f"picture {number} of {len(found)}: {', '.join(faults)}")
    return f"The sprites do not pass: {'; '.join(told)}."
