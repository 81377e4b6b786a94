"""Writes the model folder: diffusers layout, fp16 safetensors, nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

from diffusers import AutoencoderKL, DDIMScheduler, DDPMScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextModel

from comfy_nodes.vocabulary import WORDS_FILE, Vocabulary

SIZE_LIMIT = 48_000_000
"""Bytes that all safetensors of the folder may take together."""

DEFAULT_CFG = 2.0
"""Guidance that measured best; written to spriteworks.json."""


def export_model(
    unet: UNet2DConditionModel,
    vae: AutoencoderKL,
    encoder: CLIPTextModel,
    tokenizer: Path,
    target: Path,
    side: int,
    *,
    cfg: float,
    words: Vocabulary,
    schedule: DDPMScheduler,
) -> int:
    """Write the folder and return the bytes of its weights.

    `schedule` is the noise that the denoiser was trained with.
    Everything is written beside the target first and then moved in file by file, so a reader finds
    whole files only. Other files of the target (model card, licence) stay.

    Raises:
        ValueError: if the weights would be larger than ``SIZE_LIMIT``.
    """
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-") as name:
        folder = Path(name)
        unet.half().save_pretrained(folder / "unet")
        vae.half().save_pretrained(folder / "vae")
        _save_encoder(encoder, folder / "text_encoder")
        _scheduler(schedule).save_pretrained(folder / "scheduler")
        shutil.copytree(tokenizer, folder / "tokenizer")
        for config in folder.glob("*/config.json"):
            _clean(config)
        _write(folder / "model_index.json", _index())
        _write(folder / "spriteworks.json", _defaults(side, cfg))
        _write(folder / WORDS_FILE, dict(words.to_json()))
        size = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
        if size > SIZE_LIMIT:
            raise ValueError(f"weights take {size} bytes, more than {SIZE_LIMIT}")
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                path.chmod(0o644)
                place = target / path.relative_to(folder)
                place.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, place)
    return size


def _save_encoder(encoder: CLIPTextModel, folder: Path) -> None:
    """Save with the key names of transformers 4 and ComfyUI; transformers 5 reads them too."""
    encoder.half().save_pretrained(folder)
    prefix = "text_model."
    weights = {
        key if key.startswith(prefix) else prefix + key: value.contiguous()
        for key, value in encoder.state_dict().items()
        if not key.endswith("position_ids")
    }
    save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})


def _scheduler(schedule: DDPMScheduler) -> DDIMScheduler:
    kept = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "prediction_type")
    return DDIMScheduler(
        **{name: schedule.config[name] for name in kept},
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def _index() -> dict[str, object]:
    return {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.30.0",
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }


def _defaults(side: int, cfg: float) -> dict[str, object]:
    return {
        "width": side,
        "height": side,
        "steps": 20,
        "cfg": cfg,
        "sampler": "euler_ancestral",
        "scheduler": "karras",
    }


def _clean(config: Path) -> None:
    """Drop the path that ``save_pretrained`` notes down."""
    content = json.loads(config.read_text(encoding="utf-8"))
    content.pop("_name_or_path", None)
    _write(config, content)


def _write(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8", newline="\n")
