"""The list of nodes that a ComfyUI host loads."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .batch import SeedBatch
from .cutout import Cutout
from .frames import AlignFrames
from .inpaint import InpaintCrop, InpaintStitch
from .loaders import CheckpointLoader, DiffusersLoader, ModelDefaults
from .mask import SpriteMask
from .memory_report import MemoryReport
from .optimize import OptimizeModel, OptimizeVAE
from .palette import Palette, SwapRamp
from .quality import Quality
from .sheet import SaveSheet, SpriteSheet
from .slicing import SliceSheet
from .snap import Pixelize, Snap
from .sprite import SaveSprite
from .stable_diffusion import StableDiffusionLoader
from .tile import CloseSeams

NODES: list[type[io.ComfyNode]] = [
    CheckpointLoader,
    DiffusersLoader,
    StableDiffusionLoader,
    ModelDefaults,
    OptimizeModel,
    OptimizeVAE,
    SeedBatch,
    Snap,
    Pixelize,
    Palette,
    SwapRamp,
    Cutout,
    CloseSeams,
    SliceSheet,
    AlignFrames,
    Quality,
    SaveSprite,
    SpriteSheet,
    SaveSheet,
    InpaintCrop,
    InpaintStitch,
    SpriteMask,
    MemoryReport,
]


class SpriteworksExtension(ComfyExtension):
    """Spriteworks as ComfyUI sees it."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All nodes of the pack."""
        return list(NODES)
