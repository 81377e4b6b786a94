"""With which settings this command would start an engine: those of one that it may use instead."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path

from ..version import __version__
from .kept import RUNTIME, Settings
from .pack import pack_folder

# What begins so is looked at by torch, the hub's library or us.
_LOOKED_AT = (
    *("CUDA_", "HIP_", "HSA_", "ROCR_", "TORCH", "PYTORCH_", "OMP_", "MKL_", "KMP_"),
    *("HF_", "HUGGINGFACE_", "DIFFUSERS_", "TRANSFORMERS_", "XDG_CACHE_HOME", "SPRITEWORKS_"),
)
# What only the command looks at.
_OURS = (RUNTIME, "SPRITEWORKS_SERVER", "SPRITEWORKS_COMFYUI")
_PACKAGE = Path(__file__).resolve().parents[1]


def wanted_settings(
    models: Iterable[Path], device: str, environment: Mapping[str, str] = os.environ
) -> Settings:
    """The settings of an engine with these folders of models, on that device."""
    return Settings(
        version=__version__,
        code=_code((_PACKAGE, pack_folder())),
        python=sys.executable,
        models=tuple(str(folder.resolve()) for folder in models),
        device=device,
        environment=_digests(environment),
    )


def _digests(environment: Mapping[str, str]) -> dict[str, str]:
    # Digests, for some hold passwords.
    return {
        name: sha256(value.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        for name, value in environment.items()
        if name.startswith(_LOOKED_AT) and name not in _OURS
    }


def _code(packages: Iterable[Path]) -> str:
    """Where the code lies, and a digest of when it was changed last."""
    found = sha256()
    for package in packages:
        for path, changed in sorted(_modules(str(package))):
            found.update(f"{path} {changed}\n".encode("utf-8", "surrogateescape"))
    return f"{_PACKAGE.parent} {found.hexdigest()[:16]}"


def _modules(folder: str) -> Iterator[tuple[str, int]]:
    """Each module of a package with the time of its last change, in ns."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _modules(entry.path)
            elif entry.name.endswith(".py"):
                yield entry.path, entry.stat().st_mtime_ns
