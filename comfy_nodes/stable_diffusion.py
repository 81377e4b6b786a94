"""The node that loads a published version by its name, and downloads it when told to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comfy_api.latest import io

from . import folders
from .checking import SettingsNode, check_values
from .errors import ModelNotFound, UnsupportedModel
from .hub.checking import header_of
from .hub.places import Found, Places, find, unfinished
from .hub.pulling import DownloadProgress, Report, gigabytes, pull
from .loaders import Loaded, loader_outputs, loader_result
from .models import VERSIONS, Family, Version, family_of, version_named, version_of
from .profiles import prediction_of, read_json, read_scheduler_config
from .schemas import Category, schema
from .settings import LoaderSettings
from .settings_inputs import loader_inputs, settings_of


class StableDiffusionLoader(SettingsNode):
    """Loads one of the published versions from wherever it lies on this machine."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return schema(
            node_id="SpriteworksStableDiffusionLoader",
            display_name="Load Stable Diffusion",
            category=Category.LOAD,
            description="Loads Stable Diffusion 1.5, 2.1, XL, XL Turbo or one of the inpainting "
            "models by its name, from the models folders or the hub's cache.",
            shown=("version",),
            search_aliases=(
                "load model",
                "download model",
                "hugging face",
                "sd 1.5",
                "sd15",
                "sd 2.1",
                "sdxl",
                "sdxl turbo",
                "inpainting model",
            ),
            inputs=[
                io.Combo.Input(
                    "version",
                    options=[version.key for version in VERSIONS],
                    tooltip="Which version. It is looked for in models/diffusers, in "
                    "models/checkpoints and in the hub's cache.",
                ),
                io.Boolean.Input(
                    "download",
                    default=False,
                    optional=True,
                    tooltip="Download it into the hub's cache where it is not on this machine: 2 "
                    "to 7 GB. Off: say that it is missing.",
                ),
                *loader_inputs(),
            ],
            outputs=loader_outputs(),
        )

    @classmethod
    def validate_inputs(
        cls, version: str | None = None, download: bool | None = False, **values: Any
    ) -> bool:
        """Check that the version is there where it is not to be fetched, and the settings.

        Raises PackError.
        """
        check_values(cls, {"version": version})
        if version is not None and download is False:
            cls.locate(version_named(version), download=False)
        return super().validate_inputs(**values)

    @classmethod
    def execute(cls, version: str, download: bool = False, **settings: Any) -> io.NodeOutput:
        """MODEL, CLIP, VAE and the native size. Raises PackError."""
        chosen = settings_of(settings)
        wanted = version_named(version)
        found = cls.locate(wanted, download=download)
        check_kind(found.path, wanted)
        return loader_result(cls.load(found.path, chosen))

    @classmethod
    def locate(cls, wanted: Version, *, download: bool) -> Found:
        """Where the version is, after a download where that is wanted. Raises PackError."""
        roots = folders.current().roots
        places = Places(roots("diffusers"), roots("checkpoints"))
        found = find(wanted, places)
        if found is not None:
            return found
        if download:
            return Found(pull(wanted, report=cls.reporting()).path)
        lack = unfinished(wanted, places)
        raise ModelNotFound(
            f"{lack or f'{wanted.name} is not on this machine'}. Turn on download to fetch it "
            f"({gigabytes(wanted.folder_size)}), or run: spriteworks models pull {wanted.key}"
        )

    @classmethod
    def load(cls, path: Path, settings: LoaderSettings) -> Loaded:
        """Loads a diffusers folder or a single file."""
        from .native.compat import require_host

        require_host()
        from .native.loading import load_checkpoint, load_diffusers

        return (load_diffusers if path.is_dir() else load_checkpoint)(path, settings)

    @classmethod
    def reporting(cls) -> Report:
        """What a download tells of its progress; it raises where the run is to stop."""
        from .native.progress import ProgressBar

        bar = ProgressBar()

        def tell(progress: DownloadProgress) -> None:
            bar.update(progress.done, progress.total)

        return tell


def check_kind(path: Path, wanted: Version) -> None:
    """Raises UnsupportedModel where a folder or file holds another version than its name says."""
    found = _kind_of_folder(path) if path.is_dir() else _kind_of_file(path, wanted)
    if found is None:  # damaged: the loader says how
        return
    same = (found.family, found.inpainting) == (wanted.family, wanted.inpainting)
    if not same or (wanted.prediction is not found.prediction and not wanted.inpainting):
        raise UnsupportedModel(
            f"{path} goes by the name of {wanted.name} and holds a model like {found.name}: "
            "rename it, or load it with the loader for folders or files of any name."
        )


def _kind_of_folder(folder: Path) -> Version:
    unet = read_json(folder / "unet" / "config.json")
    scheduler = read_scheduler_config(folder)
    nine = unet.get("in_channels", 4) == 9
    return version_of(family_of(unet), prediction_of(scheduler), inpainting=nine)


def _kind_of_file(path: Path, wanted: Version) -> Version | None:
    """By the file's header alone; what 2.x predicts is not in it, and taken as wanted."""
    header = header_of(path)
    first = (header or {}).get("model.diffusion_model.input_blocks.0.0.weight")
    if header is None or first is None:
        return None
    marks = {
        "conditioner.embedders.1.": Family.SDXL,
        "cond_stage_model.model.": Family.SD2,
        "cond_stage_model.": Family.SD1,
    }
    family = next((f for mark, f in marks.items() if any(n.startswith(mark) for n in header)), None)
    if family is None:
        return None
    return version_of(family, wanted.prediction, inpainting=first["shape"][1] == 9)
