"""What texts look like: the text encoder's lessons before the denoiser is trained.

From each text, at its end and at any padding after it, the encoder's states shall tell a coarse
version of the text's picture. A denoiser learns the same, but slowly: most of what it sees at a
step can be told from the noisy picture alone. This way it begins with words that already differ
by what they show.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from .pool import Pool
from .progress import Average, Budget, falling_rate, load_checkpoint, save_checkpoint, set_rate
from .team import Team
from .text import make_text_encoder

_COARSE = 16
"""Side of the coarse pictures, in latent pixels; half of a sprite's."""

_RATE = 2e-3

_FULL, _PADDED = 4, 4
"""One lesson in so many has all padding; the others have so much of it after the longest text."""

_READER = 768
"""Width of what reads the states. One linear map would ask for every subject in every colour to lie
in as few directions as a state has."""


class Teller(torch.nn.Module):
    """A text encoder, and two layers from a state to a coarse picture."""

    def __init__(self, vocabulary: int, hidden: int) -> None:
        super().__init__()
        self.encoder = make_text_encoder(vocabulary, hidden, widening=3)
        self.head = torch.nn.Sequential(
            torch.nn.Linear(hidden, _READER),
            torch.nn.GELU(),
            torch.nn.Linear(_READER, 4 * _COARSE * _COARSE),
        )

    def forward(self, ids: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """(n, p, 4 * 16 * 16) pictures at (n, p) positions of (n, 77) texts."""
        states = self.encoder(input_ids=ids).last_hidden_state
        picked = states.gather(1, places[..., None].expand(-1, -1, states.shape[-1]))
        found: torch.Tensor = self.head(picked)
        return found

    @torch.no_grad()
    def pictures(self, ids: torch.Tensor, side: int) -> torch.Tensor:
        """(n, 4, side, side) what the (n, 77) texts look like on average, without details."""
        with torch.autocast("cpu", torch.bfloat16):
            told = self(ids, _ends(ids)[:, None])
        return functional.interpolate(
            told.float().view(-1, 4, _COARSE, _COARSE), (side, side), mode="bilinear"
        )


def train_text(
    team: Team,
    pool: Pool,
    vocabulary: int,
    hidden: int,
    path: Path,
    budget: Budget,
    batch: int = 128,
) -> None:
    """Train the encoder on the pool's texts and keep its averaged weights at ``path``.

    What is there already is gone on from, for another ``budget``.
    """
    torch.manual_seed(4)
    taught = load_teller(path, vocabulary, hidden)
    model = taught or Teller(vocabulary, hidden)
    average = Average(model, 0.99)
    trained = list(model.parameters())
    optimizer = torch.optim.AdamW(trained, lr=_RATE, weight_decay=0.01)
    rng = np.random.default_rng([team.rank, 4, taught is not None])
    step, share, clock = 0, 0.0, time.monotonic()
    while share < 1.0:
        set_rate(optimizer, falling_rate(_RATE, share))
        clean, ids = pool.batch(rng, batch)
        # A state depends on what is before it alone, so most lessons leave out most of the padding.
        ends = _ends(ids)
        if step % _FULL:
            ids = ids[:, : int(ends.max()) + _PADDED]
        loss = _loss(model, clean, ids, ends, rng)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        share = team.meet(trained, budget.done(step + 1))
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        step += 1
        average.update(model, step)
        if team.leads and step % 50 == 0:
            pace = (time.monotonic() - clock) / 50
            print(
                f"text step {step} loss {loss.item():.4f} {pace:.2f} s/step {share:.0%}", flush=True
            )
            clock = time.monotonic()
    if team.leads:
        save_checkpoint(path, average.values)


def _ends(ids: torch.Tensor) -> torch.Tensor:
    """(n,) where texts end; end and padding are one token, the last of the vocabulary."""
    return (ids == ids[:, -1:]).int().argmax(dim=1)


def _loss(
    model: Teller,
    clean: torch.Tensor,
    ids: torch.Tensor,
    ends: torch.Tensor,
    rng: np.random.Generator,
) -> torch.Tensor:
    """Mean squared error of the coarse picture, at the text's end and at one padding."""
    coarse = functional.adaptive_avg_pool2d(clean, _COARSE).flatten(1)[:, None]
    chance = torch.from_numpy(rng.random(len(ids), dtype=np.float32))
    paddings = ends + ((ids.shape[1] - ends) * chance).long()
    with torch.autocast("cpu", torch.bfloat16):
        told = model(ids, torch.stack([ends, paddings], dim=1))
    return (told.float() - coarse).square().mean()


def load_teller(path: Path, vocabulary: int, hidden: int) -> Teller | None:
    """What ``train_text`` kept at ``path``; None where there is nothing."""
    stored = load_checkpoint(path)
    if stored is None:
        return None
    model = Teller(vocabulary, hidden)
    model.load_state_dict(stored)
    return model
