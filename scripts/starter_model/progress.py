"""Budgets, learning rates and checkpoints that any stop leaves usable."""

from __future__ import annotations

import os
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .team import Team

_TOLD = 50
"""Steps between two lines on the way."""


@dataclass
class Budget:
    """How long a stage trains: a number of minutes, a number of steps, or whichever ends first.

    ``done`` goes from 0 to 1 and drives the falling learning rate, so a run bounded by time ends
    at the same low rate as one bounded by steps.
    """

    minutes: float | None = None
    steps: int | None = None
    spent: float = 0.0
    """Seconds used by earlier sittings of the same stage."""
    _start: float = field(default_factory=time.monotonic)

    def seconds(self) -> float:
        """Seconds used so far, earlier sittings included."""
        return self.spent + time.monotonic() - self._start

    def done(self, step: int) -> float:
        """Share of the budget used, 0 to 1.

        Raises:
            ValueError: if neither minutes nor steps is given.
        """
        shares = []
        if self.minutes is not None:
            shares.append(self.seconds() / (self.minutes * 60))
        if self.steps is not None:
            shares.append(step / self.steps)
        if not shares:
            raise ValueError("give a budget: minutes, steps or both")
        return min(1.0, max(shares))


def falling_rate(peak: float, share: float, warm: float = 0.02) -> float:
    """Learning rate: a short rise, then straight down to 2% of ``peak`` at the end."""
    if share < warm:
        return peak * (0.1 + 0.9 * share / warm)
    return peak * max(0.02, (1.0 - share) / (1.0 - warm))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every parameter group the rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


class Average:
    """Exponential moving average of a module's parameters."""

    def __init__(self, module: torch.nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: torch.nn.Module, step: int) -> None:
        """Move towards the module; early steps move faster, so that the start is forgotten."""
        keep = min(self.decay, (1 + step) / (10 + step))
        for key, value in module.state_dict().items():
            if value.dtype.is_floating_point:
                self.values[key].lerp_(value.detach(), 1.0 - keep)
            else:
                self.values[key].copy_(value)


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write beside the target and rename, so that a stop never leaves half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    torch.save(content, partial)
    os.replace(partial, path)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The content saved at ``path``, or None where there is none."""
    if not path.exists():
        return None
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return content


def need_checkpoint(path: Path, what: str, stage: str) -> dict[str, Any]:
    """The content saved at ``path`` by a stage that must have run.

    Raises:
        FileNotFoundError: if it has not.
    """
    content = load_checkpoint(path)
    if content is None:
        raise FileNotFoundError(f"no {what} at {path}: run the {stage} stage first")
    return content


class Training:
    """A module that a team trains: its steps, its average, and a checkpoint to go on from.

    Args:
        label: what the lines on the way begin with.
        rate: the learning rate at its height.
        decay: of the average of the weights.
    """

    def __init__(
        self,
        team: Team,
        module: torch.nn.Module,
        budget: Budget,
        checkpoint: Path,
        *,
        label: str,
        rate: float,
        decay: float,
    ) -> None:
        self._team, self._module, self._budget = team, module, budget
        self._checkpoint, self._label, self._rate = checkpoint, label, rate
        self._trained = [one for one in module.parameters() if one.requires_grad]
        self.average = Average(module, decay)
        self._optimizer = torch.optim.AdamW(
            self._trained, lr=rate, weight_decay=0.01, betas=(0.9, 0.99), fused=True
        )
        self.step = 0
        stored = load_checkpoint(checkpoint)
        if stored is not None:
            module.load_state_dict(stored["model"])
            self.average.values = stored["average"]
            self._optimizer.load_state_dict(stored["optimizer"])
            self.step, budget.spent = int(stored["step"]), stored["seconds"]
        self.share = budget.done(self.step)
        self._losses: deque[float] = deque(maxlen=_TOLD)
        self._clock = time.monotonic()

    def learn(self, loss: torch.Tensor) -> None:
        """One step down this loss, together with the other workers."""
        set_rate(self._optimizer, falling_rate(self._rate, self.share))
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.share = self._team.meet(self._trained, self._budget.done(self.step + 1))
        torch.nn.utils.clip_grad_norm_(self._trained, 1.0)
        self._optimizer.step()
        self.step += 1
        self.average.update(self._module, self.step)
        self._losses.append(float(loss.detach()))
        if self._team.leads and self.step % _TOLD == 0:
            pace = (time.monotonic() - self._clock) / _TOLD
            print(
                f"{self._label} step {self.step} loss {np.mean(self._losses):.4f} "
                f"{pace:.2f} s/step {self.share:.1%}",
                flush=True,
            )
            self._clock = time.monotonic()

    def keep(self, **more: Any) -> None:
        """Write the checkpoint, with more in it where that is given."""
        save_checkpoint(
            self._checkpoint,
            {
                "model": self._module.state_dict(),
                "average": self.average.values,
                "optimizer": self._optimizer.state_dict(),
                "step": self.step,
                "seconds": self._budget.seconds(),
                **more,
            },
        )
