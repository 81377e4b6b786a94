"""The text encoder: a small CLIPTextModel taught to say the same for every wording.

Before the denoiser is trained, the encoder learns from captions alone: at the end token and at
every padding position after it, the last hidden state shall be a fixed code of what the text asks
for (subject + colour + size). The codes are orthogonal, so the denoiser reads them linearly, and a
text that asks for nothing has the same code as the empty one.
"""

from __future__ import annotations

import math
import random
import time
from pathlib import Path

import numpy as np
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from .captions import unconditional, write_caption
from .data import COLOUR_NAMES, SUBJECT_NAMES
from .draw import SIZES
from .progress import (
    Average,
    Budget,
    falling_rate,
    load_checkpoint,
    need_checkpoint,
    save_checkpoint,
    set_rate,
)
from .words import POSITIONS

HIDDEN = 128
"""Width of the text states and of the denoiser's cross-attention."""


def make_text_encoder(vocabulary: int, hidden: int = HIDDEN, layers: int = 2) -> CLIPTextModel:
    """An untrained encoder; start and end are the last two ids.

    `hidden` is the width of its states, a multiple of 64.
    """
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=hidden,
            intermediate_size=4 * hidden,
            projection_dim=hidden,
            num_hidden_layers=layers,
            num_attention_heads=hidden // 64,
            max_position_embeddings=POSITIONS,
            hidden_act="quick_gelu",
            bos_token_id=vocabulary - 2,
            eos_token_id=vocabulary - 1,
            pad_token_id=vocabulary - 1,
            attn_implementation="sdpa",
        )
    )


def encoder_of(folder: Path) -> CLIPTextModel:
    """The text encoder of a model folder, in fp32."""
    found: CLIPTextModel = CLIPTextModel.from_pretrained(
        folder / "text_encoder", torch_dtype=torch.float32
    )
    return found


