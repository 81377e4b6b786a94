"""`python -m orchestrator.engine`: the embedded engine as a server process.

When it listens, it prints one line of JSON on standard output:
{"event": "listening", "url": "http://127.0.0.1:8188"}. Everything else goes to standard error.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ..errors import SpriteworksError, UsageError
from ..extras import needed

if TYPE_CHECKING:
    import socket

    from .serving.keeping import Order
    from .serving.server import Engine

MODEL_FILES = Path(__file__).resolve().parents[2] / "comfy_nodes" / "model_files"


# Options of an engine that is kept; it has a port and folders of its own.
_KEPT_WITH = ("keep", "models", "device", "log_level", "kept")


def arguments_of(argv: list[str] | None) -> argparse.Namespace:
    """The options of a command line; ends the process where they are wrong, or ask for help."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.keep is None:
        return arguments
    # Once more, with nothing in the place of defaults, which somebody may have given, too.
    others = dict.fromkeys(name for name in vars(arguments) if name not in _KEPT_WITH)
    given = parser.parse_args(argv, argparse.Namespace(**others))
    for name in others:
        if getattr(given, name) is not None:
            option = name.replace("_", "-")
            parser.error(f"--keep goes with --models and --device, and not with --{option}")
    return arguments


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, as every command does."""

    def error(self, message: str) -> NoReturn:
        text = f"spriteworks engine: {message}; see spriteworks engine --help"
        self.exit(UsageError.exit_code, f"{text}\n")


def _folder(text: str) -> Path:
    found = Path(text).expanduser()
    if not found.is_dir():
        raise argparse.ArgumentTypeError(f"{text}: there is no such folder")
    return found


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m orchestrator.engine",
        description=__doc__,
        epilog="See also: spriteworks engine status, spriteworks engine stop.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument(
        "--allow-host",
        metavar="NAME",
        action="append",
        default=[],
        help="another name that requests may call this server by, such as that of a proxy; on "
        "loopback it answers to localhost and loopback addresses only; may be given several times",
    )
    parser.add_argument("--port", type=int, default=8188, help="0 takes any free port")
    parser.add_argument(
        "--models",
        type=_folder,
        action="append",
        default=[],
        help="folder laid out like ComfyUI's models folder; may be given several times",
    )
    for kind in ("input", "output"):
        parser.add_argument(
            f"--{kind}-directory", type=Path, default=Path(kind), help=f"default: ./{kind}"
        )
    parser.add_argument("--temp-directory", type=Path, help="default: one that goes with the end")
    parser.add_argument(
        "--device", choices=["cpu", "cuda", "mps"], help="default: the accelerator, if there is one"
    )
    parser.add_argument(
        "--log-level", default="info", choices=["debug", "info", "warning", "error"]
    )
    parser.add_argument(
        "--keep",
        metavar="TIME",
        help="with spriteworks engine: start it in the background, for all commands of this user, "
        "until nobody used it for so long, as 90s or 10m",
    )
    # What `spriteworks engine --keep` starts: it reads from standard input what it is to know.
    parser.add_argument("--kept", action="store_true", help=argparse.SUPPRESS)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM (Ctrl-C or Ctrl-Break on Windows); gives the exit code."""
    arguments = arguments_of(argv)
    if arguments.keep is not None:
        return _fail(UsageError("--keep is for the command: spriteworks engine --keep TIME"))
    # Before torch is loaded: its threads spin while they wait for each other, and where another
    # program wants the same cores that made 30 steps of the starter model 167 s instead of 3.5 s.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(
        level=arguments.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # Here, so that --help and mistakes in the arguments answer at once; and before there is a
    # folder to remove: a signal that comes while torch is loaded ends the process as it stands.
    try:
        with needed("engine", "the engine"):
            from .serving import listening, server  # noqa: F401
    except SpriteworksError as error:
        return _fail(error)
    try:
        if arguments.kept:
            return _serve_kept(arguments)
        with tempfile.TemporaryDirectory(prefix="spriteworks-") as scratch:
            return _serve(arguments, arguments.temp_directory or Path(scratch))
    except SpriteworksError as error:
        return _fail(error)


def _serve_kept(arguments: argparse.Namespace) -> int:
    """Serve in a folder of our own, of which nothing is left afterwards."""
    from .serving.keeping import Order

    order = Order.from_json(json.load(sys.stdin))
    try:
        return _serve(arguments, arguments.temp_directory, order)
    except SpriteworksError as error:
        # While there is a log to say it in.
        return _fail(error)
    finally:
        logging.shutdown()
        # Windows removes neither a folder that somebody is in nor a file that is open.
        os.chdir(order.note.work.parent)
        nothing = os.open(os.devnull, os.O_WRONLY)
        for number in (1, 2):
            os.dup2(nothing, number)
        shutil.rmtree(order.note.work, ignore_errors=True)


def _fail(error: SpriteworksError) -> int:
    print(f"spriteworks engine: {error}", file=sys.stderr)
    return error.exit_code


def _serve(arguments: argparse.Namespace, temp: Path, order: Order | None = None) -> int:
    from ..addresses import listen
    from .folders import Folders
    from .tuning.devices import DEVICE, best_device

    if arguments.device:
        os.environ[DEVICE] = arguments.device
    if os.environ.get(DEVICE):
        # Where there is none, that is told now and not with the first job.
        best_device()
    from .serving.server import Engine

    folders = Folders(
        input=arguments.input_directory,
        output=arguments.output_directory,
        temp=temp,
        model_roots=arguments.models,
        extra_models={"diffusers": [MODEL_FILES]},
    ).resolved()
    # The address first: where that cannot be had, no folders are left behind.
    with listen(arguments.host, arguments.port, "the engine") as listener:
        folders.create()
        engine = Engine(folders)
        _answer(arguments, listener, engine, order)
    engine.registry.check()
    return 0


def _answer(
    arguments: argparse.Namespace, listener: socket.socket, engine: Engine, order: Order | None
) -> None:
    from ..addresses import is_loopback
    from .serving.keeping import Keeper, add_keeping
    from .serving.listening import serve
    from .serving.server import create_app

    loopback_only = is_loopback(arguments.host)
    app = create_app(engine, loopback_only=loopback_only, names=arguments.allow_host)
    registry = engine.registry
    at = listener, arguments.host, arguments.log_level
    if order is None:
        serve(app, *at, lambda: registry.failed)
        return
    keeper = Keeper(order, engine.queue.remaining)
    add_keeping(app, keeper)
    try:
        serve(app, *at, lambda: registry.failed or keeper.is_over(), keeper.listens)
    finally:
        keeper.end("it was stopped")


def run(argv: list[str] | None = None) -> NoReturn:
    """Do what `main` does and end the process with its exit code, past Python's own end.

    Taking torch apart costs that a second, many while torch is still being loaded, and there is
    nothing left to save.
    """
    try:
        status = main(argv)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    run()
