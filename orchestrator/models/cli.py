"""`spriteworks models ...`: arguments and wiring only."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import SpriteworksError

app = typer.Typer(
    name="models",
    help="Download, find and check the Stable Diffusion models that the loaders know.",
    rich_markup_mode=None,
    no_args_is_help=True,
)

_Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="A version as people call it: sd15, v1-5, xl, sdxl-turbo, xl-inpaint."
    ),
]
_Models = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="A models folder in ComfyUI's layout; else the hub's cache (HF_HOME).",
    ),
]
_Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object, alone, on standard output.")
]


@app.command("list", epilog="Example: spriteworks models list --models ~/models")
def list_models(models: _Models = None, as_json: _Json = False) -> None:
    """List the versions with their sizes and defaults, and where each is on this machine."""
    from .store import listed

    rows = listed(models)
    if as_json:
        _print_json({"models": rows})
    else:
        print(_table(rows))


@app.command(
    epilog="Example: spriteworks models pull sdxl --models ~/models. After a break the same "
    "command goes on where it was."
)
def pull(
    name: _Name,
    models: _Models = None,
    full: Annotated[
        bool, typer.Option("--full", help="Weights in fp32, where published: twice the size.")
    ] = False,
    checkpoint: Annotated[
        bool,
        typer.Option("--checkpoint", help="The publisher's single file, not the diffusers folder."),
    ] = False,
    as_json: _Json = False,
) -> None:
    """Download a version, go on with a download that broke, or mend a damaged one."""
    from comfy_nodes.hub.pulling import gigabytes

    from .download_progress import shown
    from .store import named, pulled

    version = named(name)
    try:
        with shown(sys.stderr) as report:
            done = pulled(version, models, half=not full, single=checkpoint, report=report)
    except SpriteworksError:
        raise
    except BaseException:  # Ctrl-C
        print("what came so far is kept: the same command goes on", file=sys.stderr)
        raise
    if as_json:
        _print_json(
            {
                "name": version.key,
                "path": str(done.path),
                "files": list(done.files),
                "downloaded_bytes": done.downloaded,
            }
        )
        return
    came = f"{gigabytes(done.downloaded)} downloaded" if done.downloaded else "all there already"
    print(f"{version.name}: {came}, {len(done.files)} files checked", file=sys.stderr)
    print(done.path)


@app.command(epilog="Example: spriteworks models path xl")
def path(name: _Name, models: _Models = None) -> None:
    """Print where a version is; nothing is asked of the hub."""
    from .store import located, named

    print(located(named(name), models).path)


@app.command(epilog="Example: spriteworks models verify sdxl-turbo")
def verify(name: _Name, models: _Models = None, as_json: _Json = False) -> None:
    """Compare a version's files with the checksums of its download, else with the hub's."""
    from .store import checked, located, named, refuse_damaged, summary

    version = named(name)
    found = located(version, models)
    outcome = checked(version, found)
    if as_json:
        _print_json(
            {
                "name": version.key,
                "path": str(found.path),
                "against": outcome.against,
                "files": {file.path: file.state.value for file in outcome.files},
            }
        )
    else:
        for file in outcome.files:
            print(f"{file.state.value:9}{file.path}")
    refuse_damaged(version, outcome)
    print(f"{version.name}: {summary(outcome)}", file=sys.stderr)


@app.command(epilog="Example: spriteworks models words dra")
def words(
    prefix: Annotated[
        str,
        typer.Argument(metavar="[PREFIX]", help="What they begin with; all where it is left out."),
    ] = "",
    model: Annotated[
        str, typer.Option(metavar="NAME", help="A model that comes with Spriteworks.")
    ] = "spriteworks-starter",
    as_json: _Json = False,
) -> None:
    """List the words that a small model knows, one a line; larger models take any."""
    from .store import known_words

    found = known_words(model, prefix)
    if as_json:
        _print_json({"model": model, "words": found})
        return
    print("\n".join(found))


def _table(rows: list[dict[str, Any]]) -> str:
    from comfy_nodes.hub.pulling import gigabytes

    lines = [("NAME", "MODEL", "PIXELS", "DOWNLOAD", "STEPS", "CFG", "SAMPLER", "WHERE")]
    lines += [
        (
            row["name"],
            row["model"],
            str(row["size"]),
            gigabytes(row["download_bytes"]),
            str(row["steps"]),
            f"{row['cfg']:g}",
            f"{row['sampler']}, {row['scheduler']}",
            row["path"] or "-",
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )
    return "\n".join(line.rstrip() for line in padded)


def _print_json(data: Any) -> None:
    print(json.dumps(data, indent=2))
