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
from .animations import ReportAnimation, animations
from .captions import Captions
from .data import ReportEntry, embedded, page_data, shared_parameters
from .statistics import Span, Statistics, Tried, statistics, with_loads
from .timeline import Timeline, timeline
from .titles import Titles, titles

FILE_NAME = "report.html"
_WEB = Path(__file__).parent / "web"
# One script, in this order; `start` begins.
_SCRIPTS = ("base", "review", "sheet", "comparing", "picture", "animations", "start")
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
    # what people call the workflow's nodes
    titles: Titles
    # those that the manifest makes of the pictures
    animations: Sequence[ReportAnimation]


def write(folder: Path) -> Path:
    """Write DIR/report.html anew, also while the batch runs; returns its path.

    Raises StoreError where there is no batch, OutputError where the page cannot be written.
    """
    with record_of(folder, create=False) as store:
        page = render(read(store, folder))
    path = folder / FILE_NAME
    part = path.with_name(f".{FILE_NAME}.part")
    with writing(path):
        part.write_text(page, encoding="utf-8", newline="\n")
        os.replace(part, path)
    return path


def read(store: Store, folder: Path) -> ReportContent:
    """Everything of a batch in its folder that the report shows."""
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
    classes = {span.node_class for span in spans if span.node_class}
    there = [file for one in pictures if one.entry.state is State.DONE for file in one.files]
    return ReportContent(
        name=known.manifest.name if known else folder.resolve().name,
        contact_sheet=known.manifest.contact_sheet if known else ContactSheet(),
        counts=store.counts(),
        pictures=pictures,
        attempts=attempts,
        spans=spans,
        without_graph=store.without_graph(),
        statistics=statistics(attempts, spans),
        timeline=timeline(attempts, spans),
        warnings=history.warnings(store, _WARNINGS),
        titles=titles(folder, known.workflow if known else None, classes),
        animations=animations(folder, known.manifest.export if known else None, there),
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
    script = _script()
    captions = Captions.of(one.prompt for one in content.pictures)
    data = page_data(
        content.pictures,
        content.attempts,
        content.spans,
        cell=content.contact_sheet.cell,
        name=content.name,
        titles=content.titles,
        animations=content.animations,
        captions=captions,
    )
    return environment.get_template("report.html.j2").render(
        content=content,
        counts=counted(content.counts),
        total=content.statistics.total,
        shared={
            content.titles.parameter(name): value
            for name, value in shared_parameters(content.pictures).items()
        },
        caption=captions.of_prompt,
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


def _script() -> str:
    parts = "\n".join((_WEB / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS)
    # in a scope of its own
    return f'"use strict";\n{{\n{parts}}}\n'


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
