"""The report of a batch: one HTML page that needs nothing but the pictures beside it."""

from __future__ import annotations

import base64
import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ....client.client import writing
from ....version import __version__
from ...execution.opening import record_of
from ...execution.plan import recall
from ...execution.store.store import Store
from ...logic.jobs import State, counted
from ...logic.manifest.manifest import ContactSheet
from . import history, plots
from .data import ReportEntry, embedded, page_data, shared_parameters
from .statistics import Span, Statistics, Tried, statistics, with_loads
from .timeline import Timeline, timeline

FILE_NAME = "report.html"
_WEB = Path(__file__).parent / "web"
# Pictures on the sheet of a browser without JavaScript, reasons, names at one, log entries.
_PLAIN, _REASONS, _NAMES, _WARNINGS = 500, 200, 12, 300
# Jobs that a person should look at.
_GIVEN_UP = (State.FAILED, State.QUARANTINED)


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """All that a report shows."""

    name: str
    contact_sheet: ContactSheet
    counts: dict[State, int]
    pictures: Sequence[ReportEntry]
    attempts: Sequence[Tried]
    spans: Sequence[Span]
    # how many of the pictures do not carry the graph that was sent
    without_graph: int
    statistics: Statistics
    timeline: Timeline
    # latest sentences of the log that a person should look at
    warnings: Sequence[Any]


def write(folder: Path) -> Path:
    """Write DIR/report.html anew, also while the batch runs; returns its path.

    Raises StoreError where there is no batch, OutputError where the page cannot be written.
    """
    with record_of(folder, create=False) as store:
        page = render(read(store, folder.resolve().name))
    path = folder / FILE_NAME
    part = path.with_name(f".{FILE_NAME}.part")
    with writing(path):
        part.write_text(page, encoding="utf-8", newline="\n")
        os.replace(part, path)
    return path


def read(store: Store, name: str) -> ReportContent:
    """Everything of a batch that the report shows; `name` serves one that was never planned."""
    known = recall(store)
    files, tried = history.files(store), history.attempts_by_job(store)
    pictures = [
        ReportEntry(
            entry=entry,
            files=files.get(entry.job.key, ()),
            attempts=tried.get(entry.job.key, ()),
        )
        for entry in store.entries()
    ]
    attempts, spans = list(history.attempts(store)), list(with_loads(history.spans(store)))
    return ReportContent(
        name=known.manifest.name if known else name,
        contact_sheet=known.manifest.contact_sheet if known else ContactSheet(),
        counts=store.counts(),
        pictures=pictures,
        attempts=attempts,
        spans=spans,
        without_graph=store.without_graph(),
        statistics=statistics(attempts, spans),
        timeline=timeline(attempts, spans),
        warnings=history.warnings(store, _WARNINGS),
    )


def render(content: ReportContent) -> str:
    """The page. Everything that comes from outside is escaped, as text, attribute, URL or JSON."""
    # 60 ms to import; the command line needs it for this command only.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_WEB, encoding="utf-8"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(
        duration=plots.duration,
        rate=plots.rate,
        percent=plots.percent,
        url=quote,
        moment=_moment,
    )
    script = (_WEB / "report.js").read_text(encoding="utf-8")
    data = page_data(
        content.pictures, content.attempts, content.spans, cell=content.contact_sheet.cell
    )
    return environment.get_template("report.html.j2").render(
        content=content,
        counts=counted(content.counts),
        total=content.statistics.total,
        shared=shared_parameters(content.pictures),
        failures=failures(content.pictures),
        plain=[one for one in content.pictures if one.files][:_PLAIN],
        plots=plots,
        lanes=list(content.timeline.lanes.values()),
        made_at=datetime.now().timestamp(),
        version=__version__,
        style=Markup((_WEB / "report.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_sha256=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=Markup(embedded(data)),
        reasons_shown=_REASONS,
        names_shown=_NAMES,
    )


def failures(pictures: Sequence[ReportEntry]) -> list[tuple[str, str, list[str]]]:
    """(state, reason, names of the pictures) of what was given up, the most frequent first."""
    names: dict[tuple[str, str], list[str]] = {}
    for picture in pictures:
        entry = picture.entry
        if entry.state in _GIVEN_UP:
            names.setdefault((entry.state.value, entry.reason), []).append(entry.job.name)
    often = Counter({group: len(found) for group, found in names.items()})
    return [(*group, names[group]) for group, _ in often.most_common()]


def _moment(at: float | None) -> str:
    """A moment of the wall clock where the report is made."""
    if at is None:
        return "–"
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")
