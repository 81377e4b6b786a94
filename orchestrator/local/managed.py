"""A managed ComfyUI as people use it: in its own folders, on a port they know, until Ctrl-C."""

from __future__ import annotations

import json
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from ..client.wire import Timeouts, Wire
from ..errors import OutputError, ServerError, UsageError
from .environments import environment_python
from .launch import has_gpu
from .pack import renew_pack
from .process import Command, ServerProcess, running

# Where a server that was started in an install is, beside the install's mark.
_SERVER = "spriteworks-server.json"
# s between two looks whether a server still runs, and at its log
_PACE = 0.2


def users_of(folder: Path) -> list[int]:
    """The processes that run the ComfyUI of a folder, however they were started."""
    main = str(folder / "main.py")
    users: list[int] = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        # None where the system does not tell, as of other people's
        given, at = process.info["cmdline"] or (), process.info["cwd"]
        by_hand = at == str(folder) and any(Path(one).name == "main.py" for one in given)
        if main in given or by_hand:
            users.append(process.pid)
    return users


def url_of(folder: Path) -> str | None:
    """Where the server that was started in a folder answers; None where there is none."""
    try:
        noted = json.loads((folder / _SERVER).read_text(encoding="utf-8"))
        pid, url = int(noted["process"]), str(noted["url"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if pid not in users_of(folder):
        return None
    wire = Wire(url, Timeouts(connect=2.0, read=10.0, total=10.0))
    try:
        wire.json("GET", "/system_stats")
    except ServerError:
        return None
    finally:
        wire.close()
    return url


@contextmanager
def started(
    folder: Path, port: int, arguments: Sequence[str], show: Callable[[str], None]
) -> Iterator[ServerProcess]:
    """Run the ComfyUI of an install until the block ends; `show` gets what it writes.

    Port 0 is any free one; `arguments` are further ones of ComfyUI's. Raises UsageError where the
    port is taken or a server was started there already, ServerStartFailed where it does not start.
    """
    url = url_of(folder)
    if url is not None:
        raise UsageError(f"the ComfyUI in {folder} runs already, at {url}")
    _refuse_taken(port)
    renew_pack(folder)
    command = Command(
        name=f"ComfyUI in {folder}",
        arguments=lambda taken: _command(folder, taken, arguments),
        cwd=folder,
        env={"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"},
        port=port,
    )
    with (
        tempfile.TemporaryDirectory(prefix="spriteworks-", ignore_cleanup_errors=True) as work,
        _followed(Path(work) / "server.log", show),
        running(command, Path(work) / "server.log") as process,
        _noted(folder, process),
    ):
        yield process


def watch(process: ServerProcess) -> None:
    """Wait while a server runs; raises ServerLost when it has ended."""
    while True:
        process.check()
        time.sleep(_PACE)


def _command(folder: Path, port: int, arguments: Sequence[str]) -> list[str]:
    given = [str(environment_python(folder)), str(folder / "main.py")]
    given += ["--disable-auto-launch", "--port", str(port)]
    if not has_gpu() and "--cpu" not in arguments:
        given.append("--cpu")
    return [*given, *arguments]


def _refuse_taken(port: int) -> None:
    if not port:
        return
    with socket.socket() as probe:
        probe.settimeout(2.0)
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise UsageError(
                f"port {port} is taken by another program; give --port P, or 0 for any free one"
            )


@contextmanager
def _noted(folder: Path, process: ServerProcess) -> Iterator[None]:
    """Say beside the mark where the server is, for `open`."""
    path = folder / _SERVER
    try:
        path.write_text(json.dumps({"process": process.pid, "url": process.url}), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()


@contextmanager
def _followed(log: Path, show: Callable[[str], None]) -> Iterator[None]:
    """Show what comes into a log, as it comes, until the block ends."""
    over = threading.Event()
    thread = threading.Thread(target=_follow, args=(log, show, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _follow(log: Path, show: Callable[[str], None], over: threading.Event) -> None:
    shown, last = 0, False
    while not last:
        last = over.wait(_PACE)
        if not log.is_file():
            continue
        with log.open("rb") as file:
            # A second start, on another port, begins its log anew.
            shown = shown if shown <= file.seek(0, 2) else 0
            file.seek(shown)
            piece = file.read()
        shown += len(piece)
        if piece:
            show(piece.decode("utf-8", "replace"))
