"""Examples made once and kept: sprites as small integers, their latents, and tokenised texts."""

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
from .examples import LEVELS, World, level_of, to_sprite
from .fillers import Fillers, make_fillers
from .known_words import words_of_world
from .sprite_vae import SpriteAutoencoder
from .text import tokenise
from .words import POSITIONS, write_tokenizer

DROP = 0.1
"""Share of pictures trained with a text that asks for nothing, for guidance."""

PARTS = 4
"""Parts of a picture, each way; its latents are 16x16."""

TOLD = POSITIONS - PARTS**2
"""Positions of a text before those that stand for a picture's parts."""

SINGLES, WALKS = "singles", "walks"
"""Names of the pools: of one picture, and of four frames."""


@dataclass(frozen=True)
class Pool:
    """Latents and token rows of examples of one shape."""

    latents: NDArray[np.float16]
    """(count, 4, 16, 16 n), of unit spread."""
    tokens: NDArray[np.int16]
    """(count, 77)."""
    nothing: NDArray[np.int16]
    """(n, 77): texts that ask for nothing."""
    variants: NDArray[np.int64]
    """(count,) which of its text's variants each example shows, 0 or 1."""
    fillers: Fillers

    def batch(self, rng: np.random.Generator, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(count, 4, h, w) latents and (count, 77) token ids."""
        picked = self.pick(rng, count)
        return self.latents_of(picked), self.texts_of(picked, rng)

    def pick(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """(count,) examples, any of them."""
        return rng.integers(0, len(self.latents), count)

    def latents_of(self, picked: NDArray[np.int64]) -> torch.Tensor:
        """(count, 4, h, w) latents."""
        return torch.from_numpy(self.latents[picked]).float()

    def texts_of(self, picked: NDArray[np.int64], rng: np.random.Generator) -> torch.Tensor:
        """(count, 77) token ids; some ask for nothing instead, some have words that say nothing."""
        return torch.from_numpy(
            self.fillers.put_into(self.wordings_of(picked, rng), rng, TOLD)
        ).long()

    def wordings_of(self, picked: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int16]:
        """(count, 77) token ids as they were written; some ask for nothing instead."""
        tokens = self.tokens[picked].copy()
        dropped = np.flatnonzero(rng.random(len(picked)) < DROP)
        tokens[dropped] = self.nothing[rng.integers(0, len(self.nothing), len(dropped))]
        return tokens


def prepare(
    world: World, folder: Path, *, singles: int, walks: int, seed: int, start: Path | None = None
) -> None:
    """Write the tokenizer and both pools; what is there already is kept.

    Args:
        start: a model folder whose tokenizer is taken.
    """
    if (folder / f"{WALKS}.npz").exists():
        return
    rng = random.Random(f"pool {seed}")
    if start is not None:
        shutil.copytree(start / "tokenizer", folder / "tokenizer", dirs_exist_ok=True)
    tokenizer = _tokenizer(world, folder / "tokenizer", seed)
    nothing = tokenise(tokenizer, [unconditional(rng) for _ in range(2000)]).numpy()
    fillers = make_fillers(words_of_world(world), tokenizer, rng)
    for name, count, make in ((SINGLES, singles, world.example), (WALKS, walks, world.walk)):
        sprites, texts = [], []
        for index in range(count):
            example = make(rng)
            sprites.append(to_sprite(example.pixels, level_of(rng, example.variant)))
            texts.append(example.text)
            if (index + 1) % 10000 == 0:
                print(f"{name}: {index + 1} of {count}", flush=True)
        partial = folder / f"{name}.partial.npz"
        np.savez(
            partial,
            sprites=np.stack(sprites),
            tokens=tokenise(tokenizer, texts).numpy().astype(np.int16),
            nothing=nothing.astype(np.int16),
            fillers=fillers.words,
            word_ends=fillers.ends,
        )
        partial.replace(folder / f"{name}.npz")


def load_sprites(folder: Path, name: str = SINGLES) -> NDArray[np.int8]:
    """(count, 4, 32, 32 n) sprites that ``prepare`` wrote for the pool of this name, times 127.

    Raises:
        FileNotFoundError: if nothing was written.
    """
    with np.load(_examples(folder, name)) as stored:
        found: NDArray[np.int8] = stored["sprites"]
    return found


def encode(folder: Path, autoencoder: SpriteAutoencoder) -> None:
    """Write the latents of both pools; each sprite is encoded once, however many texts it has."""
    for name in (SINGLES, WALKS):
        with np.load(_examples(folder, name)) as stored:
            sprites = stored["sprites"]
        places: dict[bytes, int] = {}
        which = np.array([places.setdefault(one.tobytes(), len(places)) for one in sprites])
        _, firsts = np.unique(which, return_index=True)
        print(f"{name}: {len(firsts)} pictures of {len(sprites)} examples", flush=True)
        latents = np.concatenate(
            [
                _encoded(autoencoder, sprites[firsts[at : at + 64]])
                for at in range(0, len(firsts), 64)
            ]
        )
        partial = folder / f"{name}-latents.partial.npz"
        np.savez(partial, latents=latents[which], variants=_variants(sprites))
        partial.replace(folder / f"{name}-latents.npz")


@torch.no_grad()
def _encoded(autoencoder: SpriteAutoencoder, sprites: NDArray[np.int8]) -> NDArray[np.float16]:
    with torch.autocast("cpu", torch.bfloat16):
        found = autoencoder.encode(torch.from_numpy(sprites).float() / 127)
    return np.asarray(found.half().numpy())


def load_pool(folder: Path, name: str) -> Pool:
    """Read what ``prepare`` and ``encode`` wrote of the pool of this name.

    Raises:
        FileNotFoundError: if one of them wrote nothing.
    """
    encoded = folder / f"{name}-latents.npz"
    if not encoded.exists():
        raise FileNotFoundError(f"no latents in {folder}: run vae first")
    with np.load(_examples(folder, name)) as stored, np.load(encoded) as found:
        return Pool(
            found["latents"],
            stored["tokens"],
            stored["nothing"],
            found["variants"],
            Fillers(stored["fillers"], stored["word_ends"]),
        )


def _variants(sprites: NDArray[np.int8]) -> NDArray[np.int64]:
    """Which variant each shows, by the grey under its white; any where nothing is white."""
    outside = sprites[:, 3] < 0
    grey = (sprites[:, 0] * outside).sum(axis=(1, 2), dtype=np.int64)
    any_of_them = np.random.default_rng(6).integers(0, len(LEVELS), len(sprites))
    found: NDArray[np.int64] = np.where(outside.any(axis=(1, 2)), grey > 0, any_of_them)
    return found.astype(np.int64)


def _examples(folder: Path, name: str) -> Path:
    path = folder / f"{name}.npz"
    if not path.exists():
        raise FileNotFoundError(f"no examples in {folder}: run prepare first")
    return path


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
