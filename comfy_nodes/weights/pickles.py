"""Weights out of PyTorch pickles, without running what else a pickle may hold.

The engine reads them in the same way as the pack on ComfyUI.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..errors import ModelUnreadable, UnsupportedModel
from .files import Weights, read_file
from .kinds import PICKLE_SUFFIXES, kind_of

# torch's words for what it will not open: "GLOBAL os.system was not an allowed global", ...
_GLOBAL = re.compile(r"GLOBAL (\S+)")


class _Callback:
    """Stands for the training callback that Stable Diffusion 1's own files carry; holds nothing."""

    def __setstate__(self, state: object) -> None:
        """Forgets the state."""


_Callback.__name__ = _Callback.__qualname__ = "ModelCheckpoint"
_Callback.__module__ = "pytorch_lightning.callbacks.model_checkpoint"


def is_pickle(path: Path) -> bool:
    """Whether the name is one that pickles have."""
    return path.suffix.lower() in PICKLE_SUFFIXES


def check_allowed(path: Path, *, allow_pickle: bool) -> None:
    """Raises UnsupportedModel, naming the switch, for a pickle that nobody allowed."""
    if is_pickle(path) and not allow_pickle:
        raise UnsupportedModel(
            f"{path.name} is a pickle, which can hold code. Use a .safetensors file, or turn on "
            "allow_pickle: then its weights are read and any code in it is refused."
        )


def read_checkpoint(path: Path, *, allow_pickle: bool) -> Weights:
    """The tensors of a safetensors file, or of a pickle where that is allowed.

    Raises UnsupportedModel and ModelUnreadable.
    """
    check_allowed(path, allow_pickle=allow_pickle)
    return read_pickle(path) if is_pickle(path) else read_file(path)


def read_pickle(path: Path) -> Weights:
    """The tensors of a pickle, on the CPU; anything but tensors and numbers in it is refused.

    Raises UnsupportedModel where it holds code or no weights, ModelUnreadable where it is damaged.
    """
    kind = kind_of(path)
    if kind is not None and "pickle" not in kind:
        advice = "rename it to .safetensors" if "safetensors" in kind else "download it again"
        raise ModelUnreadable(f"{path.name} is {kind}, not what its name says: {advice}.")
    content = _loaded(path)
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise UnsupportedModel(f"{path.name} holds no weights by name, so it is no checkpoint.")
    weights = {name: one for name, one in content.items() if isinstance(one, torch.Tensor)}
    if not weights:
        raise UnsupportedModel(f"{path.name} holds no weights.")
    return weights


def _loaded(path: Path) -> Any:
    try:
        with _allowed():
            return torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
    except pickle.UnpicklingError as error:
        found = _GLOBAL.search(str(error))
        # torch 2.4 says so of a file that is cut, too
        held = (
            f"more than weights ({found[1]})"
            if found
            else "something else than weights, or is cut short,"
        )
        raise UnsupportedModel(
            f"{path.name} holds {held} and was not opened: take a .safetensors file of the model."
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, IndexError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ModelUnreadable:
    # Only what happened: torch adds advice that would let code run.
    first = re.split(r"\. |\n", str(error) or type(error).__name__)[0].rstrip(".")
    return ModelUnreadable(
        f"{path.name} cannot be read: it is cut short or no PyTorch file ({first}). Download it "
        "again."
    )


@contextmanager
def _allowed() -> Iterator[None]:
    """Lets the harmless stand-in be built in this block; torch 2.4 has no safe_globals for it."""
    before = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals([_Callback])
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)
