"""Which server a command uses: one that runs, a ComfyUI that we start, or the embedded engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..client.client import Client
from ..client.wire import base_url
from ..errors import UsageError
from .launch import comfyui, engine
from .process import ServerProcess


@dataclass(frozen=True, kw_only=True)
class ServerChoice:
    """The server to use; neither `url` nor `comfyui` means the embedded engine."""

    url: str | None = None
    comfyui: Path | None = None
    # a folder of models for a server that we start
    models: Path | None = None
    # whether a server that we start shall send intermediate pictures
    previews: bool = False


def choose(
    server: str | None,
    comfyui: Path | None,
    environment: Mapping[str, str],
    *,
    models: Path | None = None,
    previews: bool = False,
) -> ServerChoice:
    """Decide from options and environment; an option beats the environment.

    Raises UsageError where the options contradict each other.
    """
    if server and comfyui:
        raise UsageError("--server and --comfyui name two servers; give one of them")
    if not server and not comfyui:
        server = environment.get("SPRITEWORKS_SERVER")
        named = environment.get("COMFYUI_PATH")
        comfyui = Path(named) if named and not server else None
    if server and models:
        raise UsageError("--models is for a server that is started here; leave it out or --server")
    if models and not models.is_dir():
        raise UsageError(f"--models {models}: there is no such folder")
    url = base_url(server) if server else None
    return ServerChoice(url=url, comfyui=comfyui, models=models, previews=previews)


@contextmanager
def connected(choice: ServerChoice, say: Callable[[str], None]) -> Iterator[Client]:
    """Connect to the chosen server, started where needed and then stopped; says which it is."""
    with ExitStack() as stack:
        process: ServerProcess | None = None
        if choice.url is None:
            process = stack.enter_context(_started(choice, say))
        if process is None:
            client = stack.enter_context(Client(str(choice.url)))
        else:
            client = stack.enter_context(Client(process.url, check=process.check))
        stats = client.system_stats()
        name = "the engine" if stats.is_engine else "ComfyUI"
        say(f"using {name} {stats.version} at {client.url} on {stats.device}")
        yield client


@contextmanager
def _started(choice: ServerChoice, say: Callable[[str], None]) -> Iterator[ServerProcess]:
    if choice.comfyui is not None:
        say(f"starting ComfyUI in {choice.comfyui} ...")
        with comfyui(choice.comfyui, models=choice.models, previews=choice.previews) as process:
            yield process
    else:
        say("starting the embedded engine ...")
        with engine(models=choice.models) as process:
            yield process
