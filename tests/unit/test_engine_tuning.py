"""Every setting of a MODEL: that it took effect on the engine's networks, and what it moves.

Pictures are compared after decoding, in dB of the mean square error against fp32 with plain
attention (peak 1). Bounds hold for the tiny random models; docs/optimization-guide.md has the
effect on real ones.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

import comfy_nodes
from comfy_nodes.errors import UnsupportedSetting
from comfy_nodes.hardware import Device
from comfy_nodes.ops import cpu_kernels
from comfy_nodes.ops.attention import flash
from comfy_nodes.ops.dtypes import DTYPES
from comfy_nodes.placing import Dtype, Memory, place
from comfy_nodes.settings import (
    Attention,
    Compile,
    CompileMode,
    LoaderSettings,
    MemoryFormat,
    Precision,
    Quantization,
)
from engine_pictures import REQUEST, compiled, decibels, load, picture, sampled, unet
from orchestrator.engine.handles.handles import Loaded, Vae
from orchestrator.engine.models.loading import load_diffusers
from orchestrator.engine.models.vae import decode, decode_tiled, encode
from orchestrator.engine.sampling.conditioning import encode_text
from orchestrator.engine.sampling.sampling import sample
from orchestrator.engine.tuning.attention import head_widths, set_attention
from orchestrator.engine.tuning.optimizing import optimize_model, optimize_vae
from orchestrator.engine.tuning.tuning import compile_network, twin

FP8 = DTYPES[Dtype.FP8]
WIDE = (torch.bfloat16, torch.float32)
STARTER = Path(comfy_nodes.__file__).parent / "model_files" / "spriteworks-starter"
CPU, META = torch.device("cpu"), torch.device("meta")
# fp32 by another road: no pixel of 255 may change.
ROUNDING = 100.0


# Precision


@pytest.mark.parametrize(
    ("precision", "dtype", "bound"),
    [(Precision.FP32, torch.float32, math.inf), (Precision.BF16, torch.bfloat16, 45.0)],
)
def test_precision_is_that_of_the_weights(
    tiny_models: Path,
    baseline: torch.Tensor,
    precision: Precision,
    dtype: torch.dtype,
    bound: float,
) -> None:
    loaded = load(tiny_models, precision=precision)
    assert {weight.dtype for weight in unet(loaded).parameters()} == {dtype}
    assert {w.dtype for e in loaded.clip.encoders for w in e.part.module.parameters()} == {dtype}
    assert decibels(picture(loaded), baseline) >= bound


@pytest.mark.parametrize(
    ("precision", "stored", "bound"),
    [(Precision.FP16, torch.float16, 60.0), (Precision.FP8, FP8, 38.0)],
)
def test_large_weights_are_stored_narrower_than_a_cpu_computes(
    tiny_models: Path,
    baseline: torch.Tensor,
    precision: Precision,
    stored: torch.dtype,
    bound: float,
) -> None:
    loaded = load(tiny_models, precision=precision)
    computed = loaded.model.unet.dtype
    # A CPU is slow in fp16. With 8 bits it is free to choose bf16 where it has it.
    assert computed in ((torch.float32,) if precision is Precision.FP16 else WIDE)
    for name, weight in unet(loaded).named_parameters():
        kept = "norm" in name or name.startswith(("conv_in", "conv_out", "time_embedding"))
        narrow = name.endswith("weight") and not kept
        assert weight.dtype is (stored if narrow else computed), name
    assert decibels(picture(loaded), baseline) >= bound


def test_a_card_computes_in_fp16_and_stores_it() -> None:
    card = Device("cuda", "pretended", 24 * 2**30, (8, 9), bf16=True)
    found = place(LoaderSettings(precision=Precision.FP16), card, 860_000_000, Memory.FIXED)
    assert (found.unet.computed, found.text.computed) == (Dtype.FP16, Dtype.FP16)
    assert (found.unet.stored, found.text.stored) == (Dtype.FP16, Dtype.FP16)
    older = replace(card, bf16=False)
    found = place(LoaderSettings(precision=Precision.FP8), older, 860_000_000, Memory.FIXED)
    assert (found.unet.computed, found.unet.stored) == (Dtype.FP16, Dtype.FP8)


# Attention


class Calls(torch.utils._python_dispatch.TorchDispatchMode):
    """The names of torch's operations, as they run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.flash_only: set[bool] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name()
        self.names.add(name)
        if "scaled_dot_product" in name:
            self.flash_only.add(not torch.backends.cuda.math_sdp_enabled())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("attention", "exact"),
    [(Attention.SDPA, True), (Attention.FLASH, True), (Attention.SLICED, False)],
)
def test_the_attention_that_was_asked_for_runs(
    tiny_models: Path, baseline: torch.Tensor, attention: Attention, exact: bool
) -> None:
    loaded = load(tiny_models, attention=attention)
    texts = [encode_text(loaded.clip, text) for text in ("a red potion", "")]
    with Calls() as calls:
        latent = sample(
            loaded.model, *texts, {"samples": torch.zeros(1, 4, 8, 8)}, REQUEST, lambda *_: None
        )
    fused = any("scaled_dot_product" in name for name in calls.names)
    assert fused == (attention is not Attention.SLICED)
    if fused:
        assert calls.flash_only == {attention is Attention.FLASH}
    assert torch.backends.cuda.math_sdp_enabled()
    distance = decibels(decode(loaded.vae, latent["samples"]), baseline)
    assert distance >= (math.inf if exact else ROUNDING)


