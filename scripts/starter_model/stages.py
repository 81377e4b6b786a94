"""The stages of ``python -m scripts.starter_model``; each reads what others left in its folder."""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from PIL import Image
from transformers import CLIPTokenizer

from . import measuring
from .denoiser import HIDDEN, Both, Plan, load_both, noise_schedule, redrawn, train
from .descriptions import Descriptions
from .examples import World, to_sprite
from .export import DEFAULT_CFG, export_model
from .known_words import words_of_world
from .pairs import WORDINGS, evaluate, make_pairs
from .pool import SINGLES, WALKS, encode, load_pool, load_sprites, prepare
from .progress import Budget, save_checkpoint
from .rewording import load_rewording, make_wordings, train_rewording
from .sample import Model, load_model, sample
from .sprite_vae import (
    FACTOR,
    Redrawn,
    SpriteAutoencoder,
    load_sprite_autoencoder,
    train_decoder,
    train_vae,
    trained_of,
    whole_vae,
)
from .subject_judge import (
    accuracy,
    cut_outs,
    load_subject_judge,
    save_subject_judge,
    train_subject_judge,
)
from .team import Team, run_team
from .text_pictures import train_text
from .tiles import tiles_file

_SIDE = 32 * FACTOR
_JUDGE = "subjects.safetensors"
_TEXT = "text.pt"
_VAE = "vae.pt"
_DENOISER = "denoiser.pt"
_DECODER = "decoder.pt"
_REWORDING = "rewording.pt"
_PAIRS = 60_000
"""Described texts, made anew by each worker."""

_REDRAWN = 6000
"""Examples that are drawn again for the decoder, all workers together; a sixteenth of walks."""

_HIDDEN = (2.0, 10.0)
"""Noise from which they are drawn, in latents' spreads."""

_WATCHED = 24
"""Prompts that are drawn on the way; half as many outfits, and a quarter of walks."""

_PROBED = 400
"""Sprites by which the autoencoder in training is judged."""

_BATCH = 8
"""Pictures that are sampled together."""


def _world(options: argparse.Namespace) -> World:
    return World(tiles_file(options.tiles))


def _budget(options: argparse.Namespace, minutes: float) -> Budget:
    """What was given, else so many minutes."""
    given = options.minutes or (None if options.steps else minutes)
    return Budget(minutes=given, steps=options.steps)


def _tokenizer(options: argparse.Namespace) -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(options.out / "tokenizer")


def prepare_stage(options: argparse.Namespace) -> None:
    """Make the tokenizer and the examples."""
    options.out.mkdir(parents=True, exist_ok=True)
    prepare(
        _world(options),
        options.out,
        singles=options.singles,
        walks=options.walks,
        seed=options.seed,
        start=options.start,
    )


def judge_stage(options: argparse.Namespace) -> None:
    """Train the subject judge, and measure it on fresh views."""
    torch.manual_seed(options.seed)
    world = World(tiles_file(options.tiles), moving=True)
    budget = _budget(options, 6)
    found = train_subject_judge(world, budget)
    save_subject_judge(found, options.out / _JUDGE)
    print(
        f"judge on fresh views: {accuracy(found, world, 1000):.1%} of {len(found.names)} subjects"
    )


def drawings_judge_stage(options: argparse.Namespace) -> None:
    """Train the judge of the project's own drawings, and measure it on fresh ones."""
    from .data import COLOUR_NAMES, SUBJECT_NAMES, draw_set
    from .judge import DEFAULT_WEIGHTS, judge, save_judge, train_judge

    torch.manual_seed(options.seed)
    budget = _budget(options, 3)
    save_judge(train_judge(draw_set(38000, options.seed, report=True), budget), DEFAULT_WEIGHTS)
    fresh = draw_set(1520, options.seed + 2000)
    right = [0, 0]
    for pixels, subject, colour in zip(fresh.pixels, fresh.subjects, fresh.colours, strict=True):
        found = judge(pixels)
        right[0] += found[0] == SUBJECT_NAMES[subject]
        right[1] += found[1] == COLOUR_NAMES[colour]
    print(
        "judge on fresh drawings: subject {:.2%} colour {:.2%}".format(*(n / 1520 for n in right))
    )


