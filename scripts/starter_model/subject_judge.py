"""What a sprite shows, by a classifier that learned from real tiles, drawings and dressed figures.

It never sees a generated picture. Softening, noise, mirrored and moved views and other colours
while it learns make it judge shapes.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from .examples import Example, World, to_sprite
from .judge import soften
from .progress import Average, Budget, falling_rate, set_rate
from .tiles import Rgba

PAPER = 250
"""Level of all three channels from which a pixel is the model's white background."""

_WIDTHS = (4, 32, 64, 128, 192)


class Classifier(nn.Module):
    """(n, 4, 32, 32) sprites (red, green, blue, there; -1 to 1) to a logit for each subject."""

    def __init__(self, count: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise(_WIDTHS):
            layers += [
                nn.Conv2d(before, after, 3, padding=1),
                nn.GroupNorm(8, after),
                nn.SiLU(),
                nn.MaxPool2d(2),
            ]
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(_WIDTHS[-1] * 4, count))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """See the class."""
        found: torch.Tensor = self.head(self.body(pictures).flatten(1))
        return found


@dataclass(frozen=True)
class SubjectJudge:
    """A trained classifier and the subjects that it tells apart."""

    model: Classifier
    names: tuple[str, ...]

    @torch.no_grad()
    def ranked(self, pictures: Sequence[Rgba], count: int = 1) -> list[list[str]]:
        """The likeliest subjects of each (32, 32, 4) picture, best first."""
        logits = self.model(to_input(pictures))
        return [[self.names[i] for i in row] for row in logits.topk(count, dim=1).indices.tolist()]


def to_input(pictures: Sequence[Rgba]) -> torch.Tensor:
    """(n, 4, 32, 32) float32 of RGBA sprites."""
    stacked = np.stack([to_sprite(picture) for picture in pictures])
    return torch.from_numpy(stacked).float() / 64.0


def train_subject_judge(
    world: World, budget: Budget, *, seed: int = 3, pool: int = 12000, batch: int = 96
) -> SubjectJudge:
    """Train on examples that are made for it: none of them is generated."""
    rng = random.Random(f"subject judge {seed}")
    examples = [world.example(rng) for _ in range(pool)]
    names = tuple(sorted({one.subject for one in examples}))
    inputs = to_input([one.pixels for one in examples])
    labels = torch.tensor([names.index(one.subject) for one in examples])
    model = Classifier(len(names))
    average = Average(model, 0.99)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    generator = torch.Generator().manual_seed(seed)
    step, clock = 0, time.monotonic()
    while (share := budget.done(step)) < 1.0:
        set_rate(optimizer, falling_rate(2e-3, share))
        picked = torch.randint(0, len(inputs), (batch,), generator=generator)
        views = soften(inputs[picked], generator)
        loss = functional.cross_entropy(model(views), labels[picked], label_smoothing=0.05)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        step += 1
        average.update(model, step)
        if step % 100 == 0:
            pace = (time.monotonic() - clock) / 100
            print(
                f"judge step {step} loss {float(loss.detach()):.3f} {pace:.2f} s/step {share:.0%}",
                flush=True,
            )
            clock = time.monotonic()
    model.load_state_dict(average.values)
    return SubjectJudge(model.eval(), names)


def save_subject_judge(found: SubjectJudge, path: Path) -> None:
    """Write the weights in half precision with the subjects' names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {key: value.half().contiguous() for key, value in found.model.state_dict().items()}
    save_file(weights, str(path), metadata={"subjects": json.dumps(found.names)})


def load_subject_judge(path: Path) -> SubjectJudge:
    """What ``save_subject_judge`` wrote.

    Raises:
        FileNotFoundError: if it is missing.
    """
    with safe_open(str(path), framework="pt") as stored:
        names = tuple(json.loads(stored.metadata()["subjects"]))
        weights = {key: stored.get_tensor(key).float() for key in stored.keys()}  # noqa: SIM118
    model = Classifier(len(names))
    model.load_state_dict(weights)
    return SubjectJudge(model.eval(), names)


def accuracy(found: SubjectJudge, world: World, count: int = 2000, seed: int = 77) -> float:
    """Share of fresh views of tiles, drawings and figures whose subject it names."""
    rng = random.Random(f"judge accuracy {seed}")
    examples: list[Example] = [world.example(rng) for _ in range(count)]
    ranked = found.ranked([one.pixels for one in examples])
    right = [row[0] == one.subject for row, one in zip(ranked, examples, strict=True)]
    return float(np.mean(right))


def cut_outs(pictures: NDArray[np.uint8]) -> list[Rgba]:
    """(n, 32, w, 3) generated sprites, cut out as workflows do.

    What fills its square, as a floor does, stays whole.
    """
    return [_cut_out(np.ascontiguousarray(picture)) for picture in pictures]


def _cut_out(picture: NDArray[np.uint8]) -> Rgba:
    from comfy_nodes.errors import BadInput
    from comfy_nodes.ops.cutout import cut_out

    edge = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    if (edge.min(axis=-1) >= PAPER).mean() >= 0.5:
        try:
            return cut_out(picture)
        except BadInput:
            # nothing on white
            return np.zeros((*picture.shape[:2], 4), dtype=np.uint8)
    whole = np.full((*picture.shape[:2], 1), 255, dtype=np.uint8)
    return np.concatenate([picture, whole], axis=2)
