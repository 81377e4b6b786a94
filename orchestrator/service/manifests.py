"""A manifest of `spriteworks batch` as requests: one for each of its pictures."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..batch.execution import manifest_files as reading
from ..batch.logic.planning import Planner
from ..errors import ManifestError, RequestRefused
from ..protocol import Graph
from ..runs.workflows import read_document
from ..workflow.catalogue import Catalogue
from ..workflow.conversion import load
from ..workflow.roles import image_inputs, parameters
from .prompting import Workflows

# Pictures of one manifest; more are posted as several.
MOST_JOBS = 1000
# bytes of a manifest
_LARGEST = 1024 * 1024
# Fields that need files of the manifest's machine, or the batch's folder.
_OF_BATCHES = ("items_from", "images", "gates", "rerolls", "contact_sheet")


@dataclass(frozen=True, kw_only=True)
class PlannedPicture:
    """One picture of a manifest."""

    # as its `output` says
    name: str
    graph: Graph
    seed: int | None
    priority: int
    parameters: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class PlannedBatch:
    """All pictures of a manifest."""

    name: str
    workflow: str
    pictures: tuple[PlannedPicture, ...]


def batch_of(
    manifest: str | Mapping[str, Any], workflows: Workflows, info: Catalogue
) -> PlannedBatch:
    """The pictures of a manifest, YAML or decoded, for servers with this catalogue.

    Raises RequestRefused with all mistakes, and UsageError for a workflow that is not to be had.
    No file is read but those of `workflows`.
    """
    text = manifest if isinstance(manifest, str) else json.dumps(manifest)
    if len(text) > _LARGEST:
        raise RequestRefused("invalid_manifest", f"a manifest has {_LARGEST:,} bytes at most")
    try:
        return _batch_of(text, workflows, info)
    except ManifestError as error:
        problems = [
            {"line": one.line, "field": one.field, "message": one.message} for one in error.problems
        ]
        told = [f"line {one['line']}, {one['field']}: {one['message']}" for one in problems[:5]]
        count = "a mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        raise RequestRefused(
            "invalid_manifest",
            f"the manifest has {count}: {'; '.join(told)}",
            details={"problems": problems},
        ) from error


def _batch_of(text: str, workflows: Workflows, info: Catalogue) -> PlannedBatch:
    with tempfile.TemporaryDirectory(prefix="spriteworks-") as folder:
        path = Path(folder) / "manifest.yaml"
        path.write_text(text, encoding="utf-8")
        name = _workflow_in(path)
        content = workflows.content(name)
        # As it lies beside the manifest, no other file of that name is looked for.
        (Path(folder) / name).write_bytes(content)
        file = reading.load(path, MOST_JOBS)
        conversion = load(read_document(content, name).data, info, name)
        planner = Planner(conversion.graph, info, lambda value: None, conversion.texts)
        problems = file.problems()
        jobs = list(planner.jobs(file.drafts(problems), problems.report))
        problems.check()
        pictures = tuple(
            PlannedPicture(
                name=job.name,
                graph=(graph := planner.graph(job)),
                seed=job.seed,
                priority=job.priority,
                parameters=parameters(graph, info),
            )
            for job in jobs
        )
        return PlannedBatch(name=file.manifest.name, workflow=name, pictures=pictures)


def _workflow_in(path: Path) -> str:
    """The workflow that a manifest names, once it asks for nothing that only batches have."""
    data = reading.data_of(path)
    for place in _places(data):
        asked = [name for name in _OF_BATCHES if place.get(name)]
        if asked:
            raise RequestRefused(
                "invalid_manifest",
                f"`{asked[0]}` is for `spriteworks batch run`, which has a folder of its own; leave"
                " it out",
            )
    name = data.get("workflow") if isinstance(data, dict) else None
    if not isinstance(name, str):
        raise RequestRefused("invalid_manifest", "the manifest names no workflow")
    return name


def _places(data: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(data, dict):
        yield data
        items = data.get("items")
        yield from (
            (one for one in items if isinstance(one, dict)) if isinstance(items, list) else ()
        )


def asset_names(graph: Graph, info: Catalogue) -> set[str]:
    """What stands where pictures go; those that are ids of assets mean them."""
    return {one.value for one in image_inputs(graph, info)}
