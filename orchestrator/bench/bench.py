"""Measures every case of a comparison on one server."""

from __future__ import annotations

import secrets
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from ..client.client import Client
from ..client.timings import Stopwatch
from ..errors import JobError, JobRefused, JobTimedOut, NodeFailed, ServerLost, UsageError
from ..memory import Use
from ..protocol import Graph, SystemStats
from ..runs.pictures import upload_pictures
from ..runs.workflows import Workflow, load_workflow
from ..version import __version__
from ..workflow.document import Document
from ..workflow.roles import Settings, available_roles, set_parameters
from .measuring import Sample, Spread, measure
from .pictures import difference
from .record import BenchRecord, BenchRow, CaseStatus
from .variants import (
    BASELINE,
    Case,
    OfferedSettings,
    Variant,
    asked,
    automatic,
    cases,
    one_at_a_time,
    parse,
    plain,
)

# How long a server gets to act on the wish to give its memory back, in s: it does so between jobs.
_SETTLE = 1.0
_SEEDS = 2**31


@dataclass(frozen=True, kw_only=True)
class BenchRequest:
    """What to compare, and how often."""

    workflow: Path
    # the same where it was read already, as before a server is started for it
    document: Document | None = None
    # (name, value) as of --set
    settings: Settings = ()
    out: Path
    # NAME=VALUE,... that the baseline has instead of its own
    baseline: str = ""
    # as of --try; empty: every choice of every setting
    tries: tuple[str, ...] = ()
    sizes: tuple[int, ...] = (1, 2, 4, 8)
    repeats: int = 3
    # s for one run; None waits for ever
    timeout: float | None = None


class BenchObserver(Protocol):
    """Who is told how it goes."""

    def planned(self, rows: Sequence[Case], done: int) -> None:
        """So many cases there are, and so many were measured before."""

    def began(self, case: Case) -> None:
        """A case begins."""

    def ran(self, case: Case, seconds: float) -> None:
        """One run of it is over."""

    def ended(self, case: Case, row: BenchRow, baseline: BenchRow | None) -> None:
        """A case has its row."""


@dataclass(frozen=True)
class _Bench:
    """What all cases have in common."""

    request: BenchRequest
    client: Client
    stats: SystemStats
    workflow: Workflow
    # with the server's names of uploaded pictures
    graph: Graph
    offered: OfferedSettings
    baseline: dict[str, Any]
    record: BenchRecord
    observer: BenchObserver


def bench(request: BenchRequest, client: Client, observer: BenchObserver) -> BenchRecord:
    """Measure what is missing in `request.out` and return the whole record.

    Raises UsageError, GraphError and their kin before anything is sent, JobError where the baseline
    itself fails.
    """
    stats, info = client.system_stats(), client.catalogue()
    workflow = load_workflow(request.workflow, request.settings, info, request.document)
    offered = OfferedSettings.of(workflow.graph, info, str(request.workflow))
    baseline = plain(offered, stats.device_type)
    baseline |= parse(offered, request.baseline) if request.baseline else {}
    rows = _cases(request, workflow, offered, baseline)
    _refuse_busy(client)
    record = BenchRecord.open(request.out, _header(request, stats, workflow, baseline))
    graph = upload_pictures(client, workflow.graph, info, workflow.path, Stopwatch(workflow.graph))
    common = _Bench(request, client, stats, workflow, graph, offered, baseline, record, observer)
    observer.planned(rows, sum(record.row(case.key) is not None for case in rows))
    for case in rows:
        if record.row(case.key) is None:
            observer.began(case)
            record.add(row := _measured(common, case))
            observer.ended(case, row, baseline_of(record, row))
    return record


def baseline_of(record: BenchRecord, row: BenchRow) -> BenchRow | None:
    """The baseline's row of the same batch size, if it was measured."""
    found = record.row(BenchRow(name=BASELINE, batch_size=row.batch_size).key)
    return found if found is not None and found.seconds else None


def _cases(
    request: BenchRequest, workflow: Workflow, offered: OfferedSettings, baseline: dict[str, Any]
) -> list[Case]:
    roles = available_roles(workflow.graph, workflow.catalogue)
    if "seed" not in roles:
        raise UsageError(
            f"{request.workflow} has no seed to change, and a server answers the same graph "
            "without computing it: measure a workflow with a sampler"
        )
    found = asked(offered, baseline, request.tries) if request.tries else None
    variants = one_at_a_time(offered, baseline) if found is None else found
    sizes: list[int | None] = list(request.sizes) if "batch_size" in roles else [None]
    first = Variant(name=BASELINE, strict=False)
    return cases(variants, first, automatic(offered, baseline), sizes)


def _header(
    request: BenchRequest, stats: SystemStats, workflow: Workflow, baseline: dict[str, Any]
) -> dict[str, Any]:
    return {
        "spriteworks": __version__,
        "server": {"kind": stats.kind, "version": stats.version, "device": stats.device},
        "workflow": {"file": str(request.workflow), "sha256": workflow.sha256},
        "set": [f"{name}={value}" for name, value in request.settings],
        "baseline": baseline,
        "repeats": request.repeats,
        "seed": secrets.randbelow(_SEEDS),
    }


def _refuse_busy(client: Client) -> None:
    queue = client.queue()
    waiting = len(queue.running) + len(queue.pending)
    if waiting:
        raise UsageError(
            f"{client.url} has {waiting} other jobs in its queue, which would be measured along: "
            "wait until it is idle"
        )


