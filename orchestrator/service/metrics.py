"""Figures for Prometheus, taken from the database, so that a restart loses none.

Written in its text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from .service import Service

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX = "spriteworks_"


def exposition(service: Service) -> str:
    """All figures, as Prometheus reads them."""
    figures = service.figures()
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
                for server, outcome, count, _ in figures.attempts
            ),
        ),
        *_metric(
            "attempt_seconds_total",
            "counter",
            "s from submission to the end, of attempts that ended well, by server.",
            (
                ({"server": server}, seconds)
                for server, outcome, _, seconds in figures.attempts
                if outcome == "done"
            ),
        ),
        *_metric(
            "node_seconds_total",
            "counter",
            "s spent in nodes, by class.",
            (({"class": kind}, seconds) for kind, _, seconds in figures.nodes),
        ),
        *_metric(
            "node_runs_total",
            "counter",
            "Times that nodes ran, by class.",
            (({"class": kind}, count) for kind, count, _ in figures.nodes),
        ),
        *_metric("files", "gauge", "Files that jobs made.", [({}, figures.files)]),
        *_metric("file_bytes", "gauge", "Bytes of these files.", [({}, figures.file_bytes)]),
        *_metric(
            "server_open",
            "gauge",
            "1 where a server gets jobs, 0 where it is set aside or has not answered.",
            (({"server": view.name}, int(view.is_open)) for view, _, _ in service.servers()),
        ),
    ]
    return "\n".join(lines) + "\n"


def _metric(
    name: str, kind: str, words: str, values: Iterable[tuple[Mapping[str, str], float]]
) -> Iterator[str]:
    yield f"# HELP {_PREFIX}{name} {words}"
    yield f"# TYPE {_PREFIX}{name} {kind}"
    for labels, value in values:
        told = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"{_PREFIX}{name}{f'{{{told}}}' if told else ''} {value:g}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
