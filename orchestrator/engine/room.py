"""Whether what a step makes fits into memory, looked at before it is made.

The one place that says how much is free and how much is needed. A system that runs out ends the
process, with every job that waits in it; a step that cannot fit is told in a sentence instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from comfy_nodes.errors import OutOfMemory

from ..local.footprint import room

if TYPE_CHECKING:
    import torch

# Bytes of a number in float32, in which pictures, masks and latents travel between nodes.
_NUMBER = 4
# Below so much nothing is asked: it fits wherever a model does.
_SMALL = 64 * 2**20


def of_tensors(*sides: int, copies: float = 1.0) -> float:
    """Bytes of so many float32 tensors with these sides."""
    numbers = copies
    for side in sides:
        numbers *= side
    return numbers * _NUMBER


def free(device: torch.device | None = None) -> int:
    """Bytes that are free on a device; without one, and on a CPU, of this machine's memory."""
    if device is None or device.type != "cuda":
        return room()
    import torch

    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + unused


def check(what: str, need: float, measured: Callable[[], int] = free) -> None:
    """Raises OutOfMemory, with both figures, where `need` bytes are more than there are.

    `what` is the plural of what shall be made, for the message; `measured` gives what is free.
    """
    if need <= _SMALL:
        return
    there = measured()
    if need > there:
        raise OutOfMemory(
            f"There is not enough memory: {what} need {_size(need)}, and {_size(there)} are free; "
            "take fewer or smaller ones."
        )


def _size(count: float) -> str:
    return f"{count / 2**30:,.1f} GiB"
