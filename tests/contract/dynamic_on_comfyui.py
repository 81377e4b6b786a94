"""Loaders, settings and optimise nodes with ComfyUI's dynamic memory on; prints JSON.

    COMFYUI_PYTHON tests/contract/dynamic_on_comfyui.py COMFYUI REPOSITORY MODELS TEXT_LAYERS DEVICE

DEVICE is cuda, for ComfyUI's default arguments on a card, or cpu, where the memory is imitated.
MODELS has checkpoints of random_models.py, NAME-fp16 and NAME-fp32. Only measures; the judging is
in test_dynamic_memory.py. Prints {} where this ComfyUI has no such memory.
"""

from __future__ import annotations

import gc
import hashlib
import json
import logging
import shutil
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

COMFYUI, REPOSITORY, MODELS = (Path(argument) for argument in sys.argv[1:4])
TEXT_LAYERS, ON_CARD = int(sys.argv[4]), sys.argv[5] == "cuda"
sys.argv[1:] = [] if ON_CARD else ["--cpu"]
sys.path[:0] = [str(COMFYUI)]
sys.path.append(str(REPOSITORY))

import dynamic_memory  # noqa: E402

if ON_CARD:
    dynamic_memory.prepare()

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import comfy.model_management as management  # noqa: E402
import folder_paths  # noqa: E402
import nodes  # noqa: E402
import torch  # noqa: E402
from text_layers import cut_text_encoders  # noqa: E402

for kind, folder in (
    ("checkpoints", "checkpoints"),
    ("checkpoints", "published"),
    ("diffusers", "diffusers"),
):
    folder_paths.add_model_folder_path(kind, str(MODELS / folder), is_default=True)

from safetensors.torch import load_file, save_file  # noqa: E402

from comfy_nodes.errors import PackError  # noqa: E402
from comfy_nodes.extension import NODES  # noqa: E402
from comfy_nodes.native import compat  # noqa: E402

PACK = {node.GET_SCHEMA().node_id: node for node in NODES}
STARTER = "spriteworks-starter"
PRECISIONS = ("auto", "fp32", "fp16", "bf16", "fp8")


def main() -> None:
    torch.set_num_threads(1)
    said = Said()
    logging.getLogger("comfy_nodes").addHandler(said)
    logging.getLogger("comfy_nodes").setLevel(logging.INFO)
    cut_text_encoders(TEXT_LAYERS)
    if not (dynamic_memory.turn_on_real() if ON_CARD else dynamic_memory.imitate()):
        print("{}")
        return
    report = {
        "dynamic": compat.host().dynamic,
        "loaded": {name: loaded(name, said) for name in cases()},
        "settings": {name: with_setting(name, said) for name in SETTINGS},
        "optimized": {name: optimized(name) for name in ("stock", "ours")},
        "reloaded": reloaded(),
        "broken": {part: broken(part) for part in ("unet", "text_encoder")},
        "tiles": tiles(),
    }
    print(json.dumps(report))


