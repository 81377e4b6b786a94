"""Which servers a command uses: those that run, a ComfyUI that we start, or the embedded engine."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from ..client.client import Client
from ..client.wire import base_url
from ..errors import UsageError
from ..protocol import SystemStats
from . import launch, warm
from .arguments import MANAGED
from .process import ServerProcess

_DEVICES = ("", "cpu", "cuda", "mps")


class Launcher(Protocol):
    """Runs a server until its block ends; one that starts is given up once `cancelled` is set."""

    def __call__(
        self, *, cancelled: threading.Event | None = None
    ) -> AbstractContextManager[ServerProcess]: ...


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The servers that a person chose; none at all means one embedded engine, but for `nothing`.

    Raises UsageError where it contradicts itself.
    """

    # servers that run, as people write addresses
    urls: tuple[str, ...] = ()
    # a ComfyUI to start, once for each of `gpus`; MANAGED is the newest of Spriteworks' own
    comfyui: Path | None = None
    # numbers of GPUs, for servers that are started here
    gpus: tuple[str, ...] = ()
    # processes of the embedded engine
    engines: int = 0
    # a further folder of models for servers that are started here
    models: Path | None = None
    # whether servers that are started here shall send intermediate pictures
    previews: bool = False
    # cpu, cuda or mps, for servers that are started here; "" is the accelerator where there is one
    device: str = ""
    # no server at all: others have them
    nothing: bool = False
    # s for which the engine is kept running when nobody uses it any more; None is not at all
    keep: float | None = None

    def __post_init__(self) -> None:
        """Read the addresses, and refuse what cannot be meant."""
        urls = tuple(base_url(url) for url in self.urls)
        object.__setattr__(self, "urls", urls)
        # Shells leave the `~` of --comfyui=~/ComfyUI as it is, and of COMFYUI_PATH in a file.
        object.__setattr__(self, "comfyui", _managed(_at_home(self.comfyui)))
        object.__setattr__(self, "models", _at_home(self.models))
        twice = {url for url in urls if urls.count(url) > 1}
        if twice:
            raise UsageError(f"--server {twice.pop()} is given twice; give each server once")
        here = self.comfyui is not None or self.engines > 0
        if self.nothing and (urls or here):
            raise UsageError("--no-servers is for none at all; leave it out, or all servers")
        if self.keep is not None and not self.may_be_kept():
            raise UsageError("--keep is for the embedded engine; leave it out, or the servers")
        if self.keep is not None and not 0 < self.keep < math.inf:
            raise UsageError(f"an engine is kept for a time of more than 0 s, and not {self.keep}")
        if self.gpus and not here:
            raise UsageError("--gpus is for servers that are started here; add --comfyui DIR")
        if self.device not in _DEVICES:
            raise UsageError(f"--device {self.device}: it is one of cpu, cuda and mps")
        if self.device and urls and not here:
            raise UsageError(
                "--device is for a server that is started here; leave it out or --server"
            )
        if self.device == "cuda" and not launch.has_gpu():
            raise UsageError("--device cuda: there is no GPU here that nvidia-smi or ROCm knows")
        if self.models and urls and not here:
            raise UsageError(
                "--models is for a server that is started here; leave it out or --server"
            )
        if self.models and not self.models.is_dir():
            raise UsageError(f"--models {self.models}: there is no such folder")

    def own(self) -> list[tuple[str, Launcher]]:
        """The servers to start here, by name."""
        if self.nothing:
            return []
        gpus: Sequence[str | None] = self.gpus or (None,)
        if self.comfyui is not None:
            return [(_name("comfyui", gpu), self._comfyui(self.comfyui, gpu)) for gpu in gpus]
        count = self.engines or (0 if self.urls else len(gpus))
        chosen = [gpus[number % len(gpus)] for number in range(count)]
        return [
            (
                _name(f"engine-{number}", gpu),
                partial(launch.engine, models=self.models, gpu=gpu, device=self.device),
            )
            for number, gpu in enumerate(chosen, 1)
        ]

    def may_be_kept(self) -> bool:
        """Say whether it is the one engine that a command takes where no server is named.

        Commands share that one where it is kept running; what is named is as it was named.
        """
        named = self.urls or self.comfyui or self.engines or self.gpus
        return not (named or self.nothing)

    def unshared(self) -> Choice:
        """The same, with an engine of its own where one would be shared with other commands."""
        return replace(self, engines=1) if self.may_be_kept() else self

    def startable(self) -> Choice:
        """The same, where this machine has what its servers need; raises UsageError elsewhere."""
        if self.comfyui is not None:
            launch.check_comfyui(self.comfyui)
        elif self.own():
            launch.check_engine()
        return self

    def one(self) -> Choice:
        """The same, where it is one server; raises UsageError where it is several."""
        if self.urls and self.comfyui:
            raise UsageError("--server and --comfyui name two servers; give one of them")
        if len(self.urls) + len(self.own()) > 1:
            raise UsageError("this takes one server; give one of them")
        return self

    def _comfyui(self, folder: Path, gpu: str | None) -> Launcher:
        return partial(
            launch.comfyui,
            folder,
            models=self.models,
            previews=self.previews,
            gpu=gpu,
            device=self.device,
        )