def test_flash_that_cannot_run_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    q = torch.ones(1, 1, 2, 8)
    real = torch.nn.functional.scaled_dot_product_attention

    def attend(*args: Any) -> torch.Tensor:
        if not torch.backends.cuda.math_sdp_enabled():
            raise RuntimeError("No available kernel. Aborting execution.")
        return real(*args)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attend)
    for _ in range(2):
        torch.testing.assert_close(flash(q, q, q), q)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """Stand-ins for the two libraries that need a GPU, with their own layouts of tensors."""
    seen: list[torch.Size] = []
    attend = torch.nn.functional.scaled_dot_product_attention

    def memory_efficient_attention(q: Any, k: Any, v: Any) -> torch.Tensor:
        seen.append(q.shape)
        return attend(*(each.transpose(1, 2) for each in (q, k, v))).transpose(1, 2)

    def sageattn(q: Any, k: Any, v: Any, tensor_layout: str, is_causal: bool) -> torch.Tensor:
        assert (tensor_layout, is_causal) == ("HND", False)
        seen.append(q.shape)
        return attend(q, k, v)

    for name, attribute, function in (
        ("xformers", None, None),
        ("xformers.ops", "memory_efficient_attention", memory_efficient_attention),
        ("sageattention", "sageattn", sageattn),
    ):
        module = ModuleType(name)
        if attribute:
            setattr(module, attribute, function)
        monkeypatch.setitem(sys.modules, name, module)
    return seen


@pytest.mark.parametrize(
    ("attention", "layout"),
    [(Attention.XFORMERS, lambda b, h, n, d: (b, n, h, d)), (Attention.SAGE, lambda *s: s)],
)
def test_libraries_get_their_own_layout(
    tiny_models: Path,
    plain: Loaded,
    libraries: list[torch.Size],
    attention: Attention,
    layout: Callable[..., tuple[int, ...]],
) -> None:
    # SageAttention does not compute in fp32.
    precision = Precision.FP32 if attention is Attention.XFORMERS else Precision.BF16
    loaded = load(tiny_models, precision=precision, attention=Attention.SDPA)
    expected = sampled(loaded, loaded.model)
    set_attention(unet(loaded), LoaderSettings(attention=attention))
    torch.testing.assert_close(sampled(loaded, loaded.model), expected, rtol=1e-4, atol=1e-4)
    # 2 texts, 1 head of 64 channels on the upper level of 8 x 8 cells
    assert torch.Size(layout(2, 1, 64, 64)) in libraries


