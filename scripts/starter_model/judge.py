"""The judge: what a sprite shows, by a classifier that learned from drawings alone.

It never sees a generated picture. Blur, noise and small shifts while it learns make it fair to the
softness of a decoder without teaching it any decoder's faults.
"""

from __future__ import annotations

import json
import time
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from .colours import measure_colour
from .data import SUBJECT_NAMES, DrawingSet
from .progress import Average, Budget, falling_rate, set_rate

DEFAULT_WEIGHTS = Path(__file__).resolve().parents[2] / "tests" / "data" / "judge.safetensors"


class Classifier(nn.Module):
    """A small convolutional network on 32x32 RGB in -1 to 1; gives one logit a subject."""

    def __init__(self, subjects: int) -> None:
        super().__init__()
        widths = (3, 24, 48, 72, 96)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [
                nn.Conv2d(before, after, 3, padding=1),
                nn.GroupNorm(8, after),
                nn.SiLU(),
                nn.MaxPool2d(2),
            ]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1] * 4, subjects)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(n, 3, 32, 32) to (n, subjects)."""
        found: torch.Tensor = self.head(self.body(pictures).flatten(1))
        return found


def soften(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Random blur, noise, contrast and shift of (n, 3, 32, 32) pictures in -1 to 1."""
    count = len(pictures)
    spread = torch.rand(count, 1, 1, 1, generator=generator) * 0.8
    blurred = functional.avg_pool2d(functional.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
    mixed = pictures + spread * (blurred - pictures)
    mixed = mixed + 0.12 * torch.rand(count, 1, 1, 1, generator=generator) * torch.randn(
        pictures.shape, generator=generator
    )
    mixed = mixed * (0.9 + 0.2 * torch.rand(count, 1, 1, 1, generator=generator))
    across, down = torch.randint(-2, 3, (2,), generator=generator).tolist()
    return torch.roll(mixed, (across, down), (3, 2)).clamp(-1, 1)


def train_judge(
    drawings: DrawingSet, budget: Budget, *, device: str = "cpu", batch: int = 128
) -> Classifier:
    """Train the classifier on softened drawings."""
    model = Classifier(len(SUBJECT_NAMES)).to(device)
    average = Average(model, 0.99)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.02)
    rng = np.random.default_rng(3)
    generator = torch.Generator().manual_seed(3)
    step = 0
    losses: list[float] = []
    clock = time.monotonic()
    while (share := budget.done(step)) < 1.0:
        set_rate(optimizer, falling_rate(3e-3, share))
        indices = rng.integers(0, len(drawings), batch)
        pictures = soften(drawings.batch(indices), generator).to(device)
        target = torch.from_numpy(drawings.subjects[indices]).to(device)
        loss = functional.cross_entropy(model(pictures), target, label_smoothing=0.05)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        step += 1
        average.update(model, step)
        losses.append(float(loss.detach()))
        if step % 100 == 0:
            pace = (time.monotonic() - clock) / 100
            print(
                f"judge step {step} loss {np.mean(losses[-100:]):.4f} "
                f"{pace:.2f} s/step {share:.0%}",
                flush=True,
            )
            clock = time.monotonic()
    model.load_state_dict(average.values)
    return model.cpu().eval()


def save_judge(model: Classifier, path: Path) -> None:
    """Write the weights in half precision with the subjects' names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {key: value.half().contiguous() for key, value in model.state_dict().items()}
    save_file(weights, str(path), metadata={"subjects": json.dumps(SUBJECT_NAMES)})


@lru_cache(maxsize=2)
def load_judge(path: Path = DEFAULT_WEIGHTS) -> tuple[Classifier, tuple[str, ...]]:
    """The classifier and its subjects.

    Raises:
        FileNotFoundError: if the weights are missing.
    """
    with safe_open(str(path), framework="pt") as stored:
        names = tuple(json.loads(stored.metadata()["subjects"]))
        weights = {key: stored.get_tensor(key).float() for key in stored.keys()}  # noqa: SIM118
    model = Classifier(len(names))
    model.load_state_dict(weights)
    return model.eval(), names


def to_input(picture: Image.Image | NDArray[np.uint8]) -> torch.Tensor:
    """(1, 3, 32, 32) in -1 to 1 of a picture of any size, transparency put on white."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    small = image.convert("RGB").resize((32, 32), Image.Resampling.BOX)
    values = torch.from_numpy(np.asarray(small, dtype=np.float32).copy())
    return values.permute(2, 0, 1)[None] / 127.5 - 1.0


@torch.no_grad()
def judge(
    picture: Image.Image | NDArray[np.uint8], weights: Path = DEFAULT_WEIGHTS
) -> tuple[str, str]:
    """The subject and the colour that a picture shows.

    Args:
        picture: RGB on white or RGBA, any size; an array is (height, width, 3 or 4) of 8 bits.

    Returns:
        The names of the likeliest subject and of the colour of most opaque pixels (an empty string
        where the picture is empty).

    Raises:
        FileNotFoundError: if the judge's weights are missing.
    """
    model, names = load_judge(weights)
    subject = names[int(model(to_input(picture)).argmax())]
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    pixels = np.asarray(image.convert("RGBA" if image.mode == "RGBA" else "RGB"))
    return subject, measure_colour(pixels)
