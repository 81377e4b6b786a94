"""`spriteworks batch ...`: arguments and wiring only."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .execution.growth import GROWTH
from .options import Comfyui, Engines, Gpus, Models, Recycle, RecycleGrowth, Servers, gpus_in

if TYPE_CHECKING:
    from ..local.serving import Choice
    from .production import BatchRequest, Plan
    from .reporting.live import BatchDisplay, Events

# What the command ends with where pictures are missing at the end, and after a signal, to which its
# number is added: 130 after Ctrl-C, 143 after SIGTERM.
_INCOMPLETE = 4
_SIGNALLED = 128

app = typer.Typer(
    name="batch",
    help="Make all pictures of a manifest, on many servers, and survive the night.",
    rich_markup_mode=None,
    no_args_is_help=True,
)

_Manifest = Annotated[Path, typer.Argument(metavar="MANIFEST", help="The batch, as YAML.")]
_Out = Annotated[Path, typer.Option(metavar="DIR", help="The batch's folder: pictures and record.")]
_Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The batch's folder.")]
_Names = Annotated[
    list[str], typer.Argument(metavar="[NAME]...", help="Item ids or picture names; all if none.")
]
_Store = Annotated[
    str,
    typer.Option(metavar="URL", help="Keep the record in a PostgreSQL database, not in DIR."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON, alone, on standard output.")]


@app.command(epilog="Example: spriteworks batch plan potions.yaml --out out --server URL")
def plan(
    manifest: _Manifest,
    out: _Out = Path("out"),
    servers: Servers = [],  # noqa: B006  (typer reads it and never changes it)
    comfyui: Comfyui = None,
    gpus: Gpus = "",
    engines: Engines = 0,
    models: Models = None,
    store: _Store = "",
    as_json: _Json = False,
) -> None:
    """Say how many jobs there are and how long they may take, and ask the servers; send nothing."""
    from .production import plan as plan_batch

    made = plan_batch(_request(manifest, out, servers, comfyui, gpus, engines, models, store))
    if as_json:
        print(json.dumps(_plan_json(made), indent=2))
    else:
        _print_plan(made)
    if all(made.servers.values()):
        raise typer.Exit(3)


@app.command(
    epilog="Example: spriteworks batch run potions.yaml --out out --server URL --server URL. The "
    "same command goes on where a run was ended. Another one helps with it meanwhile: spriteworks "
    "batch run out --join --server URL"
)
def run(
    manifest: _Manifest,
    out: _Out = Path("out"),
    servers: Servers = [],  # noqa: B006
    comfyui: Comfyui = None,
    gpus: Gpus = "",
    engines: Engines = 0,
    models: Models = None,
    store: _Store = "",
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Pictures in one graph that differ in the seed."),
    ] = None,
    recycle: Recycle = 0,
    recycle_growth: RecycleGrowth = GROWTH,
    joined: Annotated[
        bool,
        typer.Option(
            "--join",
            help="Help with the batch in the folder that stands for MANIFEST; plan nothing.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print events, one JSON object a line.")
    ] = False,
) -> None:
    """Make what is missing: start and resume in one."""
    from dataclasses import replace

    from . import production

    if joined:
        out = _joined_folder(manifest, out, store)
    request = _request(manifest, out, servers, comfyui, gpus, engines, models, store)
    care = replace(request.care, recycle=recycle, recycle_growth=recycle_growth)
    request = replace(request, care=care, batch_size=batch_size)
    with _observer(out, as_json) as observer:
        result = (production.join if joined else production.run)(request, observer)
    if not as_json:
        print(result.words, file=sys.stderr)
        print(out)
    if result.stopped:
        print(f"to go on, run the same command again ({manifest})", file=sys.stderr)
        raise typer.Exit(_SIGNALLED + result.signal)
    if not joined:
        from .reporting.report.page import write as write_report

        write_report(out)
    if not result.is_complete or result.unexported:
        raise typer.Exit(_INCOMPLETE)


@app.command(epilog="Example: spriteworks batch status out --json")
def status(folder: _Folder, as_json: _Json = False) -> None:
    """Say where a batch stands, also while it runs."""
    from .production import status as status_of

    found = status_of(folder)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    _print_status(found)


@app.command(epilog="Example: spriteworks batch report out --open")
def report(
    folder: _Folder,
    contact: Annotated[
        bool, typer.Option("--contact", help="Write contact sheets as PNG files, too.")
    ] = False,
    show: Annotated[bool, typer.Option("--open", help="Open the report in the browser.")] = False,
) -> None:
    """Write DIR/report.html: all pictures with how they were made, failures, timings."""
    from .reporting.report import page

    path = page.write(folder)
    print(path)
    if contact:
        from .reporting.report import contact as sheets

        for sheet in sheets.write(folder):
            print(sheet)
    if show:
        typer.launch(path.resolve().as_uri())


@app.command(epilog="Example: spriteworks batch export out")
def export(folder: _Folder, as_json: _Json = False) -> None:
    """Do what the manifest's `export` says with the pictures that are there, anew where needed."""
    from ..screen import Bar, screen_on
    from .production import export as export_batch

    with screen_on(sys.stderr) as screen:
        found = export_batch(folder, lambda *told: screen.show(Bar(*told)))
    for text, warning in found.sentences():
        print(f"warning: {text}" if warning else text, file=sys.stderr)
    if as_json:
        print(json.dumps({"folder": str(found.folder), **found.to_json()}, indent=2))
    else:
        print(found.folder)
    if found.errors:
        raise typer.Exit(1)