def choose(named: Choice, environment: Mapping[str, str]) -> Choice:
    """The servers that options name, else those of SPRITEWORKS_SERVER or COMFYUI_PATH."""
    if named.urls or named.comfyui or named.engines or named.nothing or named.keep is not None:
        return named
    url, folder = environment.get("SPRITEWORKS_SERVER"), environment.get("COMFYUI_PATH")
    if url:
        return replace(named, urls=(url,))
    return replace(named, comfyui=Path(folder)) if folder else named


@dataclass(frozen=True, kw_only=True)
class Reached:
    """A server that answers."""

    url: str
    stats: SystemStats
    # raises an error that says why it does not answer, where it runs here and has ended
    check: Callable[[], None] | None = None

    def client(self) -> Client:
        """A connection to it, for one thread."""
        if self.check is None:
            return Client(self.url)
        return Client(self.url, check=self.check)


@contextmanager
def reached(
    choice: Choice, say: Callable[[str], None], timeout: float | None = None
) -> Iterator[Reached]:
    """The one server of a choice, started where needed and then stopped; says which it is.

    One that runs has `timeout` s for its first answer; None is the client's own patience.
    Raises ServerUnreachable, ServerStartFailed and their kin.
    """
    with ExitStack() as stack:
        found = _found(stack, choice.one(), say)
        with Client(found.url) as client, client.at_most(timeout if found.was_there else None):
            stats = client.system_stats()
        name = "the engine" if stats.is_engine else "ComfyUI"
        say(f"using {name} {stats.version} at {found.url} on {stats.device}{found.remark}")
        yield Reached(url=found.url, stats=stats, check=found.check)


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A server that is there, or was started."""

    url: str
    check: Callable[[], None] | None = None
    was_there: bool = False
    # what there is to say of it
    remark: str = ""


def _found(stack: ExitStack, choice: Choice, say: Callable[[str], None]) -> _Found:
    """The one server of a choice, until the stack closes."""
    if choice.urls:
        return _Found(url=choice.urls[0], was_there=True)
    if choice.may_be_kept():
        models = () if choice.models is None else (choice.models,)
        kept = stack.enter_context(warm.used(models, choice.device, choice.keep, say))
        if kept is not None:
            there = kept.was_there
            remark = f", {kept.remark}"
            return _Found(url=kept.note.url, check=kept.check, was_there=there, remark=remark)
    ((_, launcher),) = choice.own()
    say(_beginning(choice))
    process = stack.enter_context(launcher())
    return _Found(url=process.url, check=process.check)


@contextmanager
def connected(choice: Choice, say: Callable[[str], None]) -> Iterator[Client]:
    """A connection to the one server of a choice; see `reached`."""
    with reached(choice, say) as server, server.client() as client:
        yield client


def _beginning(choice: Choice) -> str:
    if choice.comfyui is not None:
        return f"starting ComfyUI in {choice.comfyui} ..."
    return "starting the embedded engine ..."


def _at_home(folder: Path | None) -> Path | None:
    return None if folder is None else Path(os.path.expanduser(folder))


def _managed(folder: Path | None) -> Path | None:
    """The folder that is meant; raises UsageError where it is the managed one and there is none."""
    if folder != Path(MANAGED):
        return folder
    # 20 ms, for those who ask for it
    from .installs import chosen, root_of

    return chosen(root_of()).folder


def _name(kind: str, gpu: str | None) -> str:
    return kind if gpu is None else f"{kind}-gpu{gpu}"
