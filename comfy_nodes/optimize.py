"""Nodes that give the loaders' settings to a MODEL or VAE of any other loader.

`optimized` is a class method of its own so that the embedded engine can replace it.
"""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .checking import SettingsNode
from .schemas import Category, schema
from .settings import LoaderSettings, Scope
from .settings_inputs import optimize_inputs, settings_of, shown_settings


class OptimizeModel(SettingsNode):
    """A MODEL with settings; the one that came in stays as it is."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return schema(
            node_id="SpriteworksOptimizeModel",
            display_name="Optimize Model",
            category=Category.SPEED,
            description="Speed and memory settings for a Stable Diffusion model of any loader. "
            "What is left on auto is chosen for this machine.",
            shown=shown_settings(Scope.MODEL),
            search_aliases=(
                "vram",
                "low vram",
                "low memory",
                "out of memory",
                "speed up",
                "faster",
                "fp16",
                "bf16",
                "fp8",
                "quantize model",
                "offload",
                "attention",
                "xformers",
                "flash attention",
                "sage attention",
                "torch compile",
                "step cache",
            ),
            inputs=[
                io.Model.Input("model", tooltip="A Stable Diffusion 1.x, 2.x or XL model."),
                *optimize_inputs(Scope.MODEL),
            ],
            outputs=[io.Model.Output(display_name="MODEL", tooltip="The model with the settings.")],
        )

    @classmethod
    def execute(cls, model: Any, **settings: Any) -> io.NodeOutput:
        """The model with the settings. Raises PackError."""
        return io.NodeOutput(cls.optimized(model, settings_of(settings)))

    @classmethod
    def optimized(cls, model: Any, settings: LoaderSettings) -> Any:
        """The host's own way to do it."""
        from .native.compat import require_host

        require_host()
        from .native.optimizing import optimize_model

        return optimize_model(model, settings)


class OptimizeVAE(SettingsNode):
    """A VAE with settings; the one that came in stays as it is."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return schema(
            node_id="SpriteworksOptimizeVAE",
            display_name="Optimize VAE",
            category=Category.SPEED,
            description="Speed and memory settings for a Stable Diffusion VAE of any loader. What "
            "is left on auto is chosen for this machine.",
            shown=shown_settings(Scope.VAE),
            search_aliases=(
                "vae tiling",
                "tiled vae",
                "tiled decode",
                "vram",
                "out of memory",
                "fp16 vae",
            ),
            inputs=[
                io.Vae.Input("vae", tooltip="A Stable Diffusion 1.x, 2.x or XL VAE."),
                *optimize_inputs(Scope.VAE),
            ],
            outputs=[io.Vae.Output(display_name="VAE", tooltip="The VAE with the settings.")],
        )

    @classmethod
    def execute(cls, vae: Any, **settings: Any) -> io.NodeOutput:
        """The VAE with the settings. Raises PackError."""
        return io.NodeOutput(cls.optimized(vae, settings_of(settings)))

    @classmethod
    def optimized(cls, vae: Any, settings: LoaderSettings) -> Any:
        """The host's own way to do it."""
        from .native.compat import require_host

        require_host()
        from .native.optimizing import optimize_vae

        return optimize_vae(vae, settings)