def test_sage_gives_way_where_the_heads_have_another_width(
    tiny_models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = unet(load(tiny_models, "tiny-sd2", precision=Precision.BF16))
    assert head_widths(network) == {32}
    set_attention(network, LoaderSettings(attention=Attention.SAGE))
    assert "SageAttention has no kernel for heads [32] wide" in caplog.text
    assert {type(p).__name__ for p in network.attn_processors.values()} == {"AttnProcessor2_0"}
    with pytest.raises(UnsupportedSetting, match="attention sage"):
        set_attention(network, LoaderSettings(attention=Attention.SAGE, strict=True))


# Memory format, compile, quantization


def test_memory_format_is_that_of_the_convolutions(
    tiny_models: Path, baseline: torch.Tensor
) -> None:
    for wanted, order in (
        (MemoryFormat.CHANNELS_LAST, torch.channels_last),
        (MemoryFormat.CONTIGUOUS, torch.contiguous_format),
    ):
        loaded = load(tiny_models, memory_format=wanted)
        for network in (unet(loaded), loaded.vae.part.module):
            weights = [w for w in network.parameters() if w.ndim == 4]
            assert weights
            assert all(w.is_contiguous(memory_format=order) for w in weights)
        assert decibels(picture(loaded), baseline) >= ROUNDING


def test_compile_marks_the_repeated_blocks_or_the_whole(plain: Loaded) -> None:
    blocks = optimize_model(plain.model, LoaderSettings(compile=Compile.BLOCKS)).unet.module
    assert set(compiled(blocks)) == {"BasicTransformerBlock", "ResnetBlock2D"}
    whole = optimize_model(plain.model, LoaderSettings(compile=Compile.WHOLE)).unet.module
    assert compiled(whole) == ["UNet2DConditionModel"]
    # A VAE has two networks, each called by itself.
    vae = optimize_vae(plain.vae, LoaderSettings(compile=Compile.WHOLE)).part.module
    assert compiled(vae) == ["Encoder", "Decoder"]
    assert compiled(unet(plain)) == compiled(plain.vae.part.module) == []


@pytest.mark.parametrize("mode", CompileMode)
def test_the_compiler_is_told_the_mode(
    plain: Loaded, baseline: torch.Tensor, monkeypatch: pytest.MonkeyPatch, mode: CompileMode
) -> None:
    told: list[str | None] = []

    def note(call: Callable[..., Any], mode: str | None) -> Callable[..., Any]:
        told.append(mode)
        return call

    monkeypatch.setattr(torch, "compile", note)
    settings = LoaderSettings(compile=Compile.WHOLE, compile_mode=mode)
    # Resolved for a CPU without a compiler it would stay off.
    network = twin(unet(plain))
    compile_network(network, settings)
    assert told == [None if mode is CompileMode.DEFAULT else mode.value]
    # What stands in memory that CUDA graphs use again is copied before it is kept.
    model = replace(plain.model, unet=replace(plain.model.unet, module=network), settings=settings)
    assert torch.equal(decode(plain.vae, sampled(plain, model)), baseline)


@pytest.mark.slow
@pytest.mark.parametrize("what", [Compile.BLOCKS, Compile.WHOLE])
def test_what_is_compiled_gives_the_same_picture(
    plain: Loaded, baseline: torch.Tensor, what: Compile
) -> None:
    """The compiler's own work: half a minute each."""
    from torch._dynamo import config
    from torch._dynamo.utils import counters

    counters.clear()
    before = config.get_config_copy()
    fast = optimize_model(plain.model, LoaderSettings(compile=what))
    if fast.settings.compile is Compile.OFF:
        pytest.skip("no compiler here")
    assert decibels(decode(plain.vae, sampled(plain, fast)), baseline) >= ROUNDING
    graphs = counters["stats"]["unique_graphs"]
    assert graphs == 1 if what is Compile.WHOLE else graphs > 1
    # Another run, and no more compiling; torch's own limits are as they were.
    sampled(plain, fast)
    assert counters["stats"]["unique_graphs"] == graphs
    assert config.get_config_copy() == before


@pytest.mark.parametrize("quantization", [Quantization.INT8, Quantization.FP8])
def test_quantization_stores_the_linear_layers_weights_in_8_bits(
    tiny_models: Path, baseline: torch.Tensor, quantization: Quantization
) -> None:
    # Beside another way to store: it is for what is left.
    loaded = load(tiny_models, quantization=quantization, precision=Precision.FP16)
    assert unet(loaded).down_blocks[0].resnets[0].conv1.weight.dtype is torch.float16
    stored = {Quantization.INT8: torch.int8, Quantization.FP8: FP8}[quantization]
    for name, module in unet(loaded).named_modules():
        if isinstance(module, nn.Linear):
            kept = name.startswith("time_embedding")
            assert module.weight.dtype is (torch.float32 if kept else stored), name
    assert decibels(picture(loaded), baseline) >= 45.0
    # And back again, up to what 8 bits lost.
    widened = optimize_model(loaded.model, LoaderSettings(precision=Precision.FP32))
    assert {weight.dtype for weight in widened.unet.module.parameters()} == {torch.float32}
    assert torch.equal(sampled(loaded, widened), sampled(loaded, loaded.model))


# Kernel switches and the step cache


@pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="this PyTorch has no oneDNN"
)
def test_products_go_to_onednn_while_the_model_samples(plain: Loaded) -> None:
    def products(settings: LoaderSettings) -> int:
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            sampled(plain, replace(plain.model, settings=settings))
        return sum(event.name == "mkldnn::_linear_pointwise" for event in seen.events() or ())

    assert products(LoaderSettings(cpu_kernels="on")) > 0
    assert products(LoaderSettings()) == 0


