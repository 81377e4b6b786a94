"""`spriteworks serve`: arguments and wiring only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..batch.execution.growth import GROWTH
from ..batch.options import (
    Comfyui,
    Device,
    Engines,
    Gpus,
    Models,
    Recycle,
    RecycleGrowth,
    Servers,
    gpus_in,
)

EPILOG = "Example: spriteworks serve --data service --server http://gpu-1:8188"

_Data = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The service's folder; else SPRITEWORKS_DATA."),
]
_Host = Annotated[
    str, typer.Option(metavar="HOST", help="Where to listen; elsewhere than here needs keys.")
]
_Port = Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")]
_NoServers = Annotated[
    bool,
    typer.Option("--no-servers", help="Have no server here: `spriteworks worker` makes the jobs."),
]
_Workflow = Annotated[
    str, typer.Option(metavar="NAME", help="The workflow for prompts that name none.")
]
_Model = Annotated[str, typer.Option(metavar="NAME", help="The model for prompts that name none.")]
_Workflows = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="More workflows that prompts may name, as JSON files."),
]
_Store = Annotated[
    str,
    typer.Option(metavar="URL", help="Keep the record in PostgreSQL; else SPRITEWORKS_DATABASE."),
]
_Storage = Annotated[
    str,
    typer.Option(
        metavar="URL|DIR",
        help="Keep the files there, as s3://bucket/prefix; else SPRITEWORKS_STORAGE.",
    ),
]
_Broker = Annotated[
    str,
    typer.Option(
        metavar="URL", help="A Redis that wakes workers by Celery; else SPRITEWORKS_BROKER."
    ),
]
_Retention = Annotated[float, typer.Option(min=0.01, metavar="DAYS", help="How long results stay.")]
_Allow = Annotated[
    list[str],
    typer.Option(
        "--allow-webhooks",
        metavar="NET",
        help="A network inside that webhooks may be sent to, as 10.0.0.0/8; may be repeated.",
    ),
]
_LogLevel = Annotated[str, typer.Option(metavar="LEVEL", help="debug, info, warning or error.")]

_LogFormat = Annotated[str, typer.Option(metavar="FORM", help="text or json, one line each.")]


def serve(
    data: _Data = None,
    host: _Host = "127.0.0.1",
    port: _Port = 8190,
    servers: Servers = [],  # noqa: B006  (typer reads it and never changes it)
    comfyui: Comfyui = None,
    engines: Engines = 0,
    no_servers: _NoServers = False,
    gpus: Gpus = "",
    models: Models = None,
    device: Device = "",
    recycle: Recycle = 0,
    recycle_growth: RecycleGrowth = GROWTH,
    workflow: _Workflow = "sprite",
    model: _Model = "",
    workflows: _Workflows = None,
    store: _Store = "",
    storage: _Storage = "",
    broker: _Broker = "",
    retention: _Retention = 7.0,
    allow: _Allow = [],  # noqa: B006
    log_level: _LogLevel = "info",
    log_format: _LogFormat = "text",
) -> None:
    """Serve jobs over HTTP: /v1 takes prompts, /api/v2 any workflow (Comfy API v2).

    Without a server it starts the embedded engine. What was posted survives any end of the
    process: the same command goes on with it.
    """
    import os

    from ..extras import needed
    from ..local.serving import Choice, choose

    with needed("service", "the service"):
        from ..batch.execution.fleet import Care
        from .home import DATABASE, home_of, named_by
        from .intake import Settings
        from .opening import Setup
        from .serving import run
        from .workers.joining import BROKER, STORAGE

    named = Choice(
        urls=tuple(servers),
        comfyui=comfyui,
        engines=engines,
        gpus=gpus_in(gpus),
        models=models,
        device=device,
        previews=True,
        nothing=no_servers,
    )
    setup = Setup(
        folder=home_of(data),
        choice=choose(named, os.environ).startable(),
        store=named_by(DATABASE, store),
        storage=named_by(STORAGE, storage),
        broker=named_by(BROKER, broker),
        workflow=workflow,
        model=model,
        workflows=workflows,
        allow=tuple(allow),
        care=Care(recycle=recycle, recycle_growth=recycle_growth),
        settings=Settings(retention=retention * 86_400),
    )
    run(setup, host, port, log_level, log_format)