def _measured(common: _Bench, case: Case) -> BenchRow:
    """The row of a case, also of one that failed."""
    row = BenchRow(
        name=case.variant.name, batch_size=case.batch_size, changes=dict(case.variant.changes)
    )
    try:
        return _run(common, case, row)
    except ServerLost as error:
        # A setting that ends the server would end the next one, too.
        if common.record.rows:
            reason = str(error).splitlines()[0]
            common.record.add(replace(row, status=CaseStatus.FAILED, reason=reason))
        raise
    except (NodeFailed, JobTimedOut, JobRefused) as error:
        reason = _reason(error)
        if not common.record.rows:
            raise JobError(
                f"the baseline itself does not run here ({reason}); give another with --baseline, "
                "for example --baseline precision=fp16,offload=model"
            ) from error
        return replace(row, status=_status(error), reason=reason)


def _run(common: _Bench, case: Case, row: BenchRow) -> BenchRow:
    graph = _graph(common, case)
    common.client.free()
    time.sleep(_SETTLE)
    seed = int(common.record.header["seed"])
    # Another seed than those that are measured, or the first of these would be answered from cache.
    first = _sample(common, case, graph, (seed - 1) % _SEEDS)
    if not common.record.rows:
        # What a server does for its very first jobs is nobody's setting.
        _sample(common, case, graph, (seed - 2) % _SEEDS)
    samples = [
        _sample(common, case, graph, (seed + number) % _SEEDS)
        for number in range(common.request.repeats)
    ]
    pictures = [picture for sample in samples for picture in sample.pictures]
    _keep(common.record, case, pictures)
    theirs = common.record.pictures(_slug(BASELINE, case.batch_size))
    apart = difference(pictures, theirs)
    return _filled(row, first, samples, apart.to_json() if apart else None)


def _graph(common: _Bench, case: Case) -> Graph:
    values = {**common.baseline, **case.variant.changes}
    if "strict" in common.offered.inputs:
        values["strict"] = case.variant.strict
    graph = common.offered.set(common.graph, values)
    if case.batch_size is None:
        return graph
    info = common.workflow.catalogue
    return set_parameters(graph, [("batch_size", case.batch_size)], info)


def _sample(common: _Bench, case: Case, graph: Graph, seed: int) -> Sample:
    info = common.workflow.catalogue
    seeded = set_parameters(graph, [("seed", seed)], info)
    sample = measure(common.client, seeded, info, common.stats, common.request.timeout)
    if not sample.pictures:
        raise UsageError(f"{common.request.workflow} gives no picture; add a node that saves one")
    common.observer.ran(case, sample.seconds)
    return sample


def _filled(
    row: BenchRow, first: Sample, samples: Sequence[Sample], apart: dict[str, Any] | None
) -> BenchRow:
    seconds = Spread.of([sample.seconds for sample in samples])
    count = len(samples[0].pictures)
    sampling = sum(sample.sampling for sample in samples)
    names = sorted({name for sample in samples for name in sample.phases})
    peak = Use()
    for sample in (first, *samples):
        peak = peak.highest(sample.memory.peak)
    phases = {phase.value: vars(use) for phase, use in samples[-1].memory.phases.items()}
    return replace(
        row,
        pictures=count,
        first_s=round(first.seconds, 4),
        seconds=seconds.to_json(),
        images_per_minute=round(60 * count / seconds.median, 3),
        iterations_per_s=round(sum(s.steps for s in samples) / sampling, 4) if sampling else None,
        transfer_s=round(statistics.median(sample.transfer for sample in samples), 4),
        phases_s={
            name: round(statistics.median(s.phases.get(name, 0.0) for s in samples), 4)
            for name in names
        },
        memory={"peak": vars(peak), "phases": phases},
        difference=apart,
    )


def _keep(record: BenchRecord, case: Case, pictures: Sequence[bytes]) -> None:
    """Keep the baseline's pictures, to compare with, and the first of every other case."""
    kept = pictures if case.variant.name == BASELINE else pictures[:1]
    for number, content in enumerate(kept):
        record.save_picture(f"{_slug(case.variant.name, case.batch_size)}-{number:03}.png", content)


def _slug(name: str, batch_size: int | None) -> str:
    """A file name for a case."""
    plain_name = "".join(letter if letter.isalnum() or letter in "=._" else "_" for letter in name)
    return f"{plain_name}.x{batch_size or 0}"


def _reason(error: JobError | JobRefused) -> str:
    """The first line of what the node said, without its place in the graph."""
    if isinstance(error, JobRefused) and error.problems:
        told = error.problems[0]
        return (told.details or told.message).splitlines()[0]
    first = str(error).splitlines()[0]
    return first.partition(" failed: ")[2] or first if isinstance(error, NodeFailed) else first


def _status(error: JobError | JobRefused) -> CaseStatus:
    if isinstance(error, JobRefused):  # a node said so before anything ran
        return CaseStatus.UNSUPPORTED
    kind = error.kind if isinstance(error, NodeFailed) else ""
    if "OutOfMemory" in kind or "MemoryError" in kind or "allocate memory" in str(error):
        return CaseStatus.OUT_OF_MEMORY
    if kind.endswith(("UnsupportedSetting", "BadInput")):
        return CaseStatus.UNSUPPORTED
    return CaseStatus.FAILED
