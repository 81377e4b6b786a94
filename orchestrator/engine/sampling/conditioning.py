"""Texts to CONDITIONING: what CLIPTextEncode does, with ComfyUI's weights and chunks."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from comfy_nodes.errors import UnsupportedModel
from comfy_nodes.weights.files import Weights, read_file

from ...errors import InputError
from .. import room
from ..folders import inside
from ..handles.handles import Clip, TextEncoder
from ..model_files import reads
from ..stopping import check_interrupted
from .guidance import Conditioning
from .prompt import Chunk, chunks_of, tokens_of

_log = logging.getLogger(__name__)

# Letters of a text: far more than its last word has any weight with.
_LONGEST = 1_000_000
# Letters that are made tokens of at once: about 10 ms of work.
_PIECE_LETTERS = 4096
_PIECE = re.compile(rf"\S+(?:\s+\S+){{0,{_PIECE_LETTERS // 8}}}")
# Chunks that go through the encoder at once: half a second of SD 1.5's on two cores.
_CHUNKS_AT_ONCE = 16


def encode_text(clip: Clip, text: str) -> Conditioning:
    """Text states [1, chunks * 77, D] and `pooled_output` [1, P] of the last encoder.

    The states of two encoders are joined channel by channel, over the chunks that both have. Raises
    InputError for a text that is too long, InterruptedByUser between its parts.
    """
    if len(text) > _LONGEST:
        raise InputError(
            f"the text has {len(text):,} letters, and {_LONGEST:,} are taken at most: a picture "
            "follows no more than the first few hundred words"
        )
    encoded = [_encode(encoder, clip, text) for encoder in clip.encoders]
    length = min(states.shape[1] for states, _ in encoded)
    states = torch.cat([states[:, :length] for states, _ in encoded], dim=-1)
    return [(states, {"pooled_output": encoded[-1][1]})]


def _encode(encoder: TextEncoder, clip: Clip, text: str) -> tuple[torch.Tensor, torch.Tensor]:
    chunks = _chunks(encoder, _groups(encoder, clip, text))
    # Weights are measured from the empty text.
    empty = _chunks(encoder, [])
    weighted = any(weight != 1.0 for chunk in chunks for _, weight in chunk)
    with encoder.part.ready() as model:
        states, pooled = _run(
            model, encoder, chunks + empty if weighted else chunks, clip.layer or encoder.layer
        )
    if weighted:
        states, base = states[:-1], states[-1]
        weights = torch.tensor([[weight for _, weight in chunk] for chunk in chunks])[..., None]
        states = torch.where(weights == 1.0, states, (states - base) * weights + base)
    return states.reshape(1, -1, states.shape[-1]), pooled[:1]


def _groups(encoder: TextEncoder, clip: Clip, text: str) -> list[Chunk]:
    # A text may name one a thousand times; it is looked for once.
    find = lru_cache(maxsize=None)(lambda name: _embedding(name, clip, encoder))
    return tokens_of(text, lambda words: _ids(encoder, words), find)


def _ids(encoder: TextEncoder, words: str) -> list[int]:
    """The tokens of a text, in pieces between which the run may be stopped.

    No token has a blank in it, so a text may be cut at any.
    """
    ids: list[int] = []
    for piece in _PIECE.findall(words) if len(words) > _PIECE_LETTERS else [words]:
        check_interrupted()
        # Without the start and end tokens, which chunks have of their own.
        ids += encoder.tokenizer(piece, verbose=False)["input_ids"][1:-1]
    return ids


def _chunks(encoder: TextEncoder, groups: list[Chunk]) -> list[Chunk]:
    tokenizer = encoder.tokenizer
    return chunks_of(
        groups,
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
        int(encoder.part.module.config.max_position_embeddings),
    )


def _run(
    model: Any, encoder: TextEncoder, chunks: list[Chunk], layer: int | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """States [chunks, 77, D] of the layer and pooled text [chunks, P], float32 on the CPU."""
    groups = [chunks[i : i + _CHUNKS_AT_ONCE] for i in range(0, len(chunks), _CHUNKS_AT_ONCE)]
    need = room.of_tensors(len(chunks), len(chunks[0]), _width(encoder), copies=2)
    room.check("the tokens of this text", need)
    parts = [_run_some(model, encoder, group, layer) for group in groups]
    states, pooled = zip(*parts, strict=True)
    return torch.cat(states), torch.cat(pooled)


def _run_some(
    model: Any, encoder: TextEncoder, chunks: list[Chunk], layer: int | None
) -> tuple[torch.Tensor, torch.Tensor]:
    end = encoder.tokenizer.eos_token_id
    ids, vectors = _split_vectors(chunks, encoder)
    with _replaced_embeddings(model.get_input_embeddings(), vectors):
        output = model(torch.tensor(ids, device=encoder.part.device), output_hidden_states=True)
    # transformers 4 wraps the encoder in a `text_model`, 5 only where there is a projection.
    core = getattr(model, "text_model", model)
    states = output.last_hidden_state
    ends = [row.index(end) for row in ids]
    pooled = states[torch.arange(len(ids)), torch.tensor(ends)]
    if hasattr(model, "text_projection"):
        pooled = model.text_projection(pooled)
    if layer is not None and -layer <= model.config.num_hidden_layers:
        states = output.hidden_states[layer]
        states = core.final_layer_norm(states) if encoder.norm_inner else states
    return states.float().cpu(), pooled.float().cpu()


def _split_vectors(
    chunks: list[Chunk], encoder: TextEncoder
) -> tuple[list[list[int]], dict[tuple[int, int], torch.Tensor]]:
    """Ids of every chunk, and the vectors that stand in place of some: (chunk, place) -> [D].

    Vectors of another width belong to the other text encoder: they are left out, and padding is
    added.
    """
    ids: list[list[int]] = []
    vectors: dict[tuple[int, int], torch.Tensor] = {}
    pad = encoder.tokenizer.pad_token_id
    for row, chunk in enumerate(chunks):
        fitting = [t for t, _ in chunk if isinstance(t, int) or _fits(t, encoder)]
        fitting += [pad] * (len(chunk) - len(fitting))
        ids.append([token if isinstance(token, int) else pad for token in fitting])
        vectors |= {(row, i): t for i, t in enumerate(fitting) if isinstance(t, torch.Tensor)}
    return ids, vectors


@contextmanager
def _replaced_embeddings(
    layer: nn.Module, vectors: dict[tuple[int, int], torch.Tensor]
) -> Iterator[None]:
    """Let the token embedding give `vectors` at their places while the block runs."""

    def replace(module: nn.Module, ids: Any, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        for place, vector in vectors.items():
            output[place] = vector.to(output)
        return output

    hook = layer.register_forward_hook(replace) if vectors else None
    try:
        yield
    finally:
        if hook is not None:
            hook.remove()


def _embedding(name: str, clip: Clip, encoder: TextEncoder) -> torch.Tensor | None:
    """Vectors [N, D] of the embedding file of that name; None and a warning where there is none.

    ComfyUI leaves it out as well; clients tell, as they know which embeddings a server has. Raises
    ModelUnreadable for a damaged file, UnsupportedModel where it fits none of the text encoders.
    """
    path = _embedding_file(name, clip.embeddings)
    for place in clip.embeddings if path is None else (path,):
        reads(place)
    if path is None:
        _log.warning("there is no embedding %r; it is left out of the text", name)
        return None
    tensors = read_file(path)
    vectors = _vectors(tensors, encoder)
    if not any(_fits(_vectors(tensors, one), one) for one in clip.encoders):
        raise UnsupportedModel(
            f"The embedding {path.name} was made for another kind of model: its vectors have "
            f"{vectors.shape[-1]} numbers, and this model's text encoder takes {_width(encoder)}."
        )
    return vectors


def _vectors(tensors: Weights, encoder: TextEncoder) -> torch.Tensor:
    found = tensors.get(encoder.key, next(iter(tensors.values()), torch.empty(0)))
    return found.reshape(-1, found.shape[-1] if found.numel() and found.ndim else 1).float()


def _fits(vectors: torch.Tensor, encoder: TextEncoder) -> bool:
    return int(vectors.shape[-1]) == _width(encoder)


def _width(encoder: TextEncoder) -> int:
    return int(encoder.part.module.config.hidden_size)


def _embedding_file(name: str, folders: tuple[Path, ...]) -> Path | None:
    for folder in folders:
        roots = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
        for root in roots:
            for each in (name, f"{name}.safetensors"):
                # A name from a text may be anything, and then it is no file's.
                with suppress(InputError):
                    path = inside(root, each)
                    if path.suffix == ".safetensors" and path.is_file():
                        return path
    return None
