"""Figures for Prometheus, taken from the database, so that a restart loses none.

Written in its text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from .service import Service
from .workers.registry import WorkerStatus

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX = "spriteworks_"


def exposition(service: Service) -> str:
    """All figures, as Prometheus reads them."""
    figures = service.figures()
    work, servers = figures.work, service.servers()
    lines = [
        *_metric(
            "jobs",
            "gauge",
            "Jobs that are in the record, by status.",
            (({"status": status.value}, count) for status, count in figures.by_status.items()),
        ),
        *_metric(
            "queue_oldest_seconds",
            "gauge",
            "s for which the oldest waiting job has waited.",
            [({}, figures.oldest)],
        ),
        *_metric(
            "attempts_total",
            "counter",
            "Attempts that have ended, by server and outcome; those that failed were tried again.",
            (
                ({"server": server, "outcome": outcome}, count)
                for (server, outcome), (count, _) in work.attempts.items()
            ),
        ),
        *_metric(
            "attempt_seconds_total",
            "counter",
            "s from submission to the end, of attempts that ended well, by server.",
            (
                ({"server": server}, seconds)
                for (server, outcome), (_, seconds) in work.attempts.items()
                if outcome == "done"
            ),
        ),
        *_metric(
            "retries_total",
            "counter",
            "Attempts of jobs that had been tried before.",
            [({}, work.retries)],
        ),
        *_metric(
            "node_seconds_total",
            "counter",
            "s spent in nodes, by class.",
            (({"class": kind}, seconds) for kind, (_, seconds) in work.nodes.items()),
        ),
        *_metric(
            "node_runs_total",
            "counter",
            "Times that nodes ran, by class.",
            (({"class": kind}, count) for kind, (count, _) in work.nodes.items()),
        ),
        *_metric(
            "jobs_taken_over_total",
            "counter",
            "Jobs that a process took over from another that had died or lost the database.",
            [({}, figures.taken_over)],
        ),
        *_metric("images_total", "counter", "Pictures that jobs made.", [({}, work.images)]),
        *_metric(
            "images_per_minute",
            "gauge",
            "Pictures that were made in the last minute.",
            [({}, figures.images_a_minute)],
        ),
        *_metric(
            "files", "gauge", "Files that jobs made and that are still here.", [({}, figures.files)]
        ),
        *_metric("file_bytes", "gauge", "Bytes of these files.", [({}, figures.file_bytes)]),
        *_metric(
            "server_open",
            "gauge",
            "1 where a server gets jobs, 0 where it is set aside or has not answered.",
            (({"server": view.name}, int(view.is_open)) for view, _, _ in servers),
        ),
        *_metric(
            "server_vram_free_bytes",
            "gauge",
            "Bytes of memory of its GPU that a server last told were free.",
            (
                ({"server": view.name}, known.stats.vram_free)
                for view, known, _ in servers
                if known and known.stats.vram_free is not None
            ),
        ),
        *_of_workers(service),
        *_of_disks(service),
    ]
    return "\n".join(lines) + "\n"


def _of_workers(service: Service) -> Iterator[str]:
    found = service.workers()
    counts = Counter(worker.status for worker, _ in found)
    there = [
        (worker, servers) for worker, servers in found if worker.status is not WorkerStatus.LEFT
    ]
    yield from _metric(
        "workers",
        "gauge",
        "Workers, by status: stale is one that gave no sign for 20 s.",
        (
            ({"status": status.value}, counts[status])
            for status in (WorkerStatus.LIVE, WorkerStatus.STALE, WorkerStatus.DRAINING)
        ),
    )
    yield from _metric(
        "worker_beat_age_seconds",
        "gauge",
        "s since the latest sign of a worker that has not ended in good order.",
        (({"worker": worker.name}, worker.age) for worker, _ in there),
    )
    yield from _metric(
        "worker_servers",
        "gauge",
        "Servers of a worker that get jobs.",
        (
            ({"worker": worker.name}, sum(one.view.is_open for one in servers))
            for worker, servers in there
        ),
    )


def _of_disks(service: Service) -> Iterator[str]:
    yield from _metric(
        "disk_free_bytes",
        "gauge",
        "Bytes that are free where the record and the files lie, of what lies on a disk here.",
        (({"path": path}, free) for path, free in service.disks().items()),
    )


def _metric(
    name: str, kind: str, words: str, values: Iterable[tuple[Mapping[str, str], float]]
) -> Iterator[str]:
    yield f"# HELP {_PREFIX}{name} {words}"
    yield f"# TYPE {_PREFIX}{name} {kind}"
    for labels, value in values:
        told = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"{_PREFIX}{name}{f'{{{told}}}' if told else ''} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
