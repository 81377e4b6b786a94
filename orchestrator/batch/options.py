"""Options of the commands that start servers and keep them at work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Servers = Annotated[
    list[str],
    typer.Option("--server", metavar="URL", help="A server that runs; may be repeated."),
]
Comfyui = Annotated[
    Path | None, typer.Option(metavar="[DIR]", help="A ComfyUI to start, once for each GPU.")
]
Gpus = Annotated[
    str, typer.Option(metavar="LIST", help="GPUs for servers started here, for example 0,1.")
]
Engines = Annotated[
    int, typer.Option(min=0, metavar="N", help="Start the embedded engine N times.")
]
Models = Annotated[
    Path | None, typer.Option(metavar="DIR", help="More models for servers started here.")
]
Device = Annotated[
    str, typer.Option(metavar="NAME", help="cpu, cuda or mps, for servers started here.")
]
Recycle = Annotated[
    int, typer.Option(min=0, metavar="N", help="Restart servers started here after N graphs.")
]
RecycleGrowth = Annotated[
    int,
    typer.Option(
        min=0, metavar="MIB", help="... and once they have grown by so many MiB; 0: never."
    ),
]


def gpus_in(text: str) -> tuple[str, ...]:
    """The GPUs of a `Gpus` option, each as it was named."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
