"""Examples made once and kept: latents as small integers, each with several tokenised texts."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import CLIPTokenizer

from .captions import unconditional
from .examples import World, to_latent
from .pixel_vae import SCALING_FACTOR
from .text import tokenise
from .words import write_tokenizer

DROP = 0.1
"""Share of pictures trained with a text that asks for nothing, for guidance."""


@dataclass(frozen=True)
class Pool:
    """Latents and token rows of examples of one shape."""

    latents: NDArray[np.int8]
    """(count, 4, 32, 32 n), times 127."""
    tokens: NDArray[np.int16]
    """(count, 77)."""
    nothing: NDArray[np.int16]
    """(variants, 77): texts that ask for nothing."""

    def batch(self, rng: np.random.Generator, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(count, 4, h, w) scaled latents and (count, 77) token ids."""
        picked = rng.integers(0, len(self.latents), count)
        latents = torch.from_numpy(self.latents[picked]).float() * (SCALING_FACTOR / 127)
        tokens = self.tokens[picked].copy()
        dropped = np.flatnonzero(rng.random(count) < DROP)
        tokens[dropped] = self.nothing[rng.integers(0, len(self.nothing), len(dropped))]
        return latents, torch.from_numpy(tokens).long()


def prepare(
    world: World, folder: Path, *, singles: int, walks: int, seed: int, start: Path | None = None
) -> None:
    """Write the tokenizer and both pools; what is there already is kept.

    Args:
        start: a model folder whose tokenizer is taken.
    """
    if (folder / "walks.npz").exists():
        return
    rng = random.Random(f"pool {seed}")
    if start is not None:
        shutil.copytree(start / "tokenizer", folder / "tokenizer", dirs_exist_ok=True)
    tokenizer = _tokenizer(world, folder / "tokenizer", seed)
    nothing = tokenise(tokenizer, [unconditional(rng) for _ in range(2000)]).numpy()
    for name, count, make in (("singles", singles, world.example), ("walks", walks, world.walk)):
        latents, texts = [], []
        for index in range(count):
            example = make(rng)
            latents.append(to_latent(example.pixels))
            texts.append(example.text)
            if (index + 1) % 10000 == 0:
                print(f"{name}: {index + 1} of {count}", flush=True)
        partial = folder / f"{name}.partial.npz"
        np.savez(
            partial,
            latents=np.stack(latents),
            tokens=tokenise(tokenizer, texts).numpy().astype(np.int16),
            nothing=nothing.astype(np.int16),
        )
        partial.replace(folder / f"{name}.npz")


def load_pool(path: Path) -> Pool:
    """Read what ``prepare`` wrote.

    Raises:
        FileNotFoundError: if nothing was written.
    """
    if not path.exists():
        raise FileNotFoundError(f"no examples at {path}: run prepare first")
    with np.load(path) as stored:
        return Pool(stored["latents"], stored["tokens"], stored["nothing"])


def _tokenizer(world: World, folder: Path, seed: int) -> CLIPTokenizer:
    if not (folder / "vocab.json").exists():
        print(
            f"tokenizer of {write_tokenizer(folder, corpus(world, seed), 6000)} tokens", flush=True
        )
    return CLIPTokenizer.from_pretrained(folder)


def corpus(world: World, seed: int, count: int = 12000) -> list[str]:
    """Texts of examples, for the tokenizer; every name of the tables is among them."""
    rng = random.Random(f"corpus {seed}")
    texts = [world.example(rng).text for _ in range(count)]
    texts += [world.walk(rng).text for _ in range(count // 10)]
    texts += [unconditional(rng) for _ in range(count // 10)]
    return texts + [name for tile in world.tiles for name in tile.names for _ in range(2)]
