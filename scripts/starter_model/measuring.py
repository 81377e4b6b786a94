"""What a model's pictures are worth: subjects, colours, dressed parts, walks, near copies."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from diffusers import AutoencoderKL
from numpy.typing import NDArray

from comfy_nodes.vocabulary import Vocabulary

from .colours import COLOURS, colour_votes
from .dressing import Character, composed
from .examples import PICTURES_OF_A_NAME, World, outfit_is_held_out
from .recolour import MORE_COLOURS
from .sentences import WALK_WORDS
from .sprite_vae import FACTOR, WHITEST
from .subject_judge import PAPER, SubjectJudge, cut_outs
from .tiles import TABLES, Rgba, Tile, named_tiles, read_pictures
from .walks import FRAMES, HIP, can_march

Draw = Callable[[Sequence[str], Sequence[int], int], NDArray[np.uint8]]
"""Texts, seeds and how many frames wide, to (n, 32, 32 wide, 3) pictures at the sprites' size."""

_NAMED_SHARE = 0.28
"""Share of the votes from which on a named colour is there; wood and steel vote, too."""

_CLOSE = 40
"""Largest difference of a channel, of 255, at which two pixels count as alike."""

_SPECK = 3
"""Most pixels of a piece that is a speck."""

_PART_SHARE = 0.6
"""Share of a part's visible pixels that must be closer to the dressed figure than to the one
without it."""


@dataclass
class Report:
    """Figures by name, and lines on single pictures."""

    figures: dict[str, float] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    pictures: dict[str, list[Rgba]] = field(default_factory=dict)

    def table(self) -> str:
        """The figures, a line each."""
        return "\n".join(f"{name:44} {value:7.1%}" for name, value in self.figures.items())


def prompts(part: str) -> dict[str, Any]:
    """The prompts of ``first`` or ``held``.

    Raises:
        KeyError: for another part.
    """
    stored = yaml.safe_load((TABLES / "prompts.yaml").read_text(encoding="utf-8"))
    found: dict[str, Any] = stored[part]
    return found


def measure_prompts(
    report: Report,
    draw: Draw,
    judge: SubjectJudge,
    world: World,
    part: str,
    limit: int | None = None,
) -> None:
    """Subjects and colours of the known prompts, first seed of each."""
    rows = spread(prompts(part)["known"], limit)
    sprites = cut_outs(draw([row[0] for row in rows], [1] * len(rows), 1))
    subjects, colours, both, natural = [], [], [], []
    for (text, wanted, colour), sprite, ranked in zip(
        rows, sprites, judge.ranked(sprites, 3), strict=True
    ):
        right = ranked[0] in wanted.split("|")
        subjects.append(right)
        if colour:
            there = has_colour(sprite, colour)
            colours.append(there)
            both.append(right and there)
        else:
            natural.append(is_natural(world, sprite, wanted.split("|")))
        if not right:
            report.lines.append(f"{text}: {', '.join(ranked)}")
    report.figures[f"{part}: subject right"] = float(np.mean(subjects))
    report.figures[f"{part}: named colour right"] = float(np.mean(colours))
    report.figures[f"{part}: subject and named colour"] = float(np.mean(both))
    report.figures[f"{part}: natural colour where none is named"] = float(np.mean(natural))
    report.pictures[part] = sprites


