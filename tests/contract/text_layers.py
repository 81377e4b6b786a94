"""Text encoders of fewer layers in ComfyUI's process, for random_models.py's narrow checkpoints.

A layer that a file lacks keeps what the memory held before, and such pictures are not-a-number
(NaN) in some runs and not in others: without this cut, ComfyUI would build the published number.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

import comfy.sd


def cut_text_encoders(layers: int) -> None:
    """From now on the text encoders of checkpoints have so many layers, for every loader.

    ComfyUI's config files cannot say so.
    """
    original = comfy.sd.CLIP.__init__

    @wraps(original)  # the pack asks for its arguments
    def cut(self: Any, target: Any = None, *arguments: Any, **options: Any) -> None:
        if target is not None and target.clip.__module__.startswith("comfy."):  # no folder's
            config = {"num_hidden_layers": layers}
            given = {f"clip_{letter}_model_config": config for letter in "lhg"}
            options["model_options"] = {**options.get("model_options", {}), **given}
        original(self, target, *arguments, **options)

    comfy.sd.CLIP.__init__ = cut
