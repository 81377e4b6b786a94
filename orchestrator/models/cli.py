"""`spriteworks models ...`: arguments and wiring only."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import SpriteworksError

if TYPE_CHECKING:
    from comfy_nodes.loras import Lora
    from comfy_nodes.models import Version

app = typer.Typer(
    name="models",
    help="Download, find and check the Stable Diffusion models that the loaders know, and LoRAs "
    "with which they draw pixel art.",
    rich_markup_mode=None,
    no_args_is_help=True,
)

_Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A version as people call it: sd15, v1-5, xl, sdxl-turbo, xl-inpaint; or a LoRA of "
        "the list: pixel-art-xl.",
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
    """List versions with their sizes and defaults, LoRAs for pixel art, and where each is here."""
    from .store import listed, listed_loras

    rows, loras = listed(models), listed_loras(models)
    if as_json:
        _print_json({"models": rows, "loras": loras})
    else:
        print(f"{_table(rows)}\n\n{_lora_table(loras)}")


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
    """Download a version, go on with a download that broke, or mend a damaged one.

    A LoRA comes with the version that it changes, where that is not in the models folder yet.
    """
    from comfy_nodes.hub.pulling import gigabytes

    from .download_progress import shown
    from .store import base_of, named, pulled

    model = named(name)
    base = base_of(model, models)
    try:
        with shown(sys.stderr) as report:
            if base is not None:
                pulled(base, models, half=not full, single=False, report=report)
            done = pulled(model, models, half=not full, single=checkpoint, report=report)
    except SpriteworksError:
        raise
    except BaseException:  # Ctrl-C
        print("what came so far is kept: the same command goes on", file=sys.stderr)
        raise
    if as_json:
        _print_json(
            {
                "name": model.key,
                "path": str(done.path),
                "files": list(done.files),
                "downloaded_bytes": done.downloaded,
            }
        )
        return
    came = f"{gigabytes(done.downloaded)} downloaded" if done.downloaded else "all there already"
    print(f"{model.name}: {came}, {len(done.files)} files checked", file=sys.stderr)
    _tell_use(model, models)
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

    model = named(name)
    found = located(model, models)
    outcome = checked(model, found)
    if as_json:
        _print_json(
            {
                "name": model.key,
                "path": str(found.path),
                "against": outcome.against,
                "files": {file.path: file.state.value for file in outcome.files},
            }
        )
    else:
        for file in outcome.files:
            print(f"{file.state.value:9}{file.path}")
    refuse_damaged(model, outcome)
    print(f"{model.name}: {summary(outcome)}", file=sys.stderr)


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
    return _aligned(lines)


def _lora_table(rows: list[dict[str, Any]]) -> str:
    from comfy_nodes.hub.pulling import gigabytes

    lines = [("LORA", "MODEL", "FOR", "DOWNLOAD", "LICENCE", "READ", "WHERE")]
    lines += [
        (
            row["name"],
            row["model"],
            row["base"],
            gigabytes(row["download_bytes"]),
            row["licence"],
            row["read"],
            row["path"] or "-",
        )
        for row in rows
    ]
    return _aligned(lines)


def _aligned(lines: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )
    return "\n".join(line.rstrip() for line in padded)


def _tell_use(model: Version | Lora, models: Path | None) -> None:
    from comfy_nodes.loras import Lora

    from .store import how_to_use

    if isinstance(model, Lora) and models is not None:
        print(f"a sprite with it: {how_to_use(model, models)}", file=sys.stderr)


def _print_json(data: Any) -> None:
    print(json.dumps(data, indent=2))
