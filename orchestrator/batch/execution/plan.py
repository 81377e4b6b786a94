"""From a manifest to a plan in the store, what is known of it later, and how long it may take."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...version import __version__
from ..logic.jobs import Job
from ..logic.manifest.manifest import Manifest
from ..logic.planning import Planner
from .manifest_files import ManifestFile
from .sources import Sources
from .store.facts import MANIFEST
from .store.store import PlanDiff, Store

# Facts in the store.
_WORKFLOW, _SOURCES, _VERSION = "workflow", "sources", "planned_by"


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What a plan keeps of its manifest."""

    # without its items
    manifest: Manifest
    workflow: Path


def jobs_of(file: ManifestFile, planner: Planner) -> Iterator[Job]:
    """All jobs of a manifest; at the end, raises ManifestError with all mistakes if any was met.

    So whoever takes the jobs must be ready to forget them, as `Store.plan` is.
    """
    problems = file.problems()
    yield from planner.jobs(file.drafts(problems), problems.report)
    problems.check()


def plan(file: ManifestFile, planner: Planner, store: Store) -> PlanDiff:
    """Make a manifest the plan of a store. Raises ManifestError, and then nothing has changed."""
    with store.transaction():
        diff = store.plan(jobs_of(file, planner))
        header = file.manifest.model_dump_json(by_alias=True, exclude={"items", "items_from"})
        store.set_fact(MANIFEST, header)
        store.set_fact(_WORKFLOW, str(file.workflow.resolve()))
        store.set_fact(_SOURCES, json.dumps(file.sources.seen()))
        store.set_fact(_VERSION, __version__)
    return diff


def recall(store: Store, manifest: Path | None = None) -> Planned | None:
    """What the last plan kept.

    With a manifest: only where that plan was made from it by this version, and no file that was
    read for it has changed since; so a resume need not plan again. None otherwise.
    """
    header, workflow = store.fact(MANIFEST), store.fact(_WORKFLOW)
    if header is None or workflow is None:
        return None
    if manifest is not None:
        seen = json.loads(store.fact(_SOURCES) or "{}")
        same = store.fact(_VERSION) == __version__
        if not same or not Sources(manifest.parent).unchanged(manifest, seen):
            return None
    return Planned(manifest=Manifest.model_validate_json(header), workflow=Path(workflow))


# --------------------------------------------------------------------------- time


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """How long the pictures that are left may take, in s."""

    # from the quartiles of past timings
    low: float
    likely: float
    high: float
    # past pictures that it rests on
    samples: int


def estimate(
    pictures: int, paces: Mapping[str, Sequence[float]], servers: Sequence[str]
) -> Estimate | None:
    """How long `pictures` take on `servers` at once, from s a picture by server in the past.

    A server without a past is taken to be like the others together. None where nothing is known.
    """
    every = [pace for past in paces.values() for pace in past]
    if not every or not servers:
        return None
    pasts = [paces.get(server) or every for server in servers]

    def seconds(quartile: int) -> float:
        rate = sum(1 / max(_quartiles(past)[quartile], 1e-9) for past in pasts)
        return pictures / rate

    return Estimate(low=seconds(0), likely=seconds(1), high=seconds(2), samples=len(every))


def _quartiles(values: Sequence[float]) -> list[float]:
    if len(values) < 2:
        return [values[0]] * 3
    return statistics.quantiles(values, n=4, method="inclusive")
