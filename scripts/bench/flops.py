"""How much arithmetic a picture needs, and how much the device can do."""

from __future__ import annotations

import gc
import time
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

_LATENT = 8
# A product of this side fills any card of today.
_SIDE = 8192
_AT_ONCE = 10


def of_picture(path: Any, *, size: int, steps: int) -> dict[str, float]:
    """Floating-point operations (multiplications and additions) of one guided picture, in TFLOP.

    `path` is a checkpoint; its networks are built without weights and run without arithmetic, and
    torch's FlopCounterMode adds up their matrix products, convolutions and attention. Guidance
    takes two passes of the UNet a step.
    """
    unet, vae = _networks(path)
    unet_pass = _count_unet(unet, size)
    decode = _count(lambda: vae.decode(torch.empty(1, 4, size // _LATENT, size // _LATENT)))
    return {
        "unet_pass": unet_pass,
        "vae_decode": decode,
        "picture": 2 * steps * unet_pass + decode,
    }


def matmul_rate(device: str) -> float:
    """TFLOP/s of large matrix products on random data: fp16 on a GPU, fp32 on a CPU."""
    cuda = device == "cuda"
    side = _SIDE if cuda else _SIDE // 8
    dtype = torch.float16 if cuda else torch.float32
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    # Once to load libraries and to reach the clock that a long run has, once to measure.
    for _ in range(2):
        count, seconds = _products(a, b, cuda=cuda)
    return 2 * side**3 * count / seconds / 1e12


def _products(a: torch.Tensor, b: torch.Tensor, *, cuda: bool) -> tuple[int, float]:
    """Multiply for a second at least; how many products, and how many seconds."""
    count, began = 0, time.perf_counter()
    while True:
        for _ in range(_AT_ONCE if cuda else 1):
            a @ b
        if cuda:
            torch.cuda.synchronize()
        count += _AT_ONCE if cuda else 1
        seconds = time.perf_counter() - began
        if seconds > 1.0:
            return count, seconds


def release() -> None:
    """Give the GPU memory of this process back, which the contestants want."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _networks(path: Any) -> tuple[Any, Any]:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from safetensors import safe_open

    from orchestrator.engine.models import checkpoint

    with safe_open(str(path), framework="pt") as file:
        weights = {
            name: torch.empty(file.get_slice(name).get_shape(), device="meta")
            for name in file.keys()  # noqa: SIM118  (it is no dict)
        }
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(checkpoint.unet_config(weights, path.name))
        vae = AutoencoderKL.from_config(checkpoint.vae_config(weights, path.name))
    return unet.eval(), vae.eval()


def _count_unet(unet: Any, size: int) -> float:
    config = unet.config
    side = size // _LATENT

    def run() -> None:
        added = None
        if config.addition_embed_type == "text_time":
            ids = 6 * config.addition_time_embed_dim
            pooled = config.projection_class_embeddings_input_dim - ids
            added = {"text_embeds": torch.empty(1, pooled), "time_ids": torch.empty(1, 6)}
        unet(
            torch.empty(1, config.in_channels, side, side),
            torch.empty(1),
            torch.empty(1, 77, config.cross_attention_dim),
            added_cond_kwargs=added,
        )

    return _count(run)


def _count(run: Any) -> float:
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() / 1e12
