"""What this pack touches of ComfyUI's inside: the one list of names, and how the host behaves.

ComfyUI promises nothing for what is listed here, so both are looked at when the first model is
loaded: the names by looking them up, the behaviour by loading a network of two layers (`host`).
Nothing here goes by the number of a version. Run: 0.3.64, 0.8.2, 0.16.4, 0.24.0, 0.28.0 and 0.33.0
(docs/comfyui-versions.md has the table). What changed between them and concerns us:

- 0.4: a model's config answers None for every name that it has not, which breaks `copy.deepcopy`
  of whatever holds it.
- 0.12, on by itself on NVIDIA cards from 0.15: "dynamic" memory. Weights come to the card page by
  page while layers compute, in the number format that the file has, and are cast then. Such a
  model's weights cannot be stored otherwise, nor can it be said where they wait.
- 0.24: with dynamic memory on, linear layers and embeddings have no weights before they are loaded,
  and take whatever shape and format the file has, also in models that do without it.
- Queries, keys and values are handed to its attention functions in containers; a replacement that
  was put in as we do it still gets plain tensors.
- VAE objects convert pixels in place; nothing of ours keeps a tensor that they were given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from inspect import signature
from typing import Any

from ..errors import UnsupportedHost

OLDEST, NEWEST = "0.3.64", "0.33.0"  # run


@dataclass(frozen=True)
class Name:
    """One name of ComfyUI's: module, dotted name in it, what we need it for."""

    module: str
    name: str
    used_for: str


@dataclass(frozen=True)
class HostMemory:
    """How this ComfyUI treats the weights of a model."""

    # Models are put into dynamic memory, on the device that it computes on.
    dynamic: bool
    # Attributes of a MODEL that its clone shares and that belong to the weights of both.
    shared: frozenset[str]


_LOADING = "loading models"
_TEXT = "the text encoders of diffusers folders"
_UNET = "the UNet of diffusers folders"
_VAE = "tiles and slices of the VAE"
_ATTENTION = "the choice of attention"
_COMPILE = "compiling"
_OFFLOAD = "offloading"
_RUN = "what is set while a model samples"
_SEEDS = "a seed for each picture of a batch"
_FOLDERS = "ComfyUI's folders"