def spread(rows: list[Any], limit: int | None) -> list[Any]:
    """At most so many rows, from everywhere in the list."""
    return rows if limit is None else rows[:: max(1, -(-len(rows) // limit))]


def has_colour(sprite: Rgba, colour: str) -> bool:
    """Whether a colour is seen on a sprite; black and white by lightness."""
    there = sprite[..., 3] > 0
    if not there.any():
        return False
    if colour in MORE_COLOURS:
        light = sprite[there][:, :3].astype(float).mean(axis=1)
        return bool((light < 90).mean() > 0.5 if colour == "black" else (light > 160).mean() > 0.35)
    votes = colour_votes(sprite)
    return votes[colour] >= _NAMED_SHARE or max(votes, key=lambda name: votes[name]) == colour


def is_natural(world: World, sprite: Rgba, subjects: Sequence[str]) -> bool:
    """Whether the colours are those of some tile or natural drawing of the subject."""
    from .draw import SUBJECTS, draw
    from .examples import natural_colours

    seen = np.array(list(colour_votes(sprite).values()))
    known = [tile.pixels for one in subjects for tile in world.by_subject.get(one, ())]
    for one in subjects:
        if one in SUBJECTS:
            for colour in natural_colours()[one]:
                known.append(_on_nothing(draw(one, colour, 1)))
    if not known:
        return True
    # Half of the votes in common is as alike as two tiles of one subject are.
    return any(
        np.minimum(seen, np.array(list(colour_votes(one).values()))).sum() >= 0.5 for one in known
    )


def _on_nothing(drawing: Any) -> Rgba:
    whole = np.dstack([drawing.pixels, np.full((32, 32), 255, dtype=np.uint8)])
    return np.where(drawing.opaque[..., None], whole, 0).astype(np.uint8)


def measure_words(report: Report, words: Vocabulary) -> None:
    """How many words outside of the vocabulary are warned, and how many inside."""
    asked, told, known, wrong = 0, 0, 0, 0
    for part in ("first", "held"):
        for text, outside in prompts(part)["outside"]:
            found = {one.word for one in words.unknown(text)}
            asked, told = asked + len(outside), told + len(found & set(outside))
        for text, _, _ in prompts(part)["known"]:
            known, wrong = known + len(text.split()), wrong + len(words.unknown(text))
    report.figures["words outside warned"] = told / asked
    report.figures["words inside warned"] = wrong / known


def measure_drawings(report: Report, draw: Draw, limit: int | None = None) -> None:
    """The project's own subjects in every colour, by the judge of drawings; and specks."""
    from .draw import SUBJECTS
    from .judge import judge

    pairs = spread([(s, c) for s in SUBJECTS for c in COLOURS], limit)
    pictures = draw([f"a {colour} {subject}" for subject, colour in pairs], [1] * len(pairs), 1)
    found = [judge(picture) for picture in pictures]
    report.figures["drawings: subject right"] = float(
        np.mean([one[0] == pair[0] for one, pair in zip(found, pairs, strict=True)])
    )
    report.figures["drawings: colour right"] = float(
        np.mean([one[1] == pair[1] for one, pair in zip(found, pairs, strict=True)])
    )
    sprites = cut_outs(pictures)
    report.figures["drawings: loose pieces a sprite"] = float(
        np.mean([loose_pieces(one) for one in sprites])
    )
    report.figures["drawings: lone pixels a sprite"] = float(
        np.mean([lone_pixels(one) for one in sprites])
    )
    report.pictures["drawings"] = sprites


def loose_pieces(sprite: Rgba) -> int:
    """How many pieces of one to three pixels stand beside the sprite."""
    from scipy import ndimage

    labels, pieces = ndimage.label(sprite[..., 3] > 0, np.ones((3, 3)))
    return int((np.bincount(labels.ravel())[1:] <= _SPECK).sum()) if pieces > 1 else 0


def lone_pixels(sprite: Rgba) -> int:
    """How many pixels of a sprite are unlike all around them; eyes and glints are such, too."""
    there = sprite[..., 3] > 0
    colours = sprite[..., :3].astype(int)
    alone = there.copy()
    for down, across in ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)):
        off = np.abs(colours - np.roll(colours, (down, across), (0, 1))).max(axis=-1)
        alone &= off > 2 * _CLOSE
    return int(alone.sum())


@dataclass(frozen=True)
class Asked:
    """A text about a character, and the characters that it may stand for."""

    text: str
    places: tuple[str, ...]
    """Those that it names a part for."""
    meant: tuple[Character, ...]


def held_out_characters(world: World, count: int, seed: int = 5) -> list[Asked]:
    """Dressed characters that no training saw."""
    assert world.wardrobe is not None
    rng = random.Random(f"held out outfits {seed}")
    found: list[Asked] = []
    while len(found) < count:
        outfit = world.outfit(rng, 0)
        if outfit_is_held_out(outfit):
            said = dict(outfit.parts)
            meant = tuple(
                world.wardrobe.meant(outfit.character, said, variant)
                for variant in range(PICTURES_OF_A_NAME)
            )
            found.append(Asked(outfit.text, tuple(said), meant))
    return found


def measure_dressed(report: Report, draw: Draw, world: World, count: int = 100) -> None:
    """Whether a figure is there, and each part that the text names."""
    wanted = held_out_characters(world, count)
    sprites = cut_outs(draw([one.text for one in wanted], [1] * count, 1))
    parts = [
        any(part_is_there(character, place, sprite) for character in one.meant)
        for one, sprite in zip(wanted, sprites, strict=True)
        for place in one.places
    ]
    report.figures["dressed: a figure"] = float(np.mean([is_figure(one) for one in sprites]))
    report.figures["dressed: named parts present"] = float(np.mean(parts))
    report.pictures["dressed"] = sprites


def is_figure(sprite: Rgba) -> bool:
    """Whether it stands upright: about as high as a figure, and most of it one piece."""
    from scipy import ndimage

    there = sprite[..., 3] > 0
    if not there.any():
        return False
    rows, columns = np.flatnonzero(there.any(axis=1)), np.flatnonzero(there.any(axis=0))
    labels, pieces = ndimage.label(there, np.ones((3, 3)))
    largest = np.bincount(labels.ravel())[1:].max() if pieces else 0
    high, wide = np.ptp(rows) + 1, np.ptp(columns) + 1
    middle = there[rows[0] : rows[-1] + 1, 12:21].any(axis=1).mean()
    return bool(22 <= high <= 32 and wide >= 9 and largest > 0.7 * there.sum() and middle > 0.85)


def part_is_there(character: Character, place: str, sprite: Rgba) -> bool:
    """Whether the sprite is more like the figure with this part than like the one without it.

    Looked at where the part is seen, moved by up to two pixels to where the whole fits best.
    """
    full = composed(character.layers)
    bare = composed(character.layers, without=frozenset({place}))
    seen = (full != bare).any(axis=-1)
    if not seen.any():
        return True
    fits = []
    for down in range(-2, 3):
        for across in range(-2, 3):
            moved = np.roll(sprite, (down, across), (0, 1))
            with_part, without = _off(moved, full), _off(moved, bare)
            share = float((with_part < without)[seen].mean())
            fits.append((min(with_part.sum(), without.sum()), share))
    best = min(fits)[1]
    return best >= _PART_SHARE


def _off(one: Rgba, other: Rgba) -> NDArray[np.float64]:
    """Distance of two pictures' pixels; what is there in one alone is as far as can be."""
    apart = np.abs(one[..., :3].astype(float) - other[..., :3].astype(float)).sum(axis=-1)
    both = (one[..., 3] > 0) & (other[..., 3] > 0)
    neither = (one[..., 3] == 0) & (other[..., 3] == 0)
    return np.where(both, apart, np.where(neither, 0.0, 765.0))


def walk_texts(world: World, count: int = 50, seed: int = 6) -> list[str]:
    """Texts of walks, half from the front, half from the side, none as training has it."""
    from .walks import WALKERS

    rng = random.Random(f"walks {seed}")
    texts = []
    dressed = held_out_characters(world, count * 2, seed) if world.wardrobe else []
    fronts = [one.text for one in dressed if can_march(one.meant[0])]
    for index in range(count):
        if fronts and index % 2 == 0:
            texts.append(f"{fronts.pop()}, {rng.choice(WALK_WORDS['front'])}")
        else:
            name = rng.choice(WALKERS[rng.choice(list(WALKERS))].names)
            colour = rng.choice(list(COLOURS))
            texts.append(f"a {colour} {name}, {rng.choice(WALK_WORDS['side'])}")
    return texts


def measure_walks(report: Report, draw: Draw, world: World, count: int = 50) -> None:
    """Whether frames keep palette, height and ground, and have legs in four positions."""
    sheets = cut_outs(draw(walk_texts(world, count), [1] * count, FRAMES))
    steady = [is_steady(sheet) for sheet in sheets]
    legs = [leg_positions(sheet) == FRAMES for sheet in sheets]
    palettes = [is_one_palette(sheet) for sheet in sheets]
    report.figures["walks: height and ground within 1 px"] = float(np.mean(steady))
    report.figures["walks: legs in four positions"] = float(np.mean(legs))
    report.figures["walks: one palette"] = float(np.mean(palettes))
    report.figures["walks: all three"] = float(
        np.mean([all(three) for three in zip(steady, legs, palettes, strict=True)])
    )
    report.pictures["walks"] = sheets


def frames_of(sheet: Rgba) -> list[Rgba]:
    """The four frames of a (32, 128, 4) sheet."""
    return [sheet[:, 32 * k : 32 * (k + 1)] for k in range(FRAMES)]


def is_steady(sheet: Rgba) -> bool:
    """Whether the frames' tops and feet are within one pixel."""
    spans = []
    for frame in frames_of(sheet):
        rows = np.flatnonzero((frame[..., 3] > 0).any(axis=1))
        if not len(rows):
            return False
        spans.append((rows[0], rows[-1]))
    tops, feet = zip(*spans, strict=True)
    return bool(np.ptp(tops) <= 1 and np.ptp(feet) <= 1)


def leg_positions(sheet: Rgba) -> int:
    """How many of the frames have legs unlike those of every frame before."""
    kept: list[NDArray[np.bool_]] = []
    for frame in frames_of(sheet):
        legs = frame[HIP:, :, 3] > 0
        if all((legs != one).sum() >= 4 or _moved(frame, sheet, kept) for one in kept):
            kept.append(legs)
    return len(kept)


def _moved(frame: Rgba, sheet: Rgba, kept: list[NDArray[np.bool_]]) -> bool:
    """Whether the inside of the legs differs, where their outline does not (one before another)."""
    before = frames_of(sheet)[: len(kept)]
    now = frame[HIP:].astype(int)
    return all(
        (np.abs(now - one[HIP:].astype(int)).max(axis=-1) > _CLOSE).sum() >= 8 for one in before
    )


def is_one_palette(sheet: Rgba) -> bool:
    """Whether nearly all of each frame's colours are near to one of the first frame's."""
    first, *others = frames_of(sheet)
    tones = first[first[..., 3] > 0][:, :3].astype(int)
    if not len(tones):
        return False
    for frame in others:
        points = frame[frame[..., 3] > 0][:, :3].astype(int)
        if not len(points):
            return False
        nearest = np.abs(points[:, None] - tones[None]).max(axis=-1).min(axis=1)
        if (nearest <= _CLOSE).mean() < 0.95:
            return False
    return True


def nearest_pictures(world: World, sprite: Rgba, count: int = 1) -> list[tuple[str, float]]:
    """The tiles that are most like a sprite, and the share of pixels that are alike in both."""
    found = []
    for tile in world.tiles:
        for view in (tile.pixels, tile.pixels[:, ::-1]):
            either = (sprite[..., 3] > 0) | (view[..., 3] > 0)
            alike = np.abs(sprite.astype(int) - view.astype(int)).max(axis=-1) <= _CLOSE
            found.append((float((alike & either).sum() / max(1, either.sum())), tile.path))
    best = sorted(found, reverse=True)[:count]
    return [(path, share) for share, path in best]


def reconstruction(pictures: Sequence[Rgba], restored: Sequence[Rgba]) -> tuple[float, float]:
    """Peak signal to noise in dB, and the share of sprites' pixels within 40 of 255."""
    errors, close = [], []
    for one, other in zip(pictures, restored, strict=True):
        there = one[..., 3] > 0
        off = np.abs(one[..., :3].astype(float) - other[..., :3].astype(float))[there]
        missing = (other[..., 3] == 0)[there]
        off[missing] = 255.0
        errors.append((off**2).mean())
        close.append((off.max(axis=-1) <= _CLOSE).mean())
    return float(-10 * np.log10(max(np.mean(errors) / 255**2, 1e-12))), float(np.mean(close))


def held_out_tiles(world: World, file: Path | None) -> list[Tile]:
    """The named tiles of the file that the world does not train on."""
    if file is None:
        return []
    trained = {tile.path for tile in world.tiles}
    return [one for one in named_tiles(read_pictures(file)) if one.path not in trained]


@torch.no_grad()
def measure_autoencoder(
    report: Report, vae: AutoencoderKL, held: Sequence[Tile], limit: int | None = None
) -> None:
    """Tiles painted as the model paints, through the autoencoder and back; a spread of them."""
    tiles = [tile.pixels for tile in spread(list(held), limit or 100)]
    painted = [
        np.concatenate([np.round(one[..., :3] * (WHITEST / 255)), one[..., 3:]], axis=-1)
        for one in tiles
    ]
    restored = []
    for one in painted:
        shown = np.where(one[..., 3:] > 0, one[..., :3], 255).astype(np.float32)
        picture = torch.from_numpy(shown / 127.5 - 1.0).permute(2, 0, 1)[None]
        picture = picture.repeat_interleave(FACTOR, 2).repeat_interleave(FACTOR, 3)
        back = vae.decode(vae.encode(picture).latent_dist.mode()).sample[0]
        pixels = ((back.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        true_size = pixels[FACTOR // 2 :: FACTOR, FACTOR // 2 :: FACTOR]
        paper = (true_size >= PAPER).all(axis=-1, keepdims=True)
        restored.append(np.concatenate([true_size, np.where(paper, 0, 255)], axis=-1))
    decibels, close = reconstruction(painted, restored)
    report.lines.append(f"autoencoder: {decibels:.1f} dB over {len(tiles)} tiles")
    report.figures["autoencoder: pixels within 40 of 255"] = close


def write_report(report: Report, folder: Path) -> None:
    """The table, the wrong ones, and a contact sheet of every kind."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "figures.txt").write_text(report.table() + "\n", encoding="utf-8")
    (folder / "wrong.txt").write_text("\n".join(report.lines) + "\n", encoding="utf-8")
    for name, pictures in report.pictures.items():
        wide = pictures[0].shape[1]
        columns = 5 if wide > 32 else 20
        rows = -(-len(pictures) // columns)
        sheet = Image.new("RGB", (columns * (wide + 2) * 2, rows * 68), (150, 150, 165))
        for index, picture in enumerate(pictures):
            cell = Image.fromarray(picture).resize((wide * 2, 64), Image.Resampling.NEAREST)
            place = ((index % columns) * (wide + 2) * 2, (index // columns) * 68)
            sheet.paste(cell, place, cell)
        sheet.save(folder / f"{name}.png")