def vae_stage(options: argparse.Namespace) -> None:
    """Train the autoencoder, or go on, or take that of --start; and encode the examples."""
    prepare_stage(options)
    checkpoint = options.out / _VAE
    if options.start and not checkpoint.exists():
        started = AutoencoderKL.from_pretrained(options.start / "vae", torch_dtype=torch.float32)
        save_checkpoint(checkpoint, {"ready": trained_of(started).state_dict()})
    # What comes after it learnt the latents of an autoencoder that is taken over.
    if not options.start:
        run_team(_train_vae, options.workers, options)
    torch.set_num_threads(max(1, options.workers))
    encode(options.out, load_sprite_autoencoder(options.out / _VAE))


def _train_vae(team: Team, options: argparse.Namespace) -> None:
    torch.set_flush_denormal(True)
    budget = _budget(options, 30)
    sprites = load_sprites(options.out)
    train_vae(team, sprites, _probe(options), options.out / _VAE, budget, options.batch)


def _probe(options: argparse.Namespace) -> torch.Tensor:
    """(n, 4, 32, 32) sprites by which the autoencoder is judged: tiles that are held out."""
    held = measuring.held_out_tiles(_world(options), tiles_file(options.tiles))
    probe = (
        np.stack([to_sprite(one.pixels) for one in held])
        if held
        else load_sprites(options.out)[:_PROBED]
    )
    return torch.from_numpy(probe[:: -(-len(probe) // _PROBED)]).float() / 127


def text_stage(options: argparse.Namespace) -> None:
    """Teach the text encoder what texts look like."""
    prepare_stage(options)
    run_team(_train_text, options.workers, options)


def _train_text(team: Team, options: argparse.Namespace) -> None:
    budget = _budget(options, 5)
    singles, walks = (load_pool(options.out, name) for name in (SINGLES, WALKS))
    vocabulary = len(_tokenizer(options))
    train_text(
        team, singles, walks, vocabulary, HIDDEN, options.out / _TEXT, budget, start=options.start
    )


def train_stage(options: argparse.Namespace) -> None:
    """Train the denoiser and its text encoder, or go on."""
    if options.watch and not (options.out / _JUDGE).exists():
        raise FileNotFoundError(f"no judge in {options.out}: run judge first, or give --watch 0")
    prepare_stage(options)
    run_team(_train, options.workers, options)


def _train(team: Team, options: argparse.Namespace) -> None:
    torch.set_flush_denormal(True)
    vocabulary = len(_tokenizer(options))
    plan = Plan(
        singles=load_pool(options.out, SINGLES),
        walks=load_pool(options.out, WALKS),
        vocabulary=vocabulary,
        checkpoint=options.out / _DENOISER,
        start=options.start,
        text=options.out / _TEXT,
        batch=options.batch,
        watch_minutes=options.watch,
    )
    budget = _budget(options, 140)

    def watch(model: Both, step: int) -> None:
        _watch(options, model, step)

    train(team, plan, budget, watch if team.leads and options.watch else None)


def _watch(options: argparse.Namespace, model: Both, step: int) -> None:
    """Figures and contact sheets of some prompts, for who looks on."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(dir=options.out) as name:
        folder = Path(name) / "model"
        _export(options, model, folder)
        # The other workers wait meanwhile, so their cores are free.
        torch.set_num_threads(max(1, options.workers))
        report = _measured(options, folder, _WATCHED)
        torch.set_num_threads(1)
    target = options.out / "watch" / f"{step:06}"
    measuring.write_report(report, target)
    print(f"watch {step}, {time.monotonic() - start:.0f} s\n{report.table()}", flush=True)


def decoder_stage(options: argparse.Namespace) -> None:
    """Go on with the decoder alone, on what the trained denoiser makes of the examples."""
    prepare_stage(options)
    run_team(_train_decoder, options.workers, options)


def _train_decoder(team: Team, options: argparse.Namespace) -> None:
    torch.set_flush_denormal(True)
    budget = _budget(options, 12)
    vocabulary = len(_tokenizer(options))
    model = load_both(options.out / _DENOISER, vocabulary)
    sets = [
        (count, _redrawn(team, options, name, model, count))
        for name, count in ((SINGLES, options.batch), (WALKS, max(1, options.batch // 4)))
    ]
    start = load_sprite_autoencoder(options.out / _VAE)
    train_decoder(team, start, sets, _probe(options), options.out / _DECODER, budget)


def _redrawn(
    team: Team, options: argparse.Namespace, name: str, model: Both, count: int
) -> Redrawn:
    """This worker's part of the examples that are drawn again."""
    rng, pool = np.random.default_rng([team.rank, 7]), load_pool(options.out, name)
    torch.manual_seed(team.rank + 7)
    most = (_REDRAWN if name == SINGLES else _REDRAWN // 16) // team.size
    places = pool.pick(rng, min(most, len(pool.latents)))
    low, high = np.log(_HIDDEN)
    drawn = []
    for at in range(0, len(places), count):
        picked = places[at : at + count]
        ids = torch.from_numpy(pool.tokens[picked]).long()
        found = redrawn(model, pool.latents_of(picked), ids, float(np.exp(rng.uniform(low, high))))
        drawn.append(found.half().numpy())
    sprites = load_sprites(options.out, name)[places]
    return np.concatenate(drawn), pool.latents[places], sprites


def rewording_stage(options: argparse.Namespace) -> None:
    """Go on with the text encoder alone, on texts that describe a thing further."""
    prepare_stage(options)
    run_team(_train_rewording, options.workers, options)


def _train_rewording(team: Team, options: argparse.Namespace) -> None:
    torch.set_flush_denormal(True)
    budget = _budget(options, 20)
    tokenizer = _tokenizer(options)
    start = load_both(options.out / _DENOISER, len(tokenizer)).encoder
    descriptions = Descriptions(_world(options))
    wordings = make_wordings(descriptions, tokenizer, _PAIRS, options.seed + team.rank)
    pools = [load_pool(options.out, name) for name in (SINGLES, WALKS)]
    train_rewording(team, wordings, pools, start, options.out / _REWORDING, budget)


def export_stage(options: argparse.Namespace) -> None:
    """Write the model folder from the newest checkpoint."""
    vocabulary = len(_tokenizer(options))
    checkpoint = options.out / _DENOISER
    if checkpoint.exists():
        model = load_both(checkpoint, vocabulary)
        if (options.out / _REWORDING).exists():
            model.encoder = load_rewording(options.out / _REWORDING, vocabulary, HIDDEN)
    else:
        print("warning: nothing has been trained; writing random weights")
        torch.manual_seed(0)
        model = Both(vocabulary)
    print(f"wrote {options.model.name}: {_export(options, model, options.model) / 1e6:.1f} MB")


def _autoencoder(options: argparse.Namespace) -> SpriteAutoencoder:
    """With the decoder as far as it was trained."""
    decoder = options.out / _DECODER
    return load_sprite_autoencoder(decoder if decoder.exists() else options.out / _VAE)


def _export(options: argparse.Namespace, model: Both, folder: Path) -> int:
    return export_model(
        model.unet,
        whole_vae(_autoencoder(options)),
        model.encoder,
        options.out / "tokenizer",
        folder,
        _SIDE,
        cfg=DEFAULT_CFG if options.cfg is None else options.cfg,
        words=words_of_world(_world(options)),
        schedule=noise_schedule(),
    )


def evaluate_stage(options: argparse.Namespace) -> None:
    """Every figure, and contact sheets, into DIR/evaluation."""
    report = _measured(options, options.model, options.limit)
    measuring.write_report(report, options.out / "evaluation")
    print(report.table())
    for line in report.lines:
        print(f"  {line}")


def _measured(options: argparse.Namespace, folder: Path, limit: int | None) -> measuring.Report:
    model = load_model(folder)
    world = _world(options)
    report = measuring.Report()
    spent: list[float] = []
    side, cfg = _defaults(options, folder)

    def draw(texts: Sequence[str], seeds: Sequence[int], wide: int) -> NDArray[np.uint8]:
        found = []
        for at in range(0, len(texts), _BATCH):
            start = time.perf_counter()
            found.append(
                _drawn(model, texts[at : at + _BATCH], seeds[at : at + _BATCH], cfg, side, wide)
            )
            spent.append((time.perf_counter() - start) / len(found[-1]) / wide)
        return np.concatenate(found)

    judge = load_subject_judge(options.out / _JUDGE)
    measuring.measure_prompts(report, draw, judge, world, options.part, limit)
    if world.wardrobe is not None:
        measuring.measure_dressed(
            report, draw, world, min(100, limit or 100) // (2 if limit else 1)
        )
    measuring.measure_walks(report, draw, world, 50 if limit is None else -(-limit // 4))
    measuring.measure_drawings(report, draw, limit)
    _measure_wordings(report, model, cfg, side, limit)
    measuring.measure_words(report, words_of_world(world))
    held = measuring.held_out_tiles(world, tiles_file(options.tiles))
    if held:
        measuring.measure_autoencoder(report, model.vae, held, limit)
    report.lines.append(f"{np.median(spent):.2f} s a sprite in batches of {_BATCH}")
    return report


def _defaults(options: argparse.Namespace, folder: Path) -> tuple[int, float]:
    """Side of a picture in pixels and guidance: what the model's folder says, or --cfg."""
    said = json.loads((folder / "spriteworks.json").read_text(encoding="utf-8"))
    return int(said["width"]), float(said["cfg"] if options.cfg is None else options.cfg)


def _measure_wordings(
    report: measuring.Report, model: Model, cfg: float, side: int, limit: int | None
) -> None:
    for wording, negative in WORDINGS.items():
        pairs = make_pairs(min(100, limit or 100), wording)
        score = evaluate(model, pairs, cfg=cfg, side=side, negative=negative)
        report.figures[f"drawings, {wording} words: subject right"] = score.subject / score.pairs
        report.figures[f"drawings, {wording} words: colour right"] = score.colour / score.pairs
        report.lines += score.wrong


def _drawn(
    model: Model, texts: Sequence[str], seeds: Sequence[int], cfg: float, side: int, wide: int
) -> NDArray[np.uint8]:
    """(n, 32, 32 wide, 3): sprites at their true size."""
    pictures = sample(model, texts, seeds, cfg=cfg, side=side, wide=wide)
    factor = side // 32
    return pictures[:, factor // 2 :: factor, factor // 2 :: factor]


def near_stage(options: argparse.Namespace) -> None:
    """The nearest training pictures of twenty results, beside them."""
    world = _world(options)
    model = load_model(options.model)
    side, cfg = _defaults(options, options.model)
    texts = [row[0] for row in measuring.prompts("held")["known"]][::4][:20]
    sheet = Image.new("RGB", (20 * 68, 140), (150, 150, 165))
    for index, text in enumerate(texts):
        picture = _drawn(model, [text], [1], cfg, side, 1)
        (sprite,) = cut_outs(picture)
        ((path, share),) = measuring.nearest_pictures(world, sprite)
        print(f"{text}: {path}, {share:.0%} of the pixels alike")
        nearest = next(tile.pixels for tile in world.tiles if tile.path == path)
        for row, one in enumerate((sprite, nearest)):
            cell = Image.fromarray(one).resize((64, 64), Image.Resampling.NEAREST)
            sheet.paste(cell, (index * 68, row * 70), cell)
    options.out.mkdir(parents=True, exist_ok=True)
    sheet.save(options.out / "nearest.png")


def sheet_stage(options: argparse.Namespace) -> None:
    """A contact sheet of examples, with their texts."""
    world = _world(options)
    rng = random.Random(options.seed)
    examples = [world.example(rng) for _ in range(200)]
    walks = [world.walk(rng) for _ in range(40)]
    report = measuring.Report(
        lines=[f"{one.kind}: {one.text}" for one in (*examples, *walks)],
        pictures={
            "examples": [np.ascontiguousarray(one.pixels) for one in examples],
            "walks": [one.pixels for one in walks],
        },
    )
    measuring.write_report(report, options.out / "examples")


STAGES: dict[str, Callable[[argparse.Namespace], None]] = {
    "prepare": prepare_stage,
    "judge": judge_stage,
    "drawings-judge": drawings_judge_stage,
    "vae": vae_stage,
    "text": text_stage,
    "train": train_stage,
    "decoder": decoder_stage,
    "rewording": rewording_stage,
    "export": export_stage,
    "evaluate": evaluate_stage,
    "near": near_stage,
    "sheet": sheet_stage,
}
"""Stages by name."""