def codes() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Codes of subjects, colours and sizes, each with a last row for "left open".

    Rows are orthogonal; their length makes the sum of three a vector of unit variance.
    """
    counts = (len(SUBJECT_NAMES) + 1, len(COLOUR_NAMES) + 1, len(SIZES) + 1)
    random_rows = torch.randn(HIDDEN, HIDDEN, generator=torch.Generator().manual_seed(7))
    rows = torch.linalg.qr(random_rows)[0] * math.sqrt(HIDDEN / 3)
    subject, colour, size = rows[: sum(counts)].split(list(counts))
    return subject, colour, size


def tokenise(tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    """(n, 77) token ids, cut and padded."""
    encoded = tokenizer(
        texts, padding="max_length", truncation=True, max_length=POSITIONS, return_tensors="pt"
    )
    ids: torch.Tensor = encoded["input_ids"]
    return ids


def text_batch(
    rng: random.Random, count: int, held_out: bool = False
) -> tuple[list[str], torch.Tensor]:
    """Texts and labels, (count, 3) indices of subject, colour, size; the last means left open."""
    texts: list[str] = []
    labels: list[tuple[int, int, int]] = []
    nothing = (len(SUBJECT_NAMES), len(COLOUR_NAMES), len(SIZES))
    for _ in range(count):
        if not held_out and rng.random() < 0.1:
            texts.append(unconditional(rng))
            labels.append(nothing)
            continue
        subject, colour = rng.randrange(nothing[0]), rng.randrange(nothing[1])
        size = rng.randrange(nothing[2])
        caption = write_caption(
            rng, SUBJECT_NAMES[subject], COLOUR_NAMES[colour], SIZES[size], held_out
        )
        texts.append(caption.text)
        labels.append(
            (
                nothing[0] if caption.subject is None else subject,
                nothing[1] if caption.colour is None else colour,
                nothing[2] if caption.size is None else size,
            )
        )
    return texts, torch.tensor(labels)


def read_codes(states: torch.Tensor, ids: torch.Tensor, end: int) -> torch.Tensor:
    """(n, 3) nearest code indices at the end token."""
    position = (ids == end).int().argmax(dim=1)
    found = states[torch.arange(len(states)), position].float()
    return torch.stack([(found @ table.T.to(found)).argmax(dim=1) for table in codes()], dim=1)


def train_text(
    tokenizer_folder: Path,
    checkpoint: Path,
    budget: Budget,
    *,
    device: str = "cpu",
    batch: int = 64,
    peak_rate: float = 2e-3,
    seed: int = 1,
) -> CLIPTextModel:
    """Train or go on training the encoder on captions; the averaged weights are returned."""
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder)
    end = tokenizer.eos_token_id
    model = make_text_encoder(len(tokenizer)).to(device)
    average = Average(model, 0.995)
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak_rate, weight_decay=0.01)
    step = 0
    stored = load_checkpoint(checkpoint)
    if stored is not None:
        model.load_state_dict(stored["model"])
        average.values = {k: v.to(device) for k, v in stored["average"].items()}
        optimizer.load_state_dict(stored["optimizer"])
        step, budget.spent = stored["step"], stored["seconds"]
    rng = random.Random(f"text {seed} {step}")
    tables = [table.to(device) for table in codes()]
    losses: list[float] = []
    clock = time.monotonic()
    while (share := budget.done(step)) < 1.0:
        set_rate(optimizer, falling_rate(peak_rate, share))
        texts, labels = text_batch(rng, batch)
        ids = tokenise(tokenizer, texts).to(device)
        target = torch.stack([t[labels[:, k].to(device)] for k, t in enumerate(tables)]).sum(0)
        with torch.autocast(device.split(":")[0], torch.bfloat16):
            states = model(input_ids=ids).last_hidden_state
        at_end = (ids == end).float().unsqueeze(-1)
        error = (states.float() - target[:, None]).square() * at_end
        loss = error.sum() / (at_end.sum() * HIDDEN)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        average.update(model, step)
        losses.append(float(loss.detach()))
        if step % 100 == 0:
            pace = (time.monotonic() - clock) / 100
            print(
                f"text step {step} loss {np.mean(losses[-100:]):.4f} {pace:.2f} s/step {share:.0%}",
                flush=True,
            )
            clock = time.monotonic()
        if step % 500 == 0:
            _keep(checkpoint, model, average, optimizer, step, budget)
    _keep(checkpoint, model, average, optimizer, step, budget)
    return load_text(checkpoint)


def _keep(
    path: Path,
    model: CLIPTextModel,
    average: Average,
    optimizer: torch.optim.Optimizer,
    step: int,
    budget: Budget,
) -> None:
    save_checkpoint(
        path,
        {
            "model": model.state_dict(),
            "average": average.values,
            "step": step,
            "optimizer": optimizer.state_dict(),
            "seconds": budget.seconds(),
        },
    )


def load_text(checkpoint: Path) -> CLIPTextModel:
    """The averaged weights of a checkpoint.

    Raises:
        FileNotFoundError: if the stage has not run.
    """
    stored = need_checkpoint(checkpoint, "text encoder", "text")
    key = next(k for k in stored["average"] if k.endswith("token_embedding.weight"))
    model = make_text_encoder(len(stored["average"][key]))
    model.load_state_dict(stored["average"])
    return model.eval()


@torch.no_grad()
def text_accuracy(
    model: CLIPTextModel, tokenizer: CLIPTokenizer, count: int, seed: int, held_out: bool
) -> tuple[float, float]:
    """Share of texts whose subject and whose colour the encoder reads right."""
    texts, labels = text_batch(random.Random(seed), count, held_out)
    ids = tokenise(tokenizer, texts)
    right = (
        read_codes(model(input_ids=ids).last_hidden_state, ids, tokenizer.eos_token_id) == labels
    )
    return float(right[:, 0].float().mean()), float(right[:, 1].float().mean())
