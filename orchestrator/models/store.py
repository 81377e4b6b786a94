"""What the commands do, with the node pack's errors made ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from comfy_nodes.errors import DiskFull, HubUnreachable, ModelNotFound, PackError, SaveFailed
from comfy_nodes.folders import MODEL_FILES
from comfy_nodes.hub.checking import Checked, Wholeness, check
from comfy_nodes.hub.places import Found, Places, find, find_lora, unfinished
from comfy_nodes.hub.pulling import Pulled, Report, gigabytes, pull, pull_lora
from comfy_nodes.loras import LORAS, READ, Lora, lora_named
from comfy_nodes.models import VERSIONS, Version, version_named
from comfy_nodes.vocabulary import vocabulary_of

from ..errors import BadValue, ModelError, OutputError, ServerUnreachable


def named(name: str) -> Version | Lora:
    """The version or LoRA of that name. Raises BadValue, naming those there are."""
    lora = lora_named(name)
    if lora is not None:
        return lora
    try:
        return version_named(name)
    except ModelNotFound as error:
        loras = ", ".join(lora.key for lora in LORAS)
        raise BadValue(f"{error}; LoRAs: {loras}") from error


def listed(models: Path | None) -> list[dict[str, Any]]:
    """Every version, and the path where it is; None where it is nowhere."""
    places = Places.of_models(models)
    return [_row(version, find(version, places)) for version in VERSIONS]


def listed_loras(models: Path | None) -> list[dict[str, Any]]:
    """Every LoRA that is known, and the path where it is; None where it is nowhere."""
    return [_lora_row(lora, find_lora(lora, models) if models else None) for lora in LORAS]


def pulled(
    model: Version | Lora, models: Path | None, *, half: bool, single: bool, report: Report
) -> Pulled:
    """Downloads and checks a version, or a LoRA. Raises ServerUnreachable, ModelError, OutputError.

    Raises BadValue for a LoRA without a models folder, as servers look for LoRAs nowhere else.
    """
    with _ours():
        if isinstance(model, Version):
            return pull(model, models=models, half=half, single=single, report=report)
        folder = _folder_for(model, models)
        if single:
            raise BadValue(f"{model.name} is one file as it is: leave --checkpoint out")
        return pull_lora(model, folder, report)


def base_of(model: Version | Lora, models: Path | None) -> Version | None:
    """The version that a LoRA changes, where that does not lie in the models folder yet."""
    if isinstance(model, Version):
        return None
    folder = _folder_for(model, models)
    found = find(model.base, Places.of_models(folder))
    there = found is not None and found.path.is_relative_to(folder)
    return None if there else model.base


def located(model: Version | Lora, models: Path | None) -> Found:
    """Where a version or LoRA is. Raises ModelError where it is nowhere, or not whole."""
    if isinstance(model, Lora):
        folder = _folder_for(model, models)
        lora = find_lora(model, folder)
        if lora is not None:
            return lora
        state = f"{model.name} is not in {folder}"
        where, size = f" --models {folder}", model.file.size
    else:
        places = Places.of_models(models)
        found = find(model, places)
        if found is not None:
            return found
        state = unfinished(model, places) or f"{model.name} is not on this machine"
        where, size = "", model.folder_size
    raise ModelError(
        f"{state}; 'spriteworks models pull {model.key}{where}' downloads it ({gigabytes(size)})"
    )


def how_to_use(lora: Lora, models: Path) -> str:
    """The command that makes a sprite with a LoRA, on one line."""
    return (
        f'spriteworks run workflows/batches/sprite-lora.json --models "{models}" '
        f"--set model={lora.base.key} --set LoRA.lora_name={lora.file.name} "
        f'--set prompt="a red potion{f", {lora.words}" if lora.words else ""}"'
    )


def checked(model: Version | Lora, found: Found) -> Checked:
    """Each file's state."""
    with _ours():
        return check(model, found)


def known_words(model: str, prefix: str) -> list[str]:
    """The words of a model of the project's own that begin so, sorted.

    Raises BadValue where there is no such model, no list, or no such word.
    """
    own = sorted(one.name for one in MODEL_FILES.iterdir() if one.is_dir())
    if model not in own:
        raise BadValue(
            f"there is no model {model!r} with a list of words; there is: {', '.join(own)}"
        )
    with _ours():
        words = vocabulary_of(MODEL_FILES / model)
    if words is None:
        raise BadValue(f"{model} has no list of words: it takes any")
    found = words.beginning(prefix)
    if not found:
        near = words.nearest(prefix.lower())
        raise BadValue(
            f"{model} knows no word that begins with {prefix!r}"
            + (f"; the nearest are {', '.join(near)}" if near else "")
        )
    return found


def refuse_damaged(model: Version | Lora, outcome: Checked) -> None:
    """Raises ModelError, naming them, where files are damaged."""
    if outcome.damaged:
        raise ModelError(
            f"damaged in {model.name}: {', '.join(outcome.damaged)}; 'spriteworks models pull "
            f"{model.key}' with the same options mends it"
        )


def summary(outcome: Checked) -> str:
    """In one sentence what the check was worth."""
    count = len(outcome.files)
    changed = sum(file.state is Wholeness.CHANGED for file in outcome.files)
    if outcome.against == "none":
        return f"{count} files are sound; without the hub their checksums are not known"
    if changed:
        return f"{count - changed} files are the hub's newest, {changed} of another release"
    return f"{count} files are right"


def _row(version: Version, found: Found | None) -> dict[str, Any]:
    sampling = version.sampling
    return {
        "name": version.key,
        "model": version.name,
        "hub_id": version.hub_id,
        "size": version.size,
        "prediction": version.prediction.value,
        "inpainting": version.inpainting,
        "steps": sampling.steps,
        "cfg": sampling.cfg,
        "sampler": sampling.sampler,
        "scheduler": sampling.scheduler,
        "download_bytes": version.folder_size,
        "checkpoint": version.checkpoint.name if version.checkpoint else None,
        "checkpoint_bytes": version.checkpoint.size if version.checkpoint else None,
        "path": str(found.path) if found else None,
    }


def _lora_row(lora: Lora, found: Found | None) -> dict[str, Any]:
    return {
        "name": lora.key,
        "model": lora.name,
        "base": lora.base.key,
        "hub_id": lora.hub_id,
        "file": lora.file.name,
        "download_bytes": lora.file.size,
        "licence": lora.licence,
        "words": lora.words,
        "page": lora.page,
        "page_of": lora.page_of,
        "read": READ,
        "path": str(found.path) if found else None,
    }


def _folder_for(lora: Lora, models: Path | None) -> Path:
    if models is None:
        raise BadValue(
            f"{lora.name} is a LoRA, which servers look for in a models folder alone: name it by "
            "--models DIR, for example that of a ComfyUI"
        )
    return models


@contextmanager
def _ours() -> Iterator[None]:
    try:
        yield
    except HubUnreachable as error:
        raise ServerUnreachable(str(error)) from error
    except (DiskFull, SaveFailed) as error:
        raise OutputError(str(error)) from error
    except PackError as error:
        raise ModelError(str(error)) from error
