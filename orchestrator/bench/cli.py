"""`spriteworks bench`: arguments and wiring only."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError

EPILOG = (
    "Example: spriteworks bench workflows/sprite.json --server http://127.0.0.1:8188 --out figures "
    "--try precision --try compile=blocks,memory_format=channels_last. The same command goes on "
    "where a measurement was ended."
)


def bench(
    workflow: Annotated[
        Path, typer.Argument(metavar="WORKFLOW", help="A canvas file or a graph, as JSON.")
    ],
    settings: Annotated[
        list[str],
        typer.Option("--set", metavar="NAME=VALUE", help="As in `run`; may be repeated."),
    ] = [],  # noqa: B006  (typer reads it and never changes it)
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where bench.json, bench.md and bench.png go.")
    ] = Path("bench"),
    server: Annotated[
        str | None, typer.Option(metavar="URL", help="A server that runs; best an idle one.")
    ] = None,
    comfyui: Annotated[
        Path | None, typer.Option(metavar="[DIR]", help="A ComfyUI to start and stop.")
    ] = None,
    models: Annotated[
        Path | None, typer.Option(metavar="DIR", help="More models for a server started here.")
    ] = None,
    tries: Annotated[
        list[str],
        typer.Option(
            "--try",
            metavar="SETTING[=VALUE,...]",
            help="Compare only this: all values of a setting, or some settings together; may be "
            "repeated. Without it every setting is tried, one at a time.",
        ),
    ] = [],  # noqa: B006
    baseline: Annotated[
        str,
        typer.Option(
            metavar="SETTING=VALUE,...",
            help="What the baseline has instead of ComfyUI's own ways.",
        ),
    ] = "",
    batch_sizes: Annotated[
        str, typer.Option(metavar="LIST", help="Pictures in a run, for baseline and auto.")
    ] = "1,2,4,8",
    repeats: Annotated[
        int, typer.Option(min=1, max=100, metavar="N", help="Runs of each case after the first.")
    ] = 3,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0, help="Give up a run after this time.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print bench.json, alone, on standard output.")
    ] = False,
) -> None:
    """Measure what each setting of a loader gives on a server: time, memory, picture."""
    from ..local.serving import Choice, choose, connected
    from ..runs.workflows import read_workflow
    from ..workflow.roles import split_settings
    from . import plot, report
    from .bench import BenchRequest
    from .bench import bench as measure
    from .live import view_on

    request = BenchRequest(
        workflow=workflow,
        settings=split_settings(settings),
        out=out,
        baseline=baseline,
        tries=tuple(tries),
        sizes=_sizes(batch_sizes),
        repeats=repeats,
        timeout=timeout,
        # before a server is started for it, and after what needs no file
        document=read_workflow(workflow),
    )
    view = view_on(sys.stderr)
    named = Choice(urls=(server,) if server else (), comfyui=comfyui, models=models)
    # What is measured is nobody's but ours.
    choice = choose(named, os.environ).one().unshared()
    with connected(choice, view.say) as client, view.shown():
        record = measure(request, client, view)
    text = report.markdown(record, shlex.join(["spriteworks", *sys.argv[1:]]))
    (out / report.REPORT_FILE).write_text(text, encoding="utf-8")
    plot.draw(record, out / report.PLOT_FILE)
    if drifted := report.drift_words(record):
        print(f"warning: {drifted}", file=sys.stderr)
    if as_json:
        print(json.dumps(record.to_json(), indent=2))
        return
    print(report.table(record))
    print(f"written: {out / report.REPORT_FILE}, {report.PLOT_FILE}, bench.json", file=sys.stderr)


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(dict.fromkeys(int(part) for part in text.split(",") if part.strip()))
    except ValueError as error:
        raise UsageError(f"--batch-sizes {text}: these are no whole numbers") from error
    if not sizes or min(sizes) < 1:
        raise UsageError(f"--batch-sizes {text}: give numbers from 1 up, for example 1,2,4,8")
    return sizes