@pytest.mark.skipif(not torch.backends.nnpack.is_available(), reason="this PyTorch has no NNPACK")
@pytest.mark.parametrize("way", ["decode", "decode in tiles", "encode"])
def test_convolutions_go_to_nnpack_while_the_vae_works(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vae = load_diffusers(STARTER, LoaderSettings()).vae  # wider than the tiny models' are
    fast = optimize_vae(vae, LoaderSettings(cpu_kernels="on"))
    # Of small pictures too, which take less time.
    monkeypatch.setattr(cpu_kernels, "_MANY", 16 * 16)
    latents, pixels = torch.randn(1, 4, 16, 16), torch.rand(1, 128, 128, 3)
    counted = Mock(wraps=torch._nnpack_spatial_convolution)
    monkeypatch.setattr(torch, "_nnpack_spatial_convolution", counted)

    def work(vae: Vae) -> torch.Tensor:
        if way == "encode":
            return encode(vae, pixels)
        return decode(vae, latents) if way == "decode" else decode_tiled(vae, latents, 16, 4)

    with torch.inference_mode():
        wanted = work(vae)
        assert counted.call_count == 0
        found = work(fast)
        assert counted.call_count > 0
    assert 0 < float((found - wanted).abs().max()) < 1e-3


def test_kernel_switches_are_set_while_the_model_samples(plain: Loaded) -> None:
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark
    # Resolved for a CPU they would stay off: there is nothing that they would change.
    model = replace(plain.model, settings=LoaderSettings(cudnn_benchmark="on"))
    seen: list[bool] = []
    sampled(plain, model, lambda *_: seen.append(cudnn.benchmark))
    assert seen == [True] * REQUEST.steps
    assert cudnn.benchmark is before

    def fail(*_: Any) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        sampled(plain, model, fail)
    assert cudnn.benchmark is before


@pytest.mark.parametrize(("threshold", "passes", "bound"), [(0.0, 6, math.inf), (0.3, 5, 60.0)])
def test_the_step_cache_leaves_passes_out(
    tiny_models: Path, baseline: torch.Tensor, threshold: float, passes: int, bound: float
) -> None:
    loaded = load(tiny_models, step_cache=threshold)
    calls: list[int] = []
    unet(loaded).register_forward_hook(lambda *_: calls.append(1))
    result = picture(loaded)
    assert len(calls) <= passes
    if threshold:
        assert len(calls) < REQUEST.steps
    assert decibels(result, baseline) >= bound
    # The next run starts afresh.
    again = picture(loaded)
    assert torch.equal(again, result)
