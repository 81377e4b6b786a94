"""`spriteworks worker` and `spriteworks workers`: arguments and wiring only."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...batch.execution.growth import GROWTH
from ...batch.options import (
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

if TYPE_CHECKING:
    from .registry import Worker, WorkerServer
    from .worker import WorkerProcess

WORKER_EPILOG = (
    "Example: spriteworks worker --database postgresql://sprites@db/sprites "
    "--storage s3://sprites/files --server http://127.0.0.1:8188"
)
WORKERS_EPILOG = "Example: spriteworks workers --json"

_Database = Annotated[
    str,
    typer.Option(
        metavar="URL", help="The service's database; else SPRITEWORKS_DATABASE, else its folder."
    ),
]
_Storage = Annotated[
    str,
    typer.Option(
        metavar="URL|DIR",
        help="The service's files, where they are not in its folder; else SPRITEWORKS_STORAGE.",
    ),
]
_Data = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The service's folder; else SPRITEWORKS_DATA."),
]
_Broker = Annotated[
    str,
    typer.Option(metavar="URL", help="A Redis that wakes it by Celery; else SPRITEWORKS_BROKER."),
]
_Name = Annotated[
    str, typer.Option(metavar="NAME", help="What it is called; else its machine and a number.")
]
_Drain = Annotated[
    float,
    typer.Option(min=0, metavar="S", help="For how long what runs may go on when it is stopped."),
]
_LogLevel = Annotated[str, typer.Option(metavar="LEVEL", help="debug, info, warning or error.")]
_LogFormat = Annotated[str, typer.Option(metavar="FORM", help="text or json, one line each.")]
_Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object, alone, on standard output.")
]


def worker(
    database: _Database = "",
    storage: _Storage = "",
    data: _Data = None,
    broker: _Broker = "",
    servers: Servers = [],  # noqa: B006  (typer reads it and never changes it)
    comfyui: Comfyui = None,
    engines: Engines = 0,
    gpus: Gpus = "",
    models: Models = None,
    device: Device = "",
    recycle: Recycle = 0,
    recycle_growth: RecycleGrowth = GROWTH,
    name: _Name = "",
    drain: _Drain = 300.0,
    log_level: _LogLevel = "info",
    log_format: _LogFormat = "text",
    as_json: _Json = False,
) -> None:
    """Make a service's jobs on servers of this machine, beside the service or anywhere else.

    Stopped by SIGTERM, Ctrl-C or Ctrl-Break it takes nothing more, lets what runs end and gives the
    rest back; a second one ends it at once, and others take over what it had.
    """
    import os
    from dataclasses import replace

    from ...extras import needed
    from ...local.serving import Choice, choose

    with needed("service", "a worker"):
        from ...batch.execution.fleet import Care
        from ..home import named_by
        from ..journal import checked, set_up
        from .joining import BROKER, service_at
        from .running import run
        from .worker import WorkerSetup

    named = Choice(
        urls=tuple(servers),
        comfyui=comfyui,
        engines=engines,
        gpus=gpus_in(gpus),
        models=models,
        device=device,
    )
    setup = WorkerSetup(
        service=replace(
            service_at(data, database, storage),
            broker=named_by(BROKER, broker),
        ),
        choice=choose(named, os.environ).startable(),
        name=name,
        care=Care(recycle=recycle, recycle_growth=recycle_growth),
    )
    set_up(*checked(log_level, log_format))
    ended = run(setup, drain, _begun)
    if as_json:
        told = {"worker": ended.worker.name, "servers": [one.to_json() for one in ended.servers()]}
        print(json.dumps(told, indent=2))


def workers(
    database: _Database = "",
    data: _Data = None,
    as_json: _Json = False,
) -> None:
    """List the workers of a service and their servers, also while nobody serves it."""
    from ...extras import needed

    with needed("service", "the list of workers"):
        from .joining import record_of, service_at
        from .registry import Registry

    with record_of(service_at(data, database, "", files=False)) as store:
        registry = Registry(store.database)
        found, servers = registry.workers(), registry.servers()
    if as_json:
        told = [one.to_json(each for each in servers if each.worker == one.name) for one in found]
        print(json.dumps({"workers": told}, indent=2))
    elif found:
        print(_table(found, servers))
    else:
        print("no worker has been seen within a day", file=sys.stderr)


def _begun(process: WorkerProcess) -> None:
    names = ", ".join(one.view.name for one in process.servers())
    print(f"worker {process.worker.name} is at work on {names}", file=sys.stderr, flush=True)


def _table(found: list[Worker], servers: list[WorkerServer]) -> str:
    lines = [("WORKER", "STATUS", "BEAT", "PROCESS", "VERSION", "SERVER", "OPEN", "DONE", "DEVICE")]
    for one in found:
        about = (
            one.name,
            one.status.value,
            f"{one.age:.0f} s ago",
            f"{one.pid} on {one.host}",
            one.version,
        )
        mine = [each for each in servers if each.worker == one.name]
        lines += [(*about, *_cells(each, one)) for each in mine] or [(*about, "-", "-", "-", "-")]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )
    return "\n".join(line.rstrip() for line in padded)


def _cells(one: WorkerServer, worker: Worker) -> tuple[str, str, str, str]:
    device = one.stats.device if one.stats else "-"
    # A server gets nothing from a worker that is gone, whatever that said of it last.
    is_open = one.view.is_open and worker.is_there
    return one.view.name, "yes" if is_open else "no", str(one.view.done), device
