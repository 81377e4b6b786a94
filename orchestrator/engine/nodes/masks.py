"""Core nodes on masks."""

from __future__ import annotations

import torch

from ..host import ComfyNode, io

_CHANNELS = ["red", "green", "blue", "alpha"]


class _MaskNode(ComfyNode):
    # ComfyUI has these in the newer form, like a pack's.
    RELATIVE_PYTHON_MODULE = "comfy_extras.nodes_mask"


class ImageToMask(_MaskNode):
    """One channel of a picture."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ImageToMask",
            display_name="Convert Image to Mask",
            category="image/mask",
            inputs=[io.Image.Input("image"), io.Combo.Input("channel", options=_CHANNELS)],
            outputs=[io.Mask.Output()],
        )

    @classmethod
    def execute(cls, image: torch.Tensor, channel: str) -> io.NodeOutput:
        """MASK. A picture without that channel is an error."""
        index = _CHANNELS.index(channel)
        if index >= image.shape[-1]:
            raise ValueError(f"the picture has no {channel} channel, only {image.shape[-1]}")
        return io.NodeOutput(image[..., index])


class MaskToImage(_MaskNode):
    """A mask as a grey picture."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="MaskToImage",
            display_name="Convert Mask to Image",
            category="image/mask",
            inputs=[io.Mask.Input("mask")],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, mask: torch.Tensor) -> io.NodeOutput:
        """IMAGE [B, H, W, 3]."""
        return io.NodeOutput(mask.reshape(-1, *mask.shape[-2:], 1).expand(-1, -1, -1, 3))


class InvertMask(_MaskNode):
    """One minus a mask."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="InvertMask",
            display_name="Invert Mask",
            category="image/mask",
            inputs=[io.Mask.Input("mask")],
            outputs=[io.Mask.Output()],
        )

    @classmethod
    def execute(cls, mask: torch.Tensor) -> io.NodeOutput:
        """MASK."""
        return io.NodeOutput(1.0 - mask)


MASK_NODES = [ImageToMask, MaskToImage, InvertMask]
