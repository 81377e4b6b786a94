"""Models from disk: diffusers folders and single-file checkpoints of Stable Diffusion 1, 2 and XL.

Nothing is ever fetched, and no code in a pickle is ever run. Weights stay in their file's number
format on disk and are widened to the one that is computed in.
"""

from __future__ import annotations

from pathlib import Path

import torch

from comfy_nodes.errors import ModelUnreadable, UnsupportedModel
from comfy_nodes.models import Family, family_of, version_of
from comfy_nodes.ops.dtypes import DTYPES
from comfy_nodes.placing import Placement
from comfy_nodes.probe import this_device
from comfy_nodes.profiles import (
    prediction_of,
    profile_of_folder,
    profile_of_version,
    read_json,
    read_scheduler_config,
)
from comfy_nodes.settings import LoaderSettings, Precision
from comfy_nodes.weights.files import read_metadata, read_part
from comfy_nodes.weights.pickles import is_pickle, read_checkpoint
from comfy_nodes.weights.variants import reads_half

from ..handles.handles import Clip, Loaded, Model, Part, TextEncoder
from ..handles.noise_table import NoiseTable, noise_table
from ..handles.preview import Previewer
from ..model_files import reads
from ..tuning.devices import best_device
from ..tuning.parts import placed, text_part, unet_part, vae_handle
from . import checkpoint
from .building import (
    Find,
    Weights,
    build_text_encoder,
    build_unet,
    build_vae,
    check_plain,
    readable,
)
from .tokenizer import END, clip_tokenizer, load_tokenizer

_SD_SCALE, _SDXL_SCALE = 0.18215, 0.13025
# Names that the VAE's attention had in older diffusers folders.
_OLD_VAE_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
_UNET_FILE, _TEXT_FILE = "diffusion_pytorch_model", "model"


def load_diffusers(folder: Path, settings: LoaderSettings) -> Loaded:
    """The model in a diffusers folder.

    Raises ModelUnreadable for a part that is missing or damaged, UnsupportedModel for another
    kind of model or of weights; both name the part.
    """
    reads(folder)
    with readable(folder.name):
        return _load_diffusers(folder, settings)


def _load_diffusers(folder: Path, settings: LoaderSettings) -> Loaded:
    read_json(folder / "model_index.json")
    unet_config = read_json(folder / "unet" / "config.json")
    vae_config = read_json(folder / "vae" / "config.json")
    if "cross_attention_dim" not in unet_config:
        raise UnsupportedModel(f"{folder.name} is no Stable Diffusion 1.x, 2.x or XL model.")
    device = best_device()
    half = reads_half(settings, this_device(device))
    unet_weights = _read_part(folder, "unet", half)
    placement = placed(settings, device, _count(unet_weights))
    family = family_of(unet_config)
    scale = float(vae_config.get("scaling_factor", _SD_SCALE))
    vae_weights = _read_part(folder, "vae", half)
    vae_dtype, unet_dtype = DTYPES[placement.vae.computed], DTYPES[placement.unet.computed]
    vae_network = build_vae(vae_config, _find_vae(vae_weights), vae_dtype, f"{folder.name}/vae")
    vae = vae_handle(vae_network, placement, device)
    unet = build_unet(unet_config, unet_weights.get, unet_dtype, f"{folder.name}/unet")
    names = ("text_encoder", "text_encoder_2") if family is Family.SDXL else ("text_encoder",)
    profile = profile_of_folder(folder)
    model = Model(
        unet=unet_part(unet, placement, device),
        table=_folder_table(folder),
        family=family,
        latent_scale=scale,
        profile=profile,
        settings=placement.settings,
        previewer=_previewer(vae.part, scale),
    )
    encoders = tuple(_folder_encoder(folder, name, family, placement, half) for name in names)
    clip = Clip(encoders)
    return Loaded(model, clip, vae, profile)


def _read_part(folder: Path, part: str, half: bool, stem: str = _UNET_FILE) -> Weights:
    weights = read_part(folder / part, stem, half=half)
    check_plain(weights, f"{folder.name}/{part}")
    return weights


def load_checkpoint(path: Path, settings: LoaderSettings, *, allow_pickle: bool = False) -> Loaded:
    """The model in a checkpoint: a safetensors file, or where allowed the weights of a pickle.

    Raises ModelUnreadable for a damaged file, UnsupportedModel for a pickle that is not allowed or
    holds code, and for other models and kinds of weights.
    """
    reads(path)
    with readable(path.name):
        return _load_checkpoint(path, settings, allow_pickle=allow_pickle)


