"""Nodes that load a model, and the one that says what it was made for.

`load`, `profile_of` and `choices` are class methods of their own so that the embedded engine
can subclass a node and replace only what differs there.
"""

from __future__ import annotations

from typing import Any, Protocol

from comfy_api.latest import io

from . import folders
from .checking import SettingsNode
from .profiles import ModelProfile
from .schemas import Category, schema, telling
from .settings import LoaderSettings
from .settings_inputs import bounds, loader_inputs, settings_of


class Loaded(Protocol):
    """What loading gives: the host's own model objects and the model's profile."""

    @property
    def model(self) -> Any: ...

    @property
    def clip(self) -> Any: ...

    @property
    def vae(self) -> Any: ...

    @property
    def profile(self) -> ModelProfile: ...


def loader_outputs() -> list[Any]:
    """The outputs that every loader has."""
    return [
        io.Model.Output(display_name="MODEL", tooltip="The diffusion model, for a sampler."),
        io.Clip.Output(display_name="CLIP", tooltip="The text encoder, for prompts."),
        io.Vae.Output(display_name="VAE", tooltip="Turns latents into pictures and back."),
        io.Int.Output(display_name="width", tooltip="The width in pixels it was trained for."),
        io.Int.Output(display_name="height", tooltip="The height in pixels it was trained for."),
    ]


def loader_result(loaded: Loaded) -> io.NodeOutput:
    """A loaded model as the outputs that every loader has."""
    width, height = loaded.profile.width, loaded.profile.height
    return io.NodeOutput(
        loaded.model, loaded.clip, loaded.vae, width, height, ui=_told({3: width, 4: height})
    )


def _told(values: dict[int, float]) -> dict[str, Any]:
    """Tell clients the numbers at these outputs, so that a run's record has them, not links."""
    return {"values": [{str(output): value for output, value in values.items()}]}


class CheckpointLoader(SettingsNode):
    """Loads a single-file Stable Diffusion checkpoint."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return schema(
            node_id="SpriteworksCheckpointLoader",
            display_name="Load Checkpoint (Spriteworks)",
            category=Category.LOAD,
            description="Loads a Stable Diffusion 1.x, 2.x or XL checkpoint with settings for "
            "speed and memory, and gives the size it was made for.",
            shown=("ckpt_name",),
            search_aliases=("load model", "ckpt", "safetensors", "sd 1.5", "sdxl"),
            inputs=[
                io.Combo.Input(
                    "ckpt_name",
                    options=cls.choices(),
                    tooltip="A .safetensors file in the checkpoints folder; others are pickles.",
                ),
                *loader_inputs(),
                io.Boolean.Input(
                    "allow_pickle",
                    default=False,
                    optional=True,
                    tooltip="Also load .ckpt and .pt files, which are pickles. Only their weights "
                    "are read; one that holds code is refused.",
                ),
            ],
            outputs=loader_outputs(),
        )

    @classmethod
    def validate_inputs(cls, ckpt_name: str | None = None, **values: Any) -> bool:
        """Check that the file is there, and the settings. Raises PackError."""
        if ckpt_name is not None:
            folders.checkpoint_path(ckpt_name)
        return super().validate_inputs(**values)

    @classmethod
    def execute(cls, ckpt_name: str, allow_pickle: bool = False, **settings: Any) -> io.NodeOutput:
        """MODEL, CLIP, VAE and the native size. Raises PackError."""
        chosen = settings_of(settings)
        return loader_result(cls.load(ckpt_name, chosen, allow_pickle=allow_pickle))

    @classmethod
    def choices(cls) -> list[str]:
        """Names that can be chosen."""
        return folders.checkpoint_names()

    @classmethod
    def load(cls, name: str, settings: LoaderSettings, *, allow_pickle: bool) -> Loaded:
        """Loads the checkpoint of that name."""
        from .native.compat import require_host

        require_host()
        from .native.loading import load_checkpoint

        path = folders.checkpoint_path(name)
        return load_checkpoint(path, settings, allow_pickle=allow_pickle)


class DiffusersLoader(SettingsNode):
    """Loads a diffusers folder of the Stable Diffusion family, of any width and depth."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return schema(
            node_id="SpriteworksDiffusersLoader",
            display_name="Load Diffusers Model",
            category=Category.LOAD,
            description="Loads a diffusers folder of the Stable Diffusion 1.x, 2.x or XL family, "
            "also small ones like the starter model, and gives the size it was made for.",
            shown=("model_name",),
            search_aliases=("load model", "model folder", "model_index.json", "starter model"),
            inputs=[
                telling(
                    io.Combo.Input(
                        "model_name",
                        options=cls.choices(),
                        tooltip="A folder with a model_index.json in models/diffusers, or a model "
                        "that comes with Spriteworks.",
                    ),
                    # For clients, which compare prompts with it before they send them.
                    words=folders.diffusers_words(),
                ),
                *loader_inputs(),
            ],
            outputs=loader_outputs(),
        )

    @classmethod
    def validate_inputs(cls, model_name: str | None = None, **values: Any) -> bool:
        """Check that the folder is there, and the settings. Raises PackError."""
        if model_name is not None:
            folders.diffusers_path(model_name)
        return super().validate_inputs(**values)

    @classmethod
    def execute(cls, model_name: str, **settings: Any) -> io.NodeOutput:
        """MODEL, CLIP, VAE and the native size. Raises PackError."""
        return loader_result(cls.load(model_name, settings_of(settings)))

    @classmethod
    def choices(cls) -> list[str]:
        """Names that can be chosen."""
        return folders.diffusers_names()

    @classmethod
    def load(cls, name: str, settings: LoaderSettings) -> Loaded:
        """Loads the folder of that name."""
        from .native.compat import require_host

        require_host()
        from .native.loading import load_diffusers

        return load_diffusers(folders.diffusers_path(name), settings)


