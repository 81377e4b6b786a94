"""What the commands do, with the node pack's errors made ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from comfy_nodes.errors import DiskFull, HubUnreachable, ModelNotFound, PackError, SaveFailed
from comfy_nodes.folders import MODEL_FILES
from comfy_nodes.hub.checking import Checked, Wholeness, check
from comfy_nodes.hub.places import Found, Places, find, unfinished
from comfy_nodes.hub.pulling import Pulled, Report, gigabytes, pull
from comfy_nodes.models import VERSIONS, Version, version_named
from comfy_nodes.vocabulary import vocabulary_of

from ..errors import BadValue, ModelError, OutputError, ServerUnreachable


def named(name: str) -> Version:
    """The version of that name. Raises BadValue, naming those there are."""
    try:
        return version_named(name)
    except ModelNotFound as error:
        raise BadValue(str(error)) from error


def listed(models: Path | None) -> list[dict[str, Any]]:
    """Every version, and the path where it is; None where it is nowhere."""
    places = Places.of_models(models)
    return [_row(version, find(version, places)) for version in VERSIONS]


def pulled(
    version: Version, models: Path | None, *, half: bool, single: bool, report: Report
) -> Pulled:
    """Downloads and checks a version. Raises ServerUnreachable, ModelError, OutputError."""
    with _ours():
        return pull(version, models=models, half=half, single=single, report=report)


def located(version: Version, models: Path | None) -> Found:
    """Where the version is. Raises ModelError where it is nowhere, or not whole."""
    places = Places.of_models(models)
    found = find(version, places)
    if found is not None:
        return found
    lack = unfinished(version, places)
    state = lack or f"{version.name} is not on this machine"
    raise ModelError(
        f"{state}; 'spriteworks models pull {version.key}' downloads it "
        f"({gigabytes(version.folder_size)})"
    )


def checked(version: Version, found: Found) -> Checked:
    """Each file's state."""
    with _ours():
        return check(version, found)


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


def refuse_damaged(version: Version, outcome: Checked) -> None:
    """Raises ModelError, naming them, where files are damaged."""
    if outcome.damaged:
        raise ModelError(
            f"damaged in {version.name}: {', '.join(outcome.damaged)}; 'spriteworks models pull "
            f"{version.key}' with the same options mends it"
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
