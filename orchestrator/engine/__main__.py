"""`python -m orchestrator.engine`: the embedded engine as a server process.

When it listens, it prints one line of JSON on standard output:
{"event": "listening", "url": "http://127.0.0.1:8188"}. Everything else goes to standard error.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from ..errors import SpriteworksError
from ..extras import needed

MODEL_FILES = Path(__file__).resolve().parents[2] / "comfy_nodes" / "model_files"


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m orchestrator.engine", description=__doc__)
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
        type=Path,
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
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM (Ctrl-C or Ctrl-Break on Windows); gives the exit code."""
    arguments = _arguments(argv)
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
    with tempfile.TemporaryDirectory(prefix="spriteworks-") as scratch:
        try:
            return _serve(arguments, arguments.temp_directory or Path(scratch))
        except SpriteworksError as error:
            return _fail(error)


def _fail(error: SpriteworksError) -> int:
    print(f"spriteworks engine: {error}", file=sys.stderr)
    return error.exit_code


def _serve(arguments: argparse.Namespace, temp: Path) -> int:
    from .folders import Folders
    from .tuning.placing import DEVICE, best_device

    if arguments.device:
        os.environ[DEVICE] = arguments.device
        # Where there is none, that is told now and not with the first job.
        best_device()
    from ..guard import is_loopback
    from .serving.listening import serve
    from .serving.server import Engine, create_app

    folders = Folders(
        input=arguments.input_directory,
        output=arguments.output_directory,
        temp=temp,
        model_roots=arguments.models,
        extra_models={"diffusers": [MODEL_FILES]},
    ).resolved()
    folders.create()
    engine = Engine(folders)
    registry = engine.registry
    loopback_only = is_loopback(arguments.host)
    app = create_app(engine, loopback_only=loopback_only, names=arguments.allow_host)
    serve(app, arguments.host, arguments.port, arguments.log_level, lambda: registry.failed)
    registry.check()
    return 0


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
