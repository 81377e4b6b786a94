"""Checkpoints of full size with random weights, in the published layout: speed asks for no others.

The layout is that of tests/contract/random_models.py, which holds it to ComfyUI's own loader; the
only thing added here is SDXL in its full depth, which the tests cut.
"""

from __future__ import annotations

import runpy
import time
from pathlib import Path
from typing import Any

import torch

REPOSITORY = Path(__file__).resolve().parents[2]
# Transformers a level: published, and in the quick try-out.
_SDXL_DEPTH, _SDXL_TINY = (1, 2, 10), (1, 1, 2)


def checkpoint(model: str, models: Path, device: str, *, tiny: bool) -> Path:
    """Write `models`/checkpoints/NAME.safetensors in fp16 unless it is there; return its path.

    `model` is "sd15" or "sdxl". `tiny` makes the UNet narrow (sd15) or shallow (sdxl); text
    encoders and VAE have their full size, since ComfyUI knows no other.
    """
    path = models / "checkpoints" / f"{model}{'-tiny' if tiny else ''}-random.safetensors"
    if path.is_file():
        return path
    from diffusers.utils import logging

    # It warns of parts that must stay in fp32, and lists none.
    logging.set_verbosity_error()
    began = time.monotonic()
    make = runpy.run_path(str(REPOSITORY / "tests" / "contract" / "random_models.py"))
    shape = make["SHAPES"][model]
    # Drawing 3.5 billion numbers takes a CPU minutes and a GPU a second.
    with torch.device(device), torch.no_grad():
        unet = _unet(make, model, shape, tiny=tiny)
        vae = make["make_vae"](torch.float16)
        texts = [
            make["make_text"](text, torch.float16, full=True)
            for text in make["TEXTS"][shape.family]
        ]
        part = path.with_name(path.name + ".part")
        make["write_file"](part, shape, unet, vae, texts)
    part.rename(path)
    size = path.stat().st_size / 1e9
    print(f"made {path.name}: {size:.2f} GB in {time.monotonic() - began:.0f} s", flush=True)
    return path


def _unet(make: dict[str, Any], model: str, shape: Any, *, tiny: bool) -> Any:
    if model != "sdxl":
        return make["make_unet"](shape, torch.float16, full=not tiny)
    from diffusers import UNet2DConditionModel

    # A network on no device costs nothing, and its config is all that is wanted.
    with torch.device("meta"):
        config = dict(make["make_unet"](shape, torch.float16, full=True).config)
    config["transformer_layers_per_block"] = _SDXL_TINY if tiny else _SDXL_DEPTH
    # diffusers writes this one down from the other when it builds the network.
    config.pop("reverse_transformer_layers_per_block", None)
    return UNet2DConditionModel.from_config(config).to(torch.float16)
