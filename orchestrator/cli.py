"""The command `spriteworks`: arguments and wiring only.

Imports of the heavier modules stand inside the commands, so that --help and errors come at once.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .batch.cli import app as batch_app
from .bench.cli import EPILOG as BENCH_EPILOG
from .bench.cli import bench as bench_command
from .doctor.cli import EPILOG as DOCTOR_EPILOG
from .doctor.cli import doctor as doctor_command
from .engine_commands import app as engine_app
from .errors import UsageError
from .local.cli import app as comfyui_app
from .models.cli import app as models_app
from .service.backup_commands import BACKUP_EPILOG, MIGRATE_EPILOG, RESTORE_EPILOG
from .service.backup_commands import backup as backup_command
from .service.backup_commands import migrate as migrate_command
from .service.backup_commands import restore as restore_command
from .service.cli import EPILOG as SERVE_EPILOG
from .service.cli import serve as serve_command
from .service.key_commands import app as keys_app
from .service.workers.commands import WORKER_EPILOG, WORKERS_EPILOG
from .service.workers.commands import worker as worker_command
from .service.workers.commands import workers as workers_command
from .sprites.cli import CUTOUT_EPILOG, SNAP_EPILOG
from .sprites.cli import cutout as cutout_command
from .sprites.cli import snap as snap_command
from .sprites.frames_cli import FRAMES_EPILOG, TILE_EPILOG
from .sprites.frames_cli import frames as frames_command
from .sprites.frames_cli import tile as tile_command
from .sprites.inspect_cli import INSPECT_EPILOG, MEND_EPILOG
from .sprites.inspect_cli import inspect as inspect_command
from .sprites.inspect_cli import mend as mend_command
from .sprites.palette_cli import app as palette_app
from .sprites.sheet_cli import SHEET_EPILOG
from .sprites.sheet_cli import sheet as sheet_command
from .version import __version__

if TYPE_CHECKING:
    from .client.timings import Timings
    from .local.serving import Choice

app = typer.Typer(
    name="spriteworks",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


app.add_typer(batch_app)
app.add_typer(models_app)
app.add_typer(palette_app)
app.add_typer(keys_app)
app.add_typer(comfyui_app)
app.add_typer(engine_app)
app.command("bench", epilog=BENCH_EPILOG)(bench_command)
app.command("cutout", epilog=CUTOUT_EPILOG)(cutout_command)
app.command("serve", epilog=SERVE_EPILOG)(serve_command)
app.command("backup", epilog=BACKUP_EPILOG)(backup_command)
app.command("restore", epilog=RESTORE_EPILOG)(restore_command)
app.command("migrate", epilog=MIGRATE_EPILOG)(migrate_command)
app.command("worker", epilog=WORKER_EPILOG)(worker_command)
app.command("workers", epilog=WORKERS_EPILOG)(workers_command)
app.command("doctor", epilog=DOCTOR_EPILOG)(doctor_command)
app.command("snap", epilog=SNAP_EPILOG)(snap_command)
app.command("frames", epilog=FRAMES_EPILOG)(frames_command)
app.command("tile", epilog=TILE_EPILOG)(tile_command)
app.command("inspect", epilog=INSPECT_EPILOG)(inspect_command)
app.command("mend", epilog=MEND_EPILOG)(mend_command)
app.command("sheet", epilog=SHEET_EPILOG)(sheet_command)


class FailureOptions:
    """What the last place before the user needs to know of the options once a command failed."""

    debug = False


def _debug(value: bool) -> bool:
    FailureOptions.debug = FailureOptions.debug or value
    return value


def _version(value: bool) -> None:
    if value:
        print(f"spriteworks {__version__}")
        raise typer.Exit


_Workflow = Annotated[
    Path, typer.Argument(metavar="WORKFLOW", help="A canvas file or a graph (API format), as JSON.")
]
_Set = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help='Set a role (prompt, negative, seed, steps, ...), NODE_ID.input or "Title".input; '
        "may be repeated.",
    ),
]
_Server = Annotated[
    str | None,
    typer.Option(metavar="URL", help="A server that runs; else SPRITEWORKS_SERVER."),
]
_Comfyui = Annotated[
    Path | None,
    typer.Option(metavar="[DIR]", help="A ComfyUI to start and stop; else COMFYUI_PATH."),
]
_Models = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="More models for a server started here, in ComfyUI's layout."),
]
_Keep = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Leave the embedded engine running until nobody used it for so long, as 90s or 10m.",
    ),
]
_Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object, alone, on standard output.")
]
_Debug = Annotated[
    bool,
    typer.Option("--debug", callback=_debug, help="Show the traceback of an error."),
]


@app.callback()
def spriteworks(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
    debug: _Debug = False,
) -> None:
    """Game sprites from prompts, on ComfyUI servers or on the embedded engine.

    The server is --server, else --comfyui, else the engine, which needs nothing installed besides.
    """


@app.command(
    epilog='Example: spriteworks run workflows/sprite.json --set prompt="a red potion" --out out'
)
def run(
    workflow: _Workflow,
    settings: _Set = [],  # noqa: B006  (typer reads it and never changes it)
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the pictures and run.json go.")
    ] = Path("out"),
    server: _Server = None,
    comfyui: _Comfyui = None,
    models: _Models = None,
    keep: _Keep = None,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0, help="Give up, and stop the job, after this time."),
    ] = None,
    previews: Annotated[
        bool,
        typer.Option("--previews", help="Keep the newest intermediate picture in OUT/preview.jpg."),
    ] = False,
    any_graph: Annotated[
        bool,
        typer.Option(
            "--any-graph",
            help="Take pictures that carry another graph than the one that was sent: for servers "
            "with node packs that rewrite graphs.",
        ),
    ] = False,
    as_json: _Json = False,
    debug: _Debug = False,
) -> None:
    """Run a workflow once and collect its pictures."""
    from .library import Server
    from .runs.run_progress import progress_on
    from .runs.workflows import read_workflow

    choice = _choose(server, comfyui, models, keep, previews=previews)
    # before a server is started for them
    document, given = read_workflow(workflow), _given(settings)
    begin = time.monotonic()
    with (
        Server(choice, _say, timeout=timeout) as chosen,
        progress_on(previews=out if previews else None) as bar,
    ):
        # What starting a server takes is nobody's, and asking one that runs is the run's.
        spent = time.monotonic() - begin if choice.urls else 0.0
        left = None if timeout is None else max(timeout - spent, 0.0)
        made = chosen.run(
            document,
            out=out,
            timeout=left,
            observer=bar,
            any_graph=any_graph,
            settings=given,
        )
    if as_json:
        _print_json(made.to_json())
        return
    _say(_summary(made.timings))
    for picture in made.pictures:
        print(out / picture.name)
    from .models.larger import told_once

    for line in told_once(made.parameters.get("model")):
        _say(line)


@app.command(epilog="Example: spriteworks validate my.json --server http://127.0.0.1:8188")
def validate(
    workflow: _Workflow,
    settings: _Set = [],  # noqa: B006
    server: _Server = None,
    comfyui: _Comfyui = None,
    models: _Models = None,
    keep: _Keep = None,
    debug: _Debug = False,
) -> None:
    """Check a workflow against a server's nodes and models, and run nothing."""
    from .library import Server
    from .runs.workflows import read_workflow

    document, given = read_workflow(workflow), _given(settings)
    with Server(_choose(server, comfyui, models, keep), _say) as chosen:
        checked = chosen.check(document, settings=given)
    for note in checked.notes:
        _say(f"note: {note}")
    print(f"{workflow} is fine: {len(checked.graph)} nodes")