@app.command(
    epilog="Example: spriteworks batch retry out potion-red-100, or spriteworks batch retry out "
    "--rejected potions-review.json"
)
def retry(
    folder: _Folder,
    names: _Names = [],  # noqa: B006
    rejected: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Make what this review, which the report's page saves, rejects, with new seeds.",
        ),
    ] = None,
) -> None:
    """Let failed, quarantined and cancelled jobs be made by the next run."""
    from .production import retry as retry_jobs

    if rejected is None:
        print(f"{retry_jobs(folder, names)} jobs wait again; run the batch to make them")
    else:
        _retry_rejected(folder, names, rejected)


@app.command(epilog="Example: spriteworks batch cancel out")
def cancel(folder: _Folder, names: _Names = []) -> None:  # noqa: B006
    """Give up jobs that wait; what a server has by now is still brought home."""
    from .production import cancel as cancel_jobs

    print(f"{cancel_jobs(folder, names)} jobs are cancelled; `batch retry` takes that back")


@app.command(epilog="Example: spriteworks batch recover out")
def recover(
    folder: _Folder,
    manifest: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The batch's manifest; that of the last plan if not given."
        ),
    ] = None,
    servers: Servers = [],  # noqa: B006
    comfyui: Comfyui = None,
    gpus: Gpus = "",
    engines: Engines = 0,
    models: Models = None,
    by_name: Annotated[
        bool,
        typer.Option("--by-name", help="Count pictures that carry no graph by their names, too."),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Rebuild a record that is whole, too.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Rebuild the batch's record from the pictures in its folder, which carry their graphs.

    A record that is whole stays; pictures that lie under each other's names get back their own.
    Servers are asked for their nodes only where DIR does not say which there were.
    """
    from ..screen import Bar, screen_on
    from .recovery.recovery import Wish
    from .recovery.recovery import recover as recover_batch

    choice = _choice(servers, comfyui, gpus, engines, models)
    wish = Wish(
        manifest=manifest,
        choice=choice if servers or comfyui or engines else None,
        otherwise=choice,
        force=force,
        by_name=by_name,
        dry=dry_run,
    )
    with screen_on(sys.stderr) as screen:
        found = recover_batch(folder, wish, lambda *told: screen.show(Bar(*told)))
    for text, warning in found.sentences():
        print(f"warning: {text}" if warning else text, file=sys.stderr)
    if as_json:
        print(json.dumps(found.to_json(), indent=2))
    else:
        print(found.folder)


def _retry_rejected(folder: Path, names: list[str], review: Path) -> None:
    from ..errors import UsageError
    from .production import retry_rejected

    if names:
        raise UsageError("--rejected takes the names from its file; leave out the others")
    found = retry_rejected(folder, review)
    for name, why in found.left.items():
        print(f"{name} stays: {why}", file=sys.stderr)
    count = len(found.again)
    if count:
        jobs = "job waits" if count == 1 else "jobs wait"
        print(f"{count} {jobs} again, with new seeds; run the batch to make them")
    else:
        print("no job waits again")


def _joined_folder(folder: Path, out: Path, store: str) -> Path:
    from ..errors import UsageError

    if out != Path("out") or store:
        raise UsageError(
            "--join takes the batch's folder, which knows the rest; leave out --out and --store"
        )
    return folder


def _request(
    manifest: Path,
    out: Path,
    servers: list[str],
    comfyui: Path | None,
    gpus: str,
    engines: int,
    models: Path | None,
    store: str,
) -> BatchRequest:
    from .production import BatchRequest

    choice = _choice(servers, comfyui, gpus, engines, models)
    return BatchRequest(manifest=manifest, out=out, choice=choice, store=store)


def _choice(
    servers: list[str], comfyui: Path | None, gpus: str, engines: int, models: Path | None
) -> Choice:
    from ..local.serving import Choice, choose

    named = Choice(
        urls=tuple(servers),
        comfyui=comfyui,
        gpus=gpus_in(gpus),
        engines=engines,
        models=models,
    )
    return choose(named, os.environ)


def _observer(out: Path, as_json: bool) -> BatchDisplay | Events:
    from .reporting.live import Events, view_on

    return Events(sys.stdout, out) if as_json else view_on(sys.stderr, out)


def _plan_json(made: Plan) -> dict[str, Any]:
    from dataclasses import asdict

    from .logic.jobs import counted

    return {
        **vars(made.diff),
        "jobs": counted(made.counts),
        "servers": made.servers,
        "estimate": asdict(made.estimate) if made.estimate else None,
    }


def _print_plan(made: Plan) -> None:
    from .logic.jobs import counted
    from .reporting.live import duration

    counts, diff = counted(made.counts), made.diff
    print(f"{counts['total']} pictures, {counts['done']} of them done")
    print(f"{diff.added} new, {diff.changed} changed, {diff.unwanted} no longer wanted")
    if made.estimate is None:
        print("time left: not known before the first pictures")
    else:
        low, high = duration(made.estimate.low), duration(made.estimate.high)
        print(f"time left: {duration(made.estimate.likely)} ({low} to {high})")
    for server, objection in made.servers.items():
        print(f"{server}: {objection or 'ready'}")


def _print_status(found: dict[str, Any]) -> None:
    from .reporting.live import duration

    states = ("running", "pending", "failed", "quarantined", "cancelled", "unwanted")
    parts = [f"{found[state]} {state}" for state in states if found[state]]
    made = f"{found['done']} of {found['total']} done"
    print(f"{found['name']}: {', '.join([made, *parts])}")
    if found["seconds_left"]:
        print(f"about {duration(found['seconds_left'])} left")
    for server, figures in found["timings"]["servers"].items():
        print(f"  {server}: {_server_words(figures)}")
    if found["without_graph"]:
        print(f"{found['without_graph']} pictures do not carry their graph")
    for reason in found["failures"]:
        print(f"  {reason['name']}: {reason['reason']}")
    if not found["active"] and found["pending"] + found["running"]:
        print("nobody is at work on it; run the batch to go on")


def _server_words(figures: dict[str, Any]) -> str:
    from .reporting.report.plots import duration, percent

    words = [f"{figures['pictures']} pictures", f"{figures['failures']} failures"]
    run = figures["spans"].get("run")
    if run:
        half, most = duration(run["p50"]), duration(run["p99"])
        words.append(f"half of the graphs ran within {half}, 99% within {most}")
    if figures["idle_share"] is not None:
        words.append(f"idle {percent(figures['idle_share'])} while work waited")
    return ", ".join(words)