def _load_checkpoint(path: Path, settings: LoaderSettings, *, allow_pickle: bool) -> Loaded:
    weights = read_checkpoint(path, allow_pickle=allow_pickle)
    check_plain(weights, path.name)
    family = checkpoint.checkpoint_family(weights, path.name)
    device = best_device()
    placement = placed(settings, device, _count(weights, checkpoint.UNET))
    metadata = {} if is_pickle(path) else read_metadata(path)
    prediction = checkpoint.prediction_of(weights, family, metadata, path.name)
    scale = _SDXL_SCALE if family is Family.SDXL else _SD_SCALE
    # Nothing in the file tells Turbo from its parent.
    version = version_of(family, prediction, turbo="turbo" in path.stem.lower())
    profile = profile_of_version(version)
    vae_config = checkpoint.vae_config(weights, path.name)
    find_vae = checkpoint.find_vae(weights, vae_config)
    vae_network = build_vae(vae_config, find_vae, DTYPES[placement.vae.computed], path.name)
    vae = vae_handle(vae_network, placement, device)
    unet_config = checkpoint.unet_config(weights, path.name)
    find_unet = checkpoint.find_unet(weights, unet_config)
    unet = build_unet(unet_config, find_unet, DTYPES[placement.unet.computed], path.name)
    model = Model(
        unet=unet_part(unet, placement, device),
        table=noise_table(prediction=prediction, zero_terminal_snr="ztsnr" in weights),
        family=family,
        latent_scale=scale,
        profile=profile,
        settings=placement.settings,
        previewer=_previewer(vae.part, scale),
    )
    prefixes = checkpoint.TEXT_PREFIXES[family]
    encoders = tuple(_file_encoder(weights, p, family, placement, path.name) for p in prefixes)
    clip = Clip(encoders)
    return Loaded(model, clip, vae, profile)


def load_checkpoint_as_comfyui(path: Path) -> Loaded:
    """As `load_checkpoint`, in fp32 on a CPU, with the text encoders' weights rounded to fp16.

    ComfyUI's own checkpoint loader keeps them so, also on a CPU; its pictures are the measure.
    """
    on_cpu = best_device().type == "cpu"
    precision = Precision.FP32 if on_cpu else Precision.AUTO
    loaded = load_checkpoint(path, LoaderSettings(precision=precision))
    for encoder in loaded.clip.encoders:
        for weight in encoder.part.module.parameters():
            weight.data = weight.data.half().to(weight.dtype)
    return loaded


def _count(weights: Weights, prefix: str = "") -> int:
    """How many parameters there are under the names that begin so."""
    return sum(tensor.numel() for name, tensor in weights.items() if name.startswith(prefix))


def _previewer(vae: Part, scale: float) -> Previewer:
    def decode(latents: torch.Tensor) -> torch.Tensor:
        with vae.ready() as network:
            decoded = network.decode((latents / scale).to(vae.device, vae.dtype)).sample
        return (decoded + 1.0) / 2.0

    return Previewer(decode, int(vae.module.config.latent_channels))


def _folder_table(folder: Path) -> NoiseTable:
    scheduler = read_scheduler_config(folder)
    try:
        return noise_table(
            beta_start=scheduler.get("beta_start", 0.00085),
            beta_end=scheduler.get("beta_end", 0.012),
            beta_schedule=scheduler.get("beta_schedule", "scaled_linear"),
            timesteps=scheduler.get("num_train_timesteps", 1000),
            zero_terminal_snr=bool(scheduler.get("rescale_betas_zero_snr", False)),
            prediction=prediction_of(scheduler),
        )
    except ValueError as error:
        raise UnsupportedModel(
            f"The scheduler of {folder.name} is not supported: {error}."
        ) from error


def _folder_encoder(
    folder: Path, name: str, family: Family, placement: Placement, half: bool
) -> TextEncoder:
    config = read_json(folder / name / "config.json")
    second = name == "text_encoder_2"
    if second:
        config["architectures"] = ["CLIPTextModelWithProjection"]
    tokenizer = folder / name.replace("text_encoder", "tokenizer")
    if not tokenizer.is_dir():
        raise ModelUnreadable(f"{folder.name} has no {tokenizer.name} folder: download it again.")
    network = build_text_encoder(
        config,
        _read_part(folder, name, half, _TEXT_FILE).get,
        DTYPES[placement.text.computed],
        f"{folder.name}/{name}",
    )
    return TextEncoder(
        part=text_part(network, placement, best_device()),
        tokenizer=load_tokenizer(tokenizer),
        # Folders of Stable Diffusion 2 leave the unused last layer out, so theirs is the last.
        layer=-2 if family is Family.SDXL else None,
        norm_inner=family is not Family.SDXL,
        key="clip_g" if second else "clip_h" if family is Family.SD2 else "clip_l",
    )


def _file_encoder(
    weights: Weights, prefix: str, family: Family, placement: Placement, name: str
) -> TextEncoder:
    openclip = prefix.endswith(".model.")
    network = build_text_encoder(
        checkpoint.text_config(weights, prefix, name),
        checkpoint.find_text(weights, prefix),
        DTYPES[placement.text.computed],
        name,
    )
    return TextEncoder(
        part=text_part(network, placement, best_device()),
        # OpenCLIP's encoders were trained with texts filled up with token 0.
        tokenizer=clip_tokenizer("!" if openclip else END),
        layer=None if family is Family.SD1 else -2,
        norm_inner=family is not Family.SDXL,
        key="clip_l" if not openclip else "clip_g" if family is Family.SDXL else "clip_h",
    )


def _find_vae(weights: Weights) -> Find:
    def find(name: str) -> torch.Tensor | None:
        if name in weights:
            return weights[name]
        for new, old in _OLD_VAE_NAMES.items():
            name = name.replace(f".{new}.", f".{old}.")
        return weights.get(name)

    return find
