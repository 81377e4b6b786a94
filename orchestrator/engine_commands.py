"""`spriteworks engine ...`: arguments and wiring only."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from .errors import UsageError

if TYPE_CHECKING:
    from argparse import Namespace

# What `status` ends with where none runs, as programs that ask for services do (LSB 5, 20.2).
_NOT_RUNNING = 3


class _Serving(TyperGroup):
    """Takes `spriteworks engine --port 8188` for `spriteworks engine serve --port 8188`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = args[0] if args else ""
        found: list[str] = super().parse_args(
            ctx, args if named in self.commands else [_SERVE, *args]
        )
        return found


_SERVE = "serve"

app = typer.Typer(
    name="engine",
    help="Serve ComfyUI's protocol with the embedded engine, and keep it running for commands.",
    rich_markup_mode=None,
    cls=_Serving,
)

_Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object, alone, on standard output.")
]


@app.command(
    _SERVE,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
    epilog="Example: spriteworks engine serve --port 8188 --models ~/models",
)
def serve(context: typer.Context) -> None:
    """Serve until it is stopped, or with --keep in the background; `serve` may be left out."""
    from .engine.__main__ import arguments_of
    from .engine.__main__ import run as serve_here
    from .local.interrupts import leave_at_once

    arguments = arguments_of(context.args)
    if arguments.keep is not None:
        _keep(arguments)
        return
    # Until it serves; then it stops in its own way.
    leave_at_once()
    serve_here(context.args)


@app.command(epilog="Example: spriteworks engine status --json")
def status(as_json: _Json = False) -> None:
    """Say whether an engine is kept running, where, and who uses it."""
    from .local.warm import status as status_of

    found = status_of()
    if as_json:
        print(json.dumps({"running": found is not None, **(found or {})}, indent=2))
    elif found is None:
        print("no engine is kept running", file=sys.stderr)
    else:
        print("\n".join(_lines(found)))
    if found is None:
        raise typer.Exit(_NOT_RUNNING)


@app.command(epilog="Example: spriteworks engine stop")
def stop(
    force: Annotated[
        bool, typer.Option("--force", help="Also where commands use it; their jobs end with it.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """End the engine that is kept running, where nobody uses it."""
    from .local.warm import stop as stop_it

    ended = stop_it(force=force)
    if as_json:
        print(json.dumps({"stopped": ended}, indent=2))
    else:
        print("the engine has ended" if ended else "no engine was kept running", file=sys.stderr)


def _keep(arguments: Namespace) -> None:
    from .local.durations import seconds_in
    from .local.warm import used

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    seconds = seconds_in(arguments.keep, "--keep")
    with used(arguments.models, arguments.device or "", seconds, say) as kept:
        if kept is None:
            raise UsageError("no engine is kept of these settings; see: spriteworks engine status")
        say(f"an engine is kept until nobody used it for {seconds:g} s; its log: {kept.note.log}")
        print(kept.note.url)


def _lines(found: dict[str, Any]) -> list[str]:
    """What a person is shown of a kept engine."""
    shown = [f"the engine {found['version']} at {found['url']}, process {found['process']}"]
    if found["answers"]:
        shown += [
            f"used by {found['commands']} commands, {found['jobs']} jobs",
            f"idle for {found['idle_s']:g} s of {found['keep_s']:g} s",
            f"memory: {found['memory'] / 2**20:.0f} MiB",
        ]
    else:
        shown.append("it does not answer")
    options = [f"--models {one}" for one in found["models"]]
    options += [f"--device {found['device']}"] if found["device"] else []
    shown += [f"options: {' '.join(options)}"] if options else []
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found["started"]))
    return [*shown, f"started: {since}", f"log: {found['log']}"]