class Said(logging.Handler):
    """Keeps what the pack logs."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def take(self) -> list[str]:
        lines, self.lines = self.lines, []
        return lines


def cases() -> list[str]:
    """LOADER MODEL PRECISION, all of them."""
    ways = [("file", path.stem) for path in sorted((MODELS / "checkpoints").iterdir())]
    # The third loader finds the file by the version's name, and loads it as the first one does.
    ways += [("folder", STARTER), ("version", "sd15")]
    return [f"{way} {name} {each}" for way, name in ways for each in PRECISIONS]


@torch.inference_mode()
def load(way: str, name: str, **settings: Any) -> Any:
    """MODEL, CLIP and VAE, as the node gives them."""
    node, model = {
        "file": ("SpriteworksCheckpointLoader", {"ckpt_name": f"{name}.safetensors"}),
        "folder": ("SpriteworksDiffusersLoader", {"model_name": name}),
        "version": ("SpriteworksStableDiffusionLoader", {"version": name}),
    }[way]
    return PACK[node].execute(**model, **settings).args[:3]


def loaded(case: str, said: Said) -> dict[str, Any]:
    way, name, precision = case.split()
    said.take()
    asked = {} if precision == "auto" else {"precision": precision}
    model, clip, vae = load(way, name, **asked)
    before = formats(model, clip, vae)
    result = {
        "formats": before,
        "dynamic": {"model": model.is_dynamic(), "clip": is_dynamic(clip), "vae": is_dynamic(vae)},
        "said": said.take(),
        "drawn": drawn(model, clip, vae),
    }
    clear()
    return {**result, "same after": formats(model, clip, vae) == before}


def is_dynamic(part: Any) -> bool:
    return bool(part.patcher.is_dynamic())  # not every version's CLIP and VAE say it


def formats(model: Any, clip: Any, vae: Any) -> dict[str, list[str]]:
    parts = {
        "unet": model.model.diffusion_model,
        "text": clip.cond_stage_model,
        "vae": vae.first_stage_model,
    }
    return {
        name: sorted(
            {str(p.dtype).removeprefix("torch.") for p in part.parameters() if is_number(p)}
        )
        for name, part in parts.items()
    }


def is_number(parameter: Any) -> bool:
    return bool(parameter.is_floating_point())


@torch.inference_mode()
def drawn(model: Any, clip: Any, vae: Any, side: int = 4) -> dict[str, Any]:
    """One step, and its picture: that it is a picture, and which."""
    texts = [clip.encode_from_tokens_scheduled(clip.tokenize(text)) for text in ("a potion", "")]
    channels = {"samples": torch.zeros(1, 4, side, side)}
    (latent,) = nodes.common_ksampler(model, 3, 1, 4.0, "euler", "karras", *texts, channels)
    picture = vae.decode(latent["samples"]).float()
    return {
        "finite": bool(torch.isfinite(picture).all()),
        "spread": float(picture.std()),
        "picture": [round(float(value), 3) for value in picture.flatten()[::97]],
    }


def clear() -> None:
    management.unload_all_models()
    gc.collect()


SETTINGS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "int8": {"quantization": "int8"},
    "none": {"offload": "none"},
    "model": {"offload": "model"},
    "sequential": {"offload": "sequential"},
    "text_encoder": {"offload": "text_encoder"},
    "channels_last": {"memory_format": "channels_last"},
    "vae in fp32": {"vae_precision": "fp32"},
    "vae in fp16": {"vae_precision": "fp16"},
    "vae in bf16": {"vae_precision": "bf16"},
}


def with_setting(name: str, said: Said) -> dict[str, Any]:
    """One setting on the starter model: whether dynamic memory was kept, and that it draws."""
    said.take()
    model, clip, vae = load("folder", STARTER, **SETTINGS[name])
    result = {
        "dynamic": {"model": model.is_dynamic(), "vae": is_dynamic(vae)},
        "formats": formats(model, clip, vae),
        "said": said.take(),
        "drawn": drawn(model, clip, vae),
        "home": str(model.offload_device),
    }
    clear()
    return result


@torch.inference_mode()
def optimized(whose: str) -> dict[str, Any]:
    """Both optimise nodes on a model of core's loader or ours, by default and with settings."""
    name = next(path.stem for path in (MODELS / "checkpoints").iterdir() if "fp16" in path.stem)
    if whose == "ours":
        model, clip, vae = load("file", name)
    else:
        model, clip, vae = nodes.CheckpointLoaderSimple().load_checkpoint(f"{name}.safetensors")
    first = drawn(model, clip, vae)
    clear()
    before = contents(model, vae)
    ways: dict[str, dict[str, Any]] = {"default": {}, "fp32": {"precision": "fp32"}}
    result: dict[str, Any] = {}
    for way, settings in ways.items():
        (tuned,) = PACK["SpriteworksOptimizeModel"].execute(model=model, **settings).args
        given = {f"vae_{name}": value for name, value in settings.items()}
        (tuned_vae,) = PACK["SpriteworksOptimizeVAE"].execute(vae=vae, **given).args
        result[way] = {
            "dynamic": {"model": tuned.is_dynamic(), "vae": is_dynamic(tuned_vae)},
            "own": {
                "model": tuned.model is not model.model,
                "vae": tuned_vae.first_stage_model is not vae.first_stage_model,
            },
            "formats": formats(tuned, clip, tuned_vae),
            "drawn": drawn(tuned, clip, tuned_vae),
            "shares": shared_state(model, tuned) + shared_state(vae.patcher, tuned_vae.patcher),
        }
        del tuned, tuned_vae
        clear()
        result[way]["unchanged"] = contents(model, vae) == before
    again = drawn(model, clip, vae)
    return {"ways": result, "again": again == first}


