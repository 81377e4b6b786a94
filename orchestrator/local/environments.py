"""The Python environment of a ComfyUI: its .venv, with what its requirements name."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import InstallFailed, OutputError
from .programs import call

# The torch that the tests ran with, and what older versions import and do not name.
TORCH = ("torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0", "requests")

# s; torch with its libraries for GPUs is 3 GB to download
_PATIENCE, _LOOKING = 7200.0, 120.0
# bytes: what 0.33.0 takes with torch 2.11.0, which was 5.8 GB on a machine without a GPU and more
# with one, and some to work with
_SPACE_WITH_TORCH, _SPACE = 9_000_000_000, 500_000_000
_TORCH_LINE = re.compile(r"torch\b", re.MULTILINE)


def environment_python(folder: Path) -> Path:
    """The Python of its .venv, whether or not it is there."""
    place = folder / ".venv"
    return place / "Scripts" / "python.exe" if os.name == "nt" else place / "bin" / "python"


def make_environment(
    folder: Path, torch: Sequence[str], told: Callable[[str], None] | None = None
) -> None:
    """Install ComfyUI's requirements and `torch` into its .venv, by uv where there is one, or pip.

    What is there is kept where it fits; `told` hears what the installer says. `torch` are further
    arguments of its install: requirements, and options such as an index. Raises InstallFailed.
    """
    python, place = str(environment_python(folder)), str(folder / ".venv")
    wanted = ["-r", str(folder / "requirements.txt"), *torch]
    uv = shutil.which("uv")
    if uv:
        # with pip, by which ComfyUI-Manager installs what other packs need
        making = [uv, "venv", "--seed", "--allow-existing", "--python", sys.executable, place]
        filling = [uv, "pip", "install", "--python", python, *wanted]
    else:
        making = [sys.executable, "-m", "venv", place]
        filling = [python, "-m", "pip", "install", *wanted]
    for command in [filling] if _is_made(python) else [making, filling]:
        done = call(command, seconds=_PATIENCE, told=told)
        if done.code:
            raise InstallFailed(
                f"what ComfyUI needs cannot be installed into {place}; the installer said:\n"
                f"{done.tail}"
            )


def _is_made(python: str) -> bool:
    """Say whether an environment is there, whole, with its pip."""
    if not Path(python).is_file():
        return False
    return call([python, "-m", "pip", "--version"], seconds=_LOOKING).code == 0


def refuse_without_space(folder: Path, torch: Sequence[str]) -> None:
    """Raise OutputError where the disk of a checkout has no room for its environment."""
    wanted = "\n".join([(folder / "requirements.txt").read_text(encoding="utf-8"), *torch])
    there = environment_python(folder).is_file()
    needed = _SPACE_WITH_TORCH if _TORCH_LINE.search(wanted) and not there else _SPACE
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutputError(
            f"ComfyUI needs {needed / 1e9:.1f} GB for its environment; the disk of {folder} has "
            f"{free / 1e9:.1f} GB left; make room, or give another place with --dir"
        )
