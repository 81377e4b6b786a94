"""What the pack makes of ComfyUI's own objects; runs in ComfyUI's environment, prints JSON.

    COMFYUI_PYTHON tests/contract/pack_on_comfyui.py COMFYUI REPOSITORY MODELS

MODELS was written by tiny_models.py. Only measures; the judging is in test_pack_on_comfyui.py.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any

COMFYUI, REPOSITORY, MODELS = (Path(argument) for argument in sys.argv[1:4])
sys.argv[1:] = ["--cpu"]
sys.path[:0] = [str(COMFYUI)]
sys.path.append(str(REPOSITORY))

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import comfy.ldm.modules.attention as attention  # noqa: E402
import comfy.lora  # noqa: E402
import comfy.model_management as management  # noqa: E402
import comfy.sd  # noqa: E402
import nodes  # noqa: E402
import torch  # noqa: E402
from comfy.cli_args import args as host_args  # noqa: E402
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from comfy_nodes.errors import PackError  # noqa: E402
from comfy_nodes.native import loading  # noqa: E402
from comfy_nodes.native.seeds import with_seeds  # noqa: E402
from comfy_nodes.ops.attention import FUNCTIONS  # noqa: E402
from comfy_nodes.settings import LoaderSettings  # noqa: E402

NAMES = ("tiny-sd1", "tiny-sd2", "tiny-sdxl")
TEXTS = ("a red potion", "")
SMALL_TILES = {"vae_tile": 128, "vae_overlap": 32}
SAMPLERS = ("euler", "euler_ancestral", "dpmpp_2m_sde")


def main() -> None:
    # Tiny layers: with more threads on a busy machine they wait for each other most of the time.
    torch.set_num_threads(1)
    before = process_state()
    report: dict[str, Any] = {"agreement": {name: agreement(name) for name in NAMES}}
    report["precision"] = precision()
    report["attention"] = {name: attend(name) for name in ("auto", "sdpa", "sliced")}
    report["tiling"] = {name: tile(name) for name in ("auto", "on", "off")}
    report["offload"] = {name: offload(name) for name in ("auto", "none", "text_encoder", "model")}
    report["seeds"] = seeds()
    report["lora"] = lora()
    report["checkpoint"] = checkpoint()
    report["errors"] = errors()
    report["untouched"] = process_state() == before
    report["clone"] = clone()
    sys.stdout.write(json.dumps(report))


def load(name: str = "tiny-sd1", **settings: Any) -> Any:
    return loading.load_diffusers(MODELS / name, LoaderSettings.model_validate(settings))


def farthest(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.float() - b.float()).abs().max())


def process_state() -> list[str]:
    """What a setting might change by mistake for every other model of the process."""
    return [
        repr(value)
        for value in (
            attention.optimized_attention,
            attention.optimized_attention_masked,
            comfy.sd.VAE.decode,
            comfy.sd.VAE.encode,
            comfy.sd.CLIP.encode_from_tokens,
            management.vram_state,
            management.load_models_gpu,
            sorted(vars(host_args).items(), key=str),
            torch.get_default_dtype(),
            torch.backends.cudnn.benchmark,
            torch.backends.cuda.matmul.allow_tf32,
            torch.are_deterministic_algorithms_enabled(),
        )
    ]


def unet_pass(loaded: Any, reference: dict[str, torch.Tensor], **options: Any) -> torch.Tensor:
    adm = None
    if "pooled" in reference:
        adm = loaded.model.model.encode_adm(
            pooled_output=reference["pooled"], device="cpu", width=64, height=64
        )
    network = loaded.model.model.diffusion_model
    dtype = network.dtype
    result: torch.Tensor = network(
        reference["latent"].to(dtype),
        reference["timestep"],
        context=reference["context"].to(dtype),
        y=adm,
        transformer_options=options,
    )
    return result


@torch.inference_mode()
def agreement(name: str) -> dict[str, Any]:
    """Largest differences from what diffusers computed."""
    loaded = load(name)
    reference = load_file(MODELS / f"{name}.reference.safetensors")
    result: dict[str, Any] = {"profile": [loaded.profile.width, loaded.profile.height]}
    result["type"] = loaded.model.model.model_type.name
    encoded = [
        loaded.clip.encode_from_tokens(loaded.clip.tokenize(text), return_pooled=True)
        for text in TEXTS
    ]
    result["text"] = farthest(torch.cat([cond for cond, _ in encoded]), reference["context"])
    if "pooled" in reference:
        result["pooled"] = farthest(torch.cat([p for _, p in encoded]), reference["pooled"])
    ours = unet_pass(loaded, reference, **loaded.model.model_options["transformer_options"])
    result["unet"] = farthest(ours, reference["unet"])
    result["stock_attention"] = farthest(ours, unet_pass(loaded, reference))
    result["decoded"] = farthest(loaded.vae.decode(reference["latent"]), reference["decoded"])
    result["encoded"] = farthest(loaded.vae.encode(reference["picture"]), reference["encoded"])
    return result


@torch.inference_mode()
def precision() -> dict[str, Any]:
    reference = load_file(MODELS / "tiny-sd1.reference.safetensors")
    exact = sampled(load())
    result = {}
    for name in ("auto", "fp32", "fp16", "bf16"):
        loaded = load(precision=name)
        seen: list[str] = []
        hook = loaded.model.model.diffusion_model.register_forward_pre_hook(
            lambda _, given, seen=seen: seen.append(str(given[0].dtype))
        )
        difference = farthest(sampled(loaded), exact)
        hook.remove()
        result[name] = {
            "unet": str(loaded.model.model.get_dtype()),
            "computes": seen[0],
            "text": str(loaded.clip.cond_stage_model.clip_l.transformer.dtype),
            "vae": str(loaded.vae.vae_dtype),
            "difference": difference,
            "decodes": farthest(loaded.vae.decode(reference["latent"]), reference["decoded"]),
        }
    return result


@torch.inference_mode()
def attend(name: str) -> dict[str, Any]:
    """Which of the host's functions computed the attention, and how the result differs."""
    calls = {"attention_pytorch": 0, "sliced": 0}
    # functions by their names; ours are in a table
    owners = {"attention_pytorch": vars(attention), "sliced": FUNCTIONS}
    originals = {key: owner[key] for key, owner in owners.items()}

    def counting(key: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            calls[key] += 1
            return originals[key](*arguments, **options)

        return call

    for key, owner in owners.items():
        owner[key] = counting(key)
    try:
        loaded = load(attention=name)
        reference = load_file(MODELS / "tiny-sd1.reference.safetensors")
        options = loaded.model.clone().model_options["transformer_options"]
        result = unet_pass(loaded, reference, **options)
    finally:
        for key, original in originals.items():
            owners[key][key] = original
    used = [key for key, count in calls.items() if count]
    return {"used": used, "difference": farthest(result, reference["unet"])}


@torch.inference_mode()
def tile(name: str) -> dict[str, Any]:
    """How often the VAE tiled, by choice and when memory ran out."""
    vae, other = load(vae_tiling=name, **SMALL_TILES).vae, load().vae
    latent = torch.randn(1, 4, 20, 20, generator=torch.Generator().manual_seed(0))
    plain = other.decode(latent)
    result: dict[str, Any] = {
        "decoded": farthest(vae.decode(latent), plain),
        "encoded": farthest(vae.encode(plain), other.encode(plain)),
        "tiles": counted_tiles(lambda: vae.decode(latent)),
        "asked": counted_tiles(lambda: vae.decode_tiled(latent)),
        "other": counted_tiles(lambda: other.decode(latent)),
    }
    if name != "on":  # whose first tile would fail
        tiles: list[int] = []
        said = sentence(lambda: tiles.append(counted_tiles(lambda: without_memory(vae, latent))))
        result["short"] = [said, sum(tiles)]
    return result


def counted_tiles(work: Any) -> int:
    count = 0
    original = comfy.utils.tiled_scale

    def counting(*arguments: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        return original(*arguments, **options)

    comfy.utils.tiled_scale = counting
    try:
        work()
    finally:
        comfy.utils.tiled_scale = original
    return count


def without_memory(vae: Any, latent: torch.Tensor) -> None:
    """Decodes while the first whole pass runs out of memory."""
    network, original = vae.first_stage_model, vae.first_stage_model.decode
    calls = 0

    def failing(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise management.OOM_EXCEPTION("no memory left")
        return original(*arguments, **options)

    network.decode = failing
    try:
        vae.decode(latent)
    finally:
        del network.decode


@torch.inference_mode()
def offload(name: str) -> dict[str, Any]:
    """Which parts the host still holds as loaded after a run."""
    management.unload_all_models()
    loaded = load(offload=name)
    picture = loaded.vae.decode(sampled(loaded, steps=1))
    held = [kept.model.model for kept in management.current_loaded_models if kept.model is not None]
    parts = {
        "unet": loaded.model.model,
        "text": loaded.clip.cond_stage_model,
        "vae": loaded.vae.first_stage_model,
    }
    return {
        "held": sorted(key for key, network in parts.items() if any(network is h for h in held)),
        "stays": loaded.model.offload_device == loaded.model.load_device,
        "text_device": str(loaded.clip.patcher.load_device),
        "sum": float(picture.double().sum()),
    }


def conditions(loaded: Any) -> tuple[Any, Any]:
    first, second = (
        loaded.clip.encode_from_tokens_scheduled(loaded.clip.tokenize(text)) for text in TEXTS
    )
    return first, second


def sampled(
    loaded: Any,
    *,
    model: Any = None,
    seed: int = 3,
    sampler: str = "euler",
    latent: dict[str, torch.Tensor] | None = None,
    steps: int = 3,
    **options: Any,
) -> torch.Tensor:
    positive, negative = conditions(loaded)
    latent = latent or {"samples": torch.zeros(1, 4, 8, 8)}
    (result,) = nodes.common_ksampler(
        model or loaded.model,
        seed,
        steps,
        4.0,
        sampler,
        "karras",
        positive,
        negative,
        latent,
        **options,
    )
    samples: torch.Tensor = result["samples"]
    return samples


@torch.inference_mode()
def seeds() -> dict[str, Any]:
    """Largest difference in 1/255 of each picture of a batch from its single run."""
    loaded = load()
    batch = {"samples": torch.zeros(8, 4, 8, 8)}
    seeded = with_seeds(with_seeds(loaded.model, 1), 41)
    result: dict[str, Any] = {}
    for sampler in SAMPLERS:
        pictures = loaded.vae.decode(
            sampled(loaded, model=seeded, seed=999, sampler=sampler, latent=batch)
        )
        singles = [sampled(loaded, seed=41 + i, sampler=sampler) for i in range(8)]
        alone = torch.cat([loaded.vae.decode(single) for single in singles])
        result[sampler] = 255 * farthest(pictures, alone)
    result["spread"] = 255 * float((pictures[0] - pictures[1]).abs().max())
    result["inpaint"] = inpaint_seeds(loaded, seeded)
    result["after the last"] = seeds_around_the_last(loaded)
    quiet = sampled(loaded, model=seeded, latent=batch, disable_noise=True)
    result["without_noise"] = farthest(quiet[:1], quiet[1:2])
    return result


def seeds_around_the_last(loaded: Any) -> float:
    """How far the picture after the one with the last seed is from the run with seed 0."""
    seeded = with_seeds(loaded.model, 2**64 - 1)
    pair = {"samples": torch.zeros(2, 4, 8, 8)}
    both = sampled(loaded, model=seeded, sampler="euler_ancestral", latent=pair)
    return farthest(both[1:], sampled(loaded, seed=0, sampler="euler_ancestral"))


def inpaint_seeds(loaded: Any, seeded: Any) -> float:
    """As `seeds`, under a mask with ddim, whose noise outside the mask has a seed of its own."""
    start = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 32:] = 1.0
    batch = {"samples": start.repeat(2, 1, 1, 1), "noise_mask": mask}
    single = {"samples": start, "noise_mask": mask}
    options: dict[str, Any] = {"sampler": "ddim", "denoise": 0.7}
    together = sampled(loaded, model=seeded, latent=batch, **options)
    alone = [sampled(loaded, seed=41 + i, latent=single, **options) for i in range(2)]
    return farthest(together, torch.cat(alone))


@torch.inference_mode()
def lora() -> dict[str, Any]:
    """Whether the host's own LoRA loader finds the layers of a folder's parts."""
    loaded = load()
    unet_keys = comfy.lora.model_lora_keys_unet(loaded.model.model, {})
    names = {
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q": (64, 64),
        "lora_te_text_model_encoder_layers_0_self_attn_q_proj": (64, 64),
    }
    weights = {}
    for name, (rows, columns) in names.items():
        weights[f"{name}.lora_up.weight"] = torch.ones(rows, 4)
        weights[f"{name}.lora_down.weight"] = torch.ones(4, columns)
    model, clip = comfy.sd.load_lora_for_models(loaded.model, loaded.clip, weights, 0.1, 0.1)
    plain = sampled(loaded)
    changed = sampled(loaded, model=model)
    return {
        "unet_keys": len(unet_keys),
        "patched": [len(model.patches), len(clip.patcher.patches)],
        "changes": farthest(plain, changed),
        "restored": farthest(plain, sampled(loaded)),
    }


@torch.inference_mode()
def checkpoint() -> dict[str, Any]:
    """A single file with SD 1.x's own names and widths, but one shallow level."""
    config = {
        "image_size": 32,
        "in_channels": 4,
        "out_channels": 4,
        "model_channels": 320,
        "channel_mult": [1],
        "num_res_blocks": [1],
        "transformer_depth": [1],
        "transformer_depth_output": [1, 1],
        "transformer_depth_middle": 1,
        "context_dim": 768,
        "num_heads": 8,
        "use_spatial_transformer": True,
        "legacy": False,
    }
    generator = torch.Generator().manual_seed(0)
    weights = {
        f"model.diffusion_model.{key}": torch.randn(tensor.shape, generator=generator) * 0.02
        for key, tensor in UNetModel(**config).state_dict().items()
    }
    layer = "cond_stage_model.transformer.text_model.final_layer_norm"
    weights[f"{layer}.weight"], weights[f"{layer}.bias"] = torch.ones(768), torch.zeros(768)
    weights["first_stage_model.decoder.conv_in.weight"] = torch.zeros(512, 4, 3, 3)
    weights["first_stage_model.encoder.down.2.downsample.conv.weight"] = torch.zeros(512, 512, 3, 3)
    weights["first_stage_model.post_quant_conv.weight"] = torch.zeros(4, 4, 1, 1)
    path = MODELS / "shallow.safetensors"
    save_file(weights, path)
    loaded = loading.load_checkpoint(path, LoaderSettings(precision="bf16", vae_tiling="on"))
    result = {
        "profile": [loaded.profile.width, loaded.profile.steps],
        "unet": str(loaded.model.model.get_dtype()),
        "vae": [type(loaded.vae).__name__, str(loaded.vae.vae_dtype)],
        "override": "optimized_attention_override"
        in loaded.model.model_options["transformer_options"],
        "remembered": loading.profile_of(loaded.model.clone()) == loaded.profile,
    }
    default = loading.load_checkpoint(path, LoaderSettings())
    text = default.clip.cond_stage_model.clip_l.transformer.dtype
    result["default"] = [str(default.model.model.get_dtype()), str(text)]
    return result


def errors() -> dict[str, str]:
    """The sentences for damaged and foreign models."""
    whole = (MODELS / "shallow.safetensors").read_bytes()
    cut = MODELS / "cut.safetensors"
    cut.write_bytes(whole[: len(whole) // 2])
    foreign = MODELS / "foreign.safetensors"
    save_file({"lora_unet_x.lora_up.weight": torch.zeros(2, 2)}, foreign)
    broken = MODELS / "broken"
    config = json.loads((MODELS / "tiny-sd1" / "unet" / "config.json").read_text("utf-8"))
    return {
        "cut": sentence(lambda: loading.load_checkpoint(cut, LoaderSettings())),
        "foreign": sentence(lambda: loading.load_checkpoint(foreign, LoaderSettings())),
        "no folder": sentence(lambda: loading.load_diffusers(broken, LoaderSettings())),
        "groups": sentence(lambda: load_with({**config, "norm_num_groups": 16})),
        "width": sentence(lambda: load_with({**config, "block_out_channels": [64, 192]})),
        "depth": sentence(lambda: load_with({**config, "layers_per_block": 1})),
    }


def clone() -> dict[str, Any]:
    """What ComfyUI finds where the repository lies in its custom_nodes folder."""
    folder = MODELS.parent / "custom_nodes" / "spriteworks"
    left_out = shutil.ignore_patterns("model_files", "__pycache__")
    shutil.copytree(REPOSITORY / "comfy_nodes", folder / "comfy_nodes", ignore=left_out)
    shutil.copy(REPOSITORY / "__init__.py", folder)
    before = set(nodes.NODE_CLASS_MAPPINGS)
    loaded = asyncio.run(nodes.load_custom_node(str(folder), module_parent="custom_nodes"))
    return {
        "loaded": loaded,
        "nodes": sorted(set(nodes.NODE_CLASS_MAPPINGS) - before),
        "web": Path(nodes.EXTENSION_WEB_DIRS["spriteworks"]).relative_to(folder).as_posix(),
    }


def load_with(config: dict[str, Any]) -> None:
    """Loads the tiny SD 1 folder under another UNet config."""
    path = MODELS / "tiny-sd1" / "unet" / "config.json"
    original = path.read_text(encoding="utf-8")
    path.write_text(json.dumps(config), encoding="utf-8")
    try:
        load()
    finally:
        path.write_text(original, encoding="utf-8")


def sentence(work: Any) -> str:
    try:
        work()
    except PackError as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


if __name__ == "__main__":
    main()
