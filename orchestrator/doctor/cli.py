"""`spriteworks doctor`: arguments and wiring only."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from .findings import Finding

EPILOG = "Example: spriteworks doctor --gpu --comfyui ~/ComfyUI --model sdxl --port 8190"

_Many = "; may be repeated."
_Gpu = Annotated[bool, typer.Option("--gpu", help="A GPU is needed.")]
_Extras = Annotated[
    list[str], typer.Option("--extra", metavar="NAME", help=f"An extra that is needed{_Many}")
]
_Comfyui = Annotated[
    Path | None, typer.Option(metavar="DIR", help="A ComfyUI that is needed; else COMFYUI_PATH.")
]
_Wanted = Annotated[
    list[str], typer.Option("--model", metavar="NAME", help=f"A model that is needed{_Many}")
]
_Models = Annotated[
    Path | None, typer.Option(metavar="DIR", help="A models folder in ComfyUI's layout.")
]
_Servers = Annotated[
    list[str], typer.Option("--server", metavar="URL", help=f"A server that should answer{_Many}")
]
_Database = Annotated[
    str, typer.Option(metavar="URL", help="A database to reach; else SPRITEWORKS_DATABASE.")
]
_Storage = Annotated[
    str, typer.Option(metavar="URL|DIR", help="Where files go; else SPRITEWORKS_STORAGE.")
]
_Broker = Annotated[
    str, typer.Option(metavar="URL", help="A Redis to reach; else SPRITEWORKS_BROKER.")
]
_Ports = Annotated[
    list[int],
    typer.Option("--port", metavar="N", min=1, max=65535, help=f"A port to be free{_Many}"),
]
_Data = Annotated[
    Path | None, typer.Option(metavar="DIR", help="The service's folder; else SPRITEWORKS_DATA.")
]
_Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object, alone, on standard output.")
]


@dataclass(frozen=True, kw_only=True)
class DoctorRequest:
    """What is asked for."""

    gpu: bool
    extras: tuple[str, ...]
    comfyui: Path | None
    models: tuple[str, ...]
    folder: Path | None
    servers: tuple[str, ...]
    database: str
    storage: str
    broker: str
    ports: tuple[int, ...]
    data: Path


def doctor(
    gpu: _Gpu = False,
    extras: _Extras = [],  # noqa: B006  (typer reads it and never changes it)
    comfyui: _Comfyui = None,
    wanted: _Wanted = [],  # noqa: B006
    models: _Models = None,
    servers: _Servers = [],  # noqa: B006
    database: _Database = "",
    storage: _Storage = "",
    broker: _Broker = "",
    ports: _Ports = [],  # noqa: B006
    data: _Data = None,
    as_json: _Json = False,
) -> None:
    """Say what this machine has, what is missing, and what it would take.

    Ends with 1 where something is missing that was asked for, by an option or the environment.
    """
    from ..service.home import DATABASE, home_of, named_by
    from ..service.workers.joining import BROKER, STORAGE
    from .findings import is_well

    asked = DoctorRequest(
        gpu=gpu,
        extras=tuple(extras),
        comfyui=comfyui,
        models=tuple(wanted),
        folder=models,
        servers=tuple(servers),
        database=named_by(DATABASE, database),
        storage=named_by(STORAGE, storage),
        broker=named_by(BROKER, broker),
        ports=tuple(ports),
        data=home_of(data),
    )
    found = []
    for one in _findings(asked):
        found.append(one)
        if not as_json:
            print(_line(one), flush=True)
    if as_json:
        told = {"ok": is_well(found), "findings": [one.to_json() for one in found]}
        print(json.dumps(told, indent=2))
    if not is_well(found):
        raise typer.Exit(1)


def _findings(asked: DoctorRequest) -> Iterator[Finding]:
    from . import installed, machine, reaching

    yield machine.python()
    yield from installed.extras(asked.extras)
    yield from machine.torch(asked=asked.gpu)
    yield machine.memory()
    cache = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    yield from machine.disks([asked.data, asked.folder or cache])
    yield machine.program("git", "installing node packs", "install git")
    yield installed.comfyui(asked.comfyui)
    yield from installed.models(asked.folder, asked.models)
    yield from map(reaching.server, asked.servers)
    if asked.database:
        yield reaching.database(asked.database)
    if asked.database.startswith("postgres"):
        hint = "install PostgreSQL's client programs (Debian: postgresql-client)"
        yield machine.program("pg_dump", "`spriteworks backup`", hint)
    if asked.storage:
        yield reaching.storage(asked.storage)
    if asked.broker:
        yield reaching.broker(asked.broker)
    yield from map(machine.port, asked.ports)


def _line(one: Finding) -> str:
    mark = {"ok": "ok     ", "absent": "-      ", "poor": "poor   ", "missing": "MISSING"}
    remedy = f"; {one.remedy}" if one.remedy else ""
    return f"{mark[one.state.value]}  {one.name}: {one.text}{remedy}"
