"""The pack's own nodes, with those that touch models made to work on the engine's handles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from comfy_api.latest import io

from comfy_nodes import batch, folders, loaders, optimize, stable_diffusion
from comfy_nodes.extension import NODES
from comfy_nodes.hardware import Device
from comfy_nodes.hub.pulling import DownloadProgress, Report
from comfy_nodes.probe import this_device
from comfy_nodes.profiles import ModelProfile
from comfy_nodes.settings import LoaderSettings

from ..handles.handles import Loaded, Model, Vae
from ..host import context
from ..models.loading import load_checkpoint, load_diffusers
from ..tuning.devices import best_device
from ..tuning.optimizing import optimize_model, optimize_vae


def _device(_node: type[Any]) -> Device:
    """The device that the engine computes on; SettingsNode.device of its nodes."""
    return this_device(best_device())


class CheckpointLoader(loaders.CheckpointLoader):
    """Gives the engine's handles."""

    device = classmethod(_device)

    @classmethod
    def load(cls, name: str, settings: LoaderSettings, *, allow_pickle: bool) -> Loaded:
        """Loads the checkpoint of that name."""
        path = folders.checkpoint_path(name)
        return _with_embeddings(load_checkpoint(path, settings, allow_pickle=allow_pickle))


class DiffusersLoader(loaders.DiffusersLoader):
    """Gives the engine's handles."""

    device = classmethod(_device)

    @classmethod
    def load(cls, name: str, settings: LoaderSettings) -> Loaded:
        """Loads the folder of that name."""
        return _with_embeddings(load_diffusers(folders.diffusers_path(name), settings))


class StableDiffusionLoader(stable_diffusion.StableDiffusionLoader):
    """Gives the engine's handles."""

    device = classmethod(_device)

    @classmethod
    def load(cls, path: Path, settings: LoaderSettings) -> Loaded:
        """Loads a diffusers folder or a single file."""
        loaded = (load_diffusers if path.is_dir() else load_checkpoint)(path, settings)
        return _with_embeddings(loaded)

    @classmethod
    def reporting(cls) -> Report:
        """Tells clients of a download's progress; raises where the run is to stop."""
        host = context()

        def tell(progress: DownloadProgress) -> None:
            host.progress(progress.done, progress.total)

        return tell


class ModelDefaults(loaders.ModelDefaults):
    """Reads the profile off the engine's handle."""

    @classmethod
    def profile_of(cls, model: Model) -> ModelProfile:
        """What the model is made for."""
        return model.profile


class SeedBatch(batch.SeedBatch):
    """Notes the seeds on the engine's handle."""

    @classmethod
    def seeded(cls, model: Model, seed: int) -> Model:
        """The model with picture i of any batch seeded by seed + i."""
        return replace(model, first_seed=seed)


class OptimizeModel(optimize.OptimizeModel):
    """Tunes a copy of the engine's handle."""

    device = classmethod(_device)

    @classmethod
    def optimized(cls, model: Model, settings: LoaderSettings) -> Model:
        """The model with the settings."""
        return optimize_model(model, settings)


class OptimizeVAE(optimize.OptimizeVAE):
    """Tunes a copy of the engine's handle."""

    device = classmethod(_device)

    @classmethod
    def optimized(cls, vae: Vae, settings: LoaderSettings) -> Vae:
        """The VAE with the settings."""
        return optimize_vae(vae, settings)


_ON_HANDLES: dict[type[Any], type[Any]] = {
    kind.__base__: kind
    for kind in (
        CheckpointLoader,
        DiffusersLoader,
        ModelDefaults,
        OptimizeModel,
        OptimizeVAE,
        SeedBatch,
        StableDiffusionLoader,
    )
}


def pack_nodes() -> list[type[io.ComfyNode]]:
    """All nodes of the pack."""
    return [_ON_HANDLES.get(node, node) for node in NODES]


def _with_embeddings(loaded: Loaded) -> Loaded:
    places = tuple(context().folders.model_folders("embeddings"))
    return replace(loaded, clip=replace(loaded.clip, embeddings=places))
