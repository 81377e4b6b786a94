"""The stages of the command line, each reading what the one before has left in the work folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from .data import DrawingSet, cached_set, draw_set
from .draw import contact_sheet
from .progress import Budget
from .team import Team, run_team


@dataclass(frozen=True)
class Options:
    """What the command line gave."""

    stage: str
    work: Path
    model: Path
    judge: Path
    out: Path | None
    device: str
    minutes: float | None
    steps: int | None
    size: int
    batch: int | None
    drawings: int
    threads: int | None
    workers: int
    seed: int
    pairs: int
    cfg: float | None
    sampler: str

    def budget(self, minutes: float) -> Budget:
        """The budget given, else so many minutes."""
        if self.minutes is None and self.steps is None:
            return Budget(minutes=minutes)
        return Budget(minutes=self.minutes, steps=self.steps)

    def prepare(self) -> None:
        """Seed and threads."""
        torch.manual_seed(self.seed)
        torch.set_flush_denormal(True)
        if self.threads:
            torch.set_num_threads(self.threads)

    def training_set(self) -> DrawingSet:
        """The drawings to train on, drawn at the first call and kept."""
        return cached_set(self.work / "drawings.npz", self.drawings, self.seed)

    def held_out_set(self) -> DrawingSet:
        """Drawings that no stage trains on."""
        return draw_set(1520, self.seed + 1000)


def draw_stage(options: Options) -> None:
    """Write a contact sheet of drawings."""
    target = options.out or options.work / "drawings.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(seed=options.seed).save(target)
    print(f"wrote {target}")


def judge_stage(options: Options) -> None:
    """Train the judge on drawings and measure it on fresh ones."""
    from .judge import save_judge, train_judge

    options.prepare()
    model = train_judge(
        options.training_set(),
        options.budget(3),
        device=options.device,
        batch=options.batch or 128,
    )
    save_judge(model, options.judge)
    subject, colour = judge_accuracy(options, 1520)
    print(f"judge on 1,520 fresh drawings: subject {subject:.2%} colour {colour:.2%}")


def judge_accuracy(options: Options, count: int) -> tuple[float, float]:
    """Share of fresh drawings whose subject and whose colour the judge names right."""
    from .data import COLOUR_NAMES, SUBJECT_NAMES
    from .draw import enlarge
    from .judge import judge

    fresh = draw_set(count, options.seed + 2000)
    right = [0, 0]
    for pixels, subject, colour in zip(fresh.pixels, fresh.subjects, fresh.colours, strict=True):
        found = judge(enlarge(pixels, options.size), options.judge)
        right[0] += found[0] == SUBJECT_NAMES[subject]
        right[1] += found[1] == COLOUR_NAMES[colour]
    return right[0] / count, right[1] / count


def vae_stage(options: Options) -> None:
    """Train the autoencoder."""
    options.prepare()
    options.training_set()
    run_team(_train_vae, options.workers, options, "vae")
    _print_quality(options)


def latents_stage(options: Options) -> None:
    """Encode the drawings for good; from here on the encoder rests."""
    from .vae import encode_all, keep_latents, load_vae

    options.prepare()
    vae = load_vae(options.work / "vae.pt", options.held_out_set(), options.size)
    latents = encode_all(vae, options.training_set(), options.size, options.device)
    spread, noise = latents.mean.std(dim=(0, 2, 3)), latents.spread.mean()
    print(f"latents: spread {[round(float(s), 3) for s in spread]} noise {noise:.4f}", flush=True)
    keep_latents(latents, options.work / "latents.pt")
    (options.work / "encoder.pt").write_bytes((options.work / "vae.pt").read_bytes())


def decoder_stage(options: Options) -> None:
    """Go on training the decoder alone, on the latents that the denoiser learns."""
    options.prepare()
    run_team(_train_vae, options.workers, options, "decoder")
    _print_quality(options)


def best_vae(options: Options) -> AutoencoderKL:
    """The autoencoder as far as it has been trained."""
    from .vae import load_decoder, load_vae

    decoder, encoder = options.work / "decoder.pt", options.work / "encoder.pt"
    if decoder.exists():
        return load_decoder(decoder, options.size)
    if encoder.exists():
        return load_vae(encoder, options.held_out_set(), options.size)
    return load_vae(options.work / "vae.pt", options.held_out_set(), options.size)


def _print_quality(options: Options) -> None:
    from .vae import reconstruction

    pictures = options.held_out_set().batch(np.arange(512, 1024), options.size)
    _, quality = reconstruction(best_vae(options), pictures)
    print(f"held-out psnr {quality:.2f} dB")


def _train_vae(team: Team, options: Options, name: str) -> None:
    from .vae import Autoencoding, load_latents, load_vae, make_vae, train_vae

    drawings, held_out = options.training_set(), options.held_out_set()
    torch.manual_seed(options.seed)
    latents = None
    vae = make_vae(options.size)
    if name == "decoder":
        vae = load_vae(options.work / "encoder.pt", held_out, options.size)
        latents = load_latents(options.work / "latents.pt")
    train_vae(
        team,
        Autoencoding(vae.train(), drawings, options.size, options.device, latents),
        held_out,
        options.work / f"{name}.pt",
        options.budget(20),
        batch=options.batch or 16,
        peak_rate=2e-3 if latents is None else 1.5e-3,
    )


def text_stage(options: Options) -> None:
    """Make the tokenizer and train the text encoder."""
    from transformers import CLIPTokenizer

    from .text import text_accuracy, train_text
    from .words import corpus, write_tokenizer

    options.prepare()
    folder = options.work / "tokenizer"
    if not (folder / "vocab.json").exists():
        print(f"tokenizer of {write_tokenizer(folder, corpus(options.seed))} tokens", flush=True)
    model = train_text(
        folder,
        options.work / "text.pt",
        options.budget(4),
        device=options.device,
        batch=options.batch or 64,
        seed=options.seed,
    )
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    for held_out in (False, True):
        subject, colour = text_accuracy(model, tokenizer, 2000, 99, held_out)
        kind = "held-out" if held_out else "training"
        print(f"{kind} wordings: subject {subject:.2%} colour {colour:.2%}")


def unet_stage(options: Options) -> None:
    """Train the denoiser."""
    options.prepare()
    run_team(_train_unet, options.workers, options)


def _train_unet(team: Team, options: Options) -> None:
    from transformers import CLIPTokenizer

    from .text import load_text
    from .unet import make_text_pool, train_unet
    from .vae import load_latents

    tokenizer = CLIPTokenizer.from_pretrained(options.work / "tokenizer")
    train_unet(
        team,
        load_latents(options.work / "latents.pt"),
        options.training_set(),
        make_text_pool(tokenizer, options.seed + team.rank),
        load_text(options.work / "text.pt"),
        options.work / "unet.pt",
        options.budget(45),
        device=options.device,
        side=options.size,
        batch=options.batch or 64,
    )


def export_stage(options: Options) -> None:
    """Write the model folder from the checkpoints; parts not trained yet are written untrained."""
    from transformers import CLIPTokenizer

    from .export import export_model, seed_parts
    from .known_words import words_of_drawings
    from .text import load_text
    from .unet import load_unet

    tokenizer = options.work / "tokenizer"
    vocabulary = len(CLIPTokenizer.from_pretrained(tokenizer))
    unet, vae, encoder = seed_parts(options.size, vocabulary)
    for name in ("unet", "vae", "text"):
        if not (options.work / f"{name}.pt").exists():
            print(f"warning: {name} has not been trained; writing random weights")
        elif name == "unet":
            unet = load_unet(options.work / "unet.pt", options.size)
        elif name == "vae":
            vae = best_vae(options)
        else:
            encoder = load_text(options.work / "text.pt")
    size = export_model(
        unet, vae, encoder, tokenizer, options.model, options.size, words=words_of_drawings()
    )
    print(f"wrote {options.model.name}: {size / 1e6:.1f} MB of weights")


def evaluate_stage(options: Options) -> None:
    """Measure the model folder on held-out pairs, plain and as people word it."""
    import json

    from .evaluate import NEGATIVE, evaluate, make_pairs, sheet
    from .sample import load_model

    options.prepare()
    model = load_model(options.model, options.device)
    defaults = json.loads((options.model / "spriteworks.json").read_text(encoding="utf-8"))
    cfg = options.cfg or float(defaults["cfg"])
    pictures = []
    for wording, negative in (("plain", ""), ("people", ""), ("workflow", NEGATIVE)):
        score = evaluate(
            model,
            make_pairs(options.pairs, wording),
            options.judge,
            cfg=cfg,
            sampler=options.sampler,
            side=options.size,
            negative=negative,
            batch=options.batch or 1,
        )
        print(f"{wording}, cfg {cfg:g}, {options.sampler}: {score.line()}", flush=True)
        for line in score.wrong:
            print(f"  {line}")
        pictures.append(score.pictures)
    target = options.out or options.work / "evaluation.png"
    sheet(np.concatenate(pictures), columns=20).save(target)
    print(f"wrote {target}")


STAGES: dict[str, Callable[[Options], None]] = {
    "draw": draw_stage,
    "judge": judge_stage,
    "vae": vae_stage,
    "text": text_stage,
    "latents": latents_stage,
    "decoder": decoder_stage,
    "unet": unet_stage,
    "export": export_stage,
    "evaluate": evaluate_stage,
}
"""Stages by name, in the order in which ``all`` runs them."""
