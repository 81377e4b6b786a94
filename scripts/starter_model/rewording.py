"""The text encoder goes on alone: what describes a thing further shall change nothing in it.

What the encoder said of a text before is the measure: after a described text it learns to say what
it said after the plain one, and after every other text what it said already. So the denoiser, which
learnt to read those states, is left as it is.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import CLIPTextModel, CLIPTokenizer

from .descriptions import Descriptions
from .pool import TOLD, Pool
from .progress import Budget, Training, need_checkpoint
from .team import Team
from .text import make_text_encoder, tokenise
from .text_pictures import KEPT, LAYERS, WALKS_SHARE, ends_of, places_read

_RATE = 5e-4

_DESCRIBED, _PLAIN = 0.4, 0.2
"""Shares of a batch: described texts, and plain ones that stay what they are. The others are the
pools' texts, some of them of walks, with words between theirs that say nothing."""


@dataclass(frozen=True)
class Wordings:
    """Token rows of pairs that shall be one picture."""

    described: NDArray[np.int16]
    """(n, 77)."""
    plain: NDArray[np.int16]
    """(n, 77)."""


def make_wordings(
    descriptions: Descriptions, tokenizer: CLIPTokenizer, count: int, seed: int
) -> Wordings:
    """Write and tokenise so many pairs; those too long for the positions of words are left out."""
    rng = random.Random(f"descriptions {seed}")
    pairs = [descriptions.pair(rng) for _ in range(count)]
    described = tokenise(tokenizer, [pair.described for pair in pairs]).numpy().astype(np.int16)
    plain = tokenise(tokenizer, [pair.plain for pair in pairs]).numpy().astype(np.int16)
    short = (described[:, TOLD] == described[:, -1]) & (plain[:, TOLD] == plain[:, -1])
    return Wordings(described[short], plain[short])


def train_rewording(
    team: Team,
    wordings: Wordings,
    pools: Sequence[Pool],
    start: CLIPTextModel,
    path: Path,
    budget: Budget,
    batch: int = 64,
) -> None:
    """Train the encoder on, or go on with that; keeps a checkpoint at ``path``.

    Args:
        pools: of single pictures and of walks.
        start: the encoder that the denoiser was trained with.
    """
    torch.manual_seed(8)
    teacher = start.eval().requires_grad_(False)
    model = make_text_encoder(teacher.config.vocab_size, teacher.config.hidden_size, LAYERS)
    model.load_state_dict(teacher.state_dict())
    work = Training(team, model, budget, path, label="rewording", rate=_RATE, decay=0.998)
    rng = np.random.default_rng([work.step, team.rank, 8])
    while work.share < 1.0:
        said, plain = _lesson(wordings, pools, rng, batch)
        work.learn(_loss(model, teacher, said, plain, work.step))
        if team.leads and (work.step % KEPT == 0 or work.share >= 1.0):
            work.keep()


def _lesson(
    wordings: Wordings, pools: Sequence[Pool], rng: np.random.Generator, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(count, 77) texts as they are read, and those whose states they shall have."""
    picked = rng.integers(0, len(wordings.described), int(count * (_DESCRIBED + _PLAIN)))
    kept = int(count * _PLAIN)
    said = [wordings.plain[picked[:kept]], wordings.described[picked[kept:]]]
    plain = [wordings.plain[picked]]
    singles, walks = pools
    others = count - len(picked)
    walking = int(rng.binomial(others, WALKS_SHARE))
    for pool, many in ((singles, others - walking), (walks, walking)):
        tokens = pool.wordings_of(pool.pick(rng, many), rng)
        said.append(pool.fillers.put_into(tokens, rng, TOLD))
        plain.append(tokens)
    return (
        torch.from_numpy(np.concatenate(said)).long(),
        torch.from_numpy(np.concatenate(plain)).long(),
    )


def _loss(
    model: CLIPTextModel,
    teacher: CLIPTextModel,
    said: torch.Tensor,
    plain: torch.Tensor,
    step: int,
) -> torch.Tensor:
    """Mean squared error of the states after the end of both texts."""
    ends = torch.maximum(ends_of(said), ends_of(plain))
    places = places_read(ends, step)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(input_ids=said[:, places], position_ids=places[None]).last_hidden_state
        with torch.no_grad():
            wanted = teacher(
                input_ids=plain[:, places], position_ids=places[None]
            ).last_hidden_state
    after = (places[None] >= ends[:, None]).float()
    error = (found.float() - wanted.float()).square().mean(dim=-1)
    return (error * after).sum() / after.sum()


def load_rewording(path: Path, vocabulary: int, hidden: int) -> CLIPTextModel:
    """The averaged weights that ``train_rewording`` kept at ``path``.

    Raises:
        FileNotFoundError: if the stage has not run.
    """
    stored = need_checkpoint(path, "text encoder", "rewording")
    model = make_text_encoder(vocabulary, hidden, LAYERS)
    model.load_state_dict(stored["average"])
    return model.eval()