def contents(model: Any, vae: Any) -> str:
    """A digest of every weight, its format and its order."""
    digest = hashlib.sha256()
    for network in (model.model, vae.first_stage_model):
        for name, weight in network.state_dict().items():
            digest.update(f"{name} {weight.dtype} {weight.stride()}".encode())
            digest.update(weight.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def shared_state(before: Any, after: Any) -> list[str]:
    """What a model over other weights still shares with the one that it was made of."""
    if after.model is before.model:
        return []
    return [
        name
        for name in sorted(compat.host().shared)
        if getattr(after, name) is getattr(before, name)
    ]


@torch.inference_mode()
def reloaded() -> dict[str, Any]:
    """What ComfyUI gets when it loads a model of ours once more, as for another GPU."""
    name = next(path.stem for path in (MODELS / "checkpoints").iterdir() if "fp32" in path.stem)
    model, _, vae = load("file", name, quantization="int8", vae_precision="fp16")
    (tuned,) = PACK["SpriteworksOptimizeModel"].execute(model=model, quantization="fp8").args
    (tuned_vae,) = PACK["SpriteworksOptimizeVAE"].execute(vae=vae, vae_precision="bf16").args
    found = {}
    loaded = {"model": model, "vae": vae.patcher, "tuned": tuned, "tuned vae": tuned_vae.patcher}
    for key, patcher in loaded.items():
        function, arguments, *_ = patcher.cached_patcher_init
        other = function(*arguments)
        counts = Counter(str(p.dtype) for p in other.model.parameters())
        mine = Counter(str(p.dtype) for p in patcher.model.parameters())
        found[key] = counts == mine and other.model is not patcher.model
    return found


@torch.inference_mode()
def broken(part: str) -> str:
    """What is said of a folder in which a linear layer's weight lacks a column."""
    name = f"broken-{part}"
    folder = MODELS / "diffusers" / name
    shutil.copytree(REPOSITORY / "comfy_nodes" / "model_files" / STARTER, folder)
    path = next((folder / part).glob("*.safetensors"))
    weights = load_file(path)
    key = min(key for key in weights if key.endswith(("fc1.weight", "attn2.to_k.weight")))
    weights[key] = weights[key][:, 1:].contiguous()
    save_file(weights, path)
    try:
        load("folder", name)
    except PackError as error:
        return f"{type(error).__name__}: {error}"
    return "loaded"


@torch.inference_mode()
def tiles() -> dict[str, list[int]]:
    """Height and width that memory is asked for, of a picture of 512 in tiles of 128."""
    _, _, vae = load("folder", STARTER, vae_tiling="on", vae_tile=128, vae_overlap=32)
    asked: dict[str, list[int]] = {}
    for name in ("memory_used_decode", "memory_used_encode"):
        setattr(vae, name, partial(_noting, asked, name, getattr(vae, name)))
    vae.encode(vae.decode(torch.zeros(1, 4, 64, 64)))
    return asked


def _noting(asked: dict[str, list[int]], name: str, work: Any, shape: Any, dtype: Any) -> Any:
    asked[name] = list(shape[-2:])
    return work(shape, dtype)


if __name__ == "__main__":
    main()