NAMES: tuple[Name, ...] = (
    Name("comfy.sd", "load_state_dict_guess_config", _LOADING),
    Name("comfy.sd", "CLIP", _TEXT),
    Name("comfy.sd", "VAE", _VAE),
    Name("comfy.sd", "VAE.decode", _VAE),
    Name("comfy.sd", "VAE.encode", _VAE),
    Name("comfy.sd", "VAE.decode_tiled", _VAE),
    Name("comfy.sd", "VAE.encode_tiled", _VAE),
    Name("comfy.sd", "VAE.decode_tiled_", _VAE),
    Name("comfy.sd", "VAE.encode_tiled_", _VAE),
    Name("comfy.model_base", "ModelType.V_PREDICTION", _LOADING),
    Name("comfy.model_base", "ModelType.EPS", _LOADING),
    Name("comfy.supported_models", "SD15", _LOADING),
    Name("comfy.supported_models", "SD20", _LOADING),
    Name("comfy.supported_models", "SDXL", _LOADING),
    Name("comfy.supported_models_base", "ClipTarget", _TEXT),
    Name("comfy.sd1_clip", "SDClipModel", _TEXT),
    Name("comfy.sd1_clip", "SD1ClipModel", _TEXT),
    Name("comfy.sd1_clip", "SDTokenizer", _TEXT),
    Name("comfy.sd1_clip", "SD1Tokenizer", _TEXT),
    Name("comfy.sdxl_clip", "SDXLClipModel", _TEXT),
    Name("comfy.sdxl_clip", "SDXLTokenizer", _TEXT),
    Name("comfy.clip_model", "CLIPTextModel", _TEXT),
    Name("comfy.utils", "load_torch_file", _LOADING),
    Name("comfy.utils", "unet_to_diffusers", _UNET),
    Name("comfy.utils", "ProgressBar", "the progress of downloads"),
    Name("comfy.model_management", "get_torch_device", _LOADING),
    Name("comfy.model_management", "unet_offload_device", _LOADING),
    Name("comfy.model_management", "unet_manual_cast", _UNET),
    Name("comfy.model_management", "load_models_gpu", _LOADING),
    Name("comfy.model_management", "current_loaded_models", _OFFLOAD),
    Name("comfy.model_management", "LoadedModel.model_unload", _OFFLOAD),
    Name("comfy.model_patcher", "ModelPatcher.clone", _LOADING),
    Name("comfy.model_patcher", "ModelPatcher.partially_load", _OFFLOAD),
    Name("comfy.model_patcher", "ModelPatcher.add_wrapper_with_key", _RUN),
    Name("comfy.model_patcher", "ModelPatcher.remove_wrappers_with_key", _RUN),
    Name("comfy.model_patcher", "ModelPatcher.set_attachments", _LOADING),
    Name("comfy.model_patcher", "ModelPatcher.get_attachment", _LOADING),
    Name("comfy.patcher_extension", "WrappersMP.OUTER_SAMPLE", _RUN),
    Name("comfy.patcher_extension", "WrappersMP.DIFFUSION_MODEL", _RUN),
    Name("comfy.ldm.modules.attention", "attention_pytorch", _ATTENTION),
    Name("comfy.ldm.modules.attention", "CrossAttention", _ATTENTION),
    Name("comfy.ldm.modules.attention", "BasicTransformerBlock", _COMPILE),
    Name("comfy.ldm.modules.diffusionmodules.openaimodel", "UNetModel._forward", _COMPILE),
    Name("comfy.ldm.modules.diffusionmodules.openaimodel", "ResBlock", _COMPILE),
    Name("comfy.ldm.modules.diffusionmodules.model", "ResnetBlock", _COMPILE),
    Name("comfy.ops", "disable_weight_init.Linear.comfy_cast_weights", _LOADING),
    Name("comfy.ops", "disable_weight_init.Conv2d", _LOADING),
    Name("comfy.samplers", "KSAMPLER", _SEEDS),
    Name("comfy.sample", "prepare_noise", _SEEDS),
    Name("comfy.k_diffusion.sampling", "default_noise_sampler", _SEEDS),
    Name("comfy.k_diffusion.sampling", "BrownianTreeNoiseSampler", _SEEDS),
    Name("folder_paths", "get_folder_paths", _FOLDERS),
    Name("folder_paths", "get_filename_list", _FOLDERS),
    Name("folder_paths", "get_save_image_path", _FOLDERS),
    Name("folder_paths", "get_output_directory", _FOLDERS),
    Name("folder_paths", "get_temp_directory", _FOLDERS),
)


def require_host() -> None:
    """Raises UnsupportedHost, with one sentence, where this ComfyUI is not what we build on."""
    gone = missing()
    if gone:
        first = gone[0]
        name = f"{first.module}.{first.name}" + (f" and {len(gone) - 1} more" if gone[1:] else "")
        raise _unsupported(f"has no {name}, which Spriteworks needs for {first.used_for}")
    host()


@cache
def host() -> HostMemory:
    """How this ComfyUI treats weights, seen at a network of two layers. Looked at once.

    Raises UnsupportedHost where layers do not cast weights of another number format when they
    compute, or a clone of a MODEL does not share its network: everything here relies on both.
    """
    from . import trial

    try:
        seen = trial.run(is_dynamic)
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise _unsupported(f"cannot load and run a network of two layers ({first})") from error
    if not seen.casts:
        raise _unsupported("does not cast weights of another number format when a layer computes")
    if not seen.clone_shares_network:
        raise _unsupported("does not share a network between a MODEL and its clone")
    return HostMemory(seen.dynamic, seen.shared)


def without_dynamic_memory(function: Callable[..., Any]) -> dict[str, Any]:
    """The argument that tells one of ComfyUI's functions so, where it knows it."""
    known = "disable_dynamic" in signature(function).parameters
    return {"disable_dynamic": True} if known else {}


def is_dynamic(patcher: Any) -> bool:
    """Whether a MODEL's weights are in dynamic memory."""
    return bool(getattr(patcher, "is_dynamic", bool)())


def _unsupported(what: str) -> UnsupportedHost:
    return UnsupportedHost(
        f"This ComfyUI ({_version()}) {what}: update Spriteworks, or use a ComfyUI from {OLDEST} "
        f"to {NEWEST}."
    )


@cache
def missing() -> tuple[Name, ...]:
    """Those of NAMES that this host has not. Looked for once."""
    return tuple(name for name in NAMES if not _is_there(name))


def _is_there(name: Name) -> bool:
    try:
        found: Any = import_module(name.module)
        for part in name.name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return False
    return True


def _version() -> str:
    try:
        return str(import_module("comfyui_version").__version__)
    except (ImportError, AttributeError):
        return "of unknown version"
