"""A CPU's faster kernels: which calls take them, and that the result stays the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from comfy_nodes.kernels import switched
from comfy_nodes.ops.cpu_kernels import CpuKernels
from comfy_nodes.settings import LoaderSettings, Toggle

PRODUCT = "mkldnn::_linear_pointwise"
WINOGRAD = "aten::_nnpack_spatial_convolution"

# Wheels of PyTorch have both on Linux and macOS; there is no NNPACK on Windows.
needs_product = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="this PyTorch has no oneDNN"
)
needs_winograd = pytest.mark.skipif(
    not torch.backends.nnpack.is_available(), reason="this PyTorch has no NNPACK"
)


def calls(kernel: str, work: Callable[[], object]) -> int:
    """How often the kernel was called."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        work()
    return sum(event.name == kernel for event in seen.events() or ())


def products(work: Callable[[], object]) -> int:
    return calls(PRODUCT, work)


def convolution(channels: int = 16, **options: object) -> nn.Conv2d:
    torch.manual_seed(0)
    plain: dict[str, object] = {"kernel_size": 3, "padding": 1, **options}
    made = nn.Conv2d(channels, 2 * channels, **plain)  # type: ignore[arg-type]
    return made.to(memory_format=torch.channels_last)


@needs_product
@pytest.mark.parametrize("shape", [(2, 77, 48), (3, 48), (1, 2, 5, 48)])
@pytest.mark.parametrize("bias", [True, False])
@torch.inference_mode()
def test_linear_layers_of_every_rank(shape: tuple[int, ...], bias: bool) -> None:
    layer, x = nn.Linear(48, 20, bias=bias), torch.randn(shape).transpose(0, -2)
    wanted = layer(x)
    with CpuKernels():
        assert products(lambda: layer(x)) == 1
        torch.testing.assert_close(layer(x), wanted, rtol=1e-5, atol=1e-6)


@needs_product
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (3, 7)])
@torch.inference_mode()
def test_small_convolutions(order: torch.memory_format, size: tuple[int, int]) -> None:
    layer = convolution()
    x = torch.randn(2, 16, *size).contiguous(memory_format=order)
    wanted = layer(x)
    with CpuKernels():
        assert products(lambda: layer(x)) == 1
        torch.testing.assert_close(layer(x), wanted, rtol=1e-5, atol=1e-6)


@needs_winograd
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 64, 32), (2, 43, 51)])
@torch.inference_mode()
def test_large_convolutions(
    order: torch.memory_format, bias: bool, shape: tuple[int, int, int]
) -> None:
    layer = convolution(128, bias=bias)
    pictures, *size = shape
    x = torch.randn(pictures, 128, *size).contiguous(memory_format=order)
    wanted = layer(x)
    with CpuKernels():
        assert calls(WINOGRAD, lambda: layer(x)) == pictures
        torch.testing.assert_close(layer(x), wanted, rtol=0, atol=1e-4 * float(wanted.abs().max()))


@needs_winograd
@torch.inference_mode()
def test_what_would_keep_gigabytes_is_convolved_directly() -> None:
    layer, x = convolution(128), torch.empty(1, 128, 600, 600)
    assert 600 * 600 * (128 + 256) > 2**27
    with CpuKernels():
        assert calls(WINOGRAD, lambda: layer(x)) == 0


OTHERS: dict[str, tuple[nn.Module, torch.Tensor]] = {
    "many pixels": (convolution(), torch.randn(2, 16, 32, 32)),
    "few channels": (convolution(), torch.randn(1, 16, 64, 64)),
    "large and stride": (convolution(128, stride=2), torch.randn(1, 128, 64, 64)),
    "large and no edge": (convolution(128, padding=0), torch.randn(1, 128, 64, 64)),
    "large and bf16": (convolution(128).bfloat16(), torch.randn(1, 128, 64, 64).bfloat16()),
    "stride": (convolution(stride=2), torch.randn(2, 16, 8, 8)),
    "1x1": (convolution(kernel_size=1, padding=0), torch.randn(2, 16, 8, 8)),
    "no edge": (convolution(padding=0), torch.randn(2, 16, 8, 8)),
    "edge by name": (convolution(padding="same"), torch.randn(2, 16, 8, 8)),
    "groups": (convolution(groups=4), torch.randn(2, 16, 8, 8)),
    "dilation": (convolution(dilation=2), torch.randn(2, 16, 8, 8)),
    "contiguous weights": (nn.Conv2d(16, 32, 3, padding=1), torch.randn(2, 16, 8, 8)),
    "one picture": (convolution(), torch.randn(16, 8, 64)),
    "bf16": (nn.Linear(8, 8).bfloat16(), torch.randn(2, 8).bfloat16()),
    "fp64": (nn.Linear(8, 8).double(), torch.randn(2, 8).double()),
    "another device": (nn.Linear(8, 8, device="meta"), torch.randn(2, 8, device="meta")),
    "one row": (nn.Linear(8, 8), torch.randn(8)),
}


@pytest.mark.parametrize("name", OTHERS)
@torch.inference_mode()
def test_everything_else_goes_pytorchs_way(name: str) -> None:
    layer, x = OTHERS[name]
    wanted = layer(x)
    with CpuKernels():
        assert products(lambda: layer(x)) == calls(WINOGRAD, lambda: layer(x)) == 0
        found = layer(x)
    assert found.device == wanted.device
    if found.device.type == "cpu":
        assert torch.equal(found, wanted)


def test_gradients_can_be_had() -> None:
    layer = nn.Linear(8, 8)
    with CpuKernels():
        layer(torch.randn(2, 8)).sum().backward()
    assert layer.weight.grad is not None


@needs_product
@torch.inference_mode()
def test_the_switch_is_on_while_a_model_that_wants_it_works_and_not_after() -> None:
    layer, x = nn.Linear(8, 8), torch.randn(2, 8)
    with switched(LoaderSettings(cpu_kernels=Toggle.ON)):
        assert products(lambda: layer(x)) == 1
    for settings in (LoaderSettings(), LoaderSettings(cpu_kernels=Toggle.OFF)):
        with switched(settings):
            assert products(lambda: layer(x)) == 0
    with pytest.raises(ZeroDivisionError), switched(LoaderSettings(cpu_kernels=Toggle.ON)):
        _ = 1 / 0
    assert products(lambda: layer(x)) == 0
