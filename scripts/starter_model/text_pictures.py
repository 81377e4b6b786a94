"""The text encoder's lessons, before the denoiser is trained: to tell what a text looks like.

Of a text's 77 positions the last 16 stand for the 16 parts of a picture, in rows from the top left,
and one linear map reads from the state of each the latents of its part in both variants. So the
encoder learns what each text looks like from the pictures themselves, many texts at a step, and the
denoiser has to learn only to put the parts in their places and to draw one of the variants; it
learnt the pictures themselves a hundred times more slowly, since at a step it sees one of them
through one noise.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from .examples import PICTURES_OF_A_NAME
from .pool import PARTS, TOLD, Pool
from .progress import Budget, Training, load_checkpoint
from .team import Team
from .text import encoder_of, make_text_encoder
from .words import POSITIONS

LAYERS = 4
"""Of the text encoder: the first puts tokens together to words, the second brings words to where
they are wanted."""

_NUMBERS = 4 * (16 // PARTS) ** 2
"""Latents of a part."""

_RATE = 1e-3

KEPT = 200
"""Steps between two checkpoints."""

_FULL, _PADDED = 4, 2
"""One lesson in so many has all padding; the others have so much of it before the parts."""

WALKS_SHARE = 0.12
"""Share of the lessons on walks, whose first frame is told."""


class Teller(torch.nn.Module):
    """A text encoder, and what reads pictures from its states."""

    def __init__(self, vocabulary: int, hidden: int) -> None:
        super().__init__()
        self.encoder = make_text_encoder(vocabulary, hidden, LAYERS)
        self.head = torch.nn.Linear(hidden, PICTURES_OF_A_NAME * _NUMBERS)

    def forward(self, ids: torch.Tensor, places: torch.Tensor | None = None) -> torch.Tensor:
        """(n, 16, 2, 64): latents of each part in both variants, of (n, 77) texts.

        Args:
            places: positions of the ids, where padding was left out.
        """
        states = self.encoder(input_ids=ids, position_ids=places).last_hidden_state
        told: torch.Tensor = self.head(states[:, -(PARTS**2) :])
        return told.view(len(ids), PARTS**2, PICTURES_OF_A_NAME, _NUMBERS)


def parts_of(latents: torch.Tensor) -> torch.Tensor:
    """(n, 16, 64): the parts of (n, 4, 16, 16) latents."""
    side = latents.shape[-1] // PARTS
    cut = latents.reshape(len(latents), 4, PARTS, side, PARTS, side)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(len(latents), PARTS**2, -1)


def train_text(
    team: Team,
    singles: Pool,
    walks: Pool,
    vocabulary: int,
    hidden: int,
    path: Path,
    budget: Budget,
    batch: int = 64,
    start: Path | None = None,
) -> None:
    """Train the encoder on the pools' texts, or go on; keeps a checkpoint at ``path``.

    Args:
        start: a model folder whose encoder is taken where there is no checkpoint.
    """
    torch.manual_seed(4)
    model = Teller(vocabulary, hidden)
    if start is not None and not path.exists():
        model.encoder.load_state_dict(encoder_of(start).state_dict())
    work = Training(team, model, budget, path, label="text", rate=_RATE, decay=0.998)
    rng = np.random.default_rng([work.step, team.rank, 4])
    while work.share < 1.0:
        pool = walks if rng.random() < WALKS_SHARE else singles
        work.learn(_loss(model, pool, rng, batch, work.step))
        if team.leads and (work.step % KEPT == 0 or work.share >= 1.0):
            work.keep()


def ends_of(ids: torch.Tensor) -> torch.Tensor:
    """(n,) where each of (n, 77) texts ends; all after it is padding, which is the same token."""
    return (ids == ids[:, -1:]).int().argmax(dim=1)


def places_read(ends: torch.Tensor, step: int) -> torch.Tensor:
    """(k,) the positions that a lesson reads of texts that end there, the parts' among them.

    A state depends on what is before it alone, and padding tells it hardly anything: most lessons
    leave it out.
    """
    places = torch.arange(POSITIONS)
    if step % _FULL == 0:
        return places
    return torch.cat([places[: min(int(ends.max()) + _PADDED, TOLD)], places[TOLD:]])


def _loss(
    model: Teller, pool: Pool, rng: np.random.Generator, count: int, step: int
) -> torch.Tensor:
    """Mean squared error of the latents in the variant that each example shows."""
    picked = pool.pick(rng, count)
    latents, ids, variants = pool.latents_of(picked), pool.texts_of(picked, rng), pool.variants
    places = places_read(ends_of(ids), step)
    with torch.autocast("cpu", torch.bfloat16):
        told = model(ids[:, places], places[None])
    shown = told.float()[torch.arange(count), :, torch.from_numpy(variants[picked])]
    return (shown - parts_of(latents[..., :16])).square().mean()


def load_teller(path: Path, vocabulary: int, hidden: int) -> Teller | None:
    """The averaged weights that ``train_text`` kept at ``path``; None where there is nothing."""
    stored = load_checkpoint(path)
    if stored is None:
        return None
    model = Teller(vocabulary, hidden)
    model.load_state_dict(stored["average"])
    return model
