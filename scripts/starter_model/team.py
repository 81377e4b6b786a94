"""Several processes that train one model together, one thread each.

On few and busy cores this is faster than threads inside one process: the workers meet once a step
instead of at every operation.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import distributed, multiprocessing


class Team:
    """One worker's view: who it is, and the meeting at the end of each step."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size

    @property
    def leads(self) -> bool:
        """Whether this worker prints and saves."""
        return self.rank == 0

    def meet(self, parameters: Sequence[torch.nn.Parameter], share: float) -> float:
        """Average the gradients, and the shares of the budget used, over all workers.

        Returns:
            The average share, the same for all, so that all stop at the same step.
        """
        if self.size == 1:
            return share
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in gradients] + [gradients[0].new_tensor([share])])
        distributed.all_reduce(flat)
        flat /= self.size
        start = 0
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
            start += gradient.numel()
        return float(flat[-1])


def run_team(work: Callable[..., None], workers: int, *arguments: Any) -> None:
    """Call ``work(team, *arguments)`` in every worker and wait.

    Args:
        work: a module-level function; it must build the same model in every worker.
        workers: number of processes, 1 to stay in this one.

    Raises:
        torch.multiprocessing.ProcessRaisedException: if a worker fails.
    """
    if workers <= 1:
        work(Team(), *arguments)
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as folder:
        meeting = (Path(folder) / "meeting").as_uri()
        multiprocessing.spawn(_enter, (workers, meeting, work, arguments), nprocs=workers)


def _enter(
    rank: int, size: int, meeting: str, work: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=size)
    try:
        work(Team(rank, size), *arguments)
    finally:
        distributed.destroy_process_group()


def _end_with_parent() -> None:
    """End this worker when its parent does, however that ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
