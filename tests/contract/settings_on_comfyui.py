"""Whether each setting took effect in ComfyUI, and how far it moves the picture; prints JSON.

    COMFYUI_PYTHON tests/contract/settings_on_comfyui.py COMFYUI REPOSITORY PART

PART is one of PARTS. Uses the starter model, since random weights say nothing of pictures. Only
measures; the judging is in test_settings_on_comfyui.py. With `inductor` blocks are compiled by
torch's own compiler, which takes minutes, else they are only traced.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import types
from pathlib import Path
from typing import Any
from unittest.mock import patch

COMFYUI, REPOSITORY = (Path(argument) for argument in sys.argv[1:3])
PART = sys.argv[3]
INDUCTOR = PART == "inductor"
sys.argv[1:] = ["--cpu"]
sys.path[:0] = [str(COMFYUI)]
sys.path.append(str(REPOSITORY))

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import comfy.ldm.modules.attention as host_attention  # noqa: E402
import comfy.model_management as management  # noqa: E402
import comfy.model_patcher  # noqa: E402
import comfy.sd  # noqa: E402
import nodes  # noqa: E402
import torch  # noqa: E402
from comfy.cli_args import args as host_args  # noqa: E402
from torch.profiler import ProfilerActivity, profile  # noqa: E402

from comfy_nodes.errors import PackError  # noqa: E402
from comfy_nodes.native import attention, compat, compiling, loading, running, storage  # noqa: E402
from comfy_nodes.native.optimizing import optimize_model, optimize_vae  # noqa: E402
from comfy_nodes.ops import attention as shared  # noqa: E402
from comfy_nodes.settings import LoaderSettings  # noqa: E402

STARTER = REPOSITORY / "comfy_nodes" / "model_files" / "spriteworks-starter"
OWN = json.loads((STARTER / "spriteworks.json").read_text(encoding="utf-8"))
STEPS = 8
CFG = OWN["cfg"]
# Of its latents: at another size it does not draw what it learnt, and small changes move it far.
SIDE = OWN["width"] // 8
EXACT = {"precision": "fp32", "attention": "sdpa", "memory_format": "contiguous"}
META = torch.device("meta")


def main() -> None:
    torch.set_num_threads(1)
    before = process_state()
    report = PARTS[PART]()
    report["untouched"] = process_state() == before
    print(json.dumps(report))


def eager() -> dict[str, Any]:
    return {
        "precision": {name: precision(name) for name in ("auto", "fp16", "bf16", "fp8")},
        "quantization": {name: quantization(name) for name in ("int8", "fp8")},
        "vae_precision": {name: vae_precision(name) for name in ("auto", "fp16", "bf16")},
        "attention": {
            name: attend(name) for name in ("sdpa", "flash", "xformers", "sage", "sliced")
        },
        "memory_format": {name: order(name) for name in ("contiguous", "channels_last")},
        "tiles": tiles(),
        "slicing": slicing(),
        "offload": {name: offload(name) for name in ("auto", "sequential")},
        "kernels": kernels(),
        "cpu_kernels": cpu_kernels(),
        "step_cache": {str(value): step_cache(value) for value in (0.1, 0.3)},
        "optimize": optimized(),
        "strict": strict(),
        "notes": notes(),
        "gone": [f"{one.module}.{one.name}" for one in compat.missing()],
    }


def traced() -> dict[str, Any]:
    """What compiles; tracing takes as long as all else together."""
    return {"compile": compiled(), "two": two_loaders(), "optimize_vae": optimized_vae()}


PARTS = {"eager": eager, "traced": traced, "inductor": lambda: {"compile": compiled()}}


def settings(**values: Any) -> LoaderSettings:
    return LoaderSettings.model_validate({**EXACT, **values})


def load(**values: Any) -> Any:
    return loading.load_diffusers(STARTER, settings(**values))


def process_state() -> list[str]:
    """What a setting might change by mistake for every other model of the process."""
    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
    values = (
        host_attention.optimized_attention,
        host_attention.optimized_attention_masked,
        host_attention.attention_pytorch,
        comfy.sd.VAE.decode,
        comfy.sd.VAE.decode_tiled_,
        comfy.model_patcher.ModelPatcher.partially_load,
        management.vram_state,
        sorted(vars(host_args).items(), key=str),
        torch.get_default_dtype(),
        cudnn.benchmark,
        cudnn.allow_tf32,
        cuda.matmul.allow_tf32,
        getattr(cuda.matmul, "allow_fp16_accumulation", None),
        [cuda.flash_sdp_enabled(), cuda.math_sdp_enabled(), cuda.mem_efficient_sdp_enabled()],
        torch._dynamo.config.recompile_limit,
        torch.nn.functional.scaled_dot_product_attention,
    )
    return [repr(value) for value in values]


_conditions: list[Any] = []


def conditions() -> Any:
    """Of the texts, encoded once: all cases see the same, and only the UNet differs."""
    if not _conditions:
        clip = load().clip
        _conditions.extend(
            clip.encode_from_tokens_scheduled(clip.tokenize(text))
            for text in ("a red potion, pixel art", "")
        )
    return _conditions


@torch.inference_mode()
def sampled(model: Any, batch: int = 1) -> torch.Tensor:
    positive, negative = conditions()
    latent = {"samples": torch.zeros(batch, 4, SIDE, SIDE)}
    (result,) = nodes.common_ksampler(
        model, 3, STEPS, CFG, "euler", "karras", positive, negative, latent
    )
    samples: torch.Tensor = result["samples"]
    return samples


_base: list[Any] = []


def base() -> Any:
    """The model without any setting, its latent and its picture."""
    if not _base:
        loaded = load()
        latent = sampled(loaded.model)
        _base.extend((loaded, latent, decoded(loaded.vae, latent)))
    return _base


@torch.inference_mode()
def decoded(vae: Any, latent: torch.Tensor) -> torch.Tensor:
    picture: torch.Tensor = vae.decode(latent)
    return picture.clone()


def moved(picture: torch.Tensor, reference: torch.Tensor | None = None) -> dict[str, Any]:
    """Largest difference of 1, and PSNR in dB; None where there is no difference."""
    difference = (picture - (base()[2] if reference is None else reference)).double()
    mean = float(difference.square().mean())
    return {
        "largest": float(difference.abs().max()),
        "dB": None if mean == 0 else -10 * math.log10(mean),
    }


def drawn(model: Any) -> dict[str, Any]:
    return moved(decoded(base()[0].vae, sampled(model)))


def dtypes(network: torch.nn.Module) -> dict[str, int]:
    """How many numbers are stored in each format."""
    counts: dict[str, int] = {}
    for parameter in network.parameters():
        name = str(parameter.dtype).removeprefix("torch.")
        counts[name] = counts.get(name, 0) + parameter.numel()
    return counts


def precision(name: str) -> dict[str, Any]:
    loaded = load(precision=name)
    network = loaded.model.model.diffusion_model
    seen: set[str] = set()
    hook = network.register_forward_pre_hook(lambda _, given: seen.add(str(given[0].dtype)))
    result = {"weights": dtypes(network), "moved": drawn(loaded.model), "computes": sorted(seen)}
    hook.remove()
    text = loaded.clip.cond_stage_model.clip_l.transformer
    return {**result, "text": dtypes(text), "size": loaded.model.model_size()}


@torch.inference_mode()
def quantization(name: str) -> dict[str, Any]:
    """In inference mode, as ComfyUI runs nodes."""
    loaded = load(quantization=name)
    result = {
        "weights": dtypes(loaded.model.model.diffusion_model),
        "kind": str(storage.quantization_of(loaded.model.model.diffusion_model)),
        "moved": drawn(loaded.model),
        "size": loaded.model.model_size(),
    }
    patched, exact = loaded.model.clone(), base()[0].model.clone()
    for model in (patched, exact):
        add_lora(model, "ff.net.2.weight", 0.1)
    result["lora"] = moved_latent(sampled(patched), sampled(exact))
    result["lora moves"] = moved_latent(sampled(exact), base()[1])
    result["again"] = drawn(loaded.model)
    return result


def add_lora(model: Any, ending: str, size: float) -> None:
    """Adds a fixed random matrix to the first weight that is called so."""
    names = [name for name in model.model.state_dict() if name.endswith(ending)]
    shape = model.model.state_dict()[names[0]].shape
    added = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * size
    model.add_patches({names[0]: ("diff", (added,))})


def vae_precision(name: str) -> dict[str, Any]:
    loaded = load(vae_precision=name)
    return {
        "weights": dtypes(loaded.vae.first_stage_model),
        "moved": moved(decoded(loaded.vae, base()[1])),
    }


def attend(name: str) -> dict[str, Any]:
    """Which function computed the attention; xformers and sage are stood in for."""
    calls: list[Any] = []
    function = torch.nn.functional.scaled_dot_product_attention

    def recording(*arguments: Any, **options: Any) -> torch.Tensor:
        cuda = torch.backends.cuda
        calls.append([cuda.flash_sdp_enabled(), cuda.math_sdp_enabled()])
        return function(*arguments, **options)

    def xformers(q: Any, k: Any, v: Any) -> Any:
        calls.append("xformers")
        return function(*(each.transpose(1, 2) for each in (q, k, v))).transpose(1, 2)

    def sage(q: Any, k: Any, v: Any, tensor_layout: str, is_causal: bool) -> Any:
        calls.append(f"sage {tensor_layout} {is_causal}")
        return function(q, k, v)

    modules = {
        "xformers": types.ModuleType("xformers"),
        "xformers.ops": types.ModuleType("xformers.ops"),
        "sageattention": types.ModuleType("sageattention"),
    }
    modules["xformers.ops"].memory_efficient_attention = xformers  # type: ignore[attr-defined]
    modules["sageattention"].sageattn = sage  # type: ignore[attr-defined]
    loaded = load()
    # The device's table is passed by: neither library computes on a CPU.
    loaded.model.model.diffusion_model.dtype = torch.bfloat16  # what sage asks for
    widths, shared.SAGE_WIDTHS = shared.SAGE_WIDTHS, (32, 40, 64, 80, 128)
    attention.set_attention(loaded.model, settings(attention=name))
    shared.SAGE_WIDTHS = widths
    loaded.model.model.diffusion_model.dtype = torch.float32
    sys.modules.update(modules)
    torch.nn.functional.scaled_dot_product_attention = recording
    try:
        latent = sampled(loaded.model)
    finally:
        torch.nn.functional.scaled_dot_product_attention = function
        for key in modules:
            del sys.modules[key]
    return {
        "calls": len(calls),
        "kinds": [json.loads(kind) for kind in sorted({json.dumps(call) for call in calls})],
        "moved": moved(decoded(base()[0].vae, latent)),
    }


def order(name: str) -> dict[str, Any]:
    loaded = load(memory_format=name)
    result = {"moved": moved(decoded(loaded.vae, sampled(loaded.model)))}
    for part, network in (("unet", loaded.model.model), ("vae", loaded.vae.first_stage_model)):
        weights = [p for p in network.parameters() if p.ndim == 4 and p.shape[2] > 1]
        last = [p for p in weights if p.is_contiguous(memory_format=torch.channels_last)]
        result[part] = len(last) / len(weights)
    return result


def compiled() -> dict[str, Any]:
    """What is compiled, how often, and that the network is as before afterwards."""
    return {name: compile_one(name) for name in ("blocks", "whole")}


def compile_one(name: str) -> dict[str, Any]:
    plain = torch.compile
    if not INDUCTOR:
        torch.compile = lambda function, mode=None: plain(function, backend="eager")
    try:
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        loaded = load(compile=name)
        network = loaded.model.model.diffusion_model
        counts = []
        for _ in range(2):
            latent = sampled(loaded.model)
            counts.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
        blocks = compiling.compiled_blocks(network)
        return {
            "graphs": counts,
            "breaks": sum(torch._dynamo.utils.counters["graph_break"].values()),
            "blocks": len(blocks),
            "left": sum(block._compiled_call_impl is not None for block in blocks),
            "moved": moved(decoded(base()[0].vae, latent)),
        }
    finally:
        torch.compile = plain


def tiles() -> dict[str, Any]:
    """Sizes of the tiles that the host was asked for, and how far a larger picture moves."""
    wide = {"vae_tiling": "on", "vae_tile": 128, "vae_overlap": 32}
    vae, plain = load(**wide).vae, base()[0].vae
    latent = base()[1].repeat(1, 1, 2, 2)
    whole = decoded(plain, latent)
    asked: list[list[int]] = []
    original = comfy.utils.tiled_scale

    def recording(
        samples: Any, run: Any, tile_x: int, tile_y: int, overlap: int, **rest: Any
    ) -> Any:
        asked.append([tile_x, tile_y, overlap])
        return original(samples, run, tile_x, tile_y, overlap, **rest)

    comfy.utils.tiled_scale = recording
    try:
        result = {"moved": moved(decoded(vae, latent), whole), "decode": asked[:]}
        asked.clear()
        result["small"] = moved(decoded(vae, base()[1]))
        result["small tiles"] = len(asked)
        with torch.inference_mode():
            vae.encode(whole)
        result["encode"] = asked[:]
    finally:
        comfy.utils.tiled_scale = original
    return result


def slicing() -> dict[str, Any]:
    loaded = load(vae_slicing="on")
    latent = base()[1].repeat(3, 1, 1, 1)
    seen: list[int] = []
    network = loaded.vae.first_stage_model
    decode, encode = network.decode, network.encode
    network.decode = lambda z, **rest: seen.append(len(z)) or decode(z, **rest)
    network.encode = lambda x, **rest: seen.append(len(x)) or encode(x, **rest)
    pictures = decoded(loaded.vae, latent)
    with torch.inference_mode():
        loaded.vae.encode(pictures)
    return {"batches": seen, "moved": moved(pictures[:1])}


@torch.inference_mode()
def offload(name: str) -> dict[str, Any]:
    """Where the weights lie while a pass is computed on a pretended device, one without data."""
    loaded = load(offload=name)
    model = loaded.model.clone()
    model.offload_device, model.load_device = torch.device("cpu"), META
    model.partially_load(META, 1e32)
    network = model.model.diffusion_model
    result = {"loaded": places(network)}
    (first, *_) = (part for name, part in network.named_modules() if name.endswith("attn2"))
    context = torch.zeros(1, 77, first.to_k.weight.shape[1], device=META)
    try:
        options = dict(model.model_options["transformer_options"])
        answer = network(
            torch.zeros(1, 4, 8, 8, device=META),
            torch.zeros(1, device=META),
            context=context,
            transformer_options=options,
        )
        result["answer"] = str(answer.device)
    except (RuntimeError, NotImplementedError) as error:
        result["answer"] = str(error)
    result["after"] = places(network)
    if name == "sequential":
        result["moved"] = drawn(load(offload=name).model)
    return result


def places(network: torch.nn.Module) -> list[str]:
    return sorted({str(parameter.device) for parameter in network.parameters()})


def kernels() -> dict[str, Any]:
    loaded = load()
    wanted = settings(cudnn_benchmark="on", tf32="on", fp16_accumulation="on")
    running.set_running(loaded.model, wanted)  # by itself, as a CPU's table switches them off
    seen: list[Any] = []
    network = loaded.model.model.diffusion_model
    hook = network.register_forward_pre_hook(lambda *_: seen.append(switches()))
    before = switches()
    result = {"moved": drawn(loaded.model), "inside": seen[0], "same": seen[0] == seen[-1]}
    hook.remove()
    network.register_forward_pre_hook(fail)
    result["error"] = sentence(lambda: sampled(loaded.model), ValueError)
    result["restored"] = switches() == before
    return result


@torch.inference_mode()
def cpu_kernels() -> dict[str, Any]:
    """How often oneDNN's product was called while a UNet sampled, inside and after; and NNPACK.

    That one is for larger pictures than the starter model makes, and the VAE is wide enough.
    """
    loaded = load(cpu_kernels="on", memory_format="channels_last")

    def products(work: Any) -> tuple[int, Any]:
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            answer = work()
        return sum(one.name == "mkldnn::_linear_pointwise" for one in seen.events() or ()), answer

    def winograds(work: Any) -> tuple[int, Any]:
        convolve = torch._nnpack_spatial_convolution
        with (
            patch.object(torch, "_nnpack_spatial_convolution", wraps=convolve) as counted,
            # Of small pictures too, which take less time.
            patch("comfy_nodes.ops.cpu_kernels._MANY", 16 * 16),
        ):
            answer = work()
        return counted.call_count, answer

    network = loaded.model.model.diffusion_model
    count, latent = products(lambda: sampled(loaded.model))
    layer = next(one for one in network.modules() if isinstance(one, torch.nn.Linear))
    outside, _ = products(lambda: layer(torch.zeros(2, layer.in_features)))
    linear = sum(isinstance(one, torch.nn.Linear) for one in network.modules())
    # Four pictures side by side. What is no picture is all edges, where rounding is magnified.
    large, pixels = base()[1].repeat(1, 1, 2, 2), torch.rand(1, 128, 128, 3)
    vaes = {
        name: {
            "plain": winograds(lambda work=work: work(base()[0].vae)),
            "fast": winograds(lambda work=work: work(loaded.vae)),
        }
        for name, work in {
            "decode": lambda vae: decoded(vae, large),
            "decode in tiles": lambda vae: vae.decode_tiled(large, 16, 16, 4).clone(),
            "encode": lambda vae: vae.encode(pixels),
        }.items()
    }
    return {
        "a_pass": count / STEPS,
        "linear": linear,
        "outside": outside,
        "moved": moved(decoded(base()[0].vae, latent)),
        "nnpack": torch.backends.nnpack.is_available(),
        "vae": {
            name: {
                "calls": {which: count for which, (count, _) in both.items()},
                "moved": moved(both["fast"][1], both["plain"][1]),
            }
            for name, both in vaes.items()
        },
    }


def fail(*_: Any) -> None:
    raise ValueError("on purpose")


def switches() -> list[Any]:
    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
    accumulation = getattr(cuda.matmul, "allow_fp16_accumulation", True)
    return [cudnn.benchmark, cudnn.allow_tf32, cuda.matmul.allow_tf32, accumulation]


def step_cache(threshold: float) -> dict[str, Any]:
    loaded = load(step_cache=threshold)
    passes: list[int] = []
    network = loaded.model.model.diffusion_model
    forward = network._forward
    network._forward = lambda *given, **rest: passes.append(1) or forward(*given, **rest)
    first = decoded(base()[0].vae, sampled(loaded.model))
    count = len(passes)
    again = decoded(base()[0].vae, sampled(loaded.model))
    return {
        "passes": [count, len(passes) - count],
        "moved": moved(first),
        "again": moved(again, first),
    }


def two_loaders() -> dict[str, Any]:
    """Two models in one graph with opposite settings, run in turns."""
    plain = torch.compile
    torch.compile = lambda function, mode=None: plain(function, backend="eager")
    try:
        mine = load(
            precision="bf16",
            attention="sliced",
            memory_format="channels_last",
            compile="blocks",
            vae_precision="bf16",
            vae_tiling="on",
            vae_tile=128,
            vae_overlap=32,
            vae_slicing="on",
            offload="model",
            cudnn_benchmark="off",
            step_cache=0.2,
        )
        other = load()
        first = [decoded(one.vae, sampled(one.model)) for one in (mine, other)]
        second = [decoded(one.vae, sampled(one.model)) for one in (mine, other)]
    finally:
        torch.compile = plain
    return {
        "mine again": moved(second[0], first[0]),
        "other": [moved(first[1]), moved(second[1])],
        "apart": moved(first[0], first[1]),
    }


def optimized() -> dict[str, Any]:
    """A MODEL of another loader, with a LoRA on it, before and after."""
    model = base()[0].model.clone()
    name = "diffusion_model.input_blocks.1.0.in_layers.2.weight"
    shape = model.model.state_dict()[name].shape
    model.add_patches({name: ("diff", (torch.full(shape, 0.1),))})
    before = sampled(model)
    lossless = optimize_model(model, settings(attention="sliced", compile="off"))
    result: dict[str, Any] = {
        "shares": lossless.model is model.model,
        "lossless": moved_latent(sampled(lossless), before),
    }
    narrow = optimize_model(model, settings(precision="bf16", memory_format="channels_last"))
    network = narrow.model.diffusion_model
    result["copied"] = narrow.model is not model.model
    result["weights"] = dtypes(network)
    result["moved"] = moved_latent(sampled(narrow), before)
    result["lora"] = moved_latent(sampled(model), base()[1])
    result["same before"] = bool(torch.equal(sampled(model), before))
    result["original"] = dtypes(model.model.diffusion_model)
    fp8 = optimize_model(narrow, settings(precision="fp8"))
    result["fp8"] = storage.is_stored_in_fp8(fp8.model.diffusion_model)
    result["back"] = dtypes(optimize_model(fp8, settings()).model.diffusion_model)
    result["profile"] = loading.profile_of(narrow) is not None
    result["foreign"] = sentence(lambda: optimize_model(FOREIGN, settings()), PackError)
    return result


class FOREIGN:
    class model:
        diffusion_model = torch.nn.Identity()


def moved_latent(latent: torch.Tensor, reference: torch.Tensor) -> dict[str, Any]:
    vae = base()[0].vae
    return moved(decoded(vae, latent), decoded(vae, reference))


def optimized_vae() -> dict[str, Any]:
    vae, latent, picture = base()[0].vae, base()[1], base()[2]
    tiled = optimize_vae(vae, settings(vae_tiling="on", vae_tile=128, vae_overlap=0))
    narrow = optimize_vae(vae, settings(vae_precision="bf16", memory_format="channels_last"))
    plain = torch.compile
    torch.compile = lambda function, mode=None: plain(function, backend="eager")
    try:
        torch._dynamo.utils.counters.clear()
        blocks = optimize_vae(vae, settings(compile="blocks"))
        result = {
            "compiled": moved(decoded(blocks, latent)),
            "graphs": torch._dynamo.utils.counters["stats"]["unique_graphs"],
        }
    finally:
        torch.compile = plain
    return {
        **result,
        "shares": tiled.first_stage_model is vae.first_stage_model,
        "tiling": [str(one.spriteworks.vae_tiling.value) for one in (tiled, vae)],
        "weights": [dtypes(one.first_stage_model) for one in (narrow, vae)],
        "moved": moved(decoded(narrow, latent)),
        "same before": moved(decoded(vae, latent), picture),
    }


def strict() -> dict[str, str]:
    asked = {"attention": "xformers", "fp16_accumulation": "on", "tf32": "on"}
    return {
        name: sentence(lambda name=name, value=value: load(**{name: value}, strict=True), PackError)
        for name, value in asked.items()
    }


def notes() -> list[str]:
    """Lines in the log for what this machine cannot do."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("comfy_nodes.native.tuning")
    log.addHandler(handler)
    load(attention="xformers", cudnn_benchmark="on")
    log.removeHandler(handler)
    return lines


def sentence(work: Any, kind: type[Exception]) -> str:
    try:
        work()
    except kind as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


if __name__ == "__main__":
    with torch.inference_mode():  # in which ComfyUI runs its nodes
        main()
