"""Options of the commands that start servers and keep them at work."""

from __future__ import annotations

from typing import Annotated

import typer

Recycle = Annotated[
    int, typer.Option(min=0, metavar="N", help="Restart servers started here after N graphs.")
]
RecycleGrowth = Annotated[
    int,
    typer.Option(
        min=0, metavar="MIB", help="... and once they have grown by so many MiB; 0: never."
    ),
]