@app.command(epilog="Example: spriteworks convert sprite.json --out graph.json")
def convert(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", help="Canvas files, or pictures that carry one; a graph is copied."
        ),
    ],
    object_info: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The node classes: a saved answer of GET /object_info."),
    ] = None,
    server: _Server = None,
    comfyui: _Comfyui = None,
    keep: _Keep = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|DIR",
            help="Where the graph goes; of several files a folder, as NAME.json. Else standard "
            "output.",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print a list of {file, ok, reason, notes}; without --out the graphs are in it.",
        ),
    ] = False,
    debug: _Debug = False,
) -> None:
    """Turn canvas files into graphs (API format), as ComfyUI's editor would send them."""
    from .local.serving import connected
    from .runs.converting import catalogue_in, convert_file, targets_of, text_of, write_graph

    if object_info and (server or comfyui or keep):
        raise UsageError("--object-info and a server both say what nodes there are; give one")
    if len(files) > 1 and out is None and not as_json:
        raise UsageError("several graphs need a place: give --out DIR, or --json")
    targets = targets_of(files, out)
    if object_info:
        known = catalogue_in(object_info)
    else:
        with connected(_choose(server, comfyui, None, keep), _say) as client:
            known = client.catalogue()
    results = [convert_file(file, known) for file in files]
    for result in results:
        for note in result.notes:
            _say(f"note: {result.file}: {note}")
        if result.graph is None:
            _say(f"error: {result.reason}")
        elif out is not None:
            write_graph(result.graph, targets[result.file])
        elif not as_json:
            print(text_of(result.graph), end="")
    if as_json:
        _print_json([result.to_json(with_graph=out is None) for result in results])
    if not all(result.ok for result in results):
        raise typer.Exit(1)


@app.command(epilog="Example: spriteworks params workflows/sprite.json")
def params(
    workflow: _Workflow,
    settings: _Set = [],  # noqa: B006
    server: _Server = None,
    comfyui: _Comfyui = None,
    models: _Models = None,
    keep: _Keep = None,
    as_json: _Json = False,
    debug: _Debug = False,
) -> None:
    """List the roles that --set knows in a workflow, with their values."""
    from .library import Server
    from .runs.workflows import read_workflow

    document, given = read_workflow(workflow), _given(settings)
    with Server(_choose(server, comfyui, models, keep), _say) as chosen:
        values = chosen.parameters(document, settings=given)
    if as_json:
        _print_json(values)
        return
    for name, value in values.items():
        print(f"{name}={'(follows the model)' if value is None else value}")


def _choose(
    server: str | None,
    comfyui: Path | None,
    models: Path | None,
    keep: str | None,
    *,
    previews: bool = False,
) -> Choice:
    from .local.durations import seconds_in
    from .local.serving import Choice, choose

    named = Choice(
        urls=(server,) if server else (),
        comfyui=comfyui,
        models=models,
        previews=previews,
        keep=None if keep is None else seconds_in(keep, "--keep"),
    )
    return choose(named, os.environ).one()


def _given(settings: list[str]) -> dict[str, str]:
    """Settings by name; the last of a name counts, in its place."""
    from .workflow.roles import split_settings

    found: dict[str, str] = {}
    for name, text in split_settings(settings):
        found.pop(name, None)
        found[name] = text
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print_json(data: Any) -> None:
    print(json.dumps(data, indent=2))


def _summary(timings: Timings) -> str:
    return (
        f"done in {timings.total_s:.1f} s (queue {timings.queued_s:.1f} s, "
        f"transfer {timings.transfer_s:.1f} s)"
    )
