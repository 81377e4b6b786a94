"""torch.compile for one MODEL: its UNet is compiled while it runs for that MODEL only.

Two MODELs may share a network (a clone, the same model with and without this setting), so nothing
is replaced in it for good: compiled calls are put in place around each pass and taken out after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import comfy.patcher_extension
import torch
from comfy.ldm.modules.attention import BasicTransformerBlock
from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock
from torch import nn

from ..kernels import room_for_kinds
from ..settings import Compile, LoaderSettings
from .attention import KEY as ATTENTION

KEY = "spriteworks_compile"

# What a block needs of the options that ComfyUI hands through. The others (numbers of blocks,
# identities of texts) differ in each call, and each value would be compiled for.
_NEEDED = (ATTENTION,)
_PATCHES = ("patches", "patches_replace")


def set_compile(model: Any, settings: LoaderSettings) -> None:
    """Has torch compile this MODEL's UNet, or its repeated blocks, at the first call of each."""
    kind = comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL
    model.remove_wrappers_with_key(kind, KEY)
    if settings.compile is Compile.OFF:
        return
    mode = settings.torch_compile_mode
    wrapper = _blocks(mode) if settings.compile is Compile.BLOCKS else _whole(mode)
    model.add_wrapper_with_key(kind, KEY, wrapper)


def compiled_blocks(network: nn.Module) -> list[nn.Module]:
    """The blocks that stand many times in ComfyUI's UNet."""
    return [m for m in network.modules() if isinstance(m, ResBlock | BasicTransformerBlock)]


def _blocks(mode: str | None) -> Callable[..., Any]:
    # One function for all blocks of a class: blocks of one shape share what is compiled.
    calls = {kind: torch.compile(_call(), mode=mode) for kind in (ResBlock, BasicTransformerBlock)}

    def run(executor: Any, *args: Any, **options: Any) -> Any:
        network = executor.class_obj
        with room_for_kinds(), _replaced(compiled_blocks(network), calls):
            return executor(*args, **options)

    return run


def _call() -> Callable[..., Any]:
    def call(block: nn.Module, *args: Any, **options: Any) -> Any:
        return block._call_impl(*args, **options)

    return call


@contextmanager
def _replaced(blocks: list[nn.Module], calls: dict[Any, Callable[..., Any]]) -> Iterator[None]:
    """Their calls go through the compiled function; as before afterwards, also after an error."""
    before = [block._compiled_call_impl for block in blocks]
    for block in blocks:
        kind = ResBlock if isinstance(block, ResBlock) else BasicTransformerBlock
        block._compiled_call_impl = _through(block, calls[kind])
    try:
        yield
    finally:
        for block, call in zip(blocks, before, strict=True):
            block._compiled_call_impl = call


def _through(block: nn.Module, compiled: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        host_options = options.get("transformer_options", {})
        if any(host_options.get(name) for name in _PATCHES):
            return block._call_impl(*args, **options)  # such patches want all that is handed on
        if "transformer_options" in options:
            options["transformer_options"] = _lean(host_options)
        return compiled(block, *args, **options)

    return call


def _lean(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in _NEEDED if name in options}


def _whole(mode: str | None) -> Callable[..., Any]:
    """In place of ComfyUI's own forward of the UNet, within whatever else is wrapped around it."""
    compiled: list[Callable[..., Any]] = []

    def run(executor: Any, *args: Any, **options: Any) -> Any:
        network = executor.class_obj
        if not compiled:
            compiled.append(torch.compile(type(network)._forward, mode=mode))
        forward = _forward(
            executor.original, partial(compiled[0], network), graphs=mode is not None
        )
        executor.original = forward  # of this one pass: ComfyUI makes an executor for each
        with room_for_kinds():
            return executor(*args, **options)

    return run


def _forward(
    plain: Callable[..., Any], compiled: Callable[..., Any], *, graphs: bool
) -> Callable[..., Any]:
    """The UNet's forward: compiled, but plain where patches want all that is handed on.

    `graphs`: CUDA graphs may run it, which write the next answer over this one.
    """

    def forward(
        x: torch.Tensor,
        timesteps: Any,
        context: Any,
        y: Any,
        control: Any,
        transformer_options: dict[str, Any],
        **more: Any,
    ) -> Any:
        given = (x, timesteps, context, y, control)
        if any(transformer_options.get(name) for name in _PATCHES):
            return plain(*given, transformer_options, **more)
        if not graphs:
            return compiled(*given, _lean(transformer_options), **more)
        torch.compiler.cudagraph_mark_step_begin()
        return compiled(*given, _lean(transformer_options), **more).clone()

    return forward
