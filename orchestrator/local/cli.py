"""`spriteworks comfyui ...`: arguments and wiring only."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from .installs import Install

app = typer.Typer(
    name="comfyui",
    help="Install, start, update and remove a ComfyUI of Spriteworks' own.",
    rich_markup_mode=None,
    no_args_is_help=True,
)

_Version = Annotated[
    str | None,
    typer.Option(metavar="V", help="Which one: its number, tag or commit; else the newest."),
]
_Place = Annotated[
    Path | None,
    typer.Option("--dir", metavar="DIR", help="Which one, by its folder; else by its version."),
]
_Wanted = Annotated[
    str | None,
    typer.Option(
        metavar="V",
        help="A number as 0.33.0, a tag or a commit; else the newest that Spriteworks' tests "
        "passed on.",
    ),
]
_Port = Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")]
_Arguments = Annotated[
    list[str], typer.Argument(metavar="-- ARGS", help="Further arguments for ComfyUI.")
]
_Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object, alone, on standard output.")
]


@app.command(
    epilog="Example: spriteworks comfyui install --version 0.33.0. After a break the same command "
    "goes on."
)
def install(
    version: _Wanted = None,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="URL|FOLDER", help="A git repository of ComfyUI."),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", help="A folder for it; else one of the user's data."),
    ] = None,
    torch: Annotated[
        list[str],
        typer.Option(
            "--torch",
            metavar="REQ",
            help="What the installer is given beside ComfyUI's requirements, instead of the torch "
            "of the tests; may be repeated. '' is nothing.",
        ),
    ] = [],  # noqa: B006  (typer reads it and never changes it)
    as_json: _Json = False,
) -> None:
    """Fetch a ComfyUI by git, make its environment, and add the Spriteworks nodes."""
    from .checkouts import SOURCE
    from .environments import TORCH
    from .installs import TESTED, root_of
    from .installs import install as make

    with _shown() as report:
        made = make(
            root_of(),
            version or TESTED,
            source=source or SOURCE,
            folder=None if folder is None else folder.expanduser().absolute(),
            torch=[one for one in torch if one] if torch else TORCH,
            report=report,
        )
    _told(made, as_json, "is ready")


@app.command("list", epilog="Example: spriteworks comfyui list")
def list_installs(as_json: _Json = False) -> None:
    """List the ComfyUIs that Spriteworks installed, and where those that run answer."""
    from .installs import listed, root_of
    from .managed import url_of

    rows = [(one, url_of(one.folder)) for one in listed(root_of())]
    if as_json:
        print(
            json.dumps({"installs": [{**one.to_json(), "url": url} for one, url in rows]}, indent=2)
        )
        return
    for one, url in rows:
        state = (f"runs at {url}" if url else "ready") if one.ready else "unfinished"
        print(f"{one.version}  {one.commit[:8]}  {state}  {one.folder}")
    if not rows:
        print("none; make one: spriteworks comfyui install", file=sys.stderr)


@app.command(epilog="Example: spriteworks comfyui update --version 0.33.0")
def update(version: _Wanted = None, folder: _Place = None, as_json: _Json = False) -> None:
    """Bring the newest ComfyUI, or that of --dir, to another version, or leave it as it was."""
    from .installs import TESTED, chosen, root_of
    from .installs import update as change

    old = chosen(root_of(), folder=folder, ready=False)
    with _shown() as report:
        new = change(root_of(), old, version or TESTED, report=report)
    _told(new, as_json, f"was {old.version} before" if new.commit != old.commit else "stays")


@app.command(epilog="Example: spriteworks comfyui start --port 8188 -- --cpu")
def start(
    arguments: _Arguments = [],  # noqa: B006
    port: _Port = 8188,
    version: _Version = None,
    folder: _Place = None,
) -> None:
    """Run a ComfyUI with its own models, inputs and outputs until Ctrl-C."""
    from .installs import chosen, root_of

    _run(chosen(root_of(), version, folder), port, arguments, lambda url: None)


@app.command("open", epilog="Example: spriteworks comfyui open")
def open_browser(
    arguments: _Arguments = [],  # noqa: B006
    port: _Port = 8188,
    version: _Version = None,
    folder: _Place = None,
) -> None:
    """Open ComfyUI in the browser; it is started, as by start, where it does not run."""
    from .installs import chosen, root_of
    from .managed import url_of

    there = chosen(root_of(), version, folder)
    url = url_of(there.folder)
    if url is None:
        _run(there, port, arguments, _browse)
    else:
        print(url)
        _browse(url)


@app.command(epilog="Example: spriteworks comfyui remove --version 0.28.0")
def remove(
    version: _Version = None,
    folder: _Place = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Also models, pictures, workflows and packs of yours in it."),
    ] = False,
) -> None:
    """Remove a ComfyUI that Spriteworks installed, with its environment."""
    from .installs import chosen, root_of
    from .installs import remove as take_away

    gone = chosen(root_of(), version, folder, ready=False)
    take_away(root_of(), gone, force=force)
    print(f"{gone} is gone", file=sys.stderr)


@contextmanager
def _shown() -> Iterator[Callable[[str, int | None], None]]:
    """Shows what is being done: a bar on a terminal, else a line for each new thing."""
    from ..screen import Bar, screen_on

    said = set[str]()
    with screen_on(sys.stderr) as screen:

        def report(doing: str, percent: int | None) -> None:
            # What an installer says in between is for the bar alone.
            what, _, detail = doing.partition(": ")
            if what not in said:
                said.add(what)
                screen.say(f"{what} ...")
            screen.show(Bar(detail or what, percent or 0, None if percent is None else 100))

        yield report


def _told(there: Install, as_json: bool, what: str) -> None:
    if as_json:
        print(json.dumps(there.to_json(), indent=2))
        return
    print(f"ComfyUI {there.version} {what}", file=sys.stderr)
    print(there.folder)


def _run(there: Install, port: int, arguments: list[str], ready: Callable[[str], Any]) -> None:
    """Run it in the foreground; what it writes goes to standard error, its address to output."""
    from .interrupts import SIGNALLED, Stopped
    from .managed import started, watch

    def show(text: str) -> None:
        print(text, end="", file=sys.stderr, flush=True)

    try:
        with started(there.folder, port, arguments, show) as process:
            print(process.url, flush=True)
            ready(process.url)
            watch(process)
    except Stopped as stopped:
        print(f"{there} has stopped", file=sys.stderr)
        raise typer.Exit(SIGNALLED + stopped.number) from None


def _browse(url: str) -> None:
    import webbrowser

    if not webbrowser.open(url):
        print(f"no browser was found here; open {url} yourself", file=sys.stderr)