class ModelDefaults(io.ComfyNode):
    """Gives the loaded model's own steps and CFG where it has any, else the inputs."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return schema(
            node_id="SpriteworksModelDefaults",
            display_name="Model Defaults",
            category=Category.LOAD,
            description="One workflow for every model: models that need other steps and CFG than "
            "usual (the starter model, SDXL Turbo) say so here.",
            shown=("steps", "cfg"),
            search_aliases=("steps", "cfg", "turbo", "recommended settings"),
            inputs=[
                io.Model.Input("model", tooltip="A model from a Spriteworks loader."),
                io.Int.Input(
                    "steps",
                    default=20,
                    **bounds(ModelProfile, "steps"),
                    tooltip="Steps for models that have no number of their own.",
                ),
                io.Float.Input(
                    "cfg",
                    default=8.0,
                    **bounds(ModelProfile, "cfg"),
                    step=0.1,
                    round=0.01,
                    tooltip="CFG for models that have no value of their own.",
                ),
            ],
            outputs=[
                io.Int.Output(display_name="steps", tooltip="For the sampler's steps."),
                io.Float.Output(display_name="cfg", tooltip="For the sampler's CFG."),
            ],
        )

    @classmethod
    def execute(cls, model: Any, steps: int, cfg: float) -> io.NodeOutput:
        """The steps and CFG to sample with."""
        profile = cls.profile_of(model)
        if profile is not None:
            steps = steps if profile.steps is None else profile.steps
            cfg = cfg if profile.cfg is None else profile.cfg
        return io.NodeOutput(steps, cfg, ui=_told({0: steps, 1: cfg}))

    @classmethod
    def profile_of(cls, model: Any) -> ModelProfile | None:
        """The profile that a Spriteworks loader left on the model; None for other loaders'."""
        from .native.compat import require_host

        require_host()
        from .native.loading import profile_of

        return profile_of(model)
