"""The text encoder: a small CLIPTextModel, and what it reads."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from .words import POSITIONS


def make_text_encoder(vocabulary: int, hidden: int, layers: int) -> CLIPTextModel:
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


def tokenise(tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    """(n, 77) token ids, cut and padded."""
    encoded = tokenizer(
        texts, padding="max_length", truncation=True, max_length=POSITIONS, return_tensors="pt"
    )
    ids: torch.Tensor = encoded["input_ids"]
    return ids
