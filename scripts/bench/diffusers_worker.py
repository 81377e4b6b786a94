"""Plain diffusers, one job a line: `diffusers_worker.py cuda|cpu fp32|fp16|bf16`.

Reads jobs as JSON from standard input and answers each with a line of JSON. The pipelines are
diffusers' own with nothing set but the number format, and get the weights of the checkpoint that
the other contestants load.
"""

from __future__ import annotations

import gc
import io
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import diffusers
import torch

from comfy_nodes import memory
from comfy_nodes.models import Family
from comfy_nodes.ops.dtypes import DTYPES
from comfy_nodes.placing import Dtype
from orchestrator.engine.models import building, checkpoint
from orchestrator.engine.models.tokenizer import END, clip_tokenizer

# As SaveImage of ComfyUI, so that saving takes everybody the same.
_COMPRESSION = 4
_SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}


def main(device: str, precision: str) -> None:
    dtype = DTYPES[Dtype(precision)]
    print(
        json.dumps({"about": f"diffusers {diffusers.__version__}, torch {torch.__version__}"}),
        flush=True,
    )
    loaded: dict[str, Any] = {}
    for line in sys.stdin:
        job = json.loads(line)
        if job["checkpoint"] not in loaded:
            loaded.clear()
            forget()
            loaded[job["checkpoint"]] = pipeline(Path(job["checkpoint"]), dtype).to(device)
        with memory.peak(device) as highest:
            seconds = picture(loaded[job["checkpoint"]], job)
            on_gpu = torch.cuda.max_memory_reserved() if device == "cuda" else None
        answer = {
            "seconds": seconds,
            "sampling": None,
            "decoding": None,
            "device": on_gpu,
            "process": highest.process,
        }
        print(json.dumps(answer), flush=True)


def forget() -> None:
    """Give back what the pipeline before held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def pipeline(path: Path, dtype: torch.dtype) -> Any:
    """diffusers' pipeline for the checkpoint."""
    from comfy_nodes.weights.files import read_file

    weights = read_file(path)
    family = checkpoint.checkpoint_family(weights, path.name)
    unet_config = checkpoint.unet_config(weights, path.name)
    vae_config = checkpoint.vae_config(weights, path.name)
    large = family is Family.SDXL
    vae_config |= {"scaling_factor": 0.13025 if large else 0.18215, "force_upcast": large}
    parts: dict[str, Any] = {
        "unet": building.build_unet(
            unet_config, checkpoint.find_unet(weights, unet_config), dtype, path.name
        ),
        "vae": building.build_vae(
            vae_config, checkpoint.find_vae(weights, vae_config), dtype, path.name
        ),
        "scheduler": diffusers.EulerAncestralDiscreteScheduler(**_SCHEDULE),
    }
    for number, prefix in enumerate(checkpoint.TEXT_PREFIXES[family]):
        suffix = "" if number == 0 else "_2"
        parts[f"text_encoder{suffix}"] = building.build_text_encoder(
            checkpoint.text_config(weights, prefix, path.name),
            checkpoint.find_text(weights, prefix),
            dtype,
            path.name,
        )
        parts[f"tokenizer{suffix}"] = clip_tokenizer(END if number == 0 else "!")
    if large:
        made: Any = diffusers.StableDiffusionXLPipeline(**parts, add_watermarker=False)
    else:
        made = diffusers.StableDiffusionPipeline(
            **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
    made.set_progress_bar_config(disable=True)
    return made


def picture(made: Any, job: dict[str, Any]) -> float:
    """Seconds from the texts to the encoded PNGs."""
    began = time.perf_counter()
    images = made(
        job["texts"][0],
        negative_prompt=job["texts"][1],
        width=job["size"],
        height=job["size"],
        num_inference_steps=job["steps"],
        guidance_scale=8.0,
        num_images_per_prompt=job["batch"],
        generator=torch.Generator().manual_seed(job["seed"]),
    ).images
    for image in images:
        image.save(io.BytesIO(), "PNG", compress_level=_COMPRESSION)
    return time.perf_counter() - began


if __name__ == "__main__":
    main(*sys.argv[1:])
